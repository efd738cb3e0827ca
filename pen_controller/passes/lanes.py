"""Tips side by side, as plain Python holds them and their samples."""

from collections.abc import Sequence
from typing import Final

from pen_controller.passes.ground import CELLS
from pen_controller.passes.ticks import walk
from pen_controller.passes.tip import Event, Tip
from protocols.samples import SampleArray

BATCH_SAMPLES: Final = 100
"""Most samples of one tip that are read at a time."""


class Lanes:
    """Tips, each of which reads its own samples as if it were alone."""

    def __init__(self, tips: Sequence[Tip]) -> None:
        self._tips = list(tips)
        self._grids = [[0] * CELLS for _ in tips]
        self._events = [Event() for _ in range(len(tips) * BATCH_SAMPLES)]

    def __getitem__(self, lane: int) -> Tip:
        """The state of a tip; what is changed in it has to be put back."""
        return self._tips[lane]

    def __setitem__(self, lane: int, tip: Tip) -> None:
        self._tips[lane] = tip

    def read(self, samples: SampleArray) -> list[Event]:
        """Take samples of shape (tips, n), n from 1 to `BATCH_SAMPLES`; return what happened, good until the next."""
        return self._events[: walk(self._tips, self._grids, samples.tolist(), self._events)]
