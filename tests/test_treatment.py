"""A treatment on a real line, with a real journal: what is recorded, what is refused, what a person must resume."""

import asyncio
import contextlib
import errno
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from pen_controller.config import Plan, PlanArea
from pen_controller.errors import PenError, PenRefusedError
from pen_controller.journal import Journal, JournalError, Record
from pen_controller.pen import Pen
from pen_controller.service import Service
from pen_controller.terminal.console import run_plan
from pen_controller.treatment import Treatment
from pen_controller.treatment.outcomes import RefusedError, StoppedError
from protocols.words import Cause, PenState
from tests.lines import CONFIG, PenSim, by_pty, by_tcp, needs_pty
from tests.running import until
from tests.safety_case.figures import measured

CHEEK = PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=1, size_cm2=4.0)
LONG = CHEEK.model_copy(update={"size_cm2": 40.0})


@contextlib.asynccontextmanager
async def treating(sim: PenSim, path: Path) -> AsyncIterator[tuple[Treatment, Pen, Journal, list[Record]]]:
    """A treatment; the last of what it yields is filled with the session's records when it has ended."""
    records: list[Record] = []
    async with Journal.open(path / "journal.sqlite") as journal, Pen.open(sim.transport()) as pen:
        try:
            async with Treatment(pen, journal, CONFIG, "fine_lines", 2) as treatment:
                yield treatment, pen, journal, records
        finally:
            records += journal.read(treatment.session, limit=10_000)


def told(records: list[Record]) -> list[str]:
    """Commands and their outcomes, in order."""
    return [
        f"{record.body['command']} {record.body.get('outcome', 'intended')}"
        for record in records
        if record.kind in ("intent", "outcome")
    ]


def pen_events(records: list[Record]) -> Counter[str]:
    return Counter(record.body["event"] for record in records if record.kind == "pen_event")


async def running(pen: Pen) -> None:
    await until(lambda: pen.state.state is PenState.RUNNING and pen.state.strokes > 20, "the needles to run")


@pytest.mark.hazard("H08")
async def test_every_command_is_recorded_before_and_after(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, _, records):
        count = await treatment.treat(CHEEK)
        assert count.passes == 1
        assert pen.state.state is PenState.IDLE
    assert told(records) == [f"{name} {step}" for name in ("arm", "start", "disarm") for step in ("intended", "done")]
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    published = [record.out_seq for record in records if record.out_seq is not None]
    assert published == list(range(1, len(published) + 1))
    assert records[-1].kind == "summary"
    assert records[-1].body["areas"][0]["area"] == "cheek"
    (one_pass,) = (record.body for record in records if record.kind == "pass")
    assert one_pass["punctures"] > 0
    assert pen_events(records)["cartridge_marked"] == 1
    assert not [record for record in records if record.kind == "skin" and record.topic], "skin type is not published"


async def test_a_refusal_moves_nothing_and_says_why(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, _, records):
        with pytest.raises(RefusedError) as refused:
            await treatment.treat(CHEEK.model_copy(update={"area": "periorbital", "depth_mm": 0.6, "rate_hz": 60.0}))
        limit = refused.value.refusal.limit
        assert (limit.name, limit.unit) == ("depth", "mm")
        assert limit.source
        with pytest.raises(RefusedError):
            await treatment.treat(CHEEK.model_copy(update={"area": "eyelid"}))
        assert pen.state.strokes == 0
    assert told(records) == []
    refusals = [record.body for record in records if record.kind == "refusal"]
    assert [refusal["request"]["area"] for refusal in refusals] == ["periorbital", "eyelid"]
    assert records[-1].body["totals"]["refusals"] == 2


async def test_a_stop_needs_a_person_and_counts_go_on(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, _, records):
        treat = asyncio.create_task(treatment.treat(LONG))
        await running(pen)
        await pen.stop()
        with pytest.raises(StoppedError):
            await treat
        before = treatment.areas["cheek"].punctures
        with pytest.raises(StoppedError, match="the pen stopped: stop"):
            await treatment.treat(LONG)
        await treatment.resume("clinician", pen.state.latch_id)
        treat = asyncio.create_task(treatment.treat(LONG))
        await until(lambda: treatment.areas["cheek"].punctures > before + 100, "more punctures")
        treat.cancel()
        with pytest.raises(asyncio.CancelledError):
            await treat
        await until(lambda: pen.state.stopped, "the pen to stop")
    assert told(records).count("start done") == 2
    assert told(records).count("clear done") == 1
    assert told(records).count("arm intended") == 2, "nothing is asked of the pen before a person resumes"


async def test_only_the_latch_that_was_shown_is_cleared(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, _, _):
        shown = (await pen.stop()).latch_id
        await pen.clear(shown)
        newer = (await pen.stop()).latch_id
        assert newer != shown
        with pytest.raises(PenRefusedError):
            await treatment.resume("clinician", shown)
        assert pen.state.state is PenState.LATCHED


