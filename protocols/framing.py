"""Bytes to frames and back: COBS between zero bytes, a CRC-32, a length cap.

The same codec serves both ends and every link. It does no I/O and keeps at most one frame's worth of bytes.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from cobs import cobs

VERSION: Final = 1
"""The protocol version this package speaks."""

MAX_FRAME_BYTES: Final = 1024
"""Longest frame before COBS, header and CRC included."""

_HEADER: Final = struct.Struct("<BBII")
_CRC: Final = struct.Struct("<I")

MIN_FRAME_BYTES: Final = _HEADER.size + _CRC.size
"""Shortest frame before COBS: header and CRC around an empty body."""

_MAX_ENCODED_BYTES: Final = MAX_FRAME_BYTES + MAX_FRAME_BYTES // 254 + 1
# A CRC-32 run over data and its own little-endian CRC always leaves this number: no slice is needed to check it.
_CRC_RESIDUE: Final = 0x2144DF1C

MAX_BODY_BYTES: Final = MAX_FRAME_BYTES - MIN_FRAME_BYTES
BODY_OFFSET: Final = _HEADER.size
"""Where a frame's body starts in `Frame.raw`."""


class WireError(ValueError):
    """A frame or message that does not follow the protocol; the text says how."""


@dataclass(slots=True, init=False)
class Frame:
    """One frame off the wire: the header's fields, and the whole frame they were read from.

    `raw` is header, body and CRC as they were received; readers take the body in place, without a copy.
    """

    version: int
    type: int
    epoch: int
    counter: int
    raw: bytes

    def __init__(self, raw: bytes) -> None:
        self.version, self.type, self.epoch, self.counter = _HEADER.unpack_from(raw)
        self.raw = raw

    @property
    def body_bytes(self) -> int:
        """Length of the body in `raw`, in bytes."""
        return len(self.raw) - MIN_FRAME_BYTES


def encode(type_: int, epoch: int, counter: int, body: bytes, *, version: int = VERSION) -> bytes:
    """Make the bytes of one frame, with a zero byte on either side.

    The leading zero ends whatever garbage stood on the line before, so that it cannot swallow this frame.

    Raises:
        WireError: the body is longer than `MAX_BODY_BYTES`, or a header field is out of its range.
    """
    if len(body) > MAX_BODY_BYTES:
        raise WireError(f"a body of {len(body)} bytes: at most {MAX_BODY_BYTES} fit a frame")
    try:
        frame = _HEADER.pack(version, type_, epoch, counter) + body
    except struct.error as error:
        raise WireError(f"frame header out of range: {error}") from None
    stuffed: bytes = cobs.encode(frame + _CRC.pack(zlib.crc32(frame)))
    return b"\0" + stuffed + b"\0"


@dataclass(slots=True)
class Dropped:
    """How many frames a decoder dropped, by cause."""

    too_long: int = 0
    too_short: int = 0
    cobs: int = 0
    crc: int = 0

    @property
    def total(self) -> int:
        """All causes together."""
        return self.too_long + self.too_short + self.cobs + self.crc


class Decoder:
    """Bytes to frames, however the bytes are cut.

    Damaged frames are dropped and counted in `dropped`; decoding goes on at the next zero byte. Frames of any
    protocol version come out: it is for the reader to say that it does not speak one.
    """

    __slots__ = ("_pending", "dropped")

    def __init__(self) -> None:
        self.dropped = Dropped()
        self._pending: bytes | None = b""  # the beginning of a frame; None while one goes by that is too long

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; return the frames that they complete, in order. Never raises."""
        chunks = data.split(b"\0")
        if len(chunks) > 1:
            # The first zero byte ends what was pending, or what was going by.
            chunks[0] = b"" if self._pending is None else self._pending + chunks[0]
            self._pending = b""
        self._keep(chunks.pop())
        frames = []
        for chunk in filter(None, chunks):
            try:
                raw = cobs.decode(chunk)
            except cobs.DecodeError:
                self._drop(chunk)
                continue
            if zlib.crc32(raw) == _CRC_RESIDUE and MIN_FRAME_BYTES <= len(raw) <= MAX_FRAME_BYTES:
                frames.append(Frame(raw))
            else:
                self._drop(chunk, raw)
        return frames

    def _keep(self, tail: bytes) -> None:
        """Hold an unfinished frame, or forget one that can no longer be valid, up to the next zero byte."""
        if self._pending is None:
            return
        self._pending += tail
        if len(self._pending) > _MAX_ENCODED_BYTES:
            self._pending = None
            self.dropped.too_long += 1

    def _drop(self, chunk: bytes, raw: bytes | None = None) -> None:
        """Count why `chunk`, which COBS decoded to `raw` or could not decode, is no frame."""
        # Zeros are free in COBS: a chunk that is short enough may still hold a few bytes more than a frame may have.
        if len(chunk) > _MAX_ENCODED_BYTES or (raw and len(raw) > MAX_FRAME_BYTES):
            self.dropped.too_long += 1
        elif raw is None:
            self.dropped.cobs += 1
        elif len(raw) < MIN_FRAME_BYTES:
            self.dropped.too_short += 1
        else:
            self.dropped.crc += 1
