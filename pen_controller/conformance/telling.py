"""What a pen says unasked: states, samples, events; and that all of it could be read."""

import asyncio
import itertools

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import Host, later_us
from pen_controller.conformance.wire import NotApplicableError, must
from protocols.messages import WRAP, AckEvents, AskEvents, Event, State, encode
from protocols.samples import Samples
from protocols.words import EventKind, PenState

HEARTBEAT_US, ROUNDING_US = 50_000, 2_000
LISTEN_S = 1.0
CLOCK_TOLERANCE = 0.3
EVENTS_KEPT = 256
AT_ONCE = 20
RATE_TOLERANCE = 0.02


@check("STA-1")
async def heartbeat(host: Host) -> None:
    """A State comes at the latest 50 ms after the last, claimed or not, by a clock that keeps time."""
    async with host.renewing():
        claimed = await _beats(host, "claimed")
    await host.release()
    unclaimed = await _beats(host, "unclaimed")
    # The quicker of the two: a simulated pen's time stands still while its machine is busy.
    speed = max(claimed, unclaimed)
    must(abs(speed - 1) <= CLOCK_TOLERANCE, f"the pen's clock goes at {speed:.2f} of ours")


@check("STA-1", "EVT-1")
async def changes_told(host: Host) -> None:
    """Each change is told in a State and an Event at once, unasked."""
    await host.arm()
    mark = len(host.wire.heard)
    host.renew()
    await host.wire.first(Event, mark, lambda event: event.kind is EventKind.STOPPED)
    await host.wire.first(State, mark, lambda state: state.state is PenState.LATCHED)


