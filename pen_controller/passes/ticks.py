"""Samples to ticks: steps of 50 ms of pen time, whatever the batches. For any number of pens side by side.

Ticks are numbered from the first sample heard. Each is told by the first sample within it, so that the result cannot
depend on how the stream was cut; a tick of which no sample came is left out.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.samples import SAMPLE, SampleArray
from protocols.words import SampleFlag

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Lanes = NDArray[np.intp]
Words = NDArray[np.uint32]

TICK_US = 50_000
# A sample as words of four bytes: arithmetic on several fields at once.
_WORDS = SAMPLE.itemsize // 4
_COUNTERS = slice(0, 3)  # t_us, strokes, contact_strokes
_PLACE = slice(4, 6)  # x_um, y_um
_DEPTH, _CURRENT, _STATUS = 6, 7, 8  # with force above, rate below, heading below the flags
_LOW, _HIGH = 0xFFFF, 16
_CONTACT, _RUNNING, _MOTION = (
    np.uint32(flag << _HIGH) for flag in (SampleFlag.CONTACT, SampleFlag.RUNNING, SampleFlag.MOTION_VALID)
)
_DIRECTIONS = [math.radians(tenths / 10) for tenths in range(3600)]
COSINES = np.array([math.cos(angle) for angle in _DIRECTIONS])
"""By heading in tenths of a degree. A table, so that every reader of it gets the same last bit."""
SINES = np.array([math.sin(angle) for angle in _DIRECTIONS])


class Ticks(NamedTuple):
    """The ticks that a batch brings, as arrays of shape (lanes, most ticks of any lane)."""

    real: Bools | None
    """False where a lane has fewer than others; nothing happens in such a tick. None if all are real."""
    number: Ints
    contact: Bools
    """As the pen senses it."""
    moved_mm: Floats
    """Since the tick before, in axes that stay where they are while the pen turns; x and y, shape (2, lanes, ticks)."""
    sums: Ints
    """Time running in us, strokes, strokes in contact: since the tick before, shape (lanes, ticks, 3)."""
    depth_um: Words
    current_ma: Words


class Ticker:
    """Cuts the streams of `lanes` pens into ticks. Memory does not grow."""

    def __init__(self, lanes: int) -> None:
        self._lanes = np.arange(lanes)
        self._unheard = set(range(lanes))
        self._last = np.zeros((lanes, 3), np.uint32)
        self._told = np.zeros((lanes, _WORDS), np.uint32)
        self._clock_us, self._tick = np.zeros((2, lanes), np.int64)
        self._totals = np.zeros((lanes, 3), np.int64)

    def total(self, lane: int) -> tuple[int, int]:
        """Strokes and strokes in contact, by the pen's own counters up to the newest sample."""
        _, strokes, in_contact = self._totals[lane].tolist()
        return strokes, in_contact

    def forget(self, lane: int) -> None:
        """Take the next sample of this lane as a first one: what the pen counted meanwhile is not known."""
        self._unheard.add(lane)

    def feed(self, samples: SampleArray) -> Ticks | None:
        """Take samples of shape (lanes, n) in pen order; return the ticks they begin.

        A sample repeated counts once, so a lane that has nothing new repeats its last.
        """
        words = np.ascontiguousarray(samples).view("<u4").reshape(*samples.shape, _WORDS)
        for lane in self._unheard:
            self._last[lane], self._told[lane] = words[lane, 0, _COUNTERS], words[lane, 0]
        self._unheard.clear()
        # Signed, so that a sample older than the last is told from one long after it.
        clock_us = (words[:, :, 0] - self._last[:, :1]).view(np.int32) + self._clock_us[:, None]
        newest = words[:, -1, _COUNTERS].copy()
        self._totals += newest - self._last
        ticks = np.empty((len(words), words.shape[1] + 1), np.int64)
        ticks[:, 0] = self._tick
        np.floor_divide(clock_us, TICK_US, out=ticks[:, 1:])
        lanes, at = (ticks[:, 1:] > ticks[:, :-1]).nonzero()
        self._last, self._clock_us, self._tick = newest, clock_us[:, -1], ticks[:, -1]
        return self._tell(words, ticks, lanes, at) if len(lanes) else None

    def _tell(self, words: Words, ticks: Ints, lanes: Lanes, at: Lanes) -> Ticks:
        real, counts, columns = _in_columns(len(words), lanes, at)
        rows = self._lanes[:, None]
        chain = np.empty((len(words), 1 + columns.shape[1], _WORDS), np.uint32)
        chain[:, 0] = self._told
        chain[:, 1:] = words[rows, columns]
        if real is None:
            self._told = chain[:, -1]
        else:
            chain[counts == 0, 1:] = chain[counts == 0, :1]
            self._told = chain[self._lanes, counts]
        return _ticks(real, ticks[rows, columns + 1], chain)


def _in_columns(lanes: int, lane: Lanes, at: Lanes) -> tuple[Bools | None, Lanes, Lanes]:
    """Ticks, told by lane and sample, as a table (lanes, most ticks): which are real, how many, at which sample.

    A lane with fewer repeats its last.
    """
    counts = np.bincount(lane, minlength=lanes)
    most = int(counts.max())
    if len(lane) == most * lanes:
        return None, counts, at.reshape(-1, most)
    real = np.arange(most) < counts[:, None]
    columns = np.zeros(real.shape, np.intp)
    columns[real] = at
    return real, counts, np.maximum.accumulate(columns, axis=1)


def _ticks(real: Bools | None, number: Ints, chain: Words) -> Ticks:
    """Differences from tick to tick. `chain` has one tick before the new ones."""
    now = chain[:, 1:]
    steps = now - chain[:, :-1]
    status = chain[:, :, _STATUS]
    flags = status[:, 1:]
    sums = steps[:, :, _COUNTERS].astype(np.int64)
    sums[:, :, 0] *= (flags & _RUNNING) != 0
    known = (flags & status[:, :-1] & _MOTION) != 0
    x_mm, y_mm = steps.view("<i4")[:, :, _PLACE].transpose(2, 0, 1) * (known / 1000)
    turned = (flags & _LOW) // 10
    cosine, sine = COSINES.take(turned, mode="wrap"), SINES.take(turned, mode="wrap")
    moved_mm = np.empty((2, *known.shape))
    np.subtract(x_mm * cosine, y_mm * sine, out=moved_mm[0])
    np.add(x_mm * sine, y_mm * cosine, out=moved_mm[1])
    contact = (flags & _CONTACT) != 0
    depth_um, current_ma = now[:, :, _DEPTH] & np.uint32(_LOW), now[:, :, _CURRENT] >> np.uint32(_HIGH)
    return Ticks(real, number, contact, moved_mm, sums, depth_um, current_ma)
