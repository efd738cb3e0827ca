"""`Pen`, the handle: the same treatments over every line, and what must never happen by itself."""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pen_controller.errors import DisarmedError, LinkError, PenError, PenRefusedError
from pen_controller.pen import DEAF_S, RENEW_S, SILENT_S, STOP_EVERY_S, LimitError, Pen
from pen_controller.pen.subscription import MOST_WAITING
from protocols.messages import Answer, Event, Release, Renew, Set, State, Stop
from protocols.samples import Samples
from protocols.words import Cause, EventKind, PenState
from simulator.pen import SimulatedPen
from tests.lines import (
    TODAY,
    Line,
    by_pty,
    grant_for,
    in_process,
    lose,
    needs_pty,
    on_every_line,
    run_needles,
)
from tests.running import in_virtual_time, until

# --- on every line ---------------------------------------------------------------------------------------------------


@on_every_line
async def test_a_whole_treatment(line: Line) -> None:
    async with line.plug() as plugged, Pen.open(plugged.transport()) as pen:
        assert pen.identity.serial == "PEN-0001"
        assert pen.state.stopped
        samples, events = pen.samples(), pen.events()

        await run_needles(pen)
        await until(lambda: pen.state.state is PenState.RUNNING)
        deepest_um = 0
        first_strokes: int | None = None
        async for batch in samples:
            first_strokes = int(batch["strokes"][0]) if first_strokes is None else first_strokes
            deepest_um = max(deepest_um, int(batch["depth_um"].max()))
            if batch["strokes"][-1] - first_strokes >= 20:
                break
        assert 950 < deepest_um < 1050

        await pen.set(0.5, 60.0)
        await until(lambda: (pen.state.depth_set_um, pen.state.rate_set_dhz) == (500, 600))
        await pen.disarm()
        assert pen.state.state is PenState.IDLE

        kinds = [event.kind for event in await first(events, EventKind.RETRACTED)]
        assert kinds[-4:] == [EventKind.CARTRIDGE_MARKED, EventKind.STARTED, EventKind.DISARMED, EventKind.RETRACTED]
        await run_needles(pen)  # the same cartridge, the same treatment
        latched = await pen.stop()
        assert (latched.state, latched.cause) == (PenState.LATCHED, Cause.STOP)
        with pytest.raises(PenRefusedError, match="a person must clear it first"):
            await pen.arm(await grant_for(pen), today=TODAY)
        with pytest.raises(PenRefusedError):
            await pen.clear(latched.latch_id + 1)
        await pen.clear(latched.latch_id)
        await until(lambda: pen.state.state is PenState.IDLE)
        assert pen.lost_frames == 0


@pytest.mark.hazard("H05", "H06")
@on_every_line
async def test_a_pulled_line_is_noticed_and_nothing_resumes_by_itself(line: Line) -> None:
    async with line.plug() as plugged, Pen.open(plugged.transport()) as pen:
        samples = pen.samples()
        await run_needles(pen)
        await plugged.unplug(0.4)
        with pytest.raises(LinkError, match=r"cable|gone"):
            async for _ in samples:
                pass
        assert not pen.connected
        assert re.search("cable|gone", str(pen.stop_reason))
        with pytest.raises(LinkError, match="no line to the pen"):
            await pen.start(1.0, 100.0)

        await back(pen)
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert pen.state.cause in (Cause.LEASE_EXPIRED, Cause.CLAIM_LOST)
        with pytest.raises(DisarmedError, match=r"the pen stopped: (lease expired|claim lost)"):
            await pen.start(1.0, 100.0)
        await pen.clear(pen.state.latch_id)
        await run_needles(pen)
        assert (await pen.stop()).state is PenState.LATCHED


