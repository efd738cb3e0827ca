"""A person steers needles that run: stops them, ends an area early, changes depth and rate; in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pen_controller.errors import PenError
from pen_controller.treatment.outcomes import RefusedError, StoppedError
from protocols.messages import Set, Stop
from protocols.words import PenState
from tests.running import in_virtual_time, until
from tests.virtual_treatment import CHEEK, ROOMY, MemoryJournal, Treating, bench_of, resume, treating, truth

MANY = CHEEK.model_copy(update={"passes": 5})


@contextlib.asynccontextmanager
async def needles_running(journal: MemoryJournal) -> AsyncIterator[tuple[Treating, "asyncio.Task[object]"]]:
    """A treatment whose needles have made some strokes."""
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        begun = asyncio.Event()
        treat = asyncio.create_task(now.treatment.treat(MANY, begun.set))
        await begun.wait()
        assert now.treatment.running is not None
        await now.strokes(200)
        try:
            yield now, treat
        finally:
            treat.cancel()
            await asyncio.gather(treat, return_exceptions=True)


@in_virtual_time
async def test_an_area_is_left_in_order_and_gone_on_with_without_a_resumption() -> None:
    journal = MemoryJournal()
    async with needles_running(journal) as (now, treat):
        now.treatment.leave("clinician-1", "enough")
        await treat
        assert now.pen.state.state is PenState.IDLE, "nothing latched"
        assert now.treatment.running is None
        before = now.treatment.areas["cheek"].given.strokes
        assert before == truth(now.bench)[0]
        assert not any(isinstance(message, Stop) for cable in now.bench.cables for message in cable.asked)
        (left,) = journal.bodies("area_left")
        assert (left["by"], left["why"], left["strokes"]) == ("clinician-1", "enough", before)
        assert not journal.bodies("area_done")
        await now.treatment.treat(CHEEK)
        assert now.treatment.areas["cheek"].passes == 2
        assert now.treatment.areas["cheek"].given.strokes > before


@in_virtual_time
async def test_a_person_stops_at_once_and_a_person_resumes() -> None:
    journal = MemoryJournal()
    async with needles_running(journal) as (now, treat):
        frames = len(now.bench.cables[0].asked)
        now.treatment.stop_now("viewer-1")
        assert isinstance(now.bench.cables[0].asked[frames], Stop), "sent before anything is waited for"
        with pytest.raises(StoppedError, match=r"STOP \(viewer-1\)"):
            await treat
        assert journal.bodies("stop") == [{"reason": "STOP", "by": "viewer-1"}]
        await until(lambda: now.pen.state.state is PenState.LATCHED)
        with pytest.raises(StoppedError):
            await now.treatment.treat(MANY)
        await resume(now)
        await now.treatment.treat(CHEEK)


@in_virtual_time
async def test_stop_of_a_pen_at_rest_latches_it_too() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        now.treatment.stop_now("clinician-1")
        await until(lambda: now.pen.state.state is PenState.LATCHED)
        with pytest.raises(StoppedError, match="STOP"):
            await now.treatment.treat(CHEEK)
        assert truth(bench) == (0, 0)


@in_virtual_time
async def test_stop_while_the_needles_are_being_started_wins() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        armed: list[str] = []

        def stop_when_armed(kind: str) -> None:
            if kind == "outcome" and not armed:
                armed.append(kind)
                now.treatment.stop_now("clinician-1")

        journal.on_post = stop_when_armed
        with pytest.raises(PenError):
            await now.treatment.treat(CHEEK)
        await asyncio.sleep(1)
        assert armed
        assert truth(bench) == (0, 0)


@in_virtual_time
async def test_depth_and_rate_are_changed_inside_the_limits_while_needles_run() -> None:
    journal = MemoryJournal()
    async with needles_running(journal) as (now, treat):
        await now.treatment.change(0.5, 80.0)
        await until(lambda: now.pen.state.depth_set_um == 500 and now.pen.state.rate_set_dhz == 800)
        assert now.treatment.running is not None
        assert now.treatment.running.wanted.depth_mm == 0.5
        told = [body for body in journal.bodies("intent") if body["command"] == "set"]
        assert told == [{"command": "set", "area": "cheek", "depth_um": 500, "rate_dhz": 800}]
        await until(lambda: {"command": "set", "outcome": "done"} in journal.bodies("outcome"))
        assert now.treatment.areas["cheek"].rate_hz == 100.0, "a lost pen may have run at either"
        assert not treat.done()


@pytest.mark.hazard("H01")
@pytest.mark.parametrize(
    ("depth_mm", "rate_hz", "limit"),
    [(2.5, 100.0, "depth"), (1.0, 151.0, "rate"), (0.0, 100.0, "depth")],
)
@in_virtual_time
async def test_a_change_beyond_a_limit_is_refused_with_its_source_and_nothing_changes(
    depth_mm: float, rate_hz: float, limit: str
) -> None:
    journal = MemoryJournal()
    async with needles_running(journal) as (now, treat):
        asked = len(now.bench.cables[0].asked)
        with pytest.raises(RefusedError) as refused:
            await now.treatment.change(depth_mm, rate_hz)
        assert refused.value.refusal.limit.name == limit
        assert refused.value.refusal.limit.source
        (recorded,) = journal.bodies("refusal")
        assert recorded["limit"]["name"] == limit
        assert not any(isinstance(message, Set) for message in now.bench.cables[0].asked[asked:])
        assert not treat.done()


@in_virtual_time
async def test_without_needles_that_run_there_is_nothing_to_change_or_leave() -> None:
    async with bench_of() as bench, treating(bench, MemoryJournal(), config=ROOMY) as now:
        with pytest.raises(PenError, match="no needles run"):
            await now.treatment.change(0.5, 80.0)
        now.treatment.leave("clinician-1", "enough")
        await now.treatment.treat(CHEEK)
