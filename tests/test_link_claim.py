"""One connection, in virtual time: whose pen it is, who is there, and what is heard over a bad line."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from pen_controller.errors import LinkError, PenRefusedError
from pen_controller.pen import Pen
from pen_controller.pen.link import ASK_TRIES, COMMAND_TRIES, HELLO_S
from pen_controller.transports.inprocess import InProcessTransport
from protocols import framing
from protocols.messages import (
    Answer,
    AskCartridge,
    AskIdentity,
    AskState,
    Cartridge,
    Claim,
    Event,
    Renew,
    State,
    encode,
)
from protocols.samples import Samples
from protocols.words import Cause, EventKind, PenState
from tests.lines import (
    HOST_ID,
    Pieces,
    in_process,
    lose,
    message_in,
    opened,
    run_needles,
    silence,
    whole,
)
from tests.running import in_virtual_time, until

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


@pytest.mark.parametrize("lost_answers", range(ASK_TRIES))
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
        assert sum(isinstance(message, AskCartridge) for message in bench.cables[0].asked) == ASK_TRIES


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