@pytest.mark.hazard("H10")
@on_every_line
async def test_a_reboot_is_noticed_and_the_pen_comes_back_disarmed(line: Line) -> None:
    async with line.plug() as plugged, Pen.open(plugged.transport()) as pen:
        await run_needles(pen)
        boot_id = pen.identity.boot_id
        await plugged.reboot()
        await until(lambda: not pen.connected)
        assert re.search("rebooted|gone", str(pen.stop_reason))  # by radio, the link goes with the pen's power
        await back(pen)
        assert pen.identity.boot_id != boot_id
        assert pen.state.state is PenState.IDLE
        with pytest.raises(PenError, match="not armed"):
            await pen.start(1.0, 100.0)


@on_every_line
async def test_the_pens_own_button_stops_it_and_a_person_clears_it(line: Line) -> None:
    async with line.plug() as plugged, Pen.open(plugged.transport()) as pen:
        await run_needles(pen)
        await plugged.button()
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert pen.state.cause is Cause.BUTTON
        with pytest.raises(DisarmedError, match="the pen stopped: button"):
            await pen.set(0.5, 60.0)
        await pen.clear(pen.state.latch_id)
        await run_needles(pen)


@on_every_line
async def test_events_come_without_gaps_across_a_lost_line(line: Line) -> None:
    async with line.plug() as plugged, Pen.open(plugged.transport()) as pen:
        events = pen.events()
        await run_needles(pen)
        await plugged.unplug(0.4)
        await until(lambda: not pen.connected)
        await back(pen)
        heard = await first(events, EventKind.CLAIMED, 2)
        assert [event.number for event in heard] == list(range(1, len(heard) + 1))
        kinds = [event.kind for event in heard]
        assert kinds.index(EventKind.STARTED) < kinds.index(EventKind.STOPPED) < kinds.index(EventKind.RETRACTED)


@on_every_line
async def test_leaving_stops_the_needles_and_lets_the_pen_go(line: Line) -> None:
    async with line.plug() as plugged:

        async def treat() -> None:
            async with Pen.open(plugged.transport()) as pen:
                await run_needles(pen)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await treat()
        async with Pen.open(plugged.transport(), host_id=2) as pen:  # at once: it was released
            assert (pen.state.state, pen.state.cause) == (PenState.LATCHED, Cause.STOP)


async def back(pen: Pen) -> None:
    """Plug in again, as often as it takes for the line to be there."""
    while not pen.connected:
        with contextlib.suppress(LinkError):
            await pen.reconnect()
        await asyncio.sleep(0.05)


async def first(events: AsyncIterator[Event], kind: EventKind, count: int = 1) -> list[Event]:
    """Events up to the one of this kind that is number `count`."""
    heard: list[Event] = []
    async for event in events:
        heard.append(event)
        if sum(one.kind is kind for one in heard) == count:
            break
    return heard


# --- STOP ------------------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H25")
@in_virtual_time
async def test_stop_is_repeated_until_the_pen_is_seen_stopped() -> None:
    async with in_process() as bench, Pen.open(bench.transport(lose(Stop, 4))) as pen:
        await run_needles(pen)
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        assert (await pen.stop()).cause is Cause.STOP
        assert loop.time() - begun_s < 5 * STOP_EVERY_S


@pytest.mark.hazard("H25")
@in_virtual_time
async def test_what_the_pen_said_before_does_not_confirm_a_stop() -> None:
    """The last word heard is ARMED, needles in; but the pen runs, and no STOP arrives."""
    async with in_process() as bench, Pen.open(bench.transport(to_pen=lose(Stop))) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        bench.cables[0].to_host = lose(State)
        await pen.start(1.0, 100.0)
        assert pen.state.state is PenState.ARMED
        with pytest.raises(LinkError, match="not seen stopped"):
            await pen.stop()


@in_virtual_time
async def test_what_the_pen_said_before_does_not_confirm_a_disarm() -> None:
    """The last word heard is IDLE, from before the pen was armed."""
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        bench.cables[0].to_host = lose(State)
        await run_needles(pen)
        assert pen.state.state is PenState.IDLE
        with pytest.raises(LinkError, match="not seen stopped"):
            await pen.disarm()


