"""A program killed in mid-treatment, and the next that takes the treatment up: nothing lost, nothing counted twice."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pen_controller.config import Plan, PlanArea
from pen_controller.pen import Pen
from pen_controller.pen.scan import ask
from pen_controller.service import Service
from pen_controller.terminal.console import run_plan
from pen_controller.treatment.outcomes import RefusedError, StoppedError
from protocols.messages import AckEvents
from protocols.words import Capability, Cause, PenState
from tests.lines import PenSim, lose, needs_pty
from tests.running import BOUND_S, in_virtual_time, until
from tests.safety_case.figures import measured
from tests.virtual_treatment import (
    ALL_SENSORS,
    CHEEK,
    FOREHEAD,
    NEEDLES,
    ROOMY,
    MemoryJournal,
    Treating,
    bench_of,
    narrowed,
    resume,
    treat_and_die,
    treating,
    truth,
)

PLAN = Plan(title="t", indication="fine_lines", fitzpatrick=2, areas=(FOREHEAD, CHEEK))


def strokes(least: int) -> Callable[[Treating], bool]:
    return lambda now: now.truth()[0] >= least


# --- in virtual time -------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("least", [1, 20, 37, 150, 333, 700, 1100])
@in_virtual_time
async def test_what_the_pen_did_is_counted_whenever_the_program_died(least: int) -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, CHEEK, strokes(least), config=ROOMY)
        await asyncio.sleep(1)
        died = truth(bench)
        assert died[0] > least
        async with treating(bench, journal, config=ROOMY, resume=session) as now:
            count = now.treatment.areas["cheek"]
            assert (count.given.strokes, count.given.contact_strokes) == died
            assert count.given.uncertain_strokes == 0
            assert now.pen.state.cause is Cause.LEASE_EXPIRED
            await resume(now)
            await now.treatment.treat(CHEEK)
            assert (count.given.strokes, count.given.contact_strokes) == truth(bench)
            assert count.passes == CHEEK.passes
    (summary,) = journal.bodies("summary")
    assert summary["areas"][0]["punctures"] == truth(bench)[1] * NEEDLES
    assert [body["pass_index"] for body in journal.bodies("pass")] == [1, 2]


@in_virtual_time
async def test_a_program_may_die_again_and_again() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, FOREHEAD, strokes(100), config=ROOMY)
        for least in (400, 700, 1000):
            await asyncio.sleep(1)
            many = CHEEK.model_copy(update={"passes": 4})
            await treat_and_die(bench, journal, many, strokes(least), config=ROOMY, resume=session)
        await asyncio.sleep(1)
        async with treating(bench, journal, config=ROOMY, resume=session) as now:
            given = [count.given for count in now.treatment.areas.values()]
            assert sum(one.strokes for one in given) == truth(bench)[0]
            assert sum(one.contact_strokes for one in given) == truth(bench)[1]
            assert list(now.treatment.areas) == ["forehead", "cheek"]


@in_virtual_time
async def test_the_pens_own_events_of_the_crash_are_recorded_once() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, CHEEK, strokes(100), to_pen=lose(AckEvents))
        await asyncio.sleep(1)
        async with treating(bench, journal, resume=session):
            await asyncio.sleep(1)
    numbers = [body["number"] for body in journal.bodies("earlier_pen_event") + journal.bodies("pen_event")]
    assert numbers == list(range(1, len(numbers) + 1))
    stopped = [body for body in journal.bodies("pen_event") if body["event"] == "stopped"]
    assert [body["a"] for body in stopped] == [Cause.LEASE_EXPIRED]


@pytest.mark.hazard("H10", "H14")
@pytest.mark.parametrize("least", [60, 280, 350, 500])
@in_virtual_time
async def test_a_pen_that_rebooted_meanwhile_leaves_the_most_that_can_have_been(least: int) -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, CHEEK, strokes(least), config=ROOMY)
        await asyncio.sleep(1)
        before = truth(bench)[1]
        await bench.reboot()
        async with treating(bench, journal, config=ROOMY, resume=session) as now:
            count = now.treatment.areas["cheek"]
            given = count.given
            assert given.contact_strokes <= before <= given.contact_strokes + given.uncertain_strokes
            assert count.delivered.punctures == (given.contact_strokes + given.uncertain_strokes) * NEEDLES
            await resume(now)
            await now.treatment.treat(CHEEK)
            assert count.given.contact_strokes == given.contact_strokes + truth(bench)[1]
    (uncertain,) = journal.bodies("counts_uncertain")
    assert uncertain["most_punctures"] == given.uncertain_strokes * NEEDLES
    (summary,) = journal.bodies("summary")
    assert summary["areas"][0]["uncertain_punctures"] == uncertain["most_punctures"]


@in_virtual_time
async def test_without_a_contact_sensor_all_that_was_unseen_counts_as_in_skin() -> None:
    journal = MemoryJournal()
    async with bench_of(sensors=ALL_SENSORS & ~Capability.FORCE_SENSOR) as bench:
        session = await treat_and_die(bench, journal, CHEEK, strokes(300))
        await asyncio.sleep(1)
        last = journal.bodies("progress")[-1]
        async with treating(bench, journal, resume=session) as now:
            given = now.treatment.areas["cheek"].given
            assert given.strokes == truth(bench)[0]
            unseen = given.strokes - last["given"]["strokes"]
            assert given.contact_strokes == last["given"]["contact_strokes"] + unseen


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("least", [100, 400])
@in_virtual_time
async def test_a_low_density_cap_closes_the_area_across_the_crash(least: int) -> None:
    config = narrowed(density_per_cm2={"warn": 1000.0, "hard": 2000.0})
    budget = 2000 * 3 // NEEDLES
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, CHEEK, strokes(least), config=config)
        await asyncio.sleep(1)
        async with treating(bench, journal, config=config, resume=session) as now:
            await resume(now)
            with pytest.raises(StoppedError, match="closed for the rest of this treatment"):
                await now.treatment.treat(CHEEK.model_copy(update={"passes": 6}))
            measured("over", max(0, truth(bench)[0] - budget), of=budget)
            assert budget - 5 < truth(bench)[0] <= budget
            await until(lambda: now.pen.state.state is PenState.LATCHED)
        session_again = journal.records[-1].session
        assert session_again == session
    (closed,) = journal.bodies("area_closed")
    assert (closed["limit"]["name"], closed["limit"]["value"]) == ("strokes", budget)


@in_virtual_time
async def test_a_closed_area_stays_closed_in_the_next_program() -> None:
    tight = narrowed(density_per_cm2={"warn": 1000.0, "hard": 2000.0})
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(
            bench,
            journal,
            CHEEK.model_copy(update={"passes": 6}),
            lambda _: journal.bodies("area_closed"),
            config=tight,
        )
        await asyncio.sleep(1)
        async with treating(bench, journal, resume=session) as now:  # with the shipped, wider configuration
            await resume(now)
            with pytest.raises(RefusedError, match="closed for the rest of this treatment") as refused:
                await now.treatment.check(CHEEK)
            assert refused.value.refusal.limit.name == "strokes"
            with pytest.raises(RefusedError):
                await now.treatment.treat(CHEEK)
            assert now.pen.state.state is PenState.IDLE
    assert len(journal.bodies("area_closed")) == 1


@in_virtual_time
async def test_a_clinic_that_allows_less_by_now_closes_an_area_that_has_had_more() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, CHEEK, strokes(400))
        await asyncio.sleep(1)
        _, in_contact = truth(bench)
        tighter = narrowed(density_per_cm2={"warn": 1.0, "hard": (in_contact + 20) * NEEDLES / 3.0})
        async with treating(bench, journal, config=tighter, resume=session) as now:
            await resume(now)
            with pytest.raises(RefusedError, match="closed") as refused:
                await now.treatment.treat(CHEEK)
            assert refused.value.refusal.limit.name == "strokes"
            assert now.pen.state.state is PenState.IDLE


@in_virtual_time
async def test_the_record_says_every_second_how_far_a_run_has_come() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal) as now:
        await now.treatment.treat(CHEEK)
    told_us = [record.pen_t_us or 0 for record in journal.records if record.kind == "progress"]
    gaps_us = np.diff(told_us)
    assert len(told_us) > 10
    assert gaps_us.max() <= 1_100_000
    assert not [record for record in journal.records if record.kind == "progress" and record.topic]


@in_virtual_time
async def test_a_pass_that_was_the_last_word_is_not_given_again() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, CHEEK, lambda _: journal.bodies("pass"), config=ROOMY)
        last = next(at for at, record in enumerate(journal.records) if record.kind == "pass")
        del journal.records[last + 1 :]
        await asyncio.sleep(1)
        async with treating(bench, journal, config=ROOMY, resume=session) as now:
            await resume(now)
            await now.treatment.treat(CHEEK)
    assert [body["pass_index"] for body in journal.bodies("pass")] == [1, 2]


class Person:
    """A person who is asked, and always answers the same."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def ready(self, area: PlanArea, warnings: Sequence[str]) -> bool:
        self.asked.append(f"ready {area.area}")
        return not warnings

    async def reconnect(self, reason: str) -> bool:
        return bool(reason) and self.answer

    async def resume(self, area: PlanArea, reason: str) -> bool:
        self.asked.append(f"resume {area.area}: {reason}")
        return self.answer


