"""One connection, in virtual time: whatever the line loses, repeats or delays, a command is executed once or never."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from pen_controller.errors import CommandLostError, LinkError, PenError, PenRefusedError, UncertainError
from pen_controller.pen import Pen
from pen_controller.pen.link import COMMAND_TRIES, HELLO_S, SETTLE_TRIES, Link
from pen_controller.transports import Transport
from pen_controller.transports.inprocess import InProcessTransport
from protocols import framing
from protocols.messages import (
    Answer,
    Arm,
    AskCartridge,
    AskIdentity,
    AskState,
    Cartridge,
    Claim,
    Command,
    Disarm,
    Event,
    Release,
    Renew,
    Set,
    Settle,
    Start,
    State,
    Stop,
    encode,
)
from protocols.samples import SampleArray, Samples
from protocols.words import Cause, EventKind, PenLimit, PenState, Result
from tests.lines import TODAY, Cable, Fault, VirtualPen, grant_for, in_process, lose, message_in, run_needles, whole
from tests.running import in_virtual_time, run, until
from tests.safety_case.figures import measured

Pieces = Iterable[tuple[float, bytes]]
FrameFault = Callable[[bytes], Pieces]
HOST_ID = 5


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


def silence(*_: object) -> Pieces:
    return []


@contextlib.asynccontextmanager
async def opened(
    bench: VirtualPen,
    to_pen: Fault = whole,
    to_host: Fault = whole,
    hear: Callable[[object], None] = lambda _: None,
    lost: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Link]:
    """A link by itself: nobody renews but the test."""
    link = Link(bench.transport(to_pen, to_host), HOST_ID, hear, lost)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


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
        with pytest.raises(PenError, match="told to stop while"):
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


# --- the lease, and whose pen it is ----------------------------------------------------------------------------------


@in_virtual_time
async def test_renewals_quote_the_newest_pen_time() -> None:
    """LSE-4, also while only samples get through."""
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        cable = bench.cables[0]
        await run_needles(pen)
        cable.to_host = lose(State)
        await asyncio.sleep(0.8)
        renewals = [message.seen_t_us for message in cable.asked if isinstance(message, Renew)]
        assert bench.clock_us() - renewals[-1] < 150_000
        assert bench.pen.firmware.state is PenState.RUNNING


@pytest.mark.hazard("H09")
@in_virtual_time
async def test_a_second_host_is_refused_and_told_so_but_its_stop_is_obeyed() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        with pytest.raises(PenRefusedError, match="another program owns it"):
            async with Pen.open(bench.transport(), host_id=HOST_ID):
                pytest.fail("two hosts")
        async with opened(bench) as other:
            assert pen.state.state is PenState.RUNNING
            other.stop()
            await until(lambda: pen.state.state is PenState.LATCHED)
            assert pen.state.cause is Cause.STOP


@pytest.mark.hazard("H09")
@in_virtual_time
async def test_a_claim_by_another_program_ends_the_connection() -> None:
    async with in_process() as bench, opened(bench) as link:
        await link.claim()
        bench.cables[0].to_host = silence
        await asyncio.sleep(2.1)  # the claim lapses, and this host does not hear of it
        async with Pen.open(bench.transport(), host_id=HOST_ID + 1):
            bench.cables[0].to_host = whole
            await until(lambda: link.lost_why is not None)
            assert link.lost_why == "another program has claimed the pen"
            assert link.claimed_epoch == 0


@in_virtual_time
async def test_a_host_that_did_not_renew_is_told_that_the_pen_has_let_go() -> None:
    async with in_process() as bench, opened(bench) as link:
        await link.claim()
        await until(lambda: link.lost_why is not None)
        assert link.lost_why == "the pen was not renewed for two seconds and has let go of this program"


@in_virtual_time
async def test_without_a_claim_nothing_is_renewed_or_released() -> None:
    async with in_process() as bench, opened(bench) as link:
        await link.ask_state()
        link.renew()
        link.release()
        assert [type(message) for message in bench.cables[0].asked[-2:]] == [AskIdentity, AskState]


@in_virtual_time
async def test_without_a_pen_time_to_quote_nothing_is_renewed() -> None:
    async with in_process() as bench, opened(bench) as link:
        await link.claim()
        link._seen_t_us = None
        link.renew()
        assert not any(isinstance(message, Renew) for message in bench.cables[0].asked)


# --- claiming over a bad line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost_answers", range(2 * COMMAND_TRIES))
@in_virtual_time
async def test_a_claim_whose_answer_is_lost_is_repeated(lost_answers: int) -> None:
    async with in_process() as bench, opened(bench, to_host=lose(Answer, lost_answers)) as link:
        await link.claim()
        assert link.claimed_epoch == bench.pen.firmware.epoch
        claims = [message for message in bench.cables[0].asked if isinstance(message, Claim)]
        assert len(claims) == lost_answers + 1


@in_virtual_time
async def test_a_claim_that_is_never_answered_is_given_up() -> None:
    async with in_process() as bench, opened(bench, to_host=lose(Answer)) as link:
        with pytest.raises(LinkError, match="the pen does not answer the claim"):
            await link.claim()
        claims = [message for message in bench.cables[0].asked if isinstance(message, Claim)]
        assert len(claims) == 2 * COMMAND_TRIES
        assert link.claimed_epoch == 0


@in_virtual_time
async def test_a_claim_that_another_one_overtook_is_made_anew() -> None:
    """Its epoch is stale: the pen has been claimed and released since this host asked."""
    claims: list[Claim] = []

    def overtaken(n: int, frame: bytes) -> Pieces:
        message = message_in(frame)
        if not isinstance(message, Claim):
            return whole(n, frame)
        claims.append(message)
        stale = replace(message, seen_epoch=message.seen_epoch - 1) if len(claims) == 1 else message
        return [(0.0, encode(stale, epoch=0, counter=n))]

    async with in_process() as bench, opened(bench, overtaken) as link:
        await link.claim()
        assert len(claims) == 2
        assert link.claimed_epoch == bench.pen.firmware.epoch


@in_virtual_time
async def test_a_pen_that_reboots_as_it_is_claimed_is_not_ours() -> None:
    """The answer and the new boot's first word come in one piece."""

    def reboots(n: int, frame: bytes) -> Pieces:
        if not isinstance(message_in(frame), Answer):
            return whole(n, frame)
        assert link.state is not None
        rebooted = replace(link.state, boot_id=link.state.boot_id + 1)
        return [(0.0, frame + encode(rebooted, epoch=1, counter=1))]

    async with in_process() as bench, opened(bench, to_host=reboots) as link:
        with pytest.raises(LinkError, match="the pen has rebooted"):
            await link.claim()
        assert link.claimed_epoch == 0


