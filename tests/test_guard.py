"""The guard: what it must stop for, to the micrometre and the sample, and what it must never stop for."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pen_controller.errors import PenRefusedError
from pen_controller.limits import Grant
from pen_controller.pen import Pen
from pen_controller.pen.guard import (
    CREST_STROKES,
    DEPTH_TOLERANCE_UM,
    FORCE_HOLD_US,
    SETTLE_US,
    STALL_US,
    STUCK_US,
    Guard,
    SetPoint,
    Violation,
)
from protocols.messages import WRAP
from protocols.samples import SAMPLE, SampleArray
from protocols.words import Cause, PenState, SampleFlag
from simulator.needles import Needles
from simulator.pen import SimulatedPen
from simulator.physics import Body, Touch
from simulator.selfcheck import SelfCheck
from tests.lines import TODAY, grant_for, in_process, run_needles
from tests.running import in_virtual_time, run, until

PERIOD_US = 10_000
SET = SetPoint(depth_um=1000, rate_dhz=1000)
GOOD = int(SampleFlag.RUNNING | SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID)
STILL = int(SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID)


@pytest.fixture(scope="module")
def grant() -> Grant:
    grants: list[Grant] = []

    async def ask() -> None:
        async with in_process() as bench, Pen.open(bench.transport()) as pen:
            grants.append(await grant_for(pen))

    run(ask(), virtual=True)
    return replace(grants[0], depth_cap_mm=1.5, force_cap_n=5.0, stroke_budget=1000)


class Run:
    """Samples of a run at 1 mm and 100 Hz, one stroke a sample, as a healthy pen would send them."""

    def __init__(self, grant: Grant, set_point: SetPoint = SET) -> None:
        self.guard = Guard(grant, set_point)
        self.count = 0
        self.strokes = 0
        self.t_us = 0

    def feed(
        self, samples: int = 1, *, strokes: int = 1, period_us: int = PERIOD_US, **fields: int
    ) -> Violation | None:
        """Feed so many more samples, in batches of at most 10; return the first violation."""
        for _ in range(samples):
            self.count += 1
            self.strokes += strokes
            self.t_us += period_us
            sample = np.zeros(1, SAMPLE)
            healthy = {"depth_um": 1000 + self.count % 2, "force_mn": 1500, "rate_dhz": 1000, "flags": GOOD}
            for name, value in {**healthy, **fields}.items():
                sample[name] = value
            sample["t_us"], sample["strokes"] = self.t_us % WRAP, self.strokes % WRAP
            violation = self.guard.check(sample)
            if violation is not None:
                return violation
        return None

    def settled(self) -> "Run":
        assert self.feed(SETTLE_US // PERIOD_US + 2 * CREST_STROKES) is None
        return self


# --- every violation, at its limit and one step beyond ---------------------------------------------------------------

CAP_UM = 1500
CASES: list[tuple[str, dict[str, int], dict[str, int], int]] = [
    # what is said; what is allowed for ever; what is not; the sample by which it is seen
    ("depth", {}, {"depth_um": CAP_UM + DEPTH_TOLERANCE_UM + 1}, 1),
    ("samples without valid depth or force", {"flags": GOOD}, {"flags": GOOD & ~int(SampleFlag.DEPTH_VALID)}, 1),
    ("samples without valid depth or force", {"flags": GOOD}, {"flags": GOOD & ~int(SampleFlag.FORCE_VALID)}, 1),
    ("rate", {"rate_dhz": 1100}, {"rate_dhz": 1101}, 2),
    ("force", {"force_mn": 5000}, {"force_mn": 5001}, FORCE_HOLD_US // PERIOD_US + 2),
    ("time without a stroke", {}, {"strokes": 0}, STALL_US // PERIOD_US + 1),
]


@pytest.mark.parametrize(("name", "allowed", "forbidden", "samples"), CASES)
def test_a_violation_is_seen_and_the_value_at_its_limit_is_not_one(
    grant: Grant, name: str, allowed: dict[str, int], forbidden: dict[str, int], samples: int
) -> None:
    assert Run(grant).settled().feed(100, **allowed) is None
    faulty = Run(grant).settled()
    assert faulty.feed(samples - 1, **forbidden) is None
    violation = faulty.feed(1, **forbidden)
    assert violation is not None
    assert violation.name == name
    assert str(violation).startswith(f"{name}: ")
    assert violation.unit in str(violation)


@pytest.mark.parametrize("away_um", [DEPTH_TOLERANCE_UM + 2, -DEPTH_TOLERANCE_UM - 1])
def test_a_depth_away_from_the_set_one_is_seen_within_its_strokes(grant: Grant, away_um: int) -> None:
    drifted = Run(grant).settled()
    seen = [drifted.feed(1, depth_um=1000 + away_um + odd) for odd in (0, -1) * CREST_STROKES]
    first = next(index for index, violation in enumerate(seen) if violation)
    assert first < 2 * CREST_STROKES
    assert str(seen[first]).startswith("depth away from the set depth")


@pytest.mark.parametrize("away_um", [DEPTH_TOLERANCE_UM - 1, -DEPTH_TOLERANCE_UM])
def test_a_depth_within_the_tolerance_is_none(grant: Grant, away_um: int) -> None:
    close = Run(grant).settled()
    assert not any(close.feed(1, depth_um=1000 + away_um + odd % 2) for odd in range(100))


def test_a_depth_over_the_cap_counts_before_all_has_settled(grant: Grant) -> None:
    assert Run(grant).feed(1, depth_um=CAP_UM + DEPTH_TOLERANCE_UM) is None
    violation = Run(grant).feed(1, depth_um=CAP_UM + DEPTH_TOLERANCE_UM + 1)
    assert violation == Violation("depth", 1.601, 1.5, "mm")


def test_one_odd_reading_of_the_rate_is_noise(grant: Grant) -> None:
    noisy = Run(grant).settled()
    for _ in range(20):
        assert noisy.feed(1, rate_dhz=2000) is None
        assert noisy.feed(1) is None


def test_a_tap_against_bone_is_none_and_its_time_begins_anew(grant: Grant) -> None:
    tapping = Run(grant).settled()
    for _ in range(5):
        assert tapping.feed(FORCE_HOLD_US // PERIOD_US, force_mn=9000) is None
        assert tapping.feed(1) is None


def test_a_sensor_that_does_not_move_is_seen(grant: Grant) -> None:
    stuck = Run(grant).settled()
    violation = stuck.feed(STUCK_US // PERIOD_US + 2, depth_um=1000)
    assert violation is not None
    assert violation.name == "time with the same depth"


def test_the_stroke_after_the_budget_is_one_too_many(grant: Grant) -> None:
    run_ = Run(replace(grant, stroke_budget=100))
    assert run_.feed(101) is None  # the first sample only says where the count stands
    violation = run_.feed(1)
    assert violation == Violation("strokes", 101, 100, "strokes")


def test_a_motor_that_spins_up_slowly_is_no_stall_but_one_that_never_does_is(grant: Grant) -> None:
    assert Run(grant).feed(SETTLE_US // PERIOD_US - 1, strokes=0, depth_um=0) is None
    violation = Run(grant).feed(SETTLE_US // PERIOD_US + 2, strokes=0, depth_um=0)
    assert violation is not None


def test_samples_of_a_pen_that_does_not_run_are_not_judged_and_start_nothing(grant: Grant) -> None:
    """A start may be under way for long: time to settle begins when the pen begins."""
    run_ = Run(grant)
    nothing = {"strokes": 0, "depth_um": 0, "force_mn": 9000, "rate_dhz": 9000}
    assert run_.feed(200, flags=STILL, **nothing) is None
    assert run_.feed(SETTLE_US // PERIOD_US - 1, strokes=0, depth_um=0) is None
    assert run_.feed(100) is None


@pytest.mark.parametrize("start_t_us", [0, WRAP - 25 * PERIOD_US])
def test_late_samples_of_an_earlier_run_are_not_judged(grant: Grant, start_t_us: int) -> None:
    run_ = Run(grant)
    run_.t_us = start_t_us
    run_.guard = Guard(grant, SET, after_t_us=(start_t_us + 50 * PERIOD_US) % WRAP)
    assert run_.feed(50, force_mn=9000, depth_um=2400, strokes=50) is None
    violation = run_.feed(1, depth_um=2400)
    assert violation is not None
    assert violation.name == "depth"


def test_counters_may_wrap_and_batches_may_be_lost(grant: Grant) -> None:
    run_ = Run(grant)
    run_.t_us, run_.strokes = WRAP - 50 * PERIOD_US, WRAP - 50
    assert run_.feed(100) is None
    assert run_.feed(1, strokes=30, period_us=30 * PERIOD_US) is None
    assert run_.feed(100) is None


# --- set-points on their way -----------------------------------------------------------------------------------------

SHALLOW = SetPoint(depth_um=500, rate_dhz=600)


def test_while_a_set_point_is_uncertain_both_count_and_nothing_beyond(grant: Grant) -> None:
    run_ = Run(grant).settled()
    run_.guard.expect(SHALLOW)
    for _ in range(20):
        assert run_.feed(9) is None
        assert run_.feed(8, depth_um=500) is None
    assert run_.feed(2 * CREST_STROKES, depth_um=500 - DEPTH_TOLERANCE_UM - 1) is not None


def test_after_a_set_point_is_accepted_the_one_before_no_longer_counts(grant: Grant) -> None:
    run_ = Run(grant).settled()
    run_.guard.expect(SHALLOW)
    run_.guard.settle(SHALLOW)
    assert run_.guard.in_force == SHALLOW
    assert run_.feed(SETTLE_US // PERIOD_US - 1) is None
    violation = run_.feed(3 * CREST_STROKES)
    assert violation is not None
    assert violation.name in ("rate", "depth away from the set depth")


def test_after_a_set_point_is_refused_only_the_one_before_counts(grant: Grant) -> None:
    run_ = Run(grant).settled()
    run_.guard.expect(SHALLOW)
    run_.guard.settle(run_.guard.in_force)
    assert run_.settled().feed(100) is None
    assert run_.feed(3 * CREST_STROKES, depth_um=500) is not None


def test_a_faster_set_point_counts_from_when_it_is_asked_for(grant: Grant) -> None:
    run_ = Run(grant).settled()
    run_.guard.expect(SetPoint(1000, 1400))
    assert run_.feed(100, rate_dhz=1400) is None
    assert run_.feed(2, rate_dhz=1541) is not None


# --- no false alarm --------------------------------------------------------------------------------------------------

DEPTHS_MM = (0.25, 0.5, 1.0, 1.5)


@pytest.mark.parametrize("sample_rate_hz", [100, 1000])
@pytest.mark.parametrize("rate_hz", [20.0, 60.0, 117.0, 150.0])
@pytest.mark.parametrize("seed", range(4))
@in_virtual_time
async def test_a_healthy_treatment_raises_no_alarm(seed: int, rate_hz: float, sample_rate_hz: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # a simulation, not a secret
    sim = SimulatedPen(seed=seed, sample_rate_hz=sample_rate_hz)
    async with in_process(sim) as bench, Pen.open(bench.transport()) as pen:
        await pen.arm(await grant_for(pen, rate_hz=rate_hz), today=TODAY)
        await pen.start(1.0, rate_hz)
        for _ in range(12):
            await asyncio.sleep(chance.uniform(0.05, 0.9))
            await pen.set(chance.choice(DEPTHS_MM), chance.choice((rate_hz, 20.0, 90.0, 150.0)))
        await asyncio.sleep(0.6)
        assert (pen.state.state, pen.stop_reason, pen.state.cause) == (PenState.RUNNING, None, Cause.NONE)
        await pen.disarm()


# --- a pen whose own limits are switched off -------------------------------------------------------------------------


def switch_off_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pens that notice nothing by themselves."""

    def notice_nothing(check: SelfCheck, *_: object) -> Cause:
        check.stall_us = 1 << 62  # else the pen would look again at once, for ever
        return Cause.NONE

    monkeypatch.setattr(SelfCheck, "look", notice_nothing)