@check("SMP-1")
async def samples_without_gaps(host: Host) -> None:
    """While claimed, samples come at the rate of Identity, numbered without a gap, their counts never falling."""
    async with host.renewing():
        mark = len(host.wire.heard)
        await asyncio.sleep(LISTEN_S)
        batches = host.wire.since(mark, Samples)
    must(len(batches) > 1, f"{len(batches)} batches of samples in {LISTEN_S} s")
    for one, other in itertools.pairwise(batches):
        missing = later_us(one.first + one.records.size, other.first)
        must(not missing, f"{missing} samples between numbers {one.first} and {other.first} were never sent")
    first, last = batches[0].records, batches[-1].records
    count = (batches[-1].first - batches[0].first) % WRAP
    rate_hz = count * 1e6 / max(1, later_us(int(first["t_us"][0]), int(last["t_us"][0])))
    wanted_hz = host.identity.sample_rate_hz
    must(abs(rate_hz - wanted_hz) <= RATE_TOLERANCE * wanted_hz, f"{rate_hz:.1f} samples a second, not {wanted_hz}")
    for name in ("t_us", "strokes", "contact_strokes", "path_um"):
        values = [int(value) for batch in batches for value in batch.records[name]]
        falls = any(later_us(one, other) >= WRAP // 2 for one, other in itertools.pairwise(values))
        must(not falls, f"{name} of a sample is less than that of the one before")


@check("SMP-1")
async def samples_only_while_claimed(host: Host) -> None:
    """Nobody's pen sends no samples, and numbers them all the same."""
    mark = len(host.wire.heard)
    last = (await host.wire.first(Samples, mark)).first
    await host.release()
    await host.fence()
    mark = len(host.wire.heard)
    await asyncio.sleep(LISTEN_S / 2)
    must(not host.wire.since(mark, Samples), "samples came though nobody owned the pen")
    await host.claim()
    first = (await host.wire.first(Samples, mark)).first
    least = round(host.identity.sample_rate_hz * LISTEN_S / 4)
    must(later_us(last, first) >= least, f"sample {first} came after {last}, half a second later")


@check("EVT-1")
async def events_kept(host: Host) -> None:
    """Events are sent again as they were, oldest first, without gaps in their numbers, until acknowledged."""
    mark = len(host.wire.heard)
    for _ in range(3):
        await host.answer(host.arming(stroke_budget=0))
    await host.fence()
    unasked = host.wire.since(mark, Event)
    before = await host.state()
    must(before.last_event == unasked[-1].number if unasked else False, f"State says last_event {before.last_event}")
    numbers = [event.number for event in await _asked(host, before.first_event - 1)]
    must(
        numbers == list(range(before.first_event, before.last_event + 1)),
        f"AskEvents brought {_span(numbers)}, not {before.first_event} to {before.last_event}",
    )
    again = await _asked(host, unasked[0].number - 1)
    must(again == unasked, f"AskEvents brought {again}, and first they were {unasked}")
    last = before.last_event
    host.say(AckEvents(last - 1))
    after = await host.state()
    must((after.first_event, after.last_event) == (last, last), f"{after.first_event} to {after.last_event} are kept")
    left = [event.number for event in await _asked(host, 0)]
    must(left == [last], f"after all but {last} were acknowledged, AskEvents brought {_span(left)}")


@check("EVT-2", "EVT-1")
async def events_overflow(host: Host) -> None:
    """256 events are kept; then the oldest give way, and `first_event` shows it."""
    async with host.renewing():
        for _ in range(EVENTS_KEPT // AT_ONCE + 1):
            refused = b"".join(host.frame(host.arming(stroke_budget=0)) for _ in range(AT_ONCE))
            host.wire.put(refused, f"{AT_ONCE} Arm")
            await host.fence()
        seen = await host.state()
        kept = [event.number for event in await _asked(host, 0)]
    must(
        kept == list(range(seen.last_event - EVENTS_KEPT + 1, seen.last_event + 1)),
        f"kept are {_span(kept)}, and the last is {seen.last_event}",
    )
    must(seen.first_event == kept[0], f"State says first_event {seen.first_event}, and the oldest is {kept[0]}")


@check("BLE-3", "LSE-3")
async def broken_connection(host: Host) -> None:
    """A connection that breaks in mid-frame ends no claim and renews no lease; the next one begins anew."""
    if not host.wire.name.startswith("ble:"):
        raise NotApplicableError("this line is no Bluetooth connection")
    await host.arm()
    host.renew()
    before = await host.state()
    host.wire.put(encode(AskEvents(0))[:8], "half a frame")
    await host.wire.close()
    await host.wire.open()
    seen = await host.state()
    must(seen.boot_id == before.boot_id, "the pen has rebooted")
    events = [event for event in await _asked(host, before.last_event) if event.kind is EventKind.STOPPED]
    told = ", ".join(f"cause {event.a} {event.b} us after the last renewal" for event in events)
    must(seen.state is PenState.LATCHED and len(events) == 1, f"{seen.state.name} after it; stopped: {told or 'never'}")


@check("FRM-4", "FRM-5", "FRM-6", "VER-2")
async def all_was_readable(host: Host) -> None:
    """All that the pen has said since the kit began were good frames, and messages of this version."""
    dropped = host.wire.decoder.dropped
    must(not dropped.total, f"dropped by the kit: {dropped}")
    must(not host.wire.unreadable, f"{len(host.wire.unreadable)} frames, the first: {host.wire.unreadable[:1]}")


async def _beats(host: Host, how: str) -> float:
    """Fail unless States come often enough; how fast the pen's clock goes by ours."""
    mark = len(host.wire.heard)
    await asyncio.sleep(LISTEN_S)
    beats = [(one.at_s, one.message.t_us) for one in host.wire.heard[mark:] if isinstance(one.message, State)]
    must(len(beats) > 1, f"{len(beats)} States in {LISTEN_S} s, {how}")
    longest_us = max(later_us(one[1], other[1]) for one, other in itertools.pairwise(beats))
    must(longest_us <= HEARTBEAT_US + ROUNDING_US, f"{how}, two States were {longest_us / 1000:.1f} ms apart")
    (first_s, first_us), (last_s, last_us) = beats[0], beats[-1]
    return later_us(first_us, last_us) / 1e6 / (last_s - first_s)


async def _asked(host: Host, after: int) -> list[Event]:
    mark = len(host.wire.heard)
    host.say(AskEvents(after))
    await host.fence()
    return host.wire.since(mark, Event)


def _span(numbers: list[int]) -> str:
    return f"{len(numbers)} events, numbers {numbers[0]} to {numbers[-1]}" if numbers else "no events"