# --- who is there ----------------------------------------------------------------------------------------------------


class Stranger:
    """Something at the end of the line that is no pen of this protocol.

    Args:
        reply: what it makes of the host's bytes.
    """

    def __init__(self, reply: Callable[[bytes], bytes]) -> None:
        self.reply = reply

    def connect(self, receive: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        del lost
        self.receive = receive

    def take(self, data: bytes) -> None:
        if answer := self.reply(data):
            self.receive(answer)

    def disconnect(self) -> None:
        pass


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (lambda _: b"", "nothing answers there; is the pen switched on"),
        (lambda _: b"login: ", "but it is no pen"),
        (lambda data: data, "but it is no pen"),
        (lambda _: framing.encode(0x81, 1, 1, bytes(150), version=2), "version 2.*update this program"),
    ],
    ids=["silent", "something else", "echo", "newer"],
)
@in_virtual_time
async def test_what_is_no_pen_is_named_within_three_seconds(reply: Callable[[bytes], bytes], says: str) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(LinkError, match=says) as caught:
        async with Pen.open(InProcessTransport(Stranger(reply))):
            pytest.fail("no pen")
    assert loop.time() <= (0.2 if "version" in says else HELLO_S) <= 3.0
    assert "\n" not in str(caught.value)


@in_virtual_time
async def test_a_pen_is_found_through_noise() -> None:
    noise = 0

    def noisy(n: int, frame: bytes) -> Pieces:
        nonlocal noise
        noise += 1
        return whole(n, b"\x07noise" * (noise % 7) + frame)

    async with in_process() as bench, Pen.open(bench.transport(noisy, noisy)) as pen:
        await run_needles(pen)
        assert (await pen.stop()).state is PenState.LATCHED


