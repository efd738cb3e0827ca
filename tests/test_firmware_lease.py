"""The lease and the standard bound, in virtual time, by the truth of the needles and not by the pen's word.

H03 to H06: whatever became of the host, the needles are home 250 ms and two strokes after its last renewal.
"""

import copy
import itertools

import pytest

from protocols.messages import Renew
from protocols.words import Cause, EventKind, PenState, Result
from tests.safety_case.figures import measured
from tests.virtual_pen import LEASE_US, MS, SECOND, VirtualPen, armed, running, stroke_us

RATES_DHZ = (200, 500, 1000, 1170, 1500)
DEPTHS_UM = (50, 500, 1200, 2500)
EVERY_US = (200, 700, 1300, 5_000, 12_700, 30_000)
PHASES = 40


@pytest.mark.hazard("H03", "H04", "H05", "H06")
@pytest.mark.parametrize("rate_dhz", RATES_DHZ)
@pytest.mark.parametrize("depth_um", DEPTHS_UM)
def test_home_within_the_standard_bound_at_every_phase(rate_dhz: int, depth_um: int) -> None:
    steady = running(depth_um, rate_dhz)
    bound_us = LEASE_US + 2 * stroke_us(rate_dhz)
    phases = set()
    for step, every_us in zip(range(PHASES + 8), itertools.cycle(EVERY_US), strict=False):
        virtual = copy.deepcopy(steady)
        virtual.run(step * stroke_us(rate_dhz) / (PHASES + 8))
        virtual.renew()
        last_us = virtual.now_us
        virtual.run(290 * MS, every_us=every_us, renew=False)

        assert virtual.body.home_us is not None
        measured("home", (virtual.body.home_us - last_us - LEASE_US) / stroke_us(rate_dhz))
        assert virtual.body.home_us - last_us <= bound_us
        stop_us, phase = virtual.body.retracts[-1]
        assert stop_us - last_us == LEASE_US
        phases.add(int(phase * PHASES))
        assert [event.b for event in virtual.events(EventKind.STOPPED)] == [LEASE_US]
        (retracted,) = virtual.events(EventKind.RETRACTED)
        assert virtual.body.home_us - last_us <= retracted.a <= bound_us
        assert retracted.b <= 2
        assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.LEASE_EXPIRED)
    assert phases == set(range(PHASES))


def test_how_often_the_pen_is_called_changes_none_of_its_own_times() -> None:
    steady = running(1200, 1170)
    seen = []
    for every_us in (*EVERY_US, 400 * MS):
        virtual = copy.deepcopy(steady)
        virtual.renew()
        heard = len(virtual.heard)
        for until_us in range(0, 400 * MS, every_us):
            virtual.now_us = until_us + steady.now_us
            virtual.hear(virtual.endpoint.encode(virtual.pen.step(virtual.now_us)))
        virtual.now_us = steady.now_us + 400 * MS
        virtual.hear(virtual.endpoint.encode(virtual.pen.step(virtual.now_us)))
        seen.append([str(said) for said in virtual.heard[heard:] if not hasattr(said, "records")])
    assert len(seen[0]) > 8
    assert all(one == seen[0] for one in seen)


@pytest.mark.parametrize("late_us", [0, 1, 499 * MS, 500 * MS])
def test_a_renewal_may_quote_pen_time_of_half_a_second_ago(late_us: int) -> None:
    virtual = running(for_us=SECOND)
    virtual.say(Renew(virtual.now_us - late_us))
    renewed_us = virtual.now_us
    virtual.run(LEASE_US - 1, renew=False)
    assert virtual.state.state is PenState.RUNNING
    virtual.run(1, renew=False)
    assert virtual.state.cause is Cause.LEASE_EXPIRED
    assert virtual.body.retracts[-1][0] == renewed_us + LEASE_US


@pytest.mark.hazard("H05", "H07")
@pytest.mark.parametrize("offset_us", [-500 * MS - 1, -5 * SECOND, 1, SECOND, 1 << 31])
def test_a_renewal_that_quotes_any_other_time_is_void(offset_us: int) -> None:
    virtual = running(for_us=SECOND)
    virtual.renew()
    renewed_us = virtual.now_us
    rejected = virtual.pen.firmware.rejected
    for _ in range(40):
        virtual.run(10 * MS, renew=False)
        virtual.say(Renew((virtual.now_us + offset_us) % (1 << 32)))
    assert virtual.body.retracts[-1][0] == renewed_us + LEASE_US
    assert virtual.state.cause is Cause.LEASE_EXPIRED
    assert virtual.pen.firmware.rejected == rejected + 40


@pytest.mark.hazard("H05")
def test_a_host_that_no_longer_hears_the_pen_cannot_keep_it_running() -> None:
    virtual = running(for_us=SECOND)
    deaf_t_us = virtual.now_us
    last_us = virtual.now_us
    for _ in range(100):
        virtual.run(10 * MS, renew=False)
        if virtual.state.state is PenState.RUNNING:
            last_us = virtual.now_us
        virtual.say(Renew(deaf_t_us))
    assert virtual.state.cause is Cause.LEASE_EXPIRED
    assert 700 * MS <= last_us - deaf_t_us <= 760 * MS


@pytest.mark.hazard("H03", "H04", "H05", "H06")
def test_an_armed_pen_latches_too_when_the_lease_ends() -> None:
    virtual = armed()
    virtual.run(LEASE_US, renew=False)
    assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.LEASE_EXPIRED)


def test_an_idle_pen_does_not_mind_the_end_of_a_lease() -> None:
    virtual = VirtualPen()
    virtual.claim()
    virtual.renew()
    virtual.run(SECOND, renew=False)
    assert (virtual.state.state, virtual.state.latch_id) == (PenState.IDLE, 0)


def test_a_claim_brings_no_lease_and_an_arm_without_one_does_not_start() -> None:
    virtual = VirtualPen()
    virtual.claim()
    assert virtual.arm().result is Result.OK
    assert virtual.start().result is Result.NO_LEASE
    virtual.renew()
    assert virtual.start().result is Result.OK


@pytest.mark.hazard("H03", "H04", "H05", "H06")
def test_pen_time_may_wrap_while_the_needles_run() -> None:
    virtual = VirtualPen()
    late_us = (1 << 32) - 2 * SECOND
    skip_to(virtual, late_us)
    running(virtual=virtual)
    virtual.run(4 * SECOND)
    assert virtual.state.state is PenState.RUNNING
    assert virtual.state.t_us < 4 * SECOND
    times_us = [int(t_us) for batch in virtual.samples() for t_us in batch.records["t_us"]]
    assert {(b - a) % (1 << 32) for a, b in itertools.pairwise(times_us)} == {10 * MS}
    virtual.renew()
    last_us = virtual.now_us
    virtual.run(SECOND, renew=False)
    assert virtual.body.retracts[-1][0] - last_us == LEASE_US
    assert virtual.state.cause is Cause.LEASE_EXPIRED


def skip_to(virtual: VirtualPen, late_us: int) -> None:
    """Let the pen be as it would be after an hour of rest, without living through it."""
    firmware = virtual.pen.firmware
    firmware._next_heartbeat_us = firmware._next_sample_us = late_us
    firmware._needles._control_due_us = late_us
    virtual.now_us = late_us
    virtual.run(0)