@pytest.mark.parametrize("answer", [True, False])
@in_virtual_time
async def test_a_person_resumes_and_what_is_done_is_skipped(answer: bool) -> None:
    journal, person = MemoryJournal(), Person(answer)
    async with bench_of() as bench:
        async with treating(bench, journal) as now:
            with pytest.raises(RefusedError):
                await now.treatment.check(FOREHEAD.model_copy(update={"depth_mm": 2.4}))
            await now.treatment.treat(FOREHEAD)
            journal.alive = False
        journal.alive = True
        session, before = now.treatment.session, truth(bench)
        await asyncio.sleep(1)
        async with treating(bench, journal, resume=session) as now:
            service = Service(now.pen, journal, now.treatment)
            assert now.pen.state.state is PenState.IDLE, "the pen itself needs no person"
            if answer:
                assert await run_plan(service, PLAN, person, Console(quiet=True))
            else:
                with pytest.raises(StoppedError):
                    await run_plan(service, PLAN, person, Console(quiet=True))
                assert truth(bench) == before
    assert person.asked == ["resume cheek: the program that ran this treatment ended in the midst of it"]
    (summary,) = journal.bodies("summary")
    assert [area["passes"] for area in summary["areas"]] == ([1, 2] if answer else [1])
    assert summary["totals"]["refusals"] == summary["areas"][0]["refusals"] == 1