class Doubter:
    """A person who is asked, and says no."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def ready(self, area: PlanArea, warnings: Sequence[str]) -> bool:
        return bool(area) and not warnings

    async def reconnect(self, reason: str) -> bool:
        self.told.append(reason)
        return False

    async def resume(self, area: PlanArea, reason: str) -> bool:
        self.told.append(f"{area.area}: {reason}")
        return False


async def test_a_latched_pen_runs_no_plan_until_a_person_has_seen_why(tmp_path: Path) -> None:
    plan = Plan(title="t", indication="fine_lines", fitzpatrick=2, areas=(CHEEK,))
    person = Doubter()
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, journal, records):
        await sim.button()
        await until(lambda: pen.state.state is PenState.LATCHED, "the latch")
        with pytest.raises(StoppedError):
            await run_plan(Service(pen, journal, treatment), plan, person, Console(quiet=True))
        assert pen.state.state is PenState.LATCHED
        assert pen.state.strokes == 0
    assert person.told == ["cheek: the pen latched: button"]
    assert told(records) == []


@pytest.mark.hazard("H06")
@needs_pty
async def test_a_pulled_cable_ends_the_run_until_a_person_resumes(tmp_path: Path) -> None:
    async with by_pty() as sim, treating(sim, tmp_path) as (treatment, pen, _, records):
        treat = asyncio.create_task(treatment.treat(LONG))
        await running(pen)
        await sim.unplug(0.8)
        with pytest.raises(StoppedError, match="line is gone"):
            await treat
        assert not pen.connected
        await asyncio.sleep(1.2)
        assert not pen.connected, "nothing reconnects by itself"
        await treatment.reconnect()
        await treatment.resume("clinician", pen.state.latch_id)
        assert pen.state.state is PenState.IDLE
        assert treatment.areas["cheek"].given.strokes > 0
    events = pen_events(records)
    assert events["stopped"] == events["retracted"] == events["cleared"] == 1
    (stopped,) = (r.body for r in records if r.kind == "pen_event" and r.body["event"] == "stopped")
    assert stopped["a"] == Cause.LEASE_EXPIRED


async def test_an_area_taken_up_again_is_not_given_what_another_received(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, _, _):
        await treatment.treat(CHEEK)
        await treatment.treat(CHEEK.model_copy(update={"area": "forehead", "depth_mm": 0.5, "rate_hz": 90.0}))
        await treatment.treat(CHEEK.model_copy(update={"passes": 2}))
        counts = [area.given for area in treatment.areas.values()]
        assert sum(count.strokes for count in counts) == pen.state.strokes
        assert counts[0].deepest_um > 900
        assert counts[1].deepest_um < 600, "the deeper area before it does not count"


@pytest.mark.hazard("H10")
async def test_a_rebooted_pen_is_resumed_with_its_counts(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, _, _):
        treat = asyncio.create_task(treatment.treat(LONG))
        await running(pen)
        await sim.reboot()
        with pytest.raises(StoppedError, match="rebooted"):
            await treat
        await treatment.reconnect()
        await treatment.resume("clinician", pen.state.latch_id)
        before = treatment.areas["cheek"].given.strokes
        treat = asyncio.create_task(treatment.treat(LONG))
        await until(lambda: treatment.areas["cheek"].given.strokes > before + 20, "more strokes")
        treat.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await treat


@pytest.mark.hazard("H14")
async def test_passes_beyond_the_hard_limit_are_refused_also_in_parts(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, _, _, _):
        await treatment.treat(CHEEK)
        with pytest.raises(RefusedError, match="pass"):
            await treatment.check(CHEEK.model_copy(update={"passes": 7}))


@pytest.mark.hazard("H19")
async def test_a_full_disk_stops_the_needles_in_order(tmp_path: Path) -> None:
    async def fill_the_disk(sim: PenSim) -> None:
        async with treating(sim, tmp_path) as (treatment, pen, journal, _):
            treat = asyncio.create_task(treatment.treat(LONG))
            await running(pen)
            journal.failed = JournalError.of(journal.path, sqlite3.OperationalError("database or disk is full"))
            with pytest.raises(JournalError, match="full"):
                await treat
            await until(lambda: pen.state.stopped, "the pen to stop")

    async with by_tcp() as sim:
        with pytest.raises(JournalError):
            await fill_the_disk(sim)


@pytest.mark.hazard("H19")
async def test_a_journal_that_cannot_be_written_lets_nothing_start(tmp_path: Path) -> None:
    async def treat_anyway(sim: PenSim) -> None:
        async with treating(sim, tmp_path) as (treatment, _, journal, _):
            journal.failed = JournalError.of(journal.path, OSError(errno.ENOSPC, "No space left on device"))
            await treatment.treat(CHEEK)

    async with by_tcp() as sim:
        with pytest.raises(JournalError):
            await treat_anyway(sim)
        async with Pen.open(sim.transport()) as pen:
            measured("starts", pen.state.strokes)
            assert pen.state.strokes == 0


async def test_treating_without_a_pen_is_a_pen_error(tmp_path: Path) -> None:
    async with by_tcp() as sim, treating(sim, tmp_path) as (treatment, pen, _, _):
        await sim.unplug(30)
        await until(lambda: not pen.connected, "the loss of the line")
        with pytest.raises(PenError, match="line"):
            await treatment.treat(CHEEK)
