"""What ends an area: the passes wanted, and its hard limits. In virtual time; the pen's own body tells the truth."""

import asyncio
import io
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from rich.console import Console

from pen_controller.config import Plan, PlanArea
from pen_controller.limits import Limit
from pen_controller.service import Service
from pen_controller.telemetry.messages import from_record
from pen_controller.terminal.console import run_plan, table_of
from pen_controller.treatment.counts import Given, Live, counted
from pen_controller.treatment.outcomes import ClosedError, RefusedError, StoppedError
from protocols.messages import Stop
from protocols.samples import Samples
from protocols.words import Capability, PenState
from tests.lines import CONFIG, message_in, whole
from tests.running import in_virtual_time
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
)


def settled(now: Treating) -> bool:
    """All strokes and punctures are counted, and nothing beyond."""
    given = [count.given for count in now.treatment.areas.values()]
    return now.truth() == (sum(one.strokes for one in given), sum(one.contact_strokes for one in given))


# --- counting --------------------------------------------------------------------------------------------------------


def late(_: int, frame: bytes) -> Iterable[tuple[float, bytes]]:
    """Samples come 0.4 s after all else that the pen says."""
    return [(0.4, frame)] if isinstance(message_in(frame), Samples) else whole(0, frame)


def every_third_lost(n: int, frame: bytes) -> Iterable[tuple[float, bytes]]:
    return [] if n % 3 == 0 and isinstance(message_in(frame), Samples) else whole(n, frame)


@pytest.mark.parametrize("fault", [whole, late, every_third_lost])
@in_virtual_time
async def test_each_area_has_its_own_strokes_whatever_comes_late_or_not_at_all(fault: Any) -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY, to_host=fault) as now:
        cheek = await now.treatment.treat(CHEEK.model_copy(update={"passes": 1}))
        of_cheek = now.truth()
        assert (cheek.given.strokes, cheek.given.contact_strokes) == of_cheek
        forehead = await now.treatment.treat(FOREHEAD)
        assert settled(now)
        assert forehead.given.strokes == now.truth()[0] - of_cheek[0]
        assert cheek.given.deepest_um > 900 > 600 > forehead.given.deepest_um > 0
        await now.treatment.treat(CHEEK)
        assert settled(now)
        assert (cheek.passes, forehead.passes) == (2, 1)


@in_virtual_time
async def test_what_happened_behind_a_lost_line_is_counted_when_it_is_back() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        treat = asyncio.create_task(now.treatment.treat(CHEEK))
        await now.strokes(300)
        await bench.unplug(1.0)
        with pytest.raises(StoppedError):
            await treat
        await asyncio.sleep(1.5)
        assert not settled(now)
        await now.treatment.reconnect()
        assert settled(now)
        await resume(now)
        await now.treatment.treat(CHEEK)
        assert settled(now)


@in_virtual_time
async def test_a_line_that_never_comes_back_leaves_the_most_that_can_have_been() -> None:
    journal = MemoryJournal()
    async with bench_of(lift_every_s=None) as bench:
        async with treating(bench, journal) as now:
            treat = asyncio.create_task(now.treatment.treat(CHEEK))
            await now.strokes(200)
            await bench.unplug(1e9)
            with pytest.raises(StoppedError):
                await treat
            await asyncio.sleep(1)
        (area,) = journal.bodies("summary")[0]["areas"]
        contact_strokes = now.truth()[1]
    assert area["punctures"] < contact_strokes * NEEDLES <= area["punctures"] + area["uncertain_punctures"]


# --- done ------------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_area_is_done_when_its_passes_are_over_and_not_before() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        seen: list[tuple[int | None, float]] = []
        now.treatment.watchers.append(lambda live: seen.append((live.area.passes, high(live))))
        await now.treatment.treat(CHEEK)
        strokes = now.truth()
        await now.treatment.treat(CHEEK)
        assert now.truth() == strokes, "nothing is left to do"
    assert seen[-1][0] == 2
    assert any(passes == 0 and most >= 0.8 for passes, most in seen), "complete, but not over"
    assert [body["pass_index"] for body in journal.bodies("pass")] == [1, 2]
    assert all(body["coverage"]["high"] >= 0.8 for body in journal.bodies("pass"))


def high(live: Live) -> float:
    return live.area.figures.coverage.high if live.area.figures.coverage else 0.0


@in_virtual_time
async def test_without_a_motion_sensor_there_are_no_passes_and_density_ends_the_area() -> None:
    journal, screen = MemoryJournal(), io.StringIO()
    async with bench_of(sensors=ALL_SENSORS & ~Capability.MOTION_SENSOR) as bench, treating(bench, journal) as now:
        service = Service(now.pen, journal, now.treatment)
        assert await run_plan(service, plan_of(CHEEK), Agreeing(), Console(file=screen, width=80))
        count = now.treatment.areas["cheek"]
        assert count.passes is None
        assert 2100 <= count.density_per_cm2 < 2200, "twice the density at which to warn over the passes at which to"
    (area,) = journal.bodies("summary")[0]["areas"]
    assert area["passes"] is None
    assert area["how"]["passes"] == "none: the pen has no motion sensor"
    assert not journal.bodies("pass")
    assert "2100 per cm2, no passes" in screen.getvalue()
    assert "cheek: none: the pen has no motion sensor" in screen.getvalue()
    table = table_of({"session": "s", "pen": "p", "areas": [area]})
    assert table.caption == "none: the pen has no motion sensor"


