"""The guard and whole pens: none that is healthy is stopped, each whose own limits are off is caught."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from pen_controller.errors import PenRefusedError
from pen_controller.pen import Pen
from protocols.words import Cause, PenState
from simulator.needles import Needles
from simulator.pen import SimulatedPen
from simulator.physics import Body, Touch
from simulator.selfcheck import SelfCheck
from tests.lines import TODAY, grant_for, in_process, run_needles
from tests.running import in_virtual_time, run, until

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
        gently(touch._replace(force_n=8.0))

    body.touch = heavily  # type: ignore[method-assign]  # the fault


def freeze(body: Body) -> None:
    body.force_stuck = True


FAULTS: list[tuple[Callable[[Body], None], str]] = [
    (drift, "depth away from the set depth"),
    (far_too_deep, "depth: "),
    (stuck, "time with the same depth|depth away"),
    (runaway, "rate"),
    (stall, "time without a stroke|time with the same depth"),
    (press, "force"),
    (freeze, "time with the same force on skin"),
]


@pytest.mark.hazard("H01", "H11", "H12", "H13")
@pytest.mark.parametrize(("fault", "says"), FAULTS)
@pytest.mark.parametrize("rate_hz", [60.0, 120.0])
def test_the_guard_catches_what_the_pen_lets_pass(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[Body], None], says: str, rate_hz: float
) -> None:
    switch_off_limits(monkeypatch)
    reason = _stopped_by(lambda sim: fault(sim.body), rate_hz)
    assert reason.startswith("guard: ")
    assert any(part in reason for part in says.split("|")), reason


@pytest.mark.hazard("H14")
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
