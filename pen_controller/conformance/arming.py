"""Arm: the pen takes the caps of one area as they are, or refuses them."""

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import AREA, BUDGET_STROKES, Host, described
from pen_controller.conformance.wire import NotApplicableError, must
from protocols.messages import Disarm, Event, Stop
from protocols.words import Cause, EventKind, PenLimit, PenState, Result, StateFlag

U16_MOST = 0xFFFF


@check("ARM-1.1", "STP-4", needles=True)
async def arm_while_running(host: Host) -> None:
    """Arm while RUNNING is answered WRONG_STATE, stops the needles and latches ARMED_WHILE_RUNNING."""
    async with host.renewing():
        await host.run()
        await host.expect(host.arming(), Result.WRONG_STATE)
        await host.latched(Cause.ARMED_WHILE_RUNNING)


@check("ARM-1.2", "ARM-3")
async def arm_while_latched(host: Host) -> None:
    """Arm and Disarm are answered LATCHED by a latched pen."""
    host.say(Stop())
    await host.latched(Cause.STOP)
    await host.expect(host.arming(), Result.LATCHED)
    await host.expect(Disarm(host.next_id()), Result.LATCHED)
    await host.latched(Cause.STOP)


@check("ARM-1.3", "ARM-2", "EVT-3")
async def caps_outside_envelope(host: Host) -> None:
    """A cap outside the envelope is refused with its limit and value, makes an event, and arms nothing."""
    own = host.identity
    for field, asked, limit, value in (
        ("depth_cap_um", own.max_depth_um + 1, PenLimit.ENVELOPE_DEPTH_MAX, own.max_depth_um),
        ("depth_cap_um", own.min_depth_um - 1, PenLimit.ENVELOPE_DEPTH_MIN, own.min_depth_um),
        ("rate_cap_dhz", own.max_rate_dhz + 1, PenLimit.ENVELOPE_RATE_MAX, own.max_rate_dhz),
        ("rate_cap_dhz", own.min_rate_dhz - 1, PenLimit.ENVELOPE_RATE_MIN, own.min_rate_dhz),
        ("force_cap_mn", own.max_force_mn + 1, PenLimit.ENVELOPE_FORCE_MAX, own.max_force_mn),
    ):
        if 0 <= asked <= U16_MOST:
            await _refused(host, {field: asked}, limit, asked, value)


@check("ARM-1.3", "EVT-3")
async def no_budget(host: Host) -> None:
    """A stroke budget of 0 is refused as STROKE_BUDGET."""
    await _refused(host, {"stroke_budget": 0}, PenLimit.STROKE_BUDGET, 0)


@check("ARM-1.4")
async def other_cartridge(host: Host) -> None:
    """Another cartridge than the one that is in, or none, is refused."""
    if not host.cartridge.cartridge_id:
        await host.expect(host.arming(cartridge_id=1), Result.CARTRIDGE, PenLimit.CARTRIDGE_ABSENT)
        return
    other_id = host.cartridge.cartridge_id ^ 1
    await host.expect(host.arming(cartridge_id=other_id), Result.CARTRIDGE, PenLimit.CARTRIDGE_OTHER)
    await _not_armed(host)


@check("ARM-1.4")
async def used_cartridge(host: Host) -> None:
    """A cartridge that another treatment used, and a treatment 0, are refused."""
    host.needs_cartridge()
    treatments = [0]
    if (await host.state()).flags & StateFlag.CARTRIDGE_PRESENT and host.cartridge.used_by:
        treatments.append(host.cartridge.used_by ^ 1)
    for treatment in treatments:
        await host.expect(host.arming(treatment=treatment), Result.CARTRIDGE, PenLimit.CARTRIDGE_USED)
    await _not_armed(host)


@check("ARM-1.4")
async def expired_cartridge(host: Host) -> None:
    """A cartridge is refused on the day after its last day of use, and taken on that day."""
    host.needs_cartridge()
    last_days = host.cartridge.expiry_days
    if last_days == U16_MOST:
        raise NotApplicableError("the cartridge never expires")
    expired = host.arming(today_days=last_days + 1)
    await host.expect(expired, Result.CARTRIDGE, PenLimit.CARTRIDGE_EXPIRED, last_days)
    await _not_armed(host)
    await host.expect(host.arming(today_days=last_days), Result.OK)


@check("ARM-1.5", "STA-1")
async def armed(host: Host) -> None:
    """An Arm that holds arms the pen: the next arm epoch, the caps kept, the deepest begun anew, told in a State."""
    mark = len(host.wire.heard)
    first = await host.arm()
    event = await host.event(EventKind.ARMED, mark)
    must((event.a, event.b) == (AREA, first), f"the event ARMED holds {event.a}, {event.b}")
    seen = await host.reached(PenState.ARMED)
    must(
        (seen.arm_epoch, seen.area, seen.budget_left) == (first, AREA, BUDGET_STROKES),
        f"State holds arm epoch {seen.arm_epoch}, area {seen.area}, budget left {seen.budget_left}",
    )
    second = await host.arm()
    must(second == first + 1, f"arm epoch {second} came after {first}")


@check("ARM-3")
async def disarmed(host: Host) -> None:
    """Disarm makes an ARMED pen IDLE without a latch, and is OK when IDLE."""
    await host.arm()
    await host.expect(Disarm(host.next_id()), Result.OK)
    await _not_armed(host)
    await host.expect(Disarm(host.next_id()), Result.OK)


@check("ARM-3", needles=True)
async def disarmed_running(host: Host) -> None:
    """Disarm while RUNNING retracts and stops; then the pen is IDLE, without a latch."""
    async with host.renewing():
        await host.run()
        await host.expect(Disarm(host.next_id()), Result.OK)
        seen = await host.reached(PenState.IDLE, PenState.LATCHED)
    must(seen.state is PenState.IDLE, f"latched with {seen.cause.name}")
    await _not_armed(host)


async def _refused(host: Host, caps: dict[str, int], limit: PenLimit, asked: int, value: int | None = None) -> None:
    mark = len(host.wire.heard)
    answer = await host.answer(host.arming(**caps))
    wanted = (Result.OVER_LIMIT, limit, answer.value if value is None else value)
    must(
        (answer.result, answer.limit, answer.value) == wanted,
        f"Arm with {caps} was answered {described(answer)}, not OVER_LIMIT {limit.name} {wanted[2]}",
    )
    await _not_armed(host)
    await host.fence()
    told = [(event.a, event.b) for event in host.wire.since(mark, Event) if event.kind is EventKind.REFUSED]
    must(told == [(limit, asked)], f"the refusal made events {told}, not [({limit:d}, {asked})]")


async def _not_armed(host: Host) -> None:
    seen = await host.state()
    must(seen.state is PenState.IDLE and not seen.arm_epoch, f"{seen.state.name}, arm epoch {seen.arm_epoch}")