@in_virtual_time
async def test_a_terminal_of_80_columns_shows_passes_and_warnings_in_full() -> None:
    config = narrowed(passes={"typical": 1, "warn": 1}, density_per_cm2={"hard": 20_000.0})
    journal, screen = MemoryJournal(), io.StringIO()
    async with bench_of() as bench, treating(bench, journal, config=config) as now:
        service = Service(now.pen, journal, now.treatment)
        assert await run_plan(service, plan_of(CHEEK), Agreeing(), Console(file=screen, width=80))
    assert "2/2 passes, next 0%" in screen.getvalue()
    assert "Warning: Cheek: 1 pass reached" in screen.getvalue()


# --- hard limits -----------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H14")
@in_virtual_time
async def test_the_stroke_budget_closes_the_area_and_is_never_exceeded() -> None:
    config = narrowed(density_per_cm2={"warn": 1000.0, "hard": 2000.0})
    budget = 2000 * 3 // NEEDLES
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=config) as now:
        with pytest.raises(ClosedError, match=f"Cheek: {budget} strokes reached") as closed:
            await now.treatment.treat(CHEEK.model_copy(update={"passes": 6}))
        assert closed.value.limit.source.endswith("project default, not sourced")
        measured("over", max(0, now.truth()[0] - budget), of=budget)
        assert budget - 5 < now.truth()[0] <= budget
        await resume(now)
        for ask in (now.treatment.check, now.treatment.treat):
            with pytest.raises(RefusedError, match="closed for the rest of this treatment") as refused:
                await ask(CHEEK)
            assert refused.value.refusal.limit == closed.value.limit
        assert now.pen.state.state is PenState.IDLE
        assert settled(now)
    (body,) = journal.bodies("area_closed")
    assert body["limit"]["value"] == budget
    assert journal.bodies("summary")[0]["areas"][0]["closed"] == "strokes"


@pytest.mark.hazard("H14")
@in_virtual_time
async def test_at_the_hard_number_of_passes_the_needles_stop_before_anything_is_awaited() -> None:
    config = narrowed(passes={"typical": 1, "warn": 1, "hard": 1})
    journal = MemoryJournal()
    on_the_line: list[bool] = []
    async with bench_of() as bench, treating(bench, journal, config=config) as now:

        def note(kind: str) -> None:
            if kind in ("stop", "pass", "area_closed"):
                on_the_line.append(any(isinstance(asked, Stop) for asked in bench.cables[-1].asked))

        journal.on_post = note
        with pytest.raises(ClosedError, match="1 pass reached"):
            await now.treatment.treat(CHEEK.model_copy(update={"passes": 1}))
        assert on_the_line
        assert all(on_the_line)
        await resume(now)
        with pytest.raises(RefusedError) as refused:
            await now.treatment.check(CHEEK)
        assert refused.value.refusal.limit.name == "passes"
    assert [body["limit"]["name"] for body in journal.bodies("area_closed")] == ["passes"]


@pytest.mark.hazard("H14")
@in_virtual_time
async def test_punctures_of_all_runs_count_and_the_pen_is_armed_with_what_is_left() -> None:
    config = narrowed(density_per_cm2={"warn": 1000.0, "hard": 3000.0})
    budget = 3000 * 3 // NEEDLES
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=config) as now:
        many = CHEEK.model_copy(update={"passes": 6})
        for least in (150, 300, 500):
            treat = asyncio.create_task(now.treatment.treat(many))
            await now.strokes(least)
            await now.pen.stop()
            with pytest.raises(StoppedError):
                await treat
            assert settled(now)
            await resume(now)
        with pytest.raises(ClosedError):
            await now.treatment.treat(many)
        measured("over", max(0, now.truth()[0] - budget), of=budget)
        assert budget - 5 < now.truth()[0] <= budget
    armed = [body["stroke_budget"] for body in journal.bodies("intent") if body["command"] == "arm"]
    assert armed[0] == budget
    assert armed == sorted(armed, reverse=True)
    assert len(set(armed)) == 4


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (Given(passes=6), "passes"),
        (Given(strokes=500, contact_strokes=500), "density"),
        (Given(strokes=400, contact_strokes=400, uncertain_strokes=100), "density"),
        (Given(strokes=500, contact_strokes=300), "strokes"),
        (Given(passes=5, strokes=499, contact_strokes=499), None),
    ],
)
@in_virtual_time
async def test_the_limit_that_was_reached_is_named(given: Given, name: str | None) -> None:
    async with bench_of() as bench, treating(bench, MemoryJournal()) as now:
        count = counted("cheek", 3.0, NEEDLES, config=CONFIG, pen=now.pen.identity)
        count.hard = {
            "passes": Limit("passes", 6, "passes", "test", "area"),
            "density": Limit("density", 2000, "punctures/cm2", "test", "area"),
        }
        count.earlier = given
        assert (count.reached and count.reached.name) == name