@in_virtual_time
async def test_a_heartbeat_from_before_the_start_does_not_confirm_a_stop() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        bench.cables[0].to_pen = lambda _, frame: [(0.06, frame)]  # heartbeats come, and the start is still under way
        starting = asyncio.create_task(pen.start(1.0, 100.0))
        await asyncio.sleep(0.01)
        assert (await pen.stop()).state is PenState.LATCHED
        with contextlib.suppress(PenError):
            await starting
        assert bench.pen.firmware.state is PenState.LATCHED


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.03, 0.5])
@in_virtual_time
async def test_a_cancelled_treatment_leaves_the_pen_stopped(after_s: float) -> None:
    """Whatever was under way; at 0 and 0.001 s the start is."""
    async with in_process() as bench:
        armed = asyncio.Event()

        async def treat() -> None:
            async with Pen.open(bench.transport(lambda _, frame: [(0.002, frame)])) as pen:
                await pen.arm(await grant_for(pen), today=TODAY)
                armed.set()
                await pen.start(1.0, 100.0)
                await asyncio.sleep(60)

        treating = asyncio.create_task(treat())
        await armed.wait()
        await asyncio.sleep(after_s)
        treating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await treating
        await asyncio.sleep(0.05)
        assert bench.pen.firmware.state in (PenState.IDLE, PenState.LATCHED)
        assert Cause.LEASE_EXPIRED not in [event.a for event in bench.events if event.kind is EventKind.STOPPED]
        assert bench.pen.body.retracted
        assert isinstance(bench.cables[0].asked[-1], Release)


# --- what stops the needles without anybody's word -------------------------------------------------------------------


@pytest.mark.hazard("H05")
@pytest.mark.parametrize("running", [True, False])
@in_virtual_time
async def test_a_host_that_hears_nothing_stops_renewing_and_gives_the_line_up(running: bool) -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await pen.arm(await grant_for(pen), today=TODAY)
        if running:
            await pen.start(1.0, 100.0)
        bench.cables[0].to_pen, bench.cables[0].to_host = lose(Stop), lambda *_: []
        asked = len(bench.cables[0].asked)
        await until(lambda: not pen.connected)
        assert pen.stop_reason == "the pen has fallen silent"
        assert sum(isinstance(message, Renew) for message in bench.cables[0].asked[asked:]) <= DEAF_S / RENEW_S + 1
        assert bench.pen.firmware.state is PenState.LATCHED
        assert [event.a for event in bench.events if event.kind is EventKind.STOPPED] == [Cause.LEASE_EXPIRED]


@in_virtual_time
async def test_a_frozen_pen_is_given_up_within_its_bound_and_stays_stopped() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        loop = asyncio.get_running_loop()
        frozen_s, bench.frozen = loop.time(), True
        await until(lambda: not pen.connected)
        assert loop.time() - frozen_s <= SILENT_S + 2 * RENEW_S
        bench.frozen = False
        await asyncio.sleep(0.1)
        assert bench.pen.firmware.state is PenState.LATCHED


@in_virtual_time
async def test_a_pen_that_runs_without_sending_samples_is_stopped() -> None:
    async with in_process() as bench, Pen.open(bench.transport(to_host=lose(Samples))) as pen:
        await run_needles(pen)
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert (pen.state.cause, pen.stop_reason) == (Cause.STOP, "the pen runs but sends no samples")


@in_virtual_time
async def test_needles_that_nobody_watches_are_stopped() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        samples = pen.samples()
        await run_needles(pen)
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert (pen.state.cause, pen.stop_reason) == (Cause.STOP, "nobody reads the samples")
        for _ in range(MOST_WAITING):
            await anext(samples)
        with pytest.raises(PenError, match="did not keep up"):
            await anext(samples)


@in_virtual_time
async def test_who_has_left_off_listening_stops_nothing() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        closed, kept = pen.samples(), pen.samples()
        closed.close()
        pen.samples()
        await run_needles(pen)
        async with asyncio.timeout(30):
            for _ in range(2 * MOST_WAITING):
                await anext(kept)
        assert pen.state.state is PenState.RUNNING
        with pytest.raises(StopAsyncIteration):
            await anext(closed)
        waits = asyncio.create_task(anext(waiting := pen.samples()))
        await asyncio.sleep(0)
        waiting.close()
        with pytest.raises(StopAsyncIteration):
            await waits


