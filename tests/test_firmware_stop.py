"""STOP, from every state and by anyone, and the latch it leaves."""

import copy

import pytest

from protocols.messages import Arm, Clear, Disarm, Event, Release, State, Stop, encode
from protocols.words import Cause, EventKind, PenState, Result, StateFlag
from tests.safety_case.figures import measured
from tests.virtual_pen import MS, Host, VirtualPen, armed, running, stroke_us

STRANGER = Host(host_id=0xBAD, epoch=3, counter=0)


def stop(virtual: VirtualPen) -> State:
    """A stranger says STOP; returns the State that answers it."""
    states = [said for said in virtual.say(Stop(), copy.copy(STRANGER)) if isinstance(said, State)]
    assert len(states) == 1
    return states[0]


@pytest.mark.hazard("H25")
@pytest.mark.parametrize("rate_dhz", [200, 500, 1000, 1170, 1500])
@pytest.mark.parametrize("depth_um", [100, 2500])
def test_anybodys_stop_brings_the_needles_home_in_two_strokes(depth_um: int, rate_dhz: int) -> None:
    steady = running(depth_um, rate_dhz)
    for step in range(40):
        virtual = copy.deepcopy(steady)
        virtual.run(step * stroke_us(rate_dhz) / 40)
        stop_us, strokes = virtual.now_us, virtual.body.true_strokes
        assert stop(virtual).state is PenState.STOPPING
        virtual.run(15 * MS, every_us=100)
        assert virtual.body.home_us is not None
        measured("home", (virtual.body.home_us - stop_us) / stroke_us(rate_dhz))
        assert virtual.body.home_us - stop_us <= 2 * stroke_us(rate_dhz)
        (retracted,) = virtual.events(EventKind.RETRACTED)
        assert 0 <= retracted.b <= min(2, virtual.body.true_strokes - strokes)
        assert retracted.t_us >= virtual.body.home_us
        assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.STOP)
        assert virtual.body.rate_hz == 0


def test_a_stop_while_spinning_up() -> None:
    virtual = armed()
    virtual.start(2500, 1500)
    virtual.run(30 * MS)
    stop(virtual)
    virtual.run(10 * MS, every_us=100)
    assert virtual.body.retracted


@pytest.mark.parametrize("claimed", [False, True])
def test_stop_latches_a_pen_at_rest(claimed: bool) -> None:
    virtual = armed() if claimed else VirtualPen()
    state = stop(virtual)
    assert (state.state, state.cause, state.latch_id) == (PenState.LATCHED, Cause.STOP, 1)
    assert StateFlag.RETRACTED in state.flags
    assert virtual.body.driven == []


def test_stop_again_changes_nothing() -> None:
    virtual = running()
    stop(virtual)
    assert stop(virtual).state is PenState.STOPPING
    virtual.run(20 * MS)
    before = virtual.state
    events = len([said for said in virtual.heard if isinstance(said, Event)])
    for _ in range(3):
        assert stop(virtual) == before
    assert len([said for said in virtual.heard if isinstance(said, Event)]) == events
    assert before.latch_id == 1


def test_a_stop_under_way_keeps_its_first_cause() -> None:
    virtual = running()
    virtual.pen.firmware.button()
    stop(virtual)
    virtual.run(20 * MS)
    assert virtual.state.cause is Cause.BUTTON
    assert [event.a for event in virtual.events(EventKind.STOPPED)] == [Cause.BUTTON]


def test_a_disarm_under_way_takes_the_first_cause_that_comes() -> None:
    virtual = running()
    virtual.ask(Disarm(virtual.next_id()))
    assert stop(virtual).state is PenState.STOPPING
    virtual.run(20 * MS)
    assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.STOP)


@pytest.mark.hazard("H03", "H05")
def test_nothing_but_its_own_number_clears_a_latch() -> None:
    virtual = armed()
    latch_id = stop(virtual).latch_id
    before = virtual.state
    for answer, result in (
        (virtual.ask(Clear(virtual.next_id(), latch_id + 1)), Result.WRONG_STATE),
        (virtual.ask(Clear(virtual.next_id(), 0)), Result.WRONG_STATE),
        (virtual.arm(), Result.LATCHED),
        (virtual.start(), Result.LATCHED),
        (virtual.set(500, 500), Result.LATCHED),
        (virtual.ask(Disarm(virtual.next_id())), Result.LATCHED),
        (virtual.ask(Release(virtual.next_id())), Result.OK),
        (virtual.claim(), Result.OK),
    ):
        assert answer.result is result
        state = virtual.state
        assert (state.state, state.cause, state.latch_id) == (before.state, before.cause, latch_id)
    virtual.pen.firmware.button()
    virtual.run(100 * MS)
    assert virtual.state.cause is Cause.STOP
    assert virtual.ask(Clear(virtual.next_id(), latch_id)).result is Result.OK
    assert (virtual.state.state, virtual.state.cause) == (PenState.IDLE, Cause.NONE)
    assert [event.a for event in virtual.events(EventKind.CLEARED)] == [latch_id]


def test_a_pen_without_a_latch_has_none_to_clear() -> None:
    virtual = armed()
    assert virtual.ask(Clear(virtual.next_id(), 0)).result is Result.WRONG_STATE
    assert virtual.state.state is PenState.ARMED


def test_every_latch_has_a_number_of_its_own_and_zero_is_skipped() -> None:
    virtual = VirtualPen()
    virtual.claim()
    for expected in (1, 2, 3):
        assert stop(virtual).latch_id == expected
        virtual.ask(Clear(virtual.next_id(), expected))
    virtual.pen.firmware._needles.latch_id = 0xFFFF
    assert stop(virtual).latch_id == 1


def test_the_button_stops_and_latches() -> None:
    virtual = running()
    pressed_us = virtual.now_us
    virtual.pen.firmware.button()
    virtual.run(20 * MS, every_us=100)
    assert virtual.body.home_us is not None
    assert virtual.body.home_us - pressed_us <= 2 * stroke_us(1000)
    assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.BUTTON)


@pytest.mark.hazard("H25")
def test_stop_gets_through_a_flood_of_other_frames() -> None:
    """H25: nothing that stands before STOP on the line delays it."""
    virtual = running()
    host = virtual.host
    flood = b"".join(
        encode(Arm(99, 1, 1, 1, 1, 1, 1, 1, 1), epoch=host.epoch - 1, counter=count) for count in range(500)
    )
    stop_us = virtual.now_us
    virtual.put(flood + encode(Stop()) + flood)
    virtual.run(20 * MS, every_us=100)
    assert virtual.body.home_us is not None
    measured("home", (virtual.body.home_us - stop_us) / stroke_us(1000))
    assert virtual.body.home_us - stop_us <= 2 * stroke_us(1000)