@in_virtual_time
async def test_a_message_that_this_protocol_does_not_know_is_passed_over() -> None:
    unknown = framing.encode(0xEE, 1, 1, b"from a later minor version")
    async with in_process() as bench, opened(bench, to_host=lambda n, frame: whole(n, unknown + frame)) as link:
        assert (await link.ask_state()).state is PenState.IDLE


@pytest.mark.parametrize("lost_answers", range(SETTLE_TRIES))
@in_virtual_time
async def test_a_question_whose_answer_is_lost_is_asked_again(lost_answers: int) -> None:
    async with in_process() as bench, opened(bench, to_host=lose(Cartridge, lost_answers)) as link:
        assert await link.cartridge() == bench.pen.firmware.cartridge
        assert sum(isinstance(message, AskCartridge) for message in bench.cables[0].asked) == lost_answers + 1


@in_virtual_time
async def test_a_question_that_is_never_answered_is_given_up() -> None:
    async with in_process() as bench, opened(bench, to_host=lose(Cartridge)) as link:
        with pytest.raises(LinkError, match="the pen does not answer"):
            await link.cartridge()
        assert sum(isinstance(message, AskCartridge) for message in bench.cables[0].asked) == SETTLE_TRIES


@in_virtual_time
async def test_a_line_breaks_once_and_for_the_first_reason() -> None:
    reasons: list[str] = []
    async with in_process() as bench, opened(bench, lost=reasons.append) as link:
        link.lose("the first reason")
        link.lose("another reason")
        await link.close()
        assert (reasons, link.lost_why) == (["the first reason"], "the first reason")
        with pytest.raises(LinkError, match="the first reason"):
            await link.ask_state()


@in_virtual_time
async def test_events_are_sent_again_until_they_are_acknowledged() -> None:
    heard: list[object] = []
    async with in_process() as bench, opened(bench, hear=heard.append) as link:

        async def asked_again() -> list[EventKind]:
            heard.clear()
            link.ask_events(0)
            await until(lambda: any(isinstance(said, Event) for said in heard))
            return [said.kind for said in heard if isinstance(said, Event)]

        await link.claim()
        assert await asked_again() == [EventKind.BOOTED, EventKind.CLAIMED]
        link.acknowledge_events(1)
        assert await asked_again() == [EventKind.CLAIMED]


@in_virtual_time
async def test_who_waits_when_the_line_breaks_gets_the_reason() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        bench.cables[0].to_host = lose(Answer)
        waiting = asyncio.create_task(pen.disarm())
        await asyncio.sleep(0.05)
        await bench.unplug(0.1)
        with pytest.raises(LinkError, match="cable was pulled"):
            await waiting
        with pytest.raises(LinkError, match="no line to the pen: the cable was pulled"):
            await pen.disarm()


@in_virtual_time
async def test_samples_that_states_overtake_are_heard_and_none_counts_as_lost() -> None:
    """Over Bluetooth LE they take two ways."""

    def slow_samples(_: int, frame: bytes) -> Pieces:
        return [(0.02 if isinstance(message_in(frame), Samples) else 0.0, frame)]

    async with in_process() as bench, Pen.open(bench.transport(to_host=slow_samples)) as pen:
        samples = pen.samples()
        times = [int(t_us) for _ in range(10) for t_us in (await anext(samples))["t_us"]]
        assert {after - before for before, after in pairwise(times)} == {10_000}
        await until(lambda: pen.lost_frames == 0, "the samples on their way")


@in_virtual_time
async def test_samples_are_heard_in_order_and_without_gaps() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        samples = pen.samples()
        times = [int(t_us) for _ in range(10) for t_us in (await anext(samples))["t_us"]]
        assert len(times) > 10
        assert {after - before for before, after in pairwise(times)} == {10_000}
        said = [message for message in bench.cables[0].said if isinstance(message, Samples)]
        assert len(said) >= 10
