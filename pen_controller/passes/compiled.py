"""The same counting as machine code made by Numba: some thirty times as fast, once it is compiled.

For archives. A treatment counts in plain Python, fast enough for its pen: nothing else runs while Numba compiles, and a
pen would stop for want of its lease.

There is no second reading of the definition: Numba takes the functions of `contact`, `glides`, `ground` and `ticks` as
they are. For its sake these keep to numbers, to tables at the top of their modules, and to each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from functools import cache
from itertools import chain
from types import FunctionType
from typing import Any

import numpy as np

from pen_controller.passes import contact, glides, ground, ticks
from pen_controller.passes.lanes import BATCH_SAMPLES
from pen_controller.passes.tip import Event, Tip
from protocols.samples import SampleArray


class CompiledLanes:
    """As `lanes.Lanes`.

    Raises:
        ImportError: Numba is not installed; the message says how to install it.
    """

    def __init__(self, tips: Sequence[Tip]) -> None:
        self._walk = _compiled_walk()
        self._tips = np.array([astuple(tip) for tip in tips], _record(Tip))
        self._grids = np.zeros((len(tips), ground.CELLS), np.int64)
        self._events = np.zeros(len(tips) * BATCH_SAMPLES, _record(Event))

    def __getitem__(self, lane: int) -> Tip:
        """A copy of the state of a tip."""
        return Tip(*self._tips[lane].item())

    def __setitem__(self, lane: int, tip: Tip) -> None:
        self._tips[lane] = astuple(tip)

    def read(self, samples: SampleArray) -> list[Event]:
        """Take samples of shape (tips, n), n from 1 to `BATCH_SAMPLES`; return what happened, tip by tip."""
        samples = np.ascontiguousarray(samples).view()
        samples.flags.writeable = False  # of one type for Numba, whether or not it is a frame read in place
        told = self._walk(self._tips, self._grids, samples, self._events)
        return [Event(*event) for event in self._events[:told].tolist()]


def _record(of: type[Tip] | type[Event]) -> np.dtype[np.void]:
    return np.dtype([(field.name, np.int64 if field.type is int else field.type) for field in fields(of)], align=True)


@cache
def _compiled_walk() -> Callable[..., int]:
    """`ticks.walk` and all that it calls, for Numba to compile when it is called; their tables become arrays."""
    try:
        from numba import njit  # noqa: PLC0415  # an extra, and slow to load
    except ImportError as error:
        raise ImportError("compiled counting needs Numba: pip install 'pen-controller[fast]'") from error
    names: dict[str, Any] = {}
    for name, value in chain.from_iterable(vars(module).items() for module in (contact, glides, ground, ticks)):
        if isinstance(value, FunctionType):
            names[name] = njit(FunctionType(value.__code__, names, name))
        else:
            names[name] = np.array(value) if isinstance(value, list) else value
    walk: Callable[..., int] = names["walk"]
    return walk