@in_virtual_time
async def test_only_the_pens_last_treatment_that_was_not_ended_can_be_taken_up() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        async with treating(bench, journal) as now:
            ended = now.treatment.session
        with pytest.raises(ValueError, match="it was ended"):
            async with treating(bench, journal, resume=ended):
                pass
        left = await treat_and_die(bench, journal, CHEEK, strokes(20))
        await asyncio.sleep(1)
        with pytest.raises(ValueError, match=left):
            async with treating(bench, journal, resume=ended):
                pass
    async with bench_of() as other:
        other.pen._identity = replace(other.pen._identity, serial="PEN-0002")
        await other.reboot()
        with pytest.raises(ValueError, match="PEN-0002"):
            async with treating(other, journal, resume=left):
                pass


# --- with real processes ---------------------------------------------------------------------------------------------

SHIPPED = Path(__file__).parents[1] / "configs"
SMALL = """
title = "t"
indication = "fine_lines"
fitzpatrick = 2
[[areas]]
area = "cheek"
depth_mm = 1.0
rate_hz = 100
passes = 2
size_cm2 = 6.0
"""


@contextlib.asynccontextmanager
async def small_pen(folder: Path) -> AsyncIterator[PenSim]:
    """A pen behind a pseudo-terminal, over a zone that is quickly treated."""
    sim = PenSim("serial", "--link", str(folder), "--zone-cm2", "3")
    try:
        yield sim
    finally:
        sim.end()


async def let_go(sim: PenSim) -> None:
    """Wait until the killed program's claim has lapsed, two seconds after its last renewal."""
    async with asyncio.timeout(BOUND_S):
        while (await ask(sim.url)).in_use:
            pass


def pen_run(sim: PenSim, folder: Path, *options: str, **streams: Any) -> "subprocess.Popen[str]":
    plan = folder / "plan.toml"
    plan.write_text(SMALL)
    command = [sys.executable, "-m", "pen_controller", "run", str(plan), "--pen", sim.url, "--yes", "--no-telemetry"]
    command += ["--journal", str(folder / "journal.sqlite"), "--json", *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **streams)