@pytest.mark.hazard("H04")
@needs_pty
async def test_a_blocked_event_loop_stops_the_pen() -> None:
    """H04, over a real line: the lease is renewed by the loop itself, so nothing renews it now."""
    async with by_pty() as plugged, Pen.open(plugged.transport()) as pen:
        await run_needles(pen)
        time.sleep(0.6)  # noqa: ASYNC251  # the fault itself
        await until(lambda: pen.state.state is PenState.LATCHED or not pen.connected)
        assert (pen.connected, pen.state.cause) == (True, Cause.LEASE_EXPIRED)


# --- limits and set-points -------------------------------------------------------------------------------------------


@pytest.mark.hazard("H01")
@in_virtual_time
async def test_what_the_grant_does_not_allow_is_not_even_asked() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        grant = await grant_for(pen)
        with pytest.raises(PenError, match="not armed"):
            await pen.start(1.0, 100.0)
        await pen.arm(grant, today=TODAY)
        with pytest.raises(PenError, match="start them first"):
            await pen.set(1.0, 100.0)
        asked = len(bench.cables[0].asked)
        for depth_mm, rate_hz in ((grant.depth_cap_mm + 0.05, 100.0), (1.0, grant.rate_cap_hz + 1), (math.nan, 100.0)):
            with pytest.raises(LimitError) as caught:
                await pen.start(depth_mm, rate_hz)
            assert caught.value.refusal.limit.source
        assert asked == len(bench.cables[0].asked)


@in_virtual_time
async def test_a_set_point_that_the_pen_refuses_leaves_the_one_before_and_no_false_alarm() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        check = bench.pen.firmware._needles._check
        assert check is not None
        check.caps = replace(check.caps, rate_dhz=1000)
        with pytest.raises(PenRefusedError, match="arm rate cap: 1000"):
            await pen.set(0.5, 110.0)
        await asyncio.sleep(1.0)
        assert (pen.state.state, pen.state.depth_set_um) == (PenState.RUNNING, 1000)


@pytest.mark.parametrize("losing", ["to_pen", "to_host"])
@in_virtual_time
async def test_a_set_point_that_is_long_uncertain_raises_no_false_alarm(losing: str) -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        setattr(bench.cables[0], losing, lose(Set if losing == "to_pen" else Answer, 2))
        await pen.set(0.5, 60.0)
        await asyncio.sleep(1.0)
        assert (pen.state.state, pen.state.depth_set_um) == (PenState.RUNNING, 500)


# --- connections -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_another_pen_on_the_same_port_is_not_taken_for_the_one_before() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await bench.unplug(0.0)
        bench.pen = SimulatedPen(number=2)
        await asyncio.sleep(0.01)
        with pytest.raises(LinkError, match="PEN-0002 answers where PEN-0001 was"):
            await pen.reconnect()
        assert not pen.connected


@in_virtual_time
async def test_a_claim_lost_to_another_program_is_not_taken_back() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        await bench.unplug(0.0)
        await asyncio.sleep(2.1)
        async with Pen.open(bench.transport(), host_id=2):
            with pytest.raises(PenRefusedError, match="another program owns it"):
                await pen.reconnect()


@in_virtual_time
async def test_acknowledged_events_are_forgotten_by_the_pen() -> None:
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        heard = await first(pen.events(), EventKind.CLAIMED)
        pen.acknowledge_events(heard[-1].number)
        await until(lambda: pen.state.first_event == heard[-1].number + 1)


@in_virtual_time
async def test_after_closing_the_handle_says_so() -> None:
    async with in_process() as bench:
        async with Pen.open(bench.transport()) as pen:
            samples, events = pen.samples(), pen.events()
        assert [event async for event in events][-1].kind is EventKind.CLAIMED
        async for _ in samples:
            pass
        with pytest.raises(LinkError, match="closed"):
            await pen.arm(None, today=TODAY)  # type: ignore[arg-type]  # it is not looked at
