"""Ground on a grid, and the round tip that sweeps it."""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

GRID_MM: Final = 0.5

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Grid:
    """Square cells of `GRID_MM`, the first one's corner at `column0`, `row0` times `GRID_MM`."""

    column0: int
    row0: int
    columns: int
    rows: int

    @classmethod
    def over(cls, width_mm: float, height_mm: float) -> Self:
        """The zone's own grid, from x 0, y 0."""
        return cls(0, 0, math.ceil(width_mm / GRID_MM), math.ceil(height_mm / GRID_MM))

    @classmethod
    def around(cls, x_mm: Floats, y_mm: Floats, tip_mm: float) -> Self:
        """A grid large enough for all that a tip sweeps on this way, which is not empty."""
        reach = math.ceil(tip_mm / 2 / GRID_MM)
        (column0, columns), (row0, rows) = (
            (math.floor(mm.min() / GRID_MM) - reach, math.ceil(np.ptp(mm) / GRID_MM) + 2 * reach + 1)
            for mm in (x_mm, y_mm)
        )
        return cls(column0, row0, columns, rows)

    def swept(self, x_mm: Floats, y_mm: Floats, tip_mm: float) -> Bools:
        """Cells whose middle a round tip of this width was over, shape (rows, columns)."""
        radius = tip_mm / 2 / GRID_MM
        # Places in cells from the middle of the first; of each row under the tip, the cells from `first` to `end`.
        x, y = x_mm / GRID_MM - self.column0 - 0.5, y_mm / GRID_MM - self.row0 - 0.5
        row = np.ceil(y - radius) + np.arange(math.floor(2 * radius) + 1)[:, None]
        squared = radius**2 - (row - y) ** 2
        there = (squared >= 0) & (row >= 0) & (row < self.rows)
        half = np.sqrt(squared[there])
        middle, start = np.broadcast_to(x, row.shape)[there], row[there].astype(np.int64) * (self.columns + 1)
        first = np.clip(np.ceil(middle - half), 0, self.columns).astype(np.int64)
        end = np.clip(np.floor(middle + half) + 1, 0, self.columns).astype(np.int64)
        size = self.rows * (self.columns + 1)
        changes = np.bincount(start + first, minlength=size) - np.bincount(start + end, minlength=size)
        counts = changes.reshape(self.rows, -1).cumsum(axis=1)
        return counts[:, :-1] > 0