def bodies(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Of the records of this kind that are on the disk."""
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        rows = journal.execute("SELECT body FROM record WHERE kind = ? ORDER BY id", (kind,))
        return [json.loads(body) for (body,) in rows]


def sessions(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        return [name for (name,) in journal.execute("SELECT DISTINCT session FROM record")]


def has_begun(folder: Path, least: int) -> bool:
    """The record shows so many strokes."""
    if not (folder / "journal.sqlite").exists():
        return False
    with contextlib.suppress(sqlite3.OperationalError):  # the journal is just being made
        return any(body["given"]["contact_strokes"] >= least for body in bodies(folder, "progress"))
    return False


@needs_pty
async def test_a_new_run_names_the_treatment_that_was_never_ended(tmp_path: Path) -> None:
    async with small_pen(tmp_path) as sim:
        with pen_run(sim, tmp_path) as killed:
            await until(lambda: has_begun(tmp_path, 1), "the treatment to begin")
            killed.kill()
        await let_go(sim)
        (session,) = sessions(tmp_path)
        with pen_run(sim, tmp_path) as new:
            _, said = await asyncio.to_thread(new.communicate, "", 100)
        with pen_run(sim, tmp_path, "--new") as left:
            await asyncio.to_thread(left.communicate, "", 100)
    assert new.returncode == 2
    assert f"--resume {session}" in said
    assert sessions(tmp_path)[0] == session
    assert len(sessions(tmp_path)) == 2, "asked for, another one begins"


@needs_pty
async def test_a_killed_pen_run_is_taken_up_with_what_the_pen_itself_has_counted(tmp_path: Path) -> None:
    async with small_pen(tmp_path) as sim:
        with pen_run(sim, tmp_path) as killed:
            await until(lambda: has_begun(tmp_path, 30), "strokes in contact")
            killed.kill()
        await let_go(sim)
        (session,) = sessions(tmp_path)
        with pen_run(sim, tmp_path, "--resume", session, stdout=subprocess.PIPE) as resumed:
            out, said = await asyncio.to_thread(resumed.communicate, "y\n", 100)
        assert resumed.returncode == 0, said
        figures = json.loads(out)
        async with Pen.open(sim.transport()) as pen, asyncio.timeout(10):
            async for batch in pen.samples():
                counted = int(batch["contact_strokes"][-1]) * NEEDLES
                break
    assert (figures["session"], figures["complete"]) == (session, True)
    assert figures["areas"][0]["punctures"] == counted > 0
    assert figures["areas"][0]["passes"] == 2
    assert not bodies(tmp_path, "counts_uncertain")


@pytest.mark.hazard("H14")
@needs_pty
async def test_a_low_density_cap_closes_the_area_across_a_real_kill(tmp_path: Path) -> None:
    clinic = tmp_path / "clinic"
    clinic.mkdir()
    for file in SHIPPED.glob("*.toml"):
        (clinic / file.name).write_text(file.read_text())
    with (clinic / "clinic.toml").open("a") as narrower:
        narrower.write('\n[areas.cheek]\ndensity_per_cm2 = { warn = 500, hard = 1200, source = "test" }\n')
    budget = 1200 * 6 // NEEDLES
    async with small_pen(tmp_path) as sim:
        with pen_run(sim, tmp_path, "--config", str(clinic)) as killed:
            await until(lambda: has_begun(tmp_path, 30), "strokes in contact")
            killed.kill()
        await let_go(sim)
        (session,) = sessions(tmp_path)
        options = ("--config", str(clinic), "--resume", session)
        with pen_run(sim, tmp_path, *options, stdout=subprocess.PIPE) as resumed:
            out, said = await asyncio.to_thread(resumed.communicate, "y\n", 100)
        found = await ask(sim.url)
    assert resumed.returncode == 4, said
    assert f"{budget} strokes reached (clinic: as many as the density allows; test)" in said
    (area,) = json.loads(out)["areas"]
    assert area["closed"] == "strokes"
    assert found.state
    assert budget - 5 < area["strokes"] == found.state.strokes <= budget
