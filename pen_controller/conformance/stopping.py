"""Stopping: at once, for every cause, and latched until a person clears it."""

import asyncio

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import HOLD_S, Host, later_us
from pen_controller.conformance.wire import must
from protocols.messages import WRAP, AskIdentity, AskState, Clear, Disarm, Event, Identity, State, Stop
from protocols.words import Cause, EventKind, PenState, Result, StateFlag

HOME_STROKES = 2
LATE_US = 10_000
"""How late a pen's own time may show that the needles are home."""
BUSY_FRAMES = 50
BUDGET_STROKES = 6
LEAST_RUN_S = 0.4


@check("STP-1", "STP-2", "STA-1")
async def stop_idle(host: Host) -> None:
    """STOP latches a pen that is IDLE, with a new latch id that is not 0, and is answered by a State at once."""
    mark = len(host.wire.heard)
    host.say(Stop())
    await host.ask(AskIdentity(), Identity)
    seen = host.wire.since(mark, State)
    must(seen and seen[-1].state is PenState.LATCHED, "no State LATCHED came before the next answer")
    first = await host.latched(Cause.STOP)
    must(first.latch_id and StateFlag.RETRACTED in first.flags, f"latch id {first.latch_id}, {first.flags!r}")
    await host.expect(Clear(host.next_id(), first.latch_id), Result.OK)
    host.say(Stop())
    second = await host.latched(Cause.STOP)
    must(second.latch_id not in (0, first.latch_id), f"latch id {second.latch_id} came after {first.latch_id}")


@check("STP-1", "STP-2")
async def stop_armed(host: Host) -> None:
    """STOP latches a pen that is ARMED, and the arm is forgotten."""
    await host.arm()
    host.say(Stop())
    seen = await host.latched(Cause.STOP)
    must((seen.arm_epoch, seen.area, seen.budget_left) == (0, 0, 0), f"the arm is still there: {seen}")


@check("STP-1")
async def stop_while_busy(host: Host) -> None:
    """STOP is heard in the midst of many other frames."""
    many = host.frame(AskState()) * BUSY_FRAMES
    host.wire.put(many + host.frame(Stop()) + many, f"Stop between {2 * BUSY_FRAMES} AskState")
    await host.fence()
    await host.latched(Cause.STOP)


@check("STP-1", "STP-2", needles=True)
async def stop_running(host: Host) -> None:
    """STOP brings running needles home within 2 strokes, where they stay."""
    async with host.renewing():
        await host.run()
        await asyncio.sleep(LEAST_RUN_S)
        mark = len(host.wire.heard)
        host.say(Stop())
        await host.latched(Cause.STOP)
        stopped, home = await host.event(EventKind.STOPPED, mark), await host.event(EventKind.RETRACTED, mark)
        must(stopped.a == Cause.STOP, f"the event STOPPED holds cause {stopped.a}")
        must(0 <= home.b <= HOME_STROKES, f"home after {home.b} strokes")
        took_us = later_us(stopped.t_us, home.t_us)
        must(took_us <= HOME_STROKES * host.stroke_us + LATE_US, f"home after {took_us} us")
        at_rest = await host.state()
        must(at_rest.depth_set_um == 0 and StateFlag.RETRACTED in at_rest.flags, f"not at rest: {at_rest}")
        await asyncio.sleep(LEAST_RUN_S)
        strokes = ((await host.state()).strokes - at_rest.strokes) % WRAP
        must(not strokes, f"{strokes} strokes after the needles were home")


@check("STP-3")
async def first_cause_stays(host: Host) -> None:
    """A latched pen keeps its latch id and cause, whatever cause comes after."""
    await host.arm()
    host.renew()
    first = await host.latched(Cause.LEASE_EXPIRED)
    mark = len(host.wire.heard)
    host.say(Stop())
    await host.fence()
    again = await host.latched(Cause.LEASE_EXPIRED)
    must(again.latch_id == first.latch_id, f"the latch id went from {first.latch_id} to {again.latch_id}")
    stops = [event.kind.name for event in host.wire.since(mark, Event)]
    must(not stops, f"STOP of a latched pen made events {', '.join(stops)}")


@check("STP-4", needles=True)
async def budget_spent(host: Host) -> None:
    """The pen stops by itself before its stroke budget is overspent, and latches BUDGET_SPENT."""
    async with host.renewing():
        before = await host.state()
        await host.run(stroke_budget=BUDGET_STROKES)
        within_s = 2 * BUDGET_STROKES * host.stroke_us / 1e6
        after = await host.latched(Cause.BUDGET_SPENT, within_s + LEAST_RUN_S)
    strokes = (after.strokes - before.strokes) % WRAP
    must(0 < strokes <= BUDGET_STROKES, f"{strokes} strokes on a budget of {BUDGET_STROKES}")


@check("STP-5")
async def clear_the_latch(host: Host) -> None:
    """Clear ends a latch only with its own id; without a latch it is answered WRONG_STATE."""
    await host.expect(Clear(host.next_id(), (await host.state()).latch_id), Result.WRONG_STATE)
    host.say(Stop())
    latch_id = (await host.latched(Cause.STOP)).latch_id
    for other in (latch_id - 1, (latch_id + 1) % 0x10000, 0):
        await host.expect(Clear(host.next_id(), other), Result.WRONG_STATE)
        await host.latched(Cause.STOP)
    mark = len(host.wire.heard)
    await host.expect(Clear(host.next_id(), latch_id), Result.OK)
    must((await host.event(EventKind.CLEARED, mark)).a == latch_id, "the event CLEARED holds another latch id")
    seen = await host.state()
    must((seen.state, seen.cause) == (PenState.IDLE, Cause.NONE), f"{seen.state.name}, {seen.cause.name}")


@check("STP-5", "CLM-6")
async def latch_stays(host: Host) -> None:
    """Neither time, a lapsed claim, a new claim, renewals, Disarm nor STOP ends a latch."""
    host.say(Stop())
    first = await host.latched(Cause.STOP)
    await asyncio.sleep(HOLD_S + 0.2)
    must(StateFlag.CLAIMED not in (await host.latched(Cause.STOP)).flags, "the claim has not lapsed")
    must((await host.claim()).result is Result.OK, "a latched pen could not be claimed")
    host.renew()
    await host.expect(Disarm(host.next_id()), Result.LATCHED)
    host.say(Stop())
    await host.fence()
    last = await host.latched(Cause.STOP)
    must(last.latch_id == first.latch_id, f"the latch id went from {first.latch_id} to {last.latch_id}")
