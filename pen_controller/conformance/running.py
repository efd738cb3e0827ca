"""Start and Set: needles move as asked, under the arm in force, or not at all. In the air, at the least depth."""

import asyncio

import numpy as np

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import Host
from pen_controller.conformance.wire import NotApplicableError, must
from protocols.messages import WRAP, AskCartridge, Cartridge, Event, Set, Start, State, Stop
from protocols.samples import Samples
from protocols.words import Capability, Cause, EventKind, PenLimit, PenState, Result, SampleFlag

RESERVE_STROKES = 2
BATTERY_PCT = 5
SETTLE_S, WATCH_S = 0.4, 0.8
DEPTH_TOLERANCE_UM = 100
RATE_MOST, RATE_LEAST = 1.1, 0.5
"""The pen stops a motor that is a tenth too fast, and one that ends no stroke in two periods."""


@check("RUN-1.1", "RUN-3", needles=True)
async def start_unarmed(host: Host) -> None:
    """Start and Set are answered WRONG_STATE by an IDLE pen, and LATCHED by a latched one."""
    host.renew()
    await host.expect(host.starting(0), Result.WRONG_STATE)
    await host.expect(_setting(host, 0), Result.WRONG_STATE)
    host.say(Stop())
    await host.latched(Cause.STOP)
    await host.expect(host.starting(0), Result.LATCHED)
    await host.expect(_setting(host, 0), Result.LATCHED)


@check("RUN-1.2", "RUN-3", needles=True)
async def stale_arm(host: Host) -> None:
    """Start under another arm epoch than the one in force is answered STALE_ARM; Set when ARMED, WRONG_STATE."""
    async with host.renewing():
        stale, arm_epoch = await host.arm(), await host.arm()
        await host.expect(host.starting(stale), Result.STALE_ARM)
        await host.expect(host.starting(arm_epoch + 1), Result.STALE_ARM)
        await host.expect(_setting(host, arm_epoch), Result.WRONG_STATE)


@check("RUN-1.4", "ARM-2", "EVT-3", needles=True)
async def start_over_caps(host: Host) -> None:
    """Start over the arm's caps or outside the envelope is refused, with the limit and its value."""
    own = host.identity
    async with host.renewing():
        arm = host.arming()
        host.needs_cartridge()
        arm_epoch = (await host.expect(arm, Result.OK)).value
        for depth_um, rate_dhz, limit, value in (
            (arm.depth_cap_um + 1, host.rate_dhz, PenLimit.ARM_DEPTH_CAP, arm.depth_cap_um),
            (own.min_depth_um - 1, host.rate_dhz, PenLimit.ENVELOPE_DEPTH_MIN, own.min_depth_um),
            (host.depth_um, arm.rate_cap_dhz + 1, PenLimit.ARM_RATE_CAP, arm.rate_cap_dhz),
            (host.depth_um, own.min_rate_dhz - 1, PenLimit.ENVELOPE_RATE_MIN, own.min_rate_dhz),
        ):
            if depth_um >= 0:
                mark = len(host.wire.heard)
                start = Start(host.next_id(), arm_epoch, depth_um, rate_dhz)
                await host.expect(start, Result.OVER_LIMIT, limit, value)
                must((await host.event(EventKind.REFUSED, mark)).a == limit, f"no event REFUSED tells of {limit.name}")
        must((await host.state()).state is PenState.ARMED, "not ARMED after a Start that was refused")


@check("RUN-1.4", needles=True)
async def start_without_strokes(host: Host) -> None:
    """Start is refused when no more than the reserve of 2 strokes is left of the budget."""
    async with host.renewing():
        arm_epoch = await host.arm(stroke_budget=RESERVE_STROKES)
        await host.expect(host.starting(arm_epoch), Result.OVER_LIMIT, PenLimit.STROKE_BUDGET)


@check("RUN-1.5", needles=True)
async def start_without_charge(host: Host) -> None:
    """Start is refused under 5 % of charge."""
    host.needs(Capability.BATTERY)
    charge_pct = (await host.state()).battery_pct
    if charge_pct >= BATTERY_PCT:
        raise NotApplicableError(f"the charge is {charge_pct} %: run this check again with an empty battery")
    async with host.renewing():
        arm_epoch = await host.arm()
        await host.expect(host.starting(arm_epoch), Result.OVER_LIMIT, PenLimit.BATTERY, BATTERY_PCT)


@check("RUN-1.7", "STA-1", needles=True)
async def running(host: Host) -> None:
    """A Start that holds makes the pen RUNNING as asked, and its strokes are counted."""
    async with host.renewing():
        before = await host.state()
        mark = len(host.wire.heard)
        await host.run()
        event = await host.event(EventKind.STARTED, mark)
        asked = (host.depth_um, host.rate_dhz)
        must((event.a, event.b) == asked, f"the event STARTED holds {event.a} um, {event.b} dhz")
        seen = await host.state()
        must((seen.depth_set_um, seen.rate_set_dhz) == asked, f"State holds {seen.depth_set_um}, {seen.rate_set_dhz}")
        await asyncio.sleep(SETTLE_S)
        seen = await host.state()
    must((seen.strokes - before.strokes) % WRAP > 0, f"no stroke was counted in {SETTLE_S} s")


