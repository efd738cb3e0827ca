"""Samples: the one message that is an array. NumPy reads its records in the frame they came in, without a copy."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from protocols import framing
from protocols.framing import BODY_OFFSET, Frame, WireError

SAMPLE = np.dtype([
    ("t_us", "<u4"),             # pen time
    ("strokes", "<u4"),          # cumulative needle cycles
    ("contact_strokes", "<u4"),  # cumulative needle cycles with the tip on skin
    ("path_um", "<u4"),          # cumulative length of the path over skin
    ("x_um", "<i4"),             # cumulative displacement, in the pen's own axes
    ("y_um", "<i4"),
    ("depth_um", "<u2"),         # deepest needle extension measured since the sample before
    ("force_mn", "<u2"),         # pressing force
    ("rate_dhz", "<u2"),         # strokes a second, in tenths
    ("current_ma", "<u2"),       # motor current
    ("heading_cdeg", "<u2"),     # the pen's rotation about its axis, 0 to 35999
    ("flags", "<u2"),            # SampleFlag
])  # fmt: skip
"""One sample, 36 bytes. What accumulates is never reset while the pen is on and counts modulo 2**32."""

SampleArray = NDArray[np.void]

_BATCH = struct.Struct("<I")
MAX_SAMPLES = (framing.MAX_BODY_BYTES - _BATCH.size) // SAMPLE.itemsize
"""Most samples that fit one frame."""

_RECORDS_OFFSET = BODY_OFFSET + _BATCH.size
_COUNT_BY_FRAME_BYTES = {
    framing.MIN_FRAME_BYTES + _BATCH.size + count * SAMPLE.itemsize: count for count in range(1, MAX_SAMPLES + 1)
}


# Not frozen like the others: that would double the time of making one, and samples are what there are many of.
@dataclass(slots=True, eq=False)
class Samples:
    """A batch of samples; `first` is the number of the first one, counted from boot modulo 2**32."""

    TYPE: ClassVar[int] = 0x86

    first: int
    records: SampleArray

    def pack(self) -> bytes:
        """Make the body's bytes.

        Raises:
            WireError: the records are not of dtype `SAMPLE`, or more than `MAX_SAMPLES`.
        """
        if self.records.dtype != SAMPLE or not 1 <= self.records.size <= MAX_SAMPLES:
            raise WireError(f"samples: 1 to {MAX_SAMPLES} records of dtype SAMPLE expected")
        return _BATCH.pack(self.first % (1 << 32)) + self.records.tobytes()

    @classmethod
    def unpack(cls, frame: Frame) -> Self:
        """Read a batch in place: `records` is a read-only view of the frame.

        Raises:
            WireError: the body is not a whole number of records.
        """
        raw = frame.raw
        try:
            count = _COUNT_BY_FRAME_BYTES[len(raw)]
        except KeyError:
            raise WireError(f"samples of {frame.body_bytes} bytes: not a whole number of records") from None
        (first,) = _BATCH.unpack_from(raw, BODY_OFFSET)
        return cls(first, np.frombuffer(raw, SAMPLE, count, _RECORDS_OFFSET))
