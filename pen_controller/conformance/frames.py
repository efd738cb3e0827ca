"""Frames: what a pen takes off the line, what it drops, and how it counts its own."""

import itertools
import struct
import zlib
from collections.abc import Iterator

from cobs import cobs

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import Host
from pen_controller.conformance.wire import must
from protocols import framing
from protocols.messages import WRAP, AskCartridge, AskEvents, Cartridge, Event, encode

GOOD = encode(AskCartridge())
UNKNOWN_TYPE = 0x7E
TOO_LONG_BYTES = 2 * framing.MAX_FRAME_BYTES
ROUND_TRIPS = 20
LEASE_MS = 250


@check("FRM-1")
async def zeros_around(host: Host) -> None:
    """A zero byte stands before and after each frame."""
    for _ in range(3):
        await host.state()
    said = b"".join(one.data for one in host.wire.traffic if not one.to_pen)
    pieces = said.split(b"\0")[1:-1]
    must(len(pieces) > 2, "no frames between zero bytes")
    touching = sum(bool(one and other) for one, other in itertools.pairwise(pieces))
    must(not touching, f"{touching} times only one zero byte stood between two frames")


@check("FRM-2")
async def cut_and_glued(host: Host) -> None:
    """Frames cut into single bytes, glued together, and with zeros between them are heard."""
    for byte in b"\0\0\0" + GOOD + b"\0\0":
        host.wire.put(bytes([byte]), "a byte")
    await _cartridges(host, b"", 1, "a frame in single bytes")
    await _cartridges(host, GOOD * 3, 3, "three frames in one piece")
    await _cartridges(host, b"\0" + (GOOD.strip(b"\0") + b"\0") * 2, 2, "two frames with one zero byte between them")


@check("FRM-3", "FRM-4")
async def damaged_frames(host: Host) -> None:
    """Damaged frames are dropped, and the next good one is heard."""
    for what, damaged in _damaged():
        await _cartridges(host, damaged + GOOD, 1, f"{what}, then a good frame")


@check("FRM-5")
async def unknown_frames(host: Host) -> None:
    """Frames of another version, an unknown type or another length are dropped, and the next good one is heard."""
    ask = AskCartridge.TYPE
    for what, unknown in (
        ("a frame of version 2", framing.encode(ask, 0, 0, b"", version=framing.VERSION + 1)),
        ("a frame of version 0", framing.encode(ask, 0, 0, b"", version=0)),
        ("a frame of an unknown type", framing.encode(UNKNOWN_TYPE, 0, 0, b"")),
        ("a question with a byte too many", framing.encode(ask, 0, 0, b"\0")),
    ):
        await _cartridges(host, unknown + GOOD, 1, f"{what}, then a good frame")
    mark = len(host.wire.heard)
    host.wire.put(framing.encode(AskEvents.TYPE, 0, 0, b"\0\0\0"), "AskEvents with a byte too few")
    await host.fence()
    must(not host.wire.since(mark, Event), "AskEvents with a byte too few was answered")


@check("FRM-6")
async def identity_reads(host: Host) -> None:
    """Identity holds a serial number in printable ASCII, a boot id, an envelope and a lease of 250 ms."""
    own = host.identity
    must(own.serial, "the serial number is empty")
    must(own.boot_id, "the boot id is 0")
    must(own.min_depth_um < own.max_depth_um, f"depth from {own.min_depth_um} to {own.max_depth_um} um")
    must(0 < own.min_rate_dhz <= own.max_rate_dhz, f"rate from {own.min_rate_dhz} to {own.max_rate_dhz} dhz")
    must(own.lease_ms == LEASE_MS, f"a lease of {own.lease_ms} ms")


@check("FRM-7")
async def counted(host: Host) -> None:
    """The pen's frames are counted one by one, and carry the epoch of the last claim."""
    for _ in range(ROUND_TRIPS):
        await host.ask(AskCartridge(), Cartridge)
    await host.fence()
    counters = [one.frame.counter for one in host.wire.heard]
    counters = sorted((counter - counters[0] + WRAP // 2) % WRAP for counter in counters)
    # Over Bluetooth LE samples may come out of step: the newest may still have one missing before it.
    counters = counters[: -ROUND_TRIPS // 2]
    missing = counters[-1] - counters[0] + 1 - len(counters)
    must(not missing, f"{abs(missing)} frames of {len(counters)} {'missing' if missing > 0 else 'counted twice'}")
    others = {one.frame.epoch for one in host.wire.heard} - {host.epoch}
    must(not others, f"frames under epoch {', '.join(map(str, others))} after a claim that made {host.epoch}")


async def _cartridges(host: Host, data: bytes, wanted: int, what: str) -> None:
    """Send bytes, and fail unless the pen answers so many questions for its cartridge in them."""
    mark = len(host.wire.heard)
    if data:
        host.wire.put(data, what)
    await host.fence()
    got = len(host.wire.since(mark if data else 0, Cartridge))
    must(got == wanted, f"{what}: {got} of {wanted} answers")


def _damaged() -> Iterator[tuple[str, bytes]]:
    raw = cobs.decode(GOOD.strip(b"\0"))
    for at in (2, 6, len(raw) - 1):
        flipped = raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]
        yield f"a frame with a wrong CRC, byte {at} flipped", b"\0" + cobs.encode(flipped) + b"\0"
    yield "a frame with its CRC big-endian", b"\0" + cobs.encode(raw[:-4] + raw[:-5:-1]) + b"\0"
    yield "bytes that COBS cannot decode", b"\0\x05\x01\x02\0"
    yield "a frame that is too short", b"\0" + cobs.encode(_checked(raw[:9])) + b"\0"
    yield "a frame that is too long after COBS", b"\0" + cobs.encode(_checked(raw[:10] + bytes(1012))) + b"\0"
    yield f"{TOO_LONG_BYTES} bytes without a zero", b"U" * TOO_LONG_BYTES
    yield "half a frame", GOOD[: len(GOOD) // 2]


def _checked(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))