@check("STP-4", "SMP-1", needles=True)
async def as_asked(host: Host) -> None:
    """Running needles are measured within 0.1 mm of the depth and 110 % of the rate asked for, or the pen stops."""
    async with host.renewing():
        await host.run()
        await asyncio.sleep(SETTLE_S)
        mark = len(host.wire.heard)
        await asyncio.sleep(WATCH_S)
        seen = await host.state()
        must(seen.state is PenState.RUNNING, f"it stopped: {seen.cause.name}")
        samples = np.concatenate([batch.records for batch in host.wire.since(mark, Samples)] or [_NO_SAMPLES])
    must(len(samples), f"no samples in {WATCH_S} s")
    must(bool((samples["flags"] & SampleFlag.RUNNING).all()), "samples of running needles without the flag RUNNING")
    strokes = int(samples["strokes"][-1] - samples["strokes"][0])
    took_us = int(samples["t_us"][-1] - samples["t_us"][0])
    rate_dhz = strokes * 1e7 / took_us
    least, most = host.rate_dhz * RATE_LEAST, host.rate_dhz * RATE_MOST + 1e7 / took_us
    must(least <= rate_dhz <= most, f"{strokes} strokes in {took_us} us, {rate_dhz:.0f} dhz, not {host.rate_dhz}")
    if Capability.DEPTH_SENSOR in host.identity.capabilities:
        for told, deepest_um in (("samples", int(samples["depth_um"].max())), ("State", seen.deepest_um)):
            off_um = abs(deepest_um - host.depth_um)
            must(off_um <= DEPTH_TOLERANCE_UM, f"{told}: deepest at {deepest_um} um, not {host.depth_um}, and no stop")


@check("RUN-2", needles=True)
async def use_mark(host: Host) -> None:
    """The use mark is written before the first stroke, and the cartridge is refused for any other treatment."""
    host.needs(Capability.CARTRIDGE_TAG)
    fresh = not (await host.ask(AskCartridge(), Cartridge)).used_by
    mark = len(host.wire.heard)
    async with host.renewing():
        await host.run()
        used_by = (await host.ask(AskCartridge(), Cartridge)).used_by
        must(used_by == host.treatment, f"the tag says used by {used_by}, not by treatment {host.treatment}")
        await host.event(EventKind.STARTED, mark)
        host.say(Stop())
    kinds = [event.kind for event in host.wire.since(mark, Event)]
    if fresh:
        marked = EventKind.CARTRIDGE_MARKED in kinds[: kinds.index(EventKind.STARTED)]
        must(marked, "no event CARTRIDGE_MARKED before STARTED")
    await host.reset()
    other = host.arming(treatment=host.treatment ^ 1)
    await host.expect(other, Result.CARTRIDGE, PenLimit.CARTRIDGE_USED)


@check("RUN-3", needles=True)
async def set_while_running(host: Host) -> None:
    """Set changes depth and rate while RUNNING."""
    depth_um = host.arming().depth_cap_um
    async with host.renewing():
        arm_epoch = await host.run()
        await host.expect(Set(host.next_id(), arm_epoch, depth_um, host.rate_dhz), Result.OK)
        seen = await host.state()
        must(seen.depth_set_um == depth_um, f"State holds a depth of {seen.depth_set_um} um, not {depth_um}")


@check("RUN-3", "ARM-2", needles=True)
async def refused_set(host: Host) -> None:
    """A Set over the caps, or under another arm, is refused and changes nothing."""
    own, arm = host.identity, host.arming()
    async with host.renewing():
        arm_epoch = await host.run()
        before = await host.state()
        for quoted, depth_um, rate_dhz, result, limit in (
            (arm_epoch, arm.depth_cap_um + 1, host.rate_dhz, Result.OVER_LIMIT, PenLimit.ARM_DEPTH_CAP),
            (arm_epoch, host.depth_um, arm.rate_cap_dhz + 1, Result.OVER_LIMIT, PenLimit.ARM_RATE_CAP),
            (arm_epoch, host.depth_um, own.min_rate_dhz - 1, Result.OVER_LIMIT, PenLimit.ENVELOPE_RATE_MIN),
            (arm_epoch - 1, host.depth_um, host.rate_dhz, Result.STALE_ARM, PenLimit.NONE),
        ):
            await host.expect(Set(host.next_id(), quoted, depth_um, rate_dhz), result, limit)
            seen = await host.state()
            must(_driven(seen) == _driven(before), f"a refused Set made {_driven(before)} {_driven(seen)}")


def _setting(host: Host, arm_epoch: int) -> Set:
    return Set(host.next_id(), arm_epoch, host.depth_um, host.rate_dhz)


def _driven(seen: State) -> tuple[str, int, int]:
    return seen.state.name, seen.depth_set_um, seen.rate_set_dhz


_NO_SAMPLES = np.zeros(0, dtype=[("t_us", "<u4"), ("strokes", "<u4"), ("depth_um", "<u2"), ("flags", "<u2")])