def drift(body: Body) -> None:
    body.depth_drift_um = -150


def far_too_deep(body: Body) -> None:
    body.depth_drift_um = 700


def stuck(body: Body) -> None:
    body.depth_stuck = True


def runaway(body: Body) -> None:
    body.runaway_factor = 1.15


def stall(body: Body) -> None:
    body.motor_stalled = True


def press(body: Body) -> None:
    gently = body.touch

    def heavily(touch: Touch) -> None:
        gently(replace(touch, force_n=8.0))

    body.touch = heavily  # type: ignore[method-assign]  # the fault


FAULTS: list[tuple[Callable[[Body], None], str]] = [
    (drift, "depth away from the set depth"),
    (far_too_deep, "depth: "),
    (stuck, "time with the same depth|depth away"),
    (runaway, "rate"),
    (stall, "time without a stroke|time with the same depth"),
    (press, "force"),
]


@pytest.mark.parametrize(("fault", "says"), FAULTS)
@pytest.mark.parametrize("rate_hz", [60.0, 120.0])
def test_the_guard_catches_what_the_pen_lets_pass(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[Body], None], says: str, rate_hz: float
) -> None:
    switch_off_limits(monkeypatch)
    reason = _stopped_by(lambda sim: fault(sim.body), rate_hz)
    assert reason.startswith("guard: ")
    assert any(part in reason for part in says.split("|")), reason


