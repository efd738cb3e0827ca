"""Who may speak to the pen: claims, epochs, two hosts, and what a reboot forgets (H09, H10)."""

import pytest

from protocols.framing import Frame
from protocols.messages import (
    AckEvents,
    Answer,
    Arm,
    AskCartridge,
    AskEvents,
    AskIdentity,
    AskState,
    Claim,
    Clear,
    Disarm,
    Event,
    Identity,
    Message,
    Release,
    Renew,
    Set,
    Settle,
    Start,
    State,
    Stop,
    encode,
)
from protocols.words import Cause, EventKind, PenLimit, PenState, Result, StateFlag
from simulator.ownership import Claimed, Ownership
from tests.safety_case.figures import measured
from tests.virtual_pen import MS, SECOND, Host, VirtualPen, armed, running, stroke_us

COMMANDS = (
    Release(9),
    Arm(9, 8, 1000, 1000, 1000, 100, 1, 7, 20_000),
    Disarm(9),
    Start(9, 1, 1000, 1000),
    Set(9, 1, 1000, 1000),
    Clear(9, 1),
    Settle(9),
)
WITHOUT_ID = (Renew(0), AckEvents(100))


def claimed() -> VirtualPen:
    virtual = VirtualPen()
    assert virtual.claim().result is Result.OK
    return virtual


def test_anyone_may_ask() -> None:
    virtual = running(for_us=100 * MS)
    stranger = Host(epoch=1, counter=0)
    assert virtual.say(AskIdentity(), stranger) == [virtual.pen.firmware.identity]
    assert virtual.say(AskCartridge(), stranger) == [virtual.pen.firmware.cartridge]
    (state,) = virtual.say(AskState(), stranger)
    assert isinstance(state, State)
    events = virtual.say(AskEvents(2), stranger)
    assert [event.number for event in events if isinstance(event, Event)] == list(range(3, state.last_event + 1))


@pytest.mark.hazard("H09", "H07")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_only_an_owner_commands(command: Message) -> None:
    virtual = VirtualPen()
    for virtual, result in ((VirtualPen(), Result.NOT_CLAIMED), (claimed(), Result.STALE_EPOCH)):
        before = virtual.state
        assert virtual.say(command, Host(epoch=77, counter=1000)) == [Answer(9, command.TYPE, result, PenLimit.NONE, 0)]
        assert virtual.state == before


@pytest.mark.parametrize("message", WITHOUT_ID, ids=lambda message: type(message).__name__)
def test_what_has_no_id_is_refused_by_a_state(message: Message) -> None:
    for virtual in (VirtualPen(), claimed()):
        before = virtual.state
        assert virtual.say(message, Host(epoch=77, counter=1000)) == [before]
        assert virtual.state == before


def test_a_refusal_of_a_stranger_does_not_spend_the_id() -> None:
    virtual = claimed()
    assert virtual.ask(Disarm(2), Host(epoch=virtual.host.epoch - 1)).result is Result.STALE_EPOCH
    assert virtual.ask(Disarm(2)).result is Result.OK


def test_a_claim_moves_the_epoch_on_and_says_so() -> None:
    virtual = VirtualPen()
    boot_id = virtual.state.boot_id
    assert virtual.seen_epoch == boot_id
    virtual.claim()
    assert virtual.seen_epoch == boot_id + 1
    assert StateFlag.CLAIMED in virtual.state.flags
    assert len(virtual.events(EventKind.CLAIMED)) == 1


def test_the_same_claim_again_gets_the_same_answer_and_changes_nothing() -> None:
    virtual = VirtualPen()
    claim = encode(Claim(1, virtual.host.host_id, virtual.seen_epoch), counter=1)
    first = virtual.put(claim)
    virtual.host.epoch, virtual.host.counter, virtual.host.command_id = virtual.seen_epoch, 1, 1
    running(virtual=virtual)
    before = virtual.state
    assert virtual.put(claim) == [said for said in first if isinstance(said, Answer)]
    assert virtual.state == before
    assert before.state is PenState.RUNNING


