"""The ground that a tip has been over since it was set down, and how often each spot was punctured.

Each tip has a grid around the place where it was set down. A grid is never wiped: every contact writes above a floor of
its own, and a cell below the floor has not been visited in this contact.
"""

import math
from typing import Final

from pen_controller.passes.tip import Tip

Grid = list[int]
"""Strokes by cell, above the floor. A stroke counts on every cell under the tip."""

CELLS_PER_TIP: Final = 8.75
"""So that a disc of whole cells sweeps as broad as the tip does, on average over all directions."""
SIDE: Final = 128
"""Cells along a grid. It closes upon itself after 14 tip widths, farther than a tip gets without a lift."""
CELLS: Final = SIDE * SIDE
_REACH: Final = range(-5, 6)
DISC: Final = [
    row * SIDE + column for row in _REACH for column in _REACH if math.hypot(row, column) <= CELLS_PER_TIP / 2
]
"""Cells under a tip, as steps from its middle."""


def clear(tip: Tip) -> None:
    """The tip was set down: nobody knows where it has been before."""
    tip.floor += tip.given + 1
    tip.given = tip.cells = tip.most = 0
    tip.squares = 0.0


def stamp(tip: Tip, grid: Grid, x_mm: float, y_mm: float, strokes: int) -> None:
    """The tip punctured here, evenly all over."""
    cell_mm = tip.width_mm / CELLS_PER_TIP
    middle = round(y_mm / cell_mm) * SIDE + round(x_mm / cell_mm)
    floor, fresh, most, sum_before = tip.floor, 0, tip.most, 0
    for step in DISC:
        cell = (middle + step) % CELLS
        before = grid[cell] - floor
        if before < 0:
            before = 0
            fresh += 1
        now = before + strokes
        if now > most:
            most = now
        sum_before += before
        grid[cell] = floor + now
    tip.cells += fresh
    tip.most = most
    tip.given += strokes
    tip.squares += float(strokes) * (2 * sum_before + len(DISC) * strokes)


def cell_cm2(width_mm: float) -> float:
    """Size of a cell under a tip of this width."""
    return (width_mm / CELLS_PER_TIP) ** 2 / 100
