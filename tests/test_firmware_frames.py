"""What the pen makes of each frame by itself: questions answered, useless ones counted, memory across boots."""

from dataclasses import replace

import numpy as np
import pytest

from protocols import framing
from protocols.messages import (
    WRAP,
    Answer,
    AskCartridge,
    AskIdentity,
    AskState,
    Cartridge,
    Disarm,
    Event,
    Identity,
    Message,
    Renew,
    State,
    encode,
)
from protocols.samples import SAMPLE, Samples
from protocols.words import Cause, EventKind, PenLimit, Result, StateFlag
from simulator.ownership import FRESHNESS_US
from tests.virtual_pen import MS, SECOND, Host, VirtualPen, armed, running


def test_the_first_word_is_of_the_boot() -> None:
    virtual = VirtualPen()
    assert [said for said in virtual.heard if isinstance(said, Event)] == [Event(1, 0, EventKind.BOOTED, 0, 0)]


@pytest.mark.parametrize(
    ("question", "kind"), [(AskState(), State), (AskIdentity(), Identity), (AskCartridge(), Cartridge)]
)
@pytest.mark.parametrize("who", ["owner", "stranger", "anyone"])
def test_a_question_is_answered_once_whoever_asks(who: str, question: Message, kind: type[Message]) -> None:
    virtual = VirtualPen()
    if who != "anyone":
        virtual.claim()
    host = Host(host_id=0xB) if who == "stranger" else virtual.host
    assert [type(said) for said in virtual.say(question, host)] == [kind]
    assert virtual.pen.firmware.rejected == 0


def test_each_frame_that_comes_to_nothing_is_counted_once() -> None:
    virtual = VirtualPen()
    virtual.claim()
    stale = Renew((virtual.now_us - FRESHNESS_US - 1) % WRAP)
    samples = encode(Samples(0, np.zeros(1, SAMPLE)), epoch=virtual.host.epoch, counter=1)
    for count in range(0, 10, 5):
        virtual.say(stale)
        assert virtual.pen.firmware.rejected == count + 1
        virtual.put(virtual.sent[-1])  # repeated
        assert virtual.pen.firmware.rejected == count + 2
        virtual.say(Answer(1, 1, Result.OK, PenLimit.NONE, 0))  # what only a pen says
        assert virtual.pen.firmware.rejected == count + 3
        virtual.put(samples)
        assert virtual.pen.firmware.rejected == count + 4
        virtual.put(framing.encode(0xEE, 0, 0, b""))  # of no known type
        assert virtual.pen.firmware.rejected == count + 5
    virtual.renew()
    assert virtual.pen.firmware.rejected == 10


def test_the_next_boot_goes_on_with_the_same_memory_of_cartridges() -> None:
    virtual = running(for_us=100 * MS)
    used = virtual.pen.firmware.used_cartridges
    assert used == {virtual.pen.firmware.cartridge.cartridge_id: 7}
    virtual.pen.reboot(virtual.now_us)
    assert virtual.pen.firmware.used_cartridges is used


def test_the_state_is_said_every_50_ms_and_when_it_changes_and_not_else() -> None:
    virtual = VirtualPen()
    virtual.run(SECOND)
    said = [state.t_us for state in virtual.heard if isinstance(state, State)]
    assert said == list(range(0, SECOND + 1, 50 * MS))


def test_the_flags_of_a_state() -> None:
    virtual = VirtualPen()
    virtual.pen.firmware.cartridge = replace(virtual.pen.firmware.cartridge, cartridge_id=0)
    assert virtual.state.flags == StateFlag.RETRACTED
    virtual.claim()
    assert virtual.state.flags == StateFlag.RETRACTED | StateFlag.CLAIMED
    assert running().state.flags == StateFlag.CLAIMED | StateFlag.CARTRIDGE_PRESENT


def test_the_state_tells_of_an_arm_only_while_there_is_one() -> None:
    virtual = armed()
    assert (virtual.state.arm_epoch, virtual.state.area) == (1, 8)
    virtual.ask(Disarm(virtual.next_id()))
    assert (virtual.state.arm_epoch, virtual.state.area) == (0, 0)


def test_a_depth_beyond_what_the_wire_can_say_is_said_as_its_most() -> None:
    virtual = running()
    virtual.body.depth_drift_um = 70_000
    virtual.run(200 * MS)
    assert (virtual.state.deepest_um, virtual.state.cause) == (0xFFFF, Cause.OVER_DEPTH)
    assert max(batch.records["depth_um"].max() for batch in virtual.samples()) == 0xFFFF