def test_a_claim_with_an_old_epoch_is_stale() -> None:
    virtual = claimed()
    old = Claim(5, virtual.host.host_id, virtual.host.epoch - 1)
    assert virtual.ask(old).result is Result.STALE_EPOCH
    virtual.ask(Release(6))
    assert virtual.ask(old).result is Result.STALE_EPOCH


def test_a_claim_restarts_frame_counter_and_command_memory() -> None:
    virtual = claimed()
    for _ in range(40):
        virtual.ask(Disarm(virtual.next_id()))
    virtual.host.counter, virtual.host.command_id = 5, 0
    assert virtual.claim().result is Result.OK
    assert virtual.ask(Disarm(2)).result is Result.OK
    assert virtual.state.last_command_id == 2


@pytest.mark.hazard("H05", "H09")
@pytest.mark.parametrize("start", [False, True])
def test_a_claim_on_a_moving_or_armed_pen_stops_it(start: bool) -> None:
    virtual = running() if start else armed()
    claimed_us = virtual.now_us
    assert virtual.claim().result is Result.OK
    virtual.run(20 * MS, every_us=100)
    assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.CLAIM_LOST)
    assert virtual.body.home_us is not None
    assert virtual.body.home_us - claimed_us <= 2 * stroke_us(1000)


@pytest.mark.hazard("H09")
def test_a_second_host_is_refused_and_controls_nothing() -> None:
    virtual = running()
    other = Host(host_id=0xB)
    for _ in range(100):
        virtual.run(40 * MS)
        assert virtual.claim(other).result is Result.CLAIMED_BY_OTHER
        answer = virtual.ask(Disarm(9), other)
        measured("dual", answer.result is Result.OK)
        assert answer.result is Result.STALE_EPOCH
        virtual.say(Renew(virtual.seen_t_us), other)
    assert virtual.state.state is PenState.RUNNING
    virtual.renew()
    last_us = virtual.now_us
    for _ in range(10):
        virtual.run(40 * MS, renew=False)
        virtual.say(Renew(virtual.seen_t_us), other)
    measured("dual", virtual.body.retracts[-1][0] - last_us > 250 * MS)
    assert virtual.body.retracts[-1][0] - last_us == 250 * MS


@pytest.mark.hazard("H09")
def test_a_second_host_may_claim_two_seconds_after_the_first_fell_silent() -> None:
    virtual = running()
    virtual.renew()
    other = Host(host_id=0xB)
    virtual.run(2 * SECOND - 10 * MS, renew=False)
    assert virtual.claim(other).result is Result.CLAIMED_BY_OTHER
    virtual.run(20 * MS, renew=False)
    (released,) = virtual.events(EventKind.RELEASED)
    assert released.a == 1
    assert StateFlag.CLAIMED not in virtual.state.flags
    assert virtual.claim(other).result is Result.OK
    assert virtual.ask(Disarm(9)).result is Result.STALE_EPOCH
    assert virtual.state.state is PenState.LATCHED


def test_a_claim_that_was_never_renewed_lapses_and_disarms() -> None:
    virtual = VirtualPen()
    virtual.claim()
    virtual.arm(area=4)
    virtual.run(2 * SECOND, renew=False)
    assert (virtual.state.state, virtual.state.cause, virtual.state.area) == (PenState.IDLE, Cause.NONE, 0)
    assert [event.a for event in virtual.events(EventKind.DISARMED)] == [4]
    assert [event.a for event in virtual.events(EventKind.RELEASED)] == [1]


