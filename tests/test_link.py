"""One connection, in virtual time: whatever the line loses, repeats or delays, a command is executed once or never."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from pen_controller.errors import CommandLostError, DisarmedError, PenRefusedError, UncertainError
from pen_controller.pen import Pen
from pen_controller.pen.link import SETTLE_TRIES
from pen_controller.transports import Transport
from protocols import framing
from protocols.messages import (
    Answer,
    Arm,
    Claim,
    Command,
    Disarm,
    Release,
    Set,
    Settle,
    Start,
    Stop,
    encode,
)
from protocols.samples import SampleArray
from protocols.words import Cause, PenLimit, PenState, Result
from tests.lines import (
    TODAY,
    Cable,
    Fault,
    Pieces,
    VirtualPen,
    grant_for,
    in_process,
    lose,
    message_in,
    opened,
    whole,
)
from tests.running import in_virtual_time, run, until
from tests.safety_case.figures import measured

FrameFault = Callable[[bytes], Pieces]


def lost(_: bytes) -> Pieces:
    return []


def repeated(frame: bytes) -> Pieces:
    return [(0.0, frame), (0.0, frame), (0.03, frame)]


def late(frame: bytes) -> Pieces:
    return [(0.06, frame)]


def damaged(frame: bytes) -> Pieces:
    middle = len(frame) // 2
    return [(0.0, frame[:middle] + bytes([frame[middle] ^ 0x55]) + frame[middle + 1 :])]


def at(number: int, fault: FrameFault) -> Fault:
    """Let this happen to frame `number`."""
    return lambda n, frame: fault(frame) if n == number else whole(n, frame)


# --- whatever happens to one frame of a treatment --------------------------------------------------------------------


async def treat(transport: Transport) -> None:
    """A short treatment with every command in it."""
    async with Pen.open(transport) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        samples = pen.samples()
        await pen.start(1.0, 100.0)
        await strokes(samples, 12)
        await pen.set(0.8, 80.0)
        await until(lambda: (pen.state.depth_set_um, pen.state.rate_set_dhz) == (800, 800))
        await strokes(samples, 12)
        await pen.disarm()
        assert pen.state.state is PenState.IDLE
        assert pen.stop_reason is None


async def strokes(samples: AsyncIterator[SampleArray], count: int) -> None:
    """Read samples until the needles have gone in so often."""
    first: int | None = None
    async for batch in samples:
        first = int(batch["strokes"][0]) if first is None else first
        if batch["strokes"][-1] - first >= count:
            return


def treated(to_pen: Fault = whole, to_host: Fault = whole) -> tuple[VirtualPen, Cable]:
    """Treat over a line with such faults."""
    benches: list[VirtualPen] = []

    async def treatment() -> None:
        async with in_process() as bench:
            benches.append(bench)
            await treat(bench.transport(to_pen, to_host))

    run(treatment(), virtual=True)
    return benches[0], benches[0].cables[0]


EXECUTED: list[type[Command]] = [Claim, Arm, Start, Set, Disarm]


@pytest.mark.hazard("H08")
@pytest.mark.parametrize("fault", [lost, repeated, late, damaged])
@pytest.mark.parametrize("direction", ["to_pen", "to_host"])
def test_nothing_that_happens_to_one_frame_of_a_treatment_changes_what_is_done(
    direction: str, fault: FrameFault
) -> None:
    _, cable = treated()
    frames = len(cable.asked if direction == "to_pen" else cable.said)
    for number in range(1, frames + 1):
        bench, _ = treated(**{direction: at(number, fault)})
        done = [answer for answer in bench.executed if answer.command_type != Release.TYPE]
        assert [answer.result for answer in done] == [Result.OK] * len(EXECUTED), number
        measured("twice", len(done) - len({answer.command_type for answer in done}), of=len(done))
        assert [answer.command_type for answer in done] == [kind.TYPE for kind in EXECUTED], number


def test_lost_frames_are_counted_and_repeated_ones_are_not() -> None:
    async def lost_frames(to_host: Fault) -> int:
        async with in_process() as bench, Pen.open(bench.transport(to_host=to_host)) as pen:
            await until(lambda: len(bench.cables[0].said) > 20)
            return pen.lost_frames

    counts = []

    async def count() -> None:
        counts.extend(
            [
                await lost_frames(at(9, lost)),
                await lost_frames(at(9, repeated)),
                await lost_frames(lambda n, frame: [] if n in range(7, 12) else whole(n, frame)),
            ]
        )

    run(count(), virtual=True)
    assert counts == [1, 0, 5]


# --- H08: lost answers -----------------------------------------------------------------------------------------------


@pytest.mark.hazard("H08")
@pytest.mark.parametrize("answers", range(SETTLE_TRIES + 1))
@in_virtual_time
async def test_a_lost_answer_is_settled_by_asking(answers: int) -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        cable = bench.cables[0]
        await pen.arm(await grant_for(pen), today=TODAY)
        asked, cable.to_host = len(cable.asked), lose(Answer, answers)
        await pen.start(1.0, 100.0)
        measured("settled", settles(cable, asked))
        assert settles(cable, asked) == answers
        assert [answer.command_type for answer in bench.executed].count(Start.TYPE) == 1
        assert pen.state.state is PenState.RUNNING


@pytest.mark.hazard("H08")
@in_virtual_time
async def test_a_command_that_cannot_be_settled_is_uncertain_and_stops_the_pen() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        cable = bench.cables[0]
        await pen.arm(await grant_for(pen), today=TODAY)
        asked, cable.to_host = len(cable.asked), lose(Answer)
        with pytest.raises(UncertainError, match="start"):
            await pen.start(1.0, 100.0)
        measured("settled", settles(cable, asked))
        assert settles(cable, asked) == SETTLE_TRIES
        assert isinstance(cable.asked[-1], Stop)
        cable.to_host = whole
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert pen.state.cause is Cause.STOP
        assert "start" in str(pen.stop_reason)


@pytest.mark.hazard("H08")
@in_virtual_time
async def test_a_link_by_itself_sends_stop_for_a_command_that_cannot_be_settled() -> None:
    async with in_process() as bench, opened(bench, to_host=lose(Answer)) as link:
        with pytest.raises(UncertainError, match="told it to stop"):
            await link.command("disarm", Disarm)
        assert [message for message in bench.cables[0].asked if isinstance(message, Stop)] == [Stop()]


@in_virtual_time
async def test_a_command_that_stop_overtook_is_not_sent_again() -> None:
    async with in_process() as bench, opened(bench, to_pen=lose(Disarm)) as link:
        await link.claim()
        disarming = asyncio.create_task(link.command("disarm", Disarm))
        await until(lambda: isinstance(bench.cables[0].asked[-1], Disarm))
        link.stop()
        with pytest.raises(CommandLostError, match="STOP was sent before the command to disarm reached the pen"):
            await disarming
        assert sum(isinstance(message, Disarm) for message in bench.cables[0].asked) == 1


@pytest.mark.hazard("H08")
@in_virtual_time
async def test_while_a_command_is_uncertain_no_other_is_sent_but_stop_is() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        cable = bench.cables[0]
        await pen.arm(await grant_for(pen), today=TODAY)
        cable.to_host = lose(Answer, SETTLE_TRIES)
        starting = asyncio.create_task(pen.start(1.0, 100.0))
        await asyncio.sleep(0.1)
        disarming = asyncio.create_task(pen.disarm())
        await asyncio.sleep(0.1)
        assert not any(isinstance(message, Disarm) for message in cable.asked)
        state = await pen.stop()
        assert (state.state, state.cause) == (PenState.LATCHED, Cause.STOP)
        assert not starting.done()
        assert not disarming.done()
        with pytest.raises(DisarmedError, match="the pen stopped: stop"):
            await starting
        with pytest.raises(PenRefusedError, match="clear"):
            await disarming


@pytest.mark.hazard("H08")
@in_virtual_time
async def test_a_command_that_never_arrives_is_reported_lost_and_never_done() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        bench.cables[0].to_pen = lose(Start)
        with pytest.raises(CommandLostError, match="start"):
            await pen.start(1.0, 100.0)
        assert pen.state.state is PenState.ARMED
        measured("twice", sum(answer.command_type == Start.TYPE for answer in bench.executed))
        assert Start.TYPE not in [answer.command_type for answer in bench.executed]


@pytest.mark.hazard("H08")
@in_virtual_time
async def test_a_command_that_arrives_after_it_was_given_up_is_not_executed() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        first = len(bench.cables[0].asked) + 1
        bench.cables[0].to_pen = lambda n, frame: [(2.0, frame)] if n == first else whole(n, frame)
        await pen.start(1.0, 100.0)  # the second try
        await pen.disarm()
        await asyncio.sleep(2.5)
        assert [answer.command_type for answer in bench.executed].count(Start.TYPE) == 1
        assert pen.state.state is PenState.IDLE


@pytest.mark.hazard("H08")
@pytest.mark.parametrize("result", [Result.FORGOTTEN, Result.NOT_CLAIMED, Result.STALE_EPOCH])
@in_virtual_time
async def test_a_pen_that_cannot_say_what_it_did_leaves_the_command_uncertain(result: Result) -> None:
    """The table below "When an answer is lost": neither done nor refused."""

    def forget(n: int, frame: bytes) -> Pieces:
        message = message_in(frame)
        if not isinstance(message, Answer):
            return whole(n, frame)
        if message.command_type == Start.TYPE and not settles(cable):
            return []
        kind = 0 if result is Result.FORGOTTEN else Settle.TYPE
        (header,) = framing.Decoder().feed(frame)
        answer = Answer(message.command_id, kind, result, PenLimit.NONE, 0)
        return [(0.0, encode(answer, epoch=header.epoch, counter=header.counter))]

    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        cable = bench.cables[0]
        await pen.arm(await grant_for(pen), today=TODAY)
        cable.to_host = forget
        with pytest.raises(UncertainError):
            await pen.start(1.0, 100.0)
        cable.to_host = whole
        assert (await pen.stop()).cause is Cause.STOP


def settles(cable: Cable, since: int = 0) -> int:
    return sum(isinstance(message, Settle) for message in cable.asked[since:])
