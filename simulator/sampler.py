"""Readings to sample batches: what the pen streams while a host owns it."""

from typing import Final

import numpy as np

from protocols.messages import WRAP
from protocols.samples import MAX_SAMPLES, SAMPLE, Samples
from protocols.words import SampleFlag
from simulator.physics import Readings

BATCH_US: Final = 50_000
BATCH_SAMPLES: Final = min(10, MAX_SAMPLES)
# Plain numbers: to join flags takes longer than all the rest of a sample.
_VALID: Final = int(SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID | SampleFlag.MOTION_VALID)
_CONTACT: Final = int(SampleFlag.CONTACT)
_RUNNING: Final = int(SampleFlag.RUNNING)


class Sampler:
    """Takes a sample at each period, and hands out a batch when it is full or 50 ms old."""

    def __init__(self, rate_hz: int) -> None:
        self.period_us = 1_000_000 // rate_hz
        self._number = 0
        self._batch: list[tuple[int, ...]] = []
        self._first = 0
        self._since_us = 0

    def take(self, now_us: int, readings: Readings, crest_um: int, *, running: bool, wanted: bool) -> Samples | None:
        """Take one sample. `wanted` is false while nobody owns the pen: it is numbered, but not kept.

        `crest_um` is the deepest extension measured since the sample before.
        """
        number, self._number = self._number, (self._number + 1) % WRAP
        if not wanted:
            self._batch.clear()
            return None
        if not self._batch:
            self._first, self._since_us = number, now_us
        self._batch.append(_record(now_us, readings, crest_um, running=running))
        old = now_us + self.period_us - self._since_us >= BATCH_US
        if not old and len(self._batch) < BATCH_SAMPLES:
            return None
        batch = Samples(self._first, np.array(self._batch, SAMPLE))
        self._batch.clear()
        return batch


def _record(now_us: int, readings: Readings, crest_um: int, *, running: bool) -> tuple[int, ...]:
    flags = _VALID
    if readings.contact:
        flags |= _CONTACT
    if running:
        flags |= _RUNNING
    return (
        now_us % WRAP,
        readings.strokes % WRAP,
        readings.contact_strokes % WRAP,
        readings.path_um % WRAP,
        signed(readings.x_um),
        signed(readings.y_um),
        min(crest_um, 0xFFFF),
        readings.force_mn,
        round(readings.rate_hz * 10),
        readings.current_ma,
        readings.heading_cdeg,
        flags,
    )


def signed(value: int) -> int:
    """Fold an unbounded or unsigned number into 32 signed bits."""
    return (value + WRAP // 2) % WRAP - WRAP // 2
