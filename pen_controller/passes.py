"""Samples to strokes, punctures, density and passes of one area. NumPy, no I/O.

What the pen counts is taken from its cumulative counters, so a lost batch loses detail and never a count. How passes
are counted here is a first, honest reading, and every figure says so in `how`: a pass is the zone's size swept once,
where ground swept again within one contact counts once, and ground swept again after a lift counts again (an optical
sensor loses its place at every lift).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from protocols.messages import WRAP
from protocols.samples import SampleArray
from protocols.words import SampleFlag

HOW = "area equivalent: swept area / zone size, overlap counted once within a contact"
KNOT_US = 100_000
"""Positions are read this far apart: tremor of 8 to 12 Hz mostly cancels over it, at 6 cm/s the tip moves 6 mm."""
CELL_MM = 1.0
"""Grid on which the swept ground is marked."""
STILL_MM = 0.7
"""Less than this from knot to knot is tremor of a hand that stands still."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The area covered once more. Counts are of this pass alone, `index` from 1."""

    index: int
    strokes: int
    punctures: int
    density_per_cm2: float
    deepest_um: int
    duration_s: float
    how: str = HOW


@dataclass(slots=True)
class _Counts:
    strokes: int = 0
    punctures: int = 0
    deepest_um: int = 0
    time_us: int = 0


@dataclass(slots=True)
class _Contact:
    """The ground swept since the tip was set down."""

    cells: set[int] = field(default_factory=set)
    x_mm: float = 0.0
    y_mm: float = 0.0


class PassCounter:
    """Counts one area of one treatment. The result does not depend on how the stream is cut into batches.

    Args:
        needles: of the cartridge.
        tip_width_mm: width of the swath.
        size_cm2: of the zone.
    """

    def __init__(self, needles: int, tip_width_mm: float, size_cm2: float) -> None:
        self.needles, self.size_cm2 = needles, size_cm2
        self._total = _Counts()
        self._this_pass = _Counts()
        self._passes = 0
        self._after_t_us: int | None = None
        self._last: np.void | None = None
        self._knot: np.void | None = None
        self._contact: _Contact | None = None
        self._swept_cells = 0
        self._across_mm = np.linspace(-tip_width_mm / 2, tip_width_mm / 2, math.ceil(2 * tip_width_mm / CELL_MM))

    @property
    def passes(self) -> float:
        """Passes given so far, in area equivalents, the one under way as a fraction."""
        open_cells = len(self._contact.cells) if self._contact else 0
        return (self._swept_cells + open_cells) * CELL_MM**2 / (self.size_cm2 * 100)

    @property
    def strokes(self) -> int:
        """Needle cycles, in skin or not."""
        return self._total.strokes

    @property
    def punctures(self) -> int:
        """Strokes in contact times needles, by the pen's own count."""
        return self._total.punctures

    @property
    def density_per_cm2(self) -> float:
        """Punctures over the zone's size."""
        return self._total.punctures / self.size_cm2

    @property
    def deepest_um(self) -> int:
        """Deepest needle extension measured while in contact."""
        return self._total.deepest_um

    @property
    def duration_s(self) -> float:
        """Time the needles ran."""
        return self._total.time_us / 1e6

    def feed(self, batch: SampleArray) -> list[Pass]:
        """Count a batch of samples in pen order; return the passes that it completes."""
        finished: list[Pass] = []
        if self._after_t_us is not None:
            batch = batch[(batch["t_us"] - np.uint32(self._after_t_us)).view(np.int32) > 0]
        if len(batch) == 0:
            return finished
        self._after_t_us = None
        self._count(batch)
        knots = batch["t_us"] // KNOT_US
        before = -1 if self._knot is None else int(self._knot["t_us"]) // KNOT_US
        turns = np.flatnonzero(np.diff(knots.astype(np.int64), prepend=before))
        for index in turns.tolist():
            self._move(batch[index])
            while self.passes >= self._passes + 1:
                finished.append(self._finish())
        return finished

    def begin(self, after_t_us: int) -> None:
        """A run over this area begins: samples up to this pen time arrive late from another, and do not count."""
        self._after_t_us = after_t_us

    def forget_place(self) -> None:
        """The stream was interrupted: counters go on, but nobody knows where the tip has been meanwhile."""
        self._lift()
        self._knot = None

    def forget_counters(self) -> None:
        """The pen's counters have gone on elsewhere, or begin anew since it rebooted."""
        self.forget_place()
        self._last = None

    def _count(self, batch: SampleArray) -> None:
        first = batch[0] if self._last is None else self._last
        last = batch[-1]
        self._last = last.copy()
        contact = (batch["flags"] & SampleFlag.CONTACT) != 0
        running = (batch["flags"] & SampleFlag.RUNNING) != 0
        deepest_um = int(batch["depth_um"][contact].max()) if contact.any() else 0
        for counts in (self._total, self._this_pass):
            counts.strokes += _since(first, last, "strokes")
            counts.punctures += _since(first, last, "contact_strokes") * self.needles
            counts.deepest_um = max(counts.deepest_um, deepest_um)
            if running.any():
                counts.time_us += _since(first, last, "t_us")

    def _move(self, sample: np.void) -> None:
        """Follow the tip to the next knot, and mark the ground under it."""
        before, self._knot = self._knot, sample.copy()
        if not int(sample["flags"]) & SampleFlag.CONTACT:
            self._lift()
            return
        if self._contact is None or before is None:
            self._lift()
            self._contact = _Contact()
            return
        angle = math.radians(int(sample["heading_cdeg"]) / 100)
        dx_mm = _signed(int(sample["x_um"]) - int(before["x_um"])) / 1000
        dy_mm = _signed(int(sample["y_um"]) - int(before["y_um"])) / 1000
        turned = (dx_mm * math.cos(angle) - dy_mm * math.sin(angle), dx_mm * math.sin(angle) + dy_mm * math.cos(angle))
        self._sweep(self._contact, *turned)

    def _sweep(self, contact: _Contact, dx_mm: float, dy_mm: float) -> None:
        """Mark what a bar across the way, as long as the tip is wide, sweeps over."""
        way_mm = math.hypot(dx_mm, dy_mm)
        if way_mm >= STILL_MM:
            along = np.arange(0, way_mm, CELL_MM / 2)[:, None] / way_mm
            x_mm = contact.x_mm + along * dx_mm - self._across_mm * dy_mm / way_mm
            y_mm = contact.y_mm + along * dy_mm + self._across_mm * dx_mm / way_mm
            columns, rows = (np.rint(mm / CELL_MM).astype(np.int64) for mm in (x_mm, y_mm))
            contact.cells.update((columns * (1 << 20) + rows).ravel().tolist())
        contact.x_mm += dx_mm
        contact.y_mm += dy_mm

    def _lift(self) -> None:
        if self._contact is not None:
            self._swept_cells += len(self._contact.cells)
            self._contact = None

    def _finish(self) -> Pass:
        self._passes += 1
        counts, self._this_pass = self._this_pass, _Counts()
        return Pass(
            self._passes,
            counts.strokes,
            counts.punctures,
            round(counts.punctures / self.size_cm2, 1),
            counts.deepest_um,
            round(counts.time_us / 1e6, 3),
        )


def _since(first: np.void, last: np.void, counter: str) -> int:
    return (int(last[counter]) - int(first[counter])) % WRAP


def _signed(difference: int) -> int:
    return (difference + WRAP // 2) % WRAP - WRAP // 2