def test_release_stops_in_good_order_and_leaves_the_pen_unclaimed() -> None:
    virtual = running()
    released_us = virtual.now_us
    assert virtual.ask(Release(virtual.next_id())).result is Result.OK
    assert virtual.state.state is PenState.STOPPING
    virtual.run(20 * MS, every_us=100, renew=False)
    state = virtual.state
    assert (state.state, state.cause, state.flags & StateFlag.CLAIMED) == (PenState.IDLE, Cause.NONE, 0)
    assert virtual.body.home_us is not None
    assert virtual.body.home_us - released_us <= 2 * stroke_us(1000)
    assert [event.a for event in virtual.events(EventKind.RELEASED)] == [0]
    assert virtual.ask(Disarm(virtual.next_id())).result is Result.NOT_CLAIMED


def test_release_does_not_end_a_latch() -> None:
    virtual = claimed()
    virtual.say(Stop())
    assert virtual.ask(Release(2)).result is Result.OK
    assert (virtual.state.state, virtual.state.cause) == (PenState.LATCHED, Cause.STOP)
    virtual.claim()
    assert virtual.ask(Clear(virtual.next_id(), 1)).result is Result.OK


def test_epoch_zero_is_skipped() -> None:
    owner = Ownership(0xFFFFFFFF, 250 * MS)
    raw = encode(AskState(), counter=1)[2:-1]
    assert owner.claim(Claim(1, 2, 0xFFFFFFFF), Frame(raw + bytes(16)), 0) is Claimed.NEW
    assert owner.epoch == 1


def test_time_since_the_renewal_saturates() -> None:
    virtual = claimed()
    assert virtual.pen.firmware._owner.since_renewal_us(1 << 40) == 0x7FFFFFFF
    assert Ownership(5, 250 * MS).since_renewal_us(1 << 40) == -1


# --- H10: the pen reboots --------------------------------------------------------------------------------------------


@pytest.mark.hazard("H10")
@pytest.mark.parametrize("rate_dhz", [200, 1000, 1500])
def test_a_reboot_in_mid_run_brings_the_needles_home_and_forgets_all(rate_dhz: int) -> None:
    virtual = running(2500, rate_dhz)
    before, tag = virtual.state, virtual.pen.firmware.cartridge
    reboot_us = virtual.now_us = virtual.now_us + 3_333
    virtual.pen.reboot(reboot_us)
    virtual.run(SECOND, every_us=200, renew=False)
    assert virtual.body.home_us is not None
    measured("home", (virtual.body.home_us - reboot_us) / stroke_us(rate_dhz))
    assert virtual.body.home_us - reboot_us <= 2 * stroke_us(rate_dhz)
    state = virtual.state
    assert state.boot_id not in (before.boot_id, 0)
    assert virtual.seen_epoch == state.boot_id
    assert (state.state, state.cause, state.latch_id) == (PenState.IDLE, Cause.NONE, 0)
    assert (state.arm_epoch, state.budget_left, state.last_command_id) == (0, 0, 0)
    assert state.strokes <= 1 < before.strokes
    assert StateFlag.CLAIMED not in state.flags
    assert [event.kind for event in virtual.say(AskEvents(0)) if isinstance(event, Event)] == [EventKind.BOOTED]
    assert virtual.pen.firmware.cartridge == tag
    assert virtual.ask(Disarm(virtual.next_id())).result is Result.NOT_CLAIMED


def test_what_fell_due_before_a_reboot_happened_before_it() -> None:
    virtual = running()
    virtual.renew()
    last_us = virtual.now_us
    virtual.pen.reboot(last_us + 300 * MS)
    first_us = next(retract_us for retract_us, _ in virtual.body.retracts if retract_us)
    assert first_us == last_us + 250 * MS


@pytest.mark.hazard("H10", "H07")
def test_a_reboot_is_seen_by_its_boot_id_in_the_next_heartbeat() -> None:
    virtual = running()
    boot_id = virtual.state.boot_id
    virtual.pen.reboot(virtual.now_us)
    virtual.run(50 * MS, renew=False)
    heard = [said for said in virtual.heard if isinstance(said, State | Identity)]
    assert heard[-1].boot_id != boot_id
