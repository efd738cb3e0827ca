"""What the pen notices by itself, judged by the truth of its body; and that a healthy pen notices nothing.

H11: the depth sensor drifts or sticks. H12: the motor stalls. H13: the rate runs away. S is one stroke.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from protocols.messages import Clear, Disarm
from protocols.words import Cause, EventKind, PenState, Result
from simulator.hand import Pattern, Style
from simulator.pen import Clinician
from simulator.physics import Body
from tests.safety_case.figures import measured
from tests.virtual_pen import HARD_UM, MS, SECOND, StillHand, VirtualPen, running, stroke_us

RATES_DHZ = (200, 500, 1000, 1170, 1333, 1500)
PHASES = 40
FINE_US = 100
PATTERNS: tuple[Pattern, ...] = ("straight", "crosshatch", "circular")


@pytest.mark.parametrize("step_us", [300, 5 * MS, 40 * MS])
def test_the_time_since_a_stroke_is_exact_however_rarely_it_is_read(step_us: int) -> None:
    body = Body()
    body.advance(0)
    body.drive(133, 0)
    for now_us in (SECOND // 2, SECOND):
        body.advance(now_us)
    for now_us in range(SECOND, 2 * SECOND, step_us):
        body.advance(now_us)
        assert body.read().since_stroke_us == pytest.approx(body.phase / body.rate_hz * SECOND, abs=2)


def after_fault(
    fault: Callable[[VirtualPen], None], depth_um: int, rate_dhz: int, phases: int = PHASES
) -> list[tuple[float, Cause]]:
    """For each phase at which the fault begins: how long until the needles are home, and the cause."""
    steady = running(depth_um, rate_dhz)
    ends = []
    for step in range(phases):
        virtual = copy.deepcopy(steady)
        virtual.run(step * stroke_us(rate_dhz) / phases)
        fault(virtual)
        fault_us = virtual.now_us
        while virtual.pen.firmware.state is PenState.RUNNING and virtual.now_us < fault_us + SECOND:
            virtual.run(5 * MS, every_us=MS)
        virtual.run(12 * MS, every_us=FINE_US)
        home_us = virtual.body.home_us
        ends.append((np.inf if home_us is None else home_us - fault_us, virtual.state.cause))
    return ends


@pytest.mark.hazard("H12")
@pytest.mark.parametrize("rate_dhz", RATES_DHZ)
@pytest.mark.parametrize("depth_um", [300, 1200, 2500])
def test_a_stalled_motor_has_its_needles_home_in_three_strokes(depth_um: int, rate_dhz: int) -> None:
    def stall(virtual: VirtualPen) -> None:
        virtual.body.motor_stalled = True

    ends = after_fault(stall, depth_um, rate_dhz)
    assert {cause for _, cause in ends} == {Cause.STALLED}
    measured("home", max(end_us for end_us, _ in ends) / stroke_us(rate_dhz))
    assert max(end_us for end_us, _ in ends) <= 3 * stroke_us(rate_dhz)


@pytest.mark.hazard("H12")
@pytest.mark.parametrize("after_ms", [50, 60, 70, 80, 110, 180])
def test_a_motor_that_stalls_soon_after_it_has_come_to_its_rate_is_stopped_as_fast(after_ms: int) -> None:
    virtual = running(1000, 1000, for_us=after_ms * MS)
    assert virtual.body.rate_hz > 85
    virtual.body.motor_stalled = True
    stalled_us = virtual.now_us
    virtual.run(60 * MS, every_us=FINE_US)
    assert virtual.state.cause is Cause.STALLED
    assert virtual.body.home_us is not None
    assert virtual.body.home_us - stalled_us <= 3 * stroke_us(1000)


@pytest.mark.hazard("H12")
@pytest.mark.parametrize("rate_dhz", RATES_DHZ)
def test_a_motor_that_never_turns_is_stopped(rate_dhz: int) -> None:
    virtual = VirtualPen()
    virtual.body.motor_stalled = True
    virtual.claim()
    virtual.renew()
    virtual.arm()
    assert virtual.start(1000, rate_dhz).result is Result.OK
    virtual.run(4 * stroke_us(rate_dhz) + 30 * MS)
    assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.STALLED)


@pytest.mark.hazard("H12")
def test_a_motor_that_stalls_while_set_points_keep_coming_is_stopped() -> None:
    virtual = running(1000, 1000)
    virtual.body.motor_stalled = True
    stalled_us = virtual.now_us
    for index in range(10):
        virtual.run(5 * MS, every_us=FINE_US)
        virtual.set(1000 + index % 2, 1000)
    assert virtual.state.cause is Cause.STALLED
    assert virtual.body.home_us is not None
    assert virtual.body.home_us - stalled_us <= 3 * stroke_us(1000)


def until_faster(virtual: VirtualPen, rate_hz: float) -> int:
    for _ in range(1000):
        virtual.run(FINE_US, every_us=FINE_US)
        if virtual.body.rate_hz > rate_hz:
            return virtual.now_us
    raise AssertionError(f"the motor turns at {virtual.body.rate_hz} Hz")


@pytest.mark.hazard("H13")
@pytest.mark.parametrize("rate_dhz", RATES_DHZ)
@pytest.mark.parametrize("factor", [1.15, 1.5])
def test_a_runaway_motor_has_its_needles_home_in_three_strokes(factor: float, rate_dhz: int) -> None:
    steady = running(2500, rate_dhz)
    bound_us = 3 * stroke_us(rate_dhz)
    for step in range(PHASES):
        virtual = copy.deepcopy(steady)
        virtual.run(step * stroke_us(rate_dhz) / PHASES)
        virtual.body.runaway_factor = factor
        fast_us = until_faster(virtual, 1.1 * rate_dhz / 10)
        virtual.run(40 * MS, every_us=FINE_US)
        assert virtual.state.cause is Cause.OVER_RATE
        assert virtual.body.home_us is not None
        measured("home", (virtual.body.home_us - fast_us) / stroke_us(rate_dhz))
        assert virtual.body.home_us - fast_us <= bound_us


def test_a_rate_within_a_tenth_is_no_runaway() -> None:
    virtual = running(1000, 1000)
    virtual.body.runaway_factor = 1.08
    virtual.run(10 * SECOND)
    assert virtual.body.rate_hz == pytest.approx(108, abs=0.5)
    assert virtual.state.state is PenState.RUNNING


@pytest.mark.hazard("H11")
@pytest.mark.parametrize("rate_dhz", RATES_DHZ)
@pytest.mark.parametrize("depth_um", [150, 1200, 2350])
@pytest.mark.parametrize("drift_um", [-250, -101, 101, 250])
def test_a_drift_over_a_tenth_of_a_millimetre_is_caught_in_250_ms(drift_um: int, depth_um: int, rate_dhz: int) -> None:
    def drift(virtual: VirtualPen) -> None:
        virtual.body.depth_drift_um = drift_um

    ends = after_fault(drift, depth_um, rate_dhz, phases=7)
    assert {cause for _, cause in ends} <= {Cause.DEPTH_SENSOR, Cause.OVER_DEPTH}
    measured("caught", max(end_us for end_us, _ in ends) / MS)
    assert max(end_us for end_us, _ in ends) <= 250 * MS


@pytest.mark.parametrize("drift_um", [-60, 60])
def test_a_smaller_drift_is_borne(drift_um: int) -> None:
    virtual = running(1200, 1333)
    virtual.body.depth_drift_um = drift_um
    virtual.run(20 * SECOND)
    assert virtual.state.state is PenState.RUNNING


@pytest.mark.hazard("H11")
@pytest.mark.parametrize("rate_dhz", RATES_DHZ)
@pytest.mark.parametrize("depth_um", [150, 1200, 2500])
def test_a_stuck_depth_sensor_is_caught_in_250_ms(depth_um: int, rate_dhz: int) -> None:
    def stick(virtual: VirtualPen) -> None:
        virtual.body.depth_stuck = True

    ends = after_fault(stick, depth_um, rate_dhz, phases=20)
    assert {cause for _, cause in ends} == {Cause.DEPTH_SENSOR}
    measured("caught", max(end_us for end_us, _ in ends) / MS)
    assert max(end_us for end_us, _ in ends) <= 250 * MS


def test_a_sensor_that_stuck_before_the_start_is_caught() -> None:
    virtual = VirtualPen()
    virtual.body.depth_stuck = True
    virtual.claim()
    virtual.renew()
    virtual.arm()
    virtual.start(1000, 1000)
    virtual.run(250 * MS)
    assert virtual.state.cause is Cause.DEPTH_SENSOR


@pytest.mark.parametrize("depth_um", [0, 30])
def test_a_needle_so_shallow_that_its_reading_rests_at_zero_is_borne(depth_um: int) -> None:
    virtual = running(depth_um, 1000)
    virtual.body.depth_drift_um = -60
    virtual.run(5 * SECOND)
    assert virtual.state.state is PenState.RUNNING


@pytest.mark.hazard("H01", "H11")
@pytest.mark.parametrize("hidden_um", [0, -300])
def test_a_sleeve_that_does_not_go_where_it_is_told_is_caught(hidden_um: int) -> None:
    """Even if the depth sensor has drifted by just as much."""
    virtual = running(1000, 1000)
    virtual.body._set_sleeve_mm = 1.3
    virtual.body.depth_drift_um = hidden_um
    virtual.run(250 * MS)
    assert virtual.state.cause is Cause.DEPTH_SENSOR


@pytest.mark.hazard("H01")
def test_a_sleeve_beyond_the_cap_is_caught_at_once() -> None:
    virtual = running(1000, 1000, depth_um=1000)
    virtual.body._set_sleeve_mm = 3.0
    virtual.run(5 * MS)  # at 20 mm/s, that is 0.1 mm
    over_us = virtual.now_us
    virtual.run(30 * MS, every_us=FINE_US)
    assert virtual.state.cause is Cause.OVER_DEPTH
    assert virtual.body.home_us is not None
    assert virtual.body.home_us - over_us <= 2 * stroke_us(1000)


# --- force, supply, cartridge ----------------------------------------------------------------------------------------


def pressed(force_n: float, for_us: int) -> VirtualPen:
    """A pen with a cap of 2 N, pressed for a while on skin and then let go."""
    virtual = running(500, 1000, force_mn=2000)
    hand = virtual.pen.clinician = StillHand(force_n)  # type: ignore[assignment]  # a stand-in
    virtual.run(for_us)
    hand.force_n = 0.5
    virtual.run(300 * MS)
    return virtual


@pytest.mark.parametrize(
    ("force_n", "for_us", "cause"),
    [(4.0, 150 * MS, Cause.OVER_FORCE), (4.0, 60 * MS, Cause.NONE), (1.0, SECOND, Cause.NONE)],
)
def test_pressing_over_the_cap_for_100_ms_stops(force_n: float, for_us: int, cause: Cause) -> None:
    assert pressed(force_n, for_us).state.cause is cause


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("force_n", [0.0, 0.8])
def test_a_frozen_force_sensor_is_caught(force_n: float) -> None:
    """In the air, where the reading rests at zero half the time, as well as on skin."""
    virtual = running(500, 1000)
    hand = virtual.pen.clinician = StillHand(force_n)  # type: ignore[assignment]  # a stand-in
    virtual.run(5 * SECOND)
    assert virtual.state.state is PenState.RUNNING, "a hand that holds still is no fault"
    virtual.body.force_stuck = True
    hand.force_n = 1.2
    frozen_us = virtual.now_us
    virtual.run(400 * MS)
    assert virtual.state.state is PenState.RUNNING
    virtual.run(120 * MS)
    assert virtual.state.cause is Cause.FORCE_SENSOR
    assert virtual.body.home_us is not None
    measured("frozen", (virtual.body.home_us - frozen_us) / MS)
    assert virtual.body.home_us - frozen_us <= 520 * MS + 2 * stroke_us(1000)


def test_taps_do_not_add_up() -> None:
    virtual = running(500, 1000, force_mn=2000)
    hand = virtual.pen.clinician = StillHand()  # type: ignore[assignment]  # a stand-in
    for _ in range(20):
        hand.force_n = 4.0
        virtual.run(50 * MS)
        hand.force_n = 0.5
        virtual.run(60 * MS)
    assert virtual.state.state is PenState.RUNNING


@pytest.mark.parametrize(("charge_pct", "cause"), [(2.4, Cause.BATTERY_LOW), (3.4, Cause.NONE)])
def test_an_empty_battery_stops(charge_pct: float, cause: Cause) -> None:
    virtual = running()
    virtual.body._charge_mah = virtual.body.parameters.battery_mah * charge_pct / 100
    virtual.run(50 * MS)
    assert virtual.state.cause is cause


@pytest.mark.parametrize(("hot_c", "cause"), [(60.2, Cause.OVER_TEMPERATURE), (59.8, Cause.NONE)])
def test_a_hot_motor_stops(hot_c: float, cause: Cause) -> None:
    virtual = running()
    virtual.body._temperature_c = hot_c
    virtual.run(20 * MS)
    assert virtual.state.cause is cause


@pytest.mark.hazard("H15")
@pytest.mark.parametrize("cartridge_id", [0, 5])
def test_a_cartridge_taken_out_stops(cartridge_id: int) -> None:
    virtual = running()
    virtual.pen.firmware.cartridge = replace(virtual.pen.firmware.cartridge, cartridge_id=cartridge_id)
    taken_us = virtual.now_us
    virtual.run(50 * MS, every_us=FINE_US)
    assert virtual.state.cause is Cause.CARTRIDGE_REMOVED
    assert virtual.body.home_us is not None
    assert virtual.body.home_us - taken_us <= 2 * stroke_us(1000)


# --- a healthy pen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", sorted(HARD_UM))
def test_a_healthy_pen_never_stops_by_itself(area: int) -> None:
    """Ten minutes in all: hand on skin, with set-points that change slowly, in bursts, and across the whole range."""
    deepest_um = HARD_UM[area]
    chance = np.random.default_rng(area)
    virtual = VirtualPen(seed=area, sample_rate_hz=(100, 37, 250)[area % 3])
    pattern = PATTERNS[area % 3]
    virtual.pen.clinician = Clinician(4.0, area, Style(pattern, force_n=1.5))
    began_us = virtual.now_us
    while virtual.now_us - began_us < 600 * SECOND / len(HARD_UM):
        running(int(chance.integers(0, deepest_um + 1)), 1000, virtual, area=area, depth_um=deepest_um, for_us=0)
        for _ in range(int(chance.integers(5, 30))):
            virtual.run(float(chance.choice([0, 1, 4, 20, 100, 400, 1500])) * MS)
            rate_dhz = np.clip(chance.integers(0, 1800), 200, 1500)  # the ends more often than the middle
            answer = virtual.set(int(chance.integers(0, deepest_um + 1)), int(rate_dhz))
            assert answer.result is Result.OK, virtual.state
        assert virtual.ask(Disarm(virtual.next_id())).result is Result.OK
        virtual.run(20 * MS)
    assert virtual.events(EventKind.STOPPED) == []
    assert virtual.state.latch_id == 0


@pytest.mark.parametrize("rate_dhz", RATES_DHZ)
def test_no_way_of_the_sleeve_is_a_fault(rate_dhz: int) -> None:
    steady = running(2500, rate_dhz)
    for step in range(PHASES):
        virtual = copy.deepcopy(steady)
        virtual.run(step * stroke_us(rate_dhz) / PHASES)
        for depth_um in (120, 2500, 1900, 0):
            assert virtual.set(depth_um, rate_dhz).result is Result.OK
            virtual.run(160 * MS)
        assert virtual.state.state is PenState.RUNNING


def test_a_pen_runs_again_after_a_fault_that_went_away() -> None:
    virtual = running()
    virtual.body.depth_stuck = True
    virtual.run(300 * MS)
    virtual.body.depth_stuck = False
    assert virtual.ask(Clear(virtual.next_id(), virtual.state.latch_id)).result is Result.OK
    running(virtual=virtual)
