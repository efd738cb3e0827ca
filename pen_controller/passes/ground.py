"""The ground that a tip has been over since it was set down, and how often each spot was punctured. NumPy, no I/O.

Each lane has a grid around the place where its tip was set down. A grid is never wiped: every contact writes above a
floor of its own, and a cell below the floor has not been visited in this contact.
"""

import math
from typing import NamedTuple

import numpy as np

from pen_controller.passes.ticks import Floats, Ints, Lanes

CELLS_PER_TIP = 8.75
"""So that a disc of whole cells sweeps as broad as the tip does, on average over all directions."""
SIDE = 128
"""Cells along a grid. It closes upon itself after 14 tip widths, farther than a tip gets without a lift."""
_MASK = SIDE * SIDE - 1


class Swept(NamedTuple):
    """What a tip has been over since it was set down. Strokes are those under the tip, shared out over its cells."""

    cells: int
    most_strokes: float
    """On one cell."""
    strokes: float
    squares: float
    """Sum of the squares of the cells' strokes."""


class Ground:
    """Grids of `lanes` pens with tips of one width."""

    def __init__(self, lanes: int, tip_width_mm: float) -> None:
        self._cell_mm = tip_width_mm / CELLS_PER_TIP
        self.cell_cm2 = self._cell_mm**2 / 100
        self._disc = _disc(CELLS_PER_TIP / 2)[:, None]
        self._base = np.arange(lanes) * SIDE * SIDE
        self._cells = np.zeros(lanes * SIDE * SIDE)
        self._floor = np.ones(lanes)
        self._given = np.zeros(lanes)  # the most that any cell can have been given since the tip was set down

    def set_down(self, lanes: Lanes) -> None:
        """These tips were set down: nobody knows where they have been before."""
        self._floor[lanes] += self._given[lanes] + 1
        self._given[lanes] = 0

    def stamp(self, place_mm: Floats, strokes: Ints) -> None:
        """The tips punctured here, evenly all over; one in the air has no strokes. `place_mm` has shape (2, lanes)."""
        column, row = np.rint(place_mm / self._cell_mm).astype(np.int64)
        places = ((row * SIDE + column + self._disc) & _MASK) + self._base
        visited = np.maximum(self._cells[places], self._floor)
        share = strokes / len(self._disc)
        visited += share
        self._given += share
        self._cells[places] = visited

    def swept(self, lane: int) -> Swept:
        """What this tip has been over since it was set down."""
        grid = self._grid(lane)
        strokes = grid[grid >= self._floor[lane]] - self._floor[lane]
        if not len(strokes):
            return Swept(0, 0.0, 0.0, 0.0)
        return Swept(len(strokes), float(strokes.max()), float(strokes.sum()), float(strokes @ strokes))

    def _grid(self, lane: int) -> Floats:
        return self._cells[lane * SIDE * SIDE : (lane + 1) * SIDE * SIDE]


def _disc(radius: float) -> Ints:
    """Cells of a disc, as steps from its middle."""
    steps = range(-math.ceil(radius), math.ceil(radius) + 1)
    return np.array([row * SIDE + column for row in steps for column in steps if math.hypot(row, column) <= radius])
