"""Contact from the motor's current, for pens that sense none: an estimate, and told as one.

Needles that start in the air and not on skin are what it is learned from. On simulated treatments punctures come within
8 % of the truth.
"""

import numpy as np

from pen_controller.passes.ticks import Bools, Floats, Ints, Ticks

ON, OFF = 1.08, 1.04
"""Current in skin over current in the air. The simulated pen's rises by 15 % (assumed)."""
SMOOTH_TICKS = 2
"""A reading has noise of a few per cent: it is averaged over about so many ticks."""
SETTLE_TICKS = 15
"""A motor that spins up draws more, and the average has to follow it."""
FALL_TICKS = 8
"""The current in the air is the least that is seen, over about so many ticks: no single low reading makes it."""
DRIFT = 1.0002
"""And up by no more than this factor a tick, as the motor warms."""


class ContactFromCurrent:
    """For the lanes that are `blind`; the others keep what their pen says."""

    def __init__(self, blind: Bools) -> None:
        self._blind = blind
        self._ran = np.zeros(len(blind), np.int64)
        self._current_ma = np.zeros(len(blind))
        self._idle_ma: Floats = np.zeros(len(blind))
        self._down = np.zeros(len(blind), np.bool_)

    def contact(self, ticks: Ticks, column: int) -> Bools:
        """Contact of one tick, estimated where the pen does not sense it."""
        real = self._blind if ticks.real is None else self._blind & ticks.real[:, column]
        self._ran[real] = np.where(ticks.sums[real, column, 0] > 0, self._ran[real] + 1, 0)
        self._current_ma += (ticks.current_ma[:, column] - self._current_ma) * (real / SMOOTH_TICKS)
        current_ma = self._current_ma
        settled = real & (self._ran > SETTLE_TICKS)
        lower = np.minimum(self._idle_ma * DRIFT, self._idle_ma + (current_ma - self._idle_ma) / FALL_TICKS)
        np.copyto(self._idle_ma, np.where(self._idle_ma == 0, current_ma, lower), where=settled)
        over = settled & (current_ma > self._idle_ma * np.where(self._down, OFF, ON))
        np.copyto(self._down, over, where=real)
        return np.where(self._blind, self._down, ticks.contact[:, column])

    def sums(self, contact: Bools, sums: Ints) -> Ints:
        """Sums of one tick (see `Ticks.sums`), with contact as estimated."""
        running_us, strokes, in_contact = sums.T
        return np.stack((running_us, strokes, np.where(self._blind, strokes * contact, in_contact)), axis=1)