def test_the_guard_catches_a_pen_that_forgets_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Needles, "_spent", lambda *_: Cause.NONE)
    assert "guard: strokes" in _stopped_by(lambda _: None, 100.0, stroke_budget=120)


@pytest.mark.parametrize(("rate_hz", "depth_um"), [(60.0, 500), (110.0, 1000)], ids=["accepted", "refused"])
@in_virtual_time
async def test_after_a_set_point_is_answered_the_guard_holds_the_pen_to_it(
    rate_hz: float, depth_um: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The needles then go neither as deep as before nor as was asked, and the pen does not notice."""
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        check = bench.pen.firmware._needles._check
        assert check is not None
        check.caps = replace(check.caps, rate_dhz=1000)
        with contextlib.suppress(PenRefusedError):
            await pen.set(0.5, rate_hz)
        switch_off_limits(monkeypatch)
        await asyncio.sleep(1.0)
        assert (pen.state.state, pen.state.depth_set_um) == (PenState.RUNNING, depth_um)
        bench.pen.body.depth_drift_um = 750 - depth_um
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert str(pen.stop_reason).startswith("guard: depth away from the set depth: 0.7")


def _stopped_by(fault: Callable[[SimulatedPen], None], rate_hz: float, stroke_budget: int = 1000) -> str:
    """Run a pen for a second, let the fault happen, and say why the host has stopped it."""
    reasons: list[str] = []

    async def treat() -> None:
        async with in_process() as bench, Pen.open(bench.transport()) as pen:
            await pen.arm(replace(await grant_for(pen), stroke_budget=stroke_budget), today=TODAY)
            await pen.start(1.0, rate_hz)
            await asyncio.sleep(1.0)
            assert pen.state.state is PenState.RUNNING
            fault(bench.pen)
            await until(lambda: pen.state.state is PenState.LATCHED)
            assert pen.state.cause is Cause.STOP
            reasons.append(str(pen.stop_reason))

    run(treat(), virtual=True)
    return reasons[0]


def test_the_guard_reads_batches_as_it_reads_samples(grant: Grant) -> None:
    batch = np.zeros(10, SAMPLE)
    batch["t_us"] = PERIOD_US * np.arange(10)
    batch["depth_um"], batch["flags"] = 1000 + np.arange(10) % 2, GOOD
    batch["depth_um"][7] = CAP_UM + DEPTH_TOLERANCE_UM + 1
    whole: SampleArray = batch
    assert Guard(grant, SET).check(whole) == Violation("depth", 1.601, 1.5, "mm")
    assert Guard(grant, SET).check(whole[:7]) is None