@in_virtual_time
async def test_a_plan_goes_on_behind_a_closed_area_and_says_so_in_the_end() -> None:
    config = narrowed(density_per_cm2={"warn": 500.0, "hard": 1000.0})
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=config) as now:
        service = Service(now.pen, journal, now.treatment)
        with pytest.raises(ClosedError, match="Cheek"):
            await run_plan(service, plan_of(CHEEK, FOREHEAD), Agreeing(), Console(quiet=True))
    areas = journal.bodies("summary")[0]["areas"]
    assert [(area["area"], area["closed"]) for area in areas] == [("cheek", "strokes"), ("forehead", None)]
    assert areas[1]["passes"] == 1


@in_virtual_time
async def test_an_area_keeps_its_size() -> None:
    async with bench_of() as bench, treating(bench, MemoryJournal()) as now:
        await now.treatment.treat(FOREHEAD)
        with pytest.raises(RefusedError, match="6 cm2 asked, begun with 3 cm2"):
            await now.treatment.check(FOREHEAD.model_copy(update={"size_cm2": 6.0, "passes": 2}))


# --- warnings and coaching -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_each_warning_figure_warns_once_also_across_a_crash() -> None:
    config = narrowed(passes={"typical": 1, "warn": 1}, density_per_cm2={"warn": 600.0, "hard": 20_000.0})
    journal = MemoryJournal()
    many = CHEEK.model_copy(update={"passes": 4})
    async with bench_of() as bench:
        session = await treat_and_die(bench, journal, many, lambda _: len(journal.bodies("pass")) == 2, config=config)
        warned = journal.bodies("warning")
        await asyncio.sleep(1)
        async with treating(bench, journal, config=config, resume=session) as now:
            await resume(now)
            await now.treatment.treat(many)
    assert [body["limit"]["name"] for body in warned] == ["density", "passes"]
    assert warned[0]["text"] == (
        "Cheek: 600 punctures/cm2 reached (area: project default, not sourced), the figure to warn at"
    )
    assert journal.bodies("warning") == warned


@in_virtual_time
async def test_coaching_is_recorded_and_shown() -> None:
    journal = MemoryJournal()
    shown: set[str] = set()
    async with bench_of(force_n=4.0, force_variation=0.0) as bench, treating(bench, journal) as now:
        now.treatment.watchers.append(lambda live: shown.add(live.alert.advice if live.alert else ""))
        await now.treatment.treat(FOREHEAD.model_copy(update={"area": "cheek"}))
    alerts = journal.bodies("alert")
    assert {"fault": "pressing", "advice": "Lighter", "severity": "warning"}.items() <= alerts[0].items()
    assert alerts[0]["value"] > alerts[0]["limit"]["value"] == 3.0
    assert alerts[0]["ended_us"] is None
    assert any(alert["fault"] == "pressing" and alert["ended_us"] is not None for alert in alerts)
    assert {"Lighter", ""} <= shown


@pytest.mark.parametrize("sensors", [ALL_SENSORS, ALL_SENSORS & ~Capability.MOTION_SENSOR])
@in_virtual_time
async def test_all_that_is_published_fits_its_topic(sensors: Capability) -> None:
    journal = MemoryJournal()
    async with bench_of(sensors=sensors) as bench, treating(bench, journal, config=ROOMY) as now:
        await now.treatment.treat(FOREHEAD)
        with pytest.raises(RefusedError):
            await now.treatment.check(CHEEK.model_copy(update={"depth_mm": 2.4}))
    kinds = {record.topic: from_record(record)[0] for record in journal.records if record.topic}
    assert kinds == {kind: kind for kind in kinds}
    assert {"event", "summary"} <= set(kinds)
    assert all(payload.valid for _, payload in map(from_record, journal.records))


class Agreeing:
    """A person who agrees to all."""

    async def ready(self, area: PlanArea, warnings: Sequence[str]) -> bool:
        return bool(area) or bool(warnings)

    async def reconnect(self, reason: str) -> bool:
        return bool(reason)

    async def resume(self, area: PlanArea, reason: str) -> bool:
        return bool(area) and bool(reason)


def plan_of(*areas: PlanArea) -> Plan:
    return Plan(title="t", indication="fine_lines", fitzpatrick=2, areas=areas)


@in_virtual_time
async def test_what_was_counted_by_a_frozen_force_sensor_is_told_as_uncertain() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        treat = asyncio.create_task(now.treatment.treat(CHEEK))
        await now.strokes(100)
        bench.pen.body.force_stuck = True
        with pytest.raises(StoppedError, match="force sensor"):
            await treat
        (count,) = now.treatment.summaries()
        assert CHEEK.rate_hz * 0.5 * NEEDLES <= count["uncertain_punctures"] <= CHEEK.rate_hz * 0.6 * NEEDLES
        strokes, in_contact = now.truth()
        assert count["strokes"] == strokes
        assert count["punctures"] == in_contact * NEEDLES
        assert [body["reason"] for body in journal.bodies("counts_uncertain")] == ["the force sensor was frozen"]
