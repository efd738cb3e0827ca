"""Checks a pen and the line to it, real or simulated, against the wire's specification. The needles do not move.

It claims the pen, listens, asks, sends STOP, and lets the claim lapse; it arms nothing and starts nothing.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pen_controller.errors import LinkError, PenError
from pen_controller.meanwhile import meanwhile
from pen_controller.pen.link import ANSWER_S, Link
from pen_controller.pen.pen import HOST_ID, RENEW_S
from pen_controller.transports import transport_for
from protocols.messages import WRAP, Clear, Event, Identity, State
from protocols.samples import Samples
from protocols.words import Cause, EventKind, PenState

LISTEN_S = 5.0
ROUND_TRIPS = 100
LEASE_MS = 250
HEARTBEAT_MS = 50.0
ROUNDING_MS = 1.0
RATE_TOLERANCE = 0.01
HOLD_S = 2.0
"""A claim that is not renewed lapses after this."""
HOLD_EARLIEST_S, HOLD_LATEST_S = 1.7, 2.6
"""Seen from here: the last renewal may have left a moment ago, and arrived late."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a pen must do: what was seen, and what had to be."""

    name: str
    seen: str
    wanted: str
    good: bool


class _Witness:
    """Remembers what the pen says unasked."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.events: dict[int, Event] = {}
        self.samples: list[Samples] = []
        self.lost = asyncio.Event()
        self.changed = asyncio.Event()

    def hear(self, message: State | Event | Samples) -> None:
        if isinstance(message, State):
            self.states.append(message)
        elif isinstance(message, Event):
            self.events[message.number] = message
        else:
            self.samples.append(message)
        self.changed.set()

    async def until(self, seen: Callable[[], bool]) -> bool:
        """Wait for this as long as an answer may take; False if it does not come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while not seen():
                    self.changed.clear()
                    await self.changed.wait()
        return seen()


async def selftest(url: str, *, seconds: float = LISTEN_S) -> list[Check]:
    """Check the pen at a URL; takes about ten seconds.

    Args:
        url: as for `Pen.open`.
        seconds: how long to listen to heartbeats and samples.

    Raises:
        LinkError: there is no pen to be had there, or its line is lost meanwhile.
        PenRefusedError: another program owns it.
    """
    witness = _Witness()
    link = Link(transport_for(url), HOST_ID, witness.hear, lambda _: witness.lost.set())
    identity = await link.open()
    try:
        await link.claim()
        async with meanwhile(_renew(link), "renew"):
            checks = [
                _identity(identity),
                *await _listen(witness, identity, seconds),
                await _round_trip(link),
                await _events(link, witness),
                *await _stop(link, witness),
            ]
        frames = Check("lost frames", str(link.lost_frames), "0", link.lost_frames == 0)
        return [*checks, frames, await _lapse(witness)]
    finally:
        link.release()
        await link.close()


async def _renew(link: Link) -> None:
    """Keep the claim alive."""
    while True:
        link.renew()
        await asyncio.sleep(RENEW_S)


def _identity(identity: Identity) -> Check:
    seen = f"{identity.serial}, {identity.model}, firmware {identity.firmware}, lease {identity.lease_ms} ms"
    sound = (
        bool(identity.serial)
        and identity.min_depth_um < identity.max_depth_um
        and identity.min_rate_dhz <= identity.max_rate_dhz
        and identity.lease_ms == LEASE_MS
    )
    return Check("identity", seen, f"a serial number, an envelope, a lease of {LEASE_MS} ms", sound)


