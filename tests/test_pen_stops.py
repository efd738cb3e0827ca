"""What is called off, lost or overtaken ends with the needles in: in virtual time, on a line that delays and loses."""

import asyncio
import contextlib

import pytest

from pen_controller.errors import DisarmedError, LinkError, PenError
from pen_controller.pen import Pen
from protocols.messages import Answer, Claim, Start, Stop
from protocols.words import EventKind, PenState
from tests.lines import TODAY, Fault, VirtualPen, grant_for, in_process, message_in
from tests.running import in_virtual_time, until


def slow(delay_s: float) -> Fault:
    return lambda _, frame: [(delay_s, frame)]


def drop_first(*kinds: type) -> Fault:
    """Lose the first frame of each of these kinds."""
    left = set(kinds)

    def fault(_: int, frame: bytes) -> list[tuple[float, bytes]]:
        kind = type(message_in(frame))
        if kind in left:
            left.discard(kind)
            return []
        return [(0.0, frame)]

    return fault


def started(plugged: VirtualPen) -> int:
    return sum(event.kind is EventKind.STARTED for event in plugged.events)


@in_virtual_time
async def test_a_start_that_is_called_off_is_stopped() -> None:
    async with in_process() as plugged, Pen.open(plugged.transport(slow(0.06), slow(0.06))) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pen.start(1.0, 100.0), 0.03)
        assert pen.may_run, "it may still begin to run"
        await until(lambda: pen.state.state is PenState.LATCHED, "the stop")
        assert not pen.may_run
        strokes = plugged.pen.body.true_strokes
        await asyncio.sleep(3)
        assert plugged.pen.body.retracted
        assert plugged.pen.body.true_strokes == strokes < 20


@in_virtual_time
async def test_a_start_of_a_pen_that_is_not_armed_says_why_it_is_not() -> None:
    async with in_process() as plugged, Pen.open(plugged.transport()) as pen:
        with pytest.raises(DisarmedError, match="the pen is not armed: arm it with a grant first"):
            await pen.start(1.0, 100.0)
        await pen.arm(await grant_for(pen), today=TODAY)
        plugged.pen.firmware.button()
        await until(lambda: pen.state.state is PenState.LATCHED, "the latch")
        with pytest.raises(DisarmedError, match="the pen stopped: button"):
            await pen.start(1.0, 100.0)
        await pen.clear(pen.state.latch_id)
        await pen.arm(await grant_for(pen), today=TODAY)
        pen.stop_now("somebody came in")
        with pytest.raises(DisarmedError, match="somebody came in"):
            await pen.start(1.0, 100.0)
        assert plugged.pen.body.true_strokes == 0


@pytest.mark.hazard("H08", "H25")
@in_virtual_time
async def test_a_start_is_not_sent_again_after_a_stop() -> None:
    async with in_process() as plugged, Pen.open(plugged.transport(drop_first(Start, Stop))) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        starting = asyncio.create_task(pen.start(1.0, 100.0))
        await asyncio.sleep(0.1)
        pen.stop_now()
        with pytest.raises(PenError):
            await starting
        await until(lambda: pen.state.state is PenState.LATCHED, "the stop")
        assert started(plugged) == 0


@in_virtual_time
async def test_a_lost_stop_is_repeated_until_the_pen_is_seen_latched() -> None:
    async with in_process() as plugged, Pen.open(plugged.transport(drop_first(Stop))) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        pen.stop_now()
        await until(lambda: pen.state.state is PenState.LATCHED, "the stop, although the pen was not running")


@in_virtual_time
async def test_a_line_lost_with_the_answer_to_the_claim_is_no_connection() -> None:
    async with in_process() as plugged:

        def pull_after_claim(_: int, frame: bytes) -> list[tuple[float, bytes]]:
            said = message_in(frame)
            if isinstance(said, Answer) and said.command_type == Claim.TYPE:
                asyncio.get_running_loop().call_soon(plugged.cables[0].pull)
            return [(0.0, frame)]

        with pytest.raises(LinkError):
            async with Pen.open(plugged.transport(to_host=pull_after_claim)):
                pass
