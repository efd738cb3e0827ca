"""The lease: needles move only while their host proves that it hears the pen."""

import asyncio

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import Host, later_us
from pen_controller.conformance.wire import must
from protocols.messages import Event
from protocols.words import Cause, EventKind, PenState, Result

LEASE_US = 250_000
LATE_US = 20_000
"""How late a pen's own time may show the end of a lease: two looks of a slow control loop."""
FRESH_US, STALE_US = 200_000, 600_000
LONG_S = 0.6


@check("LSE-1")
async def fresh_renewals(host: Host) -> None:
    """Renewals that quote a pen time of less than 500 ms ago are accepted."""
    await host.arm()
    await host.renewed()
    async with host.renewing(back_us=FRESH_US):
        await asyncio.sleep(LONG_S)
        seen = await host.state()
        must(seen.state is PenState.ARMED, f"{seen.state.name}, {seen.cause.name}, though renewed all the while")


@check("LSE-1")
async def stale_renewals(host: Host) -> None:
    """Renewals that quote a pen time of more than 500 ms ago are void."""
    await _void(host, STALE_US)


@check("LSE-1")
async def renewals_from_the_future(host: Host) -> None:
    """Renewals that quote a pen time still to come are void."""
    await _void(host, -10 * STALE_US)


@check("LSE-2", "RUN-1.3", needles=True)
async def no_lease_by_claim(host: Host) -> None:
    """A claim brings no lease: Start is answered NO_LEASE."""
    arm_epoch = await host.arm()
    await host.expect(host.starting(arm_epoch), Result.NO_LEASE)


@check("LSE-2", "LSE-3")
async def lease_ends_armed(host: Host) -> None:
    """The lease lasts 250 ms; when it ends, a pen that is ARMED latches LEASE_EXPIRED."""
    await host.arm()
    await _ends(host)


@check("LSE-2", "LSE-3", needles=True)
async def lease_ends_running(host: Host) -> None:
    """The lease lasts 250 ms; when it ends, a pen that is RUNNING stops at once and latches LEASE_EXPIRED."""
    async with host.renewing():
        await host.run()
    await _ends(host)


async def _void(host: Host, back_us: int) -> None:
    await host.arm()
    await host.renewed()
    async with host.renewing(back_us=back_us):
        await host.latched(Cause.LEASE_EXPIRED)


async def _ends(host: Host) -> None:
    mark = len(host.wire.heard)
    before_us, after_us = await host.renewed()
    stopped = await host.event(EventKind.STOPPED, mark)
    must(stopped.a == Cause.LEASE_EXPIRED, f"stopped for cause {stopped.a}")
    most_us, least_us = later_us(before_us, stopped.t_us), later_us(after_us, stopped.t_us)
    told_us = f"{least_us / 1000:.0f} to {most_us / 1000:.0f} ms after the last renewal"
    must(most_us >= LEASE_US and least_us <= LEASE_US + LATE_US, f"stopped {told_us}")
    must(abs(stopped.b - LEASE_US) <= LATE_US, f"STOPPED tells of {stopped.b} us since the last renewal")
    await host.latched(Cause.LEASE_EXPIRED)
    events = [event.kind for event in host.wire.since(mark, Event)]
    must(events[:2] == [EventKind.STOPPED, EventKind.RETRACTED], f"events {', '.join(kind.name for kind in events)}")
