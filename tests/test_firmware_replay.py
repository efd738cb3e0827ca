"""H07: corrupt, stale, repeated and reordered frames execute nothing."""

from collections.abc import Callable

import numpy as np
import pytest

from protocols import framing
from protocols.messages import (
    WRAP,
    AckEvents,
    Answer,
    Clear,
    Disarm,
    Release,
    Renew,
    Set,
    Start,
    State,
    Stop,
    encode,
)
from protocols.words import PenLimit, PenState, Result
from tests.safety_case.figures import measured
from tests.virtual_pen import LEASE_US, MS, SECOND, Host, VirtualPen, running


def treatment() -> VirtualPen:
    """A pen in the middle of a long conversation, which `sent` holds."""
    virtual = running(1000, 1000)
    for depth_um in (500, 800, 1200):
        virtual.set(depth_um, 900)
        virtual.run(200 * MS)
    virtual.ask(Disarm(virtual.next_id()))
    virtual.run(100 * MS)
    virtual.arm(area=4, depth_um=500)
    virtual.start(400, 700)
    virtual.run(200 * MS)
    latch_id = next(said.latch_id for said in virtual.say(Stop()) if isinstance(said, State)) + 1
    virtual.sent.pop()  # whoever says Stop again means it
    virtual.run(100 * MS)
    assert virtual.ask(Clear(virtual.next_id(), latch_id)).result is Result.OK
    virtual.say(AckEvents(3))
    running(600, 500, virtual)
    return virtual


def still_running() -> VirtualPen:
    return treatment()


def released() -> VirtualPen:
    virtual = treatment()
    virtual.ask(Release(virtual.next_id()))
    virtual.run(100 * MS, renew=False)
    return virtual


def lapsed() -> VirtualPen:
    virtual = treatment()
    virtual.run(3 * SECOND, renew=False)
    return virtual


def claimed_again() -> VirtualPen:
    virtual = released()
    sent, virtual.sent = virtual.sent, []
    virtual.host = Host()
    running(500, 500, virtual)
    virtual.sent = sent
    return virtual


def claimed_by_another() -> VirtualPen:
    virtual = released()
    sent, virtual.sent = virtual.sent, []
    virtual.host = Host(host_id=0xB)
    running(500, 500, virtual)
    virtual.sent = sent
    return virtual


def rebooted() -> VirtualPen:
    virtual = treatment()
    virtual.pen.reboot(virtual.now_us)
    virtual.run(100 * MS, renew=False)
    return virtual


def rebooted_and_claimed() -> VirtualPen:
    virtual = rebooted()
    sent, virtual.sent = virtual.sent, []
    virtual.host = Host()
    running(500, 500, virtual)
    virtual.sent = sent
    return virtual


AFTERWARDS = (
    still_running,
    released,
    lapsed,
    claimed_again,
    claimed_by_another,
    rebooted,
    rebooted_and_claimed,
)


@pytest.mark.hazard("H07", "H09")
@pytest.mark.parametrize("afterwards", AFTERWARDS)
@pytest.mark.parametrize("order", ["same", "backwards", 1, 2, 3])
def test_a_whole_conversation_again_executes_nothing(afterwards: Callable[[], VirtualPen], order: str | int) -> None:
    virtual = afterwards()
    frames = list(virtual.sent)
    if order == "backwards":
        frames.reverse()
    elif isinstance(order, int):
        frames = [frames[index] for index in np.random.default_rng(order).permutation(len(frames))]
    assert len(frames) > 30
    before, driven = virtual.state, list(virtual.body.driven)
    for frame in frames:
        virtual.put(frame)
        measured("executed", virtual.state != before)
        assert virtual.state == before
    last_us = virtual.renewed_us
    virtual.run(SECOND, every_us=MS, renew=False)
    assert virtual.body.driven == driven
    if before.state is PenState.RUNNING:
        assert virtual.body.retracts[-1][0] == last_us + LEASE_US


def test_the_conversation_did_execute_the_first_time() -> None:
    """Or the test above would prove nothing."""
    virtual = treatment()
    assert [depth_um for _, depth_um in virtual.body.driven] == [1000, 500, 800, 1200, 400, 600]


@pytest.mark.hazard("H07")
def test_damaged_frames_execute_nothing() -> None:
    virtual = running(1000, 1000)
    chance = np.random.default_rng(7)
    host, before, driven = virtual.host, virtual.state, list(virtual.body.driven)
    honest = [
        encode(message, epoch=host.epoch, counter=host.counter + 1)
        for message in (
            Set(host.command_id + 1, host.arm_epoch, 300, 300),
            Disarm(host.command_id + 1),
            Release(host.command_id + 1),
            Stop(),
            Renew(virtual.now_us),
        )
    ]
    for data in honest:
        for _ in range(300):
            damaged = bytearray(data)
            for place in chance.choice(np.arange(1, len(data) - 1), chance.integers(1, 4), replace=False):
                damaged[place] ^= int(chance.integers(1, 256))
            virtual.put(b"\0" + bytes(damaged) + b"\0")
            measured("executed", virtual.state != before)
    assert virtual.endpoint._decoder.dropped.total > 1000
    assert virtual.state == before
    assert virtual.body.driven == driven
    virtual.put(honest[0])
    assert virtual.state.depth_set_um == 300


@pytest.mark.hazard("H07")
@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_executes_nothing(version: int) -> None:
    virtual = running()
    frame = framing.encode(Stop.TYPE, 0, 0, b"", version=version)
    assert virtual.put(frame) == []
    assert virtual.state.state is PenState.RUNNING
    assert virtual.pen.firmware.rejected == 1


@pytest.mark.hazard("H07")
def test_unknown_types_wrong_lengths_and_the_pens_own_messages_execute_nothing() -> None:
    virtual = running()
    batch = virtual.samples()[0]
    host, before = virtual.host, virtual.state
    strange = [
        framing.encode(0x7F, host.epoch, 1 << 20, b""),
        framing.encode(Start.TYPE, host.epoch, 1 << 20, b"123"),
        encode(batch, epoch=host.epoch, counter=1 << 20),
        encode(Answer(1, 2, Result.OK, PenLimit.NONE, 0), epoch=host.epoch, counter=1 << 20),
    ]
    for count, frame in enumerate(strange, 1):
        assert virtual.put(frame) == []
        assert virtual.pen.firmware.rejected == count
    assert virtual.state == before


@pytest.mark.hazard("H07")
def test_an_overtaken_frame_is_dropped() -> None:
    virtual = running()
    host = virtual.host
    first = encode(Set(host.command_id + 1, host.arm_epoch, 900, 900), epoch=host.epoch, counter=host.counter + 1)
    second = encode(Set(host.command_id + 2, host.arm_epoch, 300, 300), epoch=host.epoch, counter=host.counter + 2)
    assert virtual.put(second)
    assert virtual.put(first) == []
    assert virtual.state.depth_set_um == 300


@pytest.mark.parametrize("start", [0, 0xFFFFFFFD, 0x7FFFFFFE])
def test_the_frame_counter_may_wrap(start: int) -> None:
    virtual = VirtualPen()
    virtual.host.counter = start
    virtual.claim()
    for _ in range(6):
        assert virtual.ask(Disarm(virtual.next_id())).result is Result.OK
    virtual.host.counter = (virtual.host.counter - 6) % WRAP
    assert virtual.say(Disarm(99)) == []
