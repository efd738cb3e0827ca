"""Follows tips over skin: where they turn back, how far they glide, and whether they go in circles. NumPy, no I/O.

Tremor of 8 to 12 Hz moves a hand faster than a slow glide does. The mean of two places 50 ms apart keeps a third of it
at most, and nothing is decided on less than a millimetre.
"""

from typing import NamedTuple

import numpy as np

from pen_controller.passes.ticks import Bools, Floats, Ints, Lanes

LEAST_MM = 1.0
"""A shorter way is no glide."""
BACK_MM = 2.0
"""A tip that comes so far back from its farthest point has turned."""
CHORD_MM = 2.0
"""Turning is measured from one piece of way of this length to the next."""
BEND_OVER_TIPS = 4.0
"""Turning is averaged over about this many widths of the tip."""
CIRCULAR = 1.2
"""Radians turned the same way in one tip width of way: from here on it is circles. Loops of 0.4 tip widths have 2.3."""


class Stretch(NamedTuple):
    """The way from where a tip was set down, or turned, to its farthest point since. Ticks; millimetres."""

    start: int
    end: int
    dx_mm: float
    dy_mm: float
    length_mm: float


class Tracker:
    """Tracks `lanes` tips of one width. Places are counted from where the tip was set down."""

    def __init__(self, lanes: int, tip_width_mm: float) -> None:
        self._bend_mm, self._circular = BEND_OVER_TIPS * tip_width_mm, CIRCULAR / tip_width_mm
        self._since = np.zeros((15, lanes))  # all that begins anew with each contact
        self.place_mm, self._before_mm = self._since[0:2], self._since[2:4]
        self._begin_mm, self._far_mm, self._ahead = self._since[4:6], self._since[6:8], self._since[8:10]
        self._reach_mm = self._since[10]
        self._chord_end_mm, self._chord = self._since[11:13], self._since[13:15]
        self._start, self._end = np.zeros((2, lanes), np.int64)
        self._bend = np.zeros((2, lanes))  # radians turned, and the way they were turned on

    def set_down(self, lanes: Lanes, number: Ints) -> None:
        """These tips were set down in this tick."""
        self._since[:, lanes] = 0
        self._start[lanes] = self._end[lanes] = number[lanes]

    def move(self, moved_mm: Floats, real: Bools | None) -> None:
        """Move the tips by a tick's way, shape (2, lanes): zero for those in the air, and where no tick is."""
        np.copyto(self._before_mm, self.place_mm, where=True if real is None else real)
        self.place_mm += moved_mm

    def follow(self, number: Ints, down: Bools) -> Lanes:
        """See where the tips are that are down; return those that turned back: for them, call `stretch` and `turn`."""
        here_mm = (self.place_mm + self._before_mm) / 2
        self._follow_bend(here_mm, down)
        way_mm = here_mm - self._begin_mm
        away_mm = _length(way_mm)
        ahead_mm = way_mm * self._ahead
        along_mm = np.where(self._reach_mm < LEAST_MM, away_mm, ahead_mm[0] + ahead_mm[1])
        lead_mm = along_mm - self._reach_mm
        farther = down & (lead_mm > 0)
        np.copyto(self._far_mm, here_mm, where=farther)
        np.copyto(self._reach_mm, away_mm, where=farther)
        np.copyto(self._end, number, where=farther)
        np.divide(way_mm, away_mm, out=self._ahead, where=farther)
        turned: Lanes = (down & (lead_mm < -BACK_MM)).nonzero()[0]
        return turned

    def stretch(self, lane: int, lifted: int | None = None) -> Stretch:
        """The stretch under way; up to the tick in which the tip was lifted, else up to its farthest point."""
        end = int(self._end[lane]) if lifted is None else lifted
        dx_mm, dy_mm = (self._far_mm[:, lane] - self._begin_mm[:, lane]).tolist()
        return Stretch(int(self._start[lane]), end, dx_mm, dy_mm, float(self._reach_mm[lane]))

    def turn(self, lane: int, number: int) -> None:
        """A new stretch begins at the farthest point of the last."""
        here_mm = (self.place_mm[:, lane] + self._before_mm[:, lane]) / 2
        self._begin_mm[:, lane], self._start[lane] = self._far_mm[:, lane], self._end[lane]
        self._far_mm[:, lane], self._end[lane] = here_mm, number
        way_mm = here_mm - self._begin_mm[:, lane]
        self._reach_mm[lane] = reach_mm = _length(way_mm)
        self._ahead[:, lane] = way_mm / reach_mm

    def circular(self, lane: int) -> bool:
        """The tip goes in circles, as seen over its last few centimetres."""
        turned, way_mm = self._bend[:, lane].tolist()
        return bool(abs(turned) > self._circular * way_mm)

    def _follow_bend(self, here_mm: Floats, down: Bools) -> None:
        chord_mm = here_mm - self._chord_end_mm
        length_mm = _length(chord_mm)
        enough = down & (length_mm >= CHORD_MM)
        if not enough.any():
            return
        chord = np.divide(chord_mm, length_mm, out=np.zeros_like(chord_mm), where=enough)
        sine = self._chord[0] * chord[1] - self._chord[1] * chord[0]
        bend = self._bend / (1 + length_mm / self._bend_mm)
        bend[0] += sine
        bend[1] += length_mm
        np.copyto(self._bend, bend, where=enough & (self._chord.any(axis=0)))
        np.copyto(self._chord_end_mm, here_mm, where=enough)
        np.copyto(self._chord, chord, where=enough)


def _length(way_mm: Floats) -> Floats:
    """Lengths of ways, shape (2, ...). Not by `hypot`, whose last bit differs between libraries."""
    squares = way_mm * way_mm
    length_mm: Floats = np.sqrt(squares[0] + squares[1])
    return length_mm
