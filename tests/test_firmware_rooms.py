"""The firmware's pure rooms by themselves, at their boundaries: limits, memory, ownership."""

import pytest

from protocols.framing import Decoder, Frame
from protocols.messages import Answer, Claim, Identity, Renew, Start, encode
from protocols.words import Capability, PenLimit, Result
from simulator.limits import BATTERY_START_PCT, STOP_RESERVE_STROKES, Broken, Caps, arm_breaks, set_point_breaks
from simulator.memory import COMMANDS_KEPT, EVENTS_KEPT, CommandMemory
from simulator.ownership import CLAIM_HOLD_US, FRESHNESS_US, Claimed, Ownership

OWN = Identity("1", "pen", "", 1, 0, 0, 1, Capability(0), 200, 2500, 200, 1500, 5000, 6000, 100, 250)
CARTRIDGE_ID = 7


def caps(budget: int = 1000) -> Caps:
    return Caps(8, 2500, 1500, 5000, budget, CARTRIDGE_ID, 1, 20_000)


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "broken"), [(1, None), (0, Broken(PenLimit.STROKE_BUDGET, 1, 0))])
def test_an_arm_needs_at_least_one_stroke(budget: int, broken: Broken | None) -> None:
    assert arm_breaks(caps(budget), OWN) == broken


@pytest.mark.parametrize(
    ("left", "broken"),
    [
        (STOP_RESERVE_STROKES + 1, None),
        (STOP_RESERVE_STROKES, Broken(PenLimit.STROKE_BUDGET, 1000, STOP_RESERVE_STROKES)),
    ],
)
def test_a_run_needs_more_strokes_than_stopping_takes(left: int, broken: Broken | None) -> None:
    assert set_point_breaks(Start(1, 1, 1000, 1000), caps(), OWN, left) == broken


@pytest.mark.parametrize(
    ("depth_um", "rate_dhz", "broken"),
    [
        (200, 200, None),
        (2500, 1500, None),
        (199, 200, Broken(PenLimit.ENVELOPE_DEPTH_MIN, 200, 199)),
        (200, 199, Broken(PenLimit.ENVELOPE_RATE_MIN, 200, 199)),
        (2501, 1500, Broken(PenLimit.ARM_DEPTH_CAP, 2500, 2501)),
        (2500, 1501, Broken(PenLimit.ARM_RATE_CAP, 1500, 1501)),
    ],
)
def test_a_set_point_at_its_limits_and_one_beyond(depth_um: int, rate_dhz: int, broken: Broken | None) -> None:
    assert set_point_breaks(Start(1, 1, depth_um, rate_dhz), caps(), OWN, 1000) == broken


def test_the_figures_of_the_firmware() -> None:
    """Those that `protocols/README.md` promises, and that its own tests take from the code."""
    assert (FRESHNESS_US, CLAIM_HOLD_US, COMMANDS_KEPT, EVENTS_KEPT) == (500_000, 2_000_000, 32, 256)
    assert (STOP_RESERVE_STROKES, BATTERY_START_PCT) == (2, 5)


# --- memory ----------------------------------------------------------------------------------------------------------


def answered(command_id: int) -> Answer:
    return Answer(command_id, 0x13, Result.OK, PenLimit.NONE, 0)


def test_a_new_memory_knows_of_no_command() -> None:
    memory = CommandMemory()
    assert memory.last_executed == 0
    assert not memory.is_spent(1)


def test_a_new_epoch_begins_with_its_claim_even_of_number_zero() -> None:
    memory = CommandMemory()
    memory.restart(answered(9))
    memory.restart(answered(0))
    assert memory.recall(9) is None
    assert [memory.is_spent(command_id) for command_id in (0, 1, 9)] == [True, False, False]
    assert memory.last_executed == 0


def test_what_was_executed_long_ago_is_forgotten_and_what_never_was_is_void() -> None:
    memory = CommandMemory()
    for command_id in range(1, COMMANDS_KEPT + 2):
        memory.remember(answered(command_id))
    assert memory.settle(1).result is Result.FORGOTTEN
    assert memory.settle(2) == answered(2)
    last = memory.last_executed
    assert memory.settle(last) == answered(last)
    assert memory.settle(last + 1).result is Result.NOT_EXECUTED
    assert memory.is_spent(last + 1)
    assert not memory.is_spent(last + 2)


# --- ownership -------------------------------------------------------------------------------------------------------


def frame(counter: int = 1, epoch: int = 0) -> Frame:
    (only,) = Decoder().feed(encode(Renew(0), epoch=epoch, counter=counter))
    return only


def claimed(now_us: int) -> Ownership:
    owner = Ownership(epoch=1, lease_us=250_000)
    assert owner.claim(Claim(1, 5, 1), frame(), now_us) is Claimed.NEW
    return owner


@pytest.mark.parametrize(("age_us", "renewed"), [(0, True), (FRESHNESS_US, True), (FRESHNESS_US + 1, False)])
def test_a_renewal_is_as_good_as_the_pen_time_it_quotes(age_us: int, renewed: bool) -> None:
    owner = claimed(now_us=0)
    assert owner.renew(1_000_000 - age_us, 1_000_000) is renewed
    assert owner.lease_until_us == (1_250_000 if renewed else None)


def test_the_time_since_the_last_renewal() -> None:
    owner = Ownership(epoch=1, lease_us=250_000)
    assert owner.since_renewal_us(5000) == -1
    owner.claim(Claim(1, 5, 1), frame(), 1000)
    assert owner.since_renewal_us(5000) == 4000
    owner.renew(3000, 3000)
    assert owner.since_renewal_us(5000) == 2000
    assert [owner.since_renewal_us(3000 + us) for us in (0x7FFFFFFF, 0x80000000)] == [0x7FFFFFFF, 0x7FFFFFFF]
