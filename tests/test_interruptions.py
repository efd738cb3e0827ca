"""Nothing goes on by itself, and nothing waits for a disk while needles run: in virtual time, at the worst moments."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from rich.console import Console

from pen_controller.config import Plan, PlanArea
from pen_controller.errors import PenError
from pen_controller.journal import Record
from pen_controller.service import Service
from pen_controller.terminal.console import run_plan
from pen_controller.treatment.outcomes import StoppedError
from protocols.messages import Answer, Start, State, Stop
from protocols.words import PenState
from tests.lines import message_in
from tests.running import in_virtual_time, until
from tests.safety_case.figures import measured
from tests.virtual_treatment import (
    CHEEK,
    FOREHEAD,
    ROOMY,
    MemoryJournal,
    Treating,
    bench_of,
    treat_and_die,
    treating,
    truth,
)

PLAN = Plan(title="two areas", indication="fine_lines", fitzpatrick=2, areas=(FOREHEAD, CHEEK))


class Person:
    """Says yes to everything, and notes what was asked and how many strokes there had been."""

    def __init__(self, now: Treating) -> None:
        self.now = now
        self.asked: list[tuple[str, int]] = []
        self.when_ready: Callable[[], Awaitable[None]] | None = None

    def _note(self, question: str) -> None:
        self.asked.append((question, self.now.truth()[0]))

    async def ready(self, area: PlanArea, _: object) -> bool:
        self._note(f"ready {area.area}")
        if self.when_ready is not None:
            happen, self.when_ready = self.when_ready, None
            await happen()
        return True

    async def reconnect(self, _: str) -> bool:
        self._note("reconnect")
        await asyncio.sleep(1)
        return True

    async def resume(self, area: PlanArea, _: str) -> bool:
        self._note(f"resume {area.area}")
        return True


def after_append(journal: MemoryJournal, kind: str, command: str, happen: Callable[[], Awaitable[None]]) -> None:
    """Have something happen once, when a record of this kind (and command) is on the disk, before anybody goes on."""
    append, done = journal.append, False

    async def slow(session: str, of: str, body: Any, **rest: Any) -> Record:  # any JSON
        nonlocal done
        record = await append(session, of, body, **rest)
        if not done and of == kind and body.get("command", "") == command:
            done = True
            await happen()
        return record

    patched: Any = journal  # the moment is the point
    patched.append = slow


@pytest.mark.hazard("H03", "H10")
@in_virtual_time
async def test_a_restored_treatment_runs_nothing_before_a_person_resumes_though_the_pen_shows_no_latch() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, CHEEK, lambda now: now.truth()[0] >= 200, config=ROOMY)
        await asyncio.sleep(1)
        await bench.reboot()
        async with treating(bench, journal, config=ROOMY, resume=session) as now:
            with pytest.raises(StoppedError, match="ended in the midst"):
                await now.treatment.treat(CHEEK)
            measured("resumed", truth(bench)[0])
            assert truth(bench) == (0, 0)
            await now.treatment.resume("clinician", now.pen.state.latch_id)
            await now.treatment.treat(CHEEK)
    assert truth(bench)[0] > 0


@pytest.mark.hazard("H05", "H06")
@pytest.mark.parametrize(("kind", "command"), [("area_done", ""), ("outcome", "disarm")])
@in_virtual_time
async def test_a_line_lost_between_two_areas_needs_a_person_as_one_lost_within(kind: str, command: str) -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:

        async def lose() -> None:
            await bench.unplug(0.5)
            await bench.reboot()

        after_append(journal, kind, command, lose)
        person = Person(now)
        assert await run_plan(Service(now.pen, journal, now.treatment), PLAN, person, Console(quiet=True))
    questions = [question for question, _ in person.asked]
    assert questions[:3] == ["ready forehead", "reconnect", "resume cheek"]
    strokes = dict(person.asked)
    measured("resumed", strokes["resume cheek"])
    assert strokes["resume cheek"] == 0, "the pen rebooted, and nothing has moved since"


@in_virtual_time
async def test_a_line_lost_while_a_question_stands_does_not_end_the_treatment() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        person = Person(now)

        async def lose() -> None:
            await bench.unplug(0.5)
            await asyncio.sleep(2)

        person.when_ready = lose
        assert await run_plan(Service(now.pen, journal, now.treatment), PLAN, person, Console(quiet=True))
    assert [question for question, _ in person.asked][:3] == ["ready forehead", "reconnect", "resume forehead"]


@pytest.mark.parametrize(("states_lost_s", "stops_lost_s"), [(0.3, 0.0), (0.3, 0.3), (0.5, 0.5), (1.0, 1.0)])
@in_virtual_time
async def test_no_stroke_is_lost_when_the_pens_word_is(states_lost_s: float, stops_lost_s: float) -> None:
    """What the pen said before it ran does not pass for its word that the needles are in."""
    journal, loop = MemoryJournal(), asyncio.get_running_loop()
    started_s: list[float] = []

    def to_pen(_: int, frame: bytes) -> Iterable[tuple[float, bytes]]:
        message = message_in(frame)
        if isinstance(message, Start):
            started_s.append(loop.time())
        lost = isinstance(message, Stop) and started_s and loop.time() < started_s[0] + stops_lost_s
        return [] if lost else [(0.0, frame)]

    def to_host(_: int, frame: bytes) -> Iterable[tuple[float, bytes]]:
        lost = isinstance(message_in(frame), State) and started_s and loop.time() < started_s[0] + states_lost_s
        return [] if lost else [(0.0, frame)]

    async with (
        bench_of() as bench,
        treating(bench, journal, config=ROOMY, to_pen=to_pen, to_host=to_host) as now,
    ):
        try:
            await now.treatment.treat(CHEEK)
        except PenError:
            await asyncio.sleep(2)
            if not now.pen.connected:
                await now.treatment.reconnect()
            await now.treatment.check(CHEEK)
        given = now.treatment.areas["cheek"].given
        assert (given.strokes, given.contact_strokes) == truth(bench)
        assert given.strokes > 0


@in_virtual_time
async def test_while_needles_run_nobody_waits_for_the_disk() -> None:
    """A journal that stalls for 5 s as the needles start: strokes are counted meanwhile, and limits hold."""
    journal = MemoryJournal()
    append = journal.append
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:

        async def stalls(session: str, kind: str, body: Any, **rest: Any) -> Record:  # any JSON
            if truth(bench)[0] > 0 and not now.pen.state.stopped:
                await asyncio.sleep(5)
            return await append(session, kind, body, **rest)

        patched: Any = journal  # a slow disk
        patched.append = stalls
        treat = asyncio.create_task(now.treatment.treat(CHEEK))
        await asyncio.sleep(4)
        assert truth(bench)[0] > 300
        assert now.treatment.areas["cheek"].given.strokes >= truth(bench)[0] - 10
        await treat
        done = truth(bench)[0]
        passes_over = now.treatment.areas["cheek"].given.duration_s
        assert done <= 100 * passes_over + 10, "nor did they go on after the last pass"


@pytest.mark.hazard("H10", "H14")
@in_virtual_time
async def test_a_reboot_behind_a_start_without_an_answer_is_bounded_from_above() -> None:
    journal, loop = MemoryJournal(), asyncio.get_running_loop()
    started_s: list[float] = []

    def to_pen(_: int, frame: bytes) -> Iterable[tuple[float, bytes]]:
        if isinstance(message_in(frame), Start) and not started_s:
            started_s.append(loop.time())
        return [(0.0, frame)]

    def to_host(_: int, frame: bytes) -> Iterable[tuple[float, bytes]]:
        lost = isinstance(message_in(frame), Answer) and started_s and loop.time() < started_s[0] + 3
        return [] if lost else [(0.0, frame)]

    async with (
        bench_of() as bench,
        treating(bench, journal, config=ROOMY, to_pen=to_pen, to_host=to_host) as now,
    ):
        treat = asyncio.create_task(now.treatment.treat(CHEEK))
        await until(lambda: bool(started_s), "the start")
        await asyncio.sleep(0.95)
        made = truth(bench)[0]
        await bench.reboot()
        with pytest.raises(PenError):
            await treat
        await asyncio.sleep(2)
        await now.treatment.reconnect()
        given = now.treatment.areas["cheek"].given
        assert given.strokes + given.uncertain_strokes >= made > 0


@in_virtual_time
async def test_a_stop_between_arm_and_start_is_a_stop_like_any_other() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal) as now:

        def press_stop(kind: str) -> None:
            if kind == "progress":  # the last thing before the start
                journal.on_post = lambda _: None
                now.treatment.stop_now("clinician")

        journal.on_post = press_stop
        with pytest.raises(StoppedError, match="STOP \\(clinician\\)"):
            await now.treatment.treat(CHEEK)
        assert now.treatment.interrupted == "STOP (clinician)"
        assert now.truth() == (0, 0)
        await until(lambda: now.pen.state.state is PenState.LATCHED)
        await now.treatment.resume("clinician", now.pen.state.latch_id)
        assert (await now.treatment.treat(CHEEK)).passes == CHEEK.passes