async def _listen(witness: _Witness, identity: Identity, seconds: float) -> list[Check]:
    """Heartbeats and samples, by the pen's own clock: what the line adds does not count."""
    witness.states.clear()
    witness.samples.clear()
    await asyncio.sleep(seconds)
    beats_us = [state.t_us for state in witness.states]
    longest_ms = _longest_us(beats_us) / 1000
    numbers = [(batch.first + index) % WRAP for batch in witness.samples for index in range(batch.records.size)]
    gaps = sum((after - before) % WRAP != 1 for before, after in itertools.pairwise(numbers))
    rate_hz, wanted_hz = _rate_hz(witness.samples), identity.sample_rate_hz
    return [
        Check(
            "heartbeat",
            f"{len(beats_us)} in {seconds:g} s, at most {longest_ms:.1f} ms apart",
            f"at most {HEARTBEAT_MS:g} ms apart",
            len(beats_us) > 1 and longest_ms <= HEARTBEAT_MS + ROUNDING_MS,
        ),
        Check(
            "sample rate",
            f"{rate_hz:.1f} Hz, {len(numbers)} samples",
            f"{wanted_hz} Hz",
            abs(rate_hz - wanted_hz) <= RATE_TOLERANCE * wanted_hz,
        ),
        Check("samples missing", str(gaps), "no gap in their numbers", bool(numbers) and gaps == 0),
    ]


def _longest_us(times_us: list[int]) -> int:
    return max(((after - before) % WRAP for before, after in itertools.pairwise(times_us)), default=0)


def _rate_hz(batches: list[Samples]) -> float:
    """Samples a second of pen time, from the numbers and times of the first and the last."""
    if not batches:
        return 0.0
    first, last = batches[0], batches[-1]
    count = (last.first + last.records.size - 1 - first.first) % WRAP
    span_us = (int(last.records["t_us"][-1]) - int(first.records["t_us"][0])) % WRAP
    return count / span_us * 1e6 if span_us else 0.0


async def _round_trip(link: Link) -> Check:
    loop = asyncio.get_running_loop()
    took_ms = []
    for _ in range(ROUND_TRIPS):
        began_s = loop.time()
        await link.cartridge()
        took_ms.append((loop.time() - began_s) * 1000)
    p50_ms, p99_ms = np.percentile(took_ms, [50, 99])
    seen = f"p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms"
    return Check("round trip", seen, f"p99 under {ANSWER_S * 1000:.0f} ms", bool(p99_ms < ANSWER_S * 1000))


async def _events(link: Link, witness: _Witness) -> Check:
    """All events that the pen keeps, asked for once more."""
    state = await link.ask_state()
    witness.events.clear()
    link.ask_events(state.first_event - 1)
    wanted = set(range(state.first_event, state.last_event + 1))
    await witness.until(lambda: wanted <= witness.events.keys())
    missing = wanted - witness.events.keys()
    claimed = any(event.kind is EventKind.CLAIMED for event in witness.events.values())
    seen = f"{len(witness.events)} kept, {len(missing)} missing{'' if claimed else ', no claim among them'}"
    return Check("events", seen, "all numbers that the pen keeps, the claim among them", claimed and not missing)


async def _stop(link: Link, witness: _Witness) -> list[Check]:
    """STOP latches a pen at rest too. A latch that was there before stays: it is for a person to clear."""
    loop = asyncio.get_running_loop()
    before = await link.ask_state()
    began_s = loop.time()
    witness.states.clear()
    link.stop()
    stopped = await witness.until(lambda: any(state.state is PenState.LATCHED for state in witness.states))
    took_ms = (loop.time() - began_s) * 1000
    latched = await link.ask_state()
    seen = f"{latched.state.name}, {latched.cause.name}, after {took_ms:.1f} ms" if stopped else "not latched"
    checks = [Check("STOP", seen, f"latched within {ANSWER_S * 1000:.0f} ms", stopped)]
    if before.state is not PenState.LATCHED and latched.cause is Cause.STOP:
        try:
            await link.command("clear", lambda command_id: Clear(command_id, latched.latch_id))
            cleared = await link.ask_state()
            checks.append(Check("clear", cleared.state.name, "IDLE", cleared.state is PenState.IDLE))
        except LinkError:
            raise
        except PenError as error:
            checks.append(Check("clear", str(error), "IDLE", good=False))
    return checks


async def _lapse(witness: _Witness) -> Check:
    """Without renewals the claim must end by itself."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HOLD_LATEST_S):
            await witness.lost.wait()
    took_s = loop.time() - began_s
    lapsed = witness.lost.is_set() and took_s > HOLD_EARLIEST_S
    seen = f"after {took_s:.2f} s" if witness.lost.is_set() else "not at all"
    return Check("claim lapses unrenewed", seen, f"{HOLD_S:g} s after the last renewal", lapsed)
