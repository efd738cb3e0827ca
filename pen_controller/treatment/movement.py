"""How a tip moves, sample by sample, without the tremor of the hand that leads it. Pure: no I/O and no clock.

Tremor of 8 to 12 Hz is faster than a slow glide: nothing is told from two samples alone, but from means over a whole
period of it. What was lost with a batch is taken as a straight line.
"""

import cmath
import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.samples import SampleArray
from protocols.words import SampleFlag

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Complex = NDArray[np.complex128]

WINDOW_US: Final = 100_000
"""Means are over this: a whole period of the tremor."""
WINDOW_S: Final = WINDOW_US / 1e6
REST_US: Final = 1_200_000
"""Off the skin for so long is a break, and what follows is another pass (as `passes` has it)."""
LEAST_WAY_MM: Final = 20.0
"""A direction shows after so much way; older way is forgotten over the same length."""
STRAIGHT: Final = 0.5
"""At least this share of the way goes along its direction, else it has none: circles."""
GAP_US: Final = 60_000
"""Longer than any period of sampling: something was lost."""
SLACK: Final = 0.15
"""A mean may miss this share of its window; contact that is missing in so little is bouncing, not lifting."""
_FLAGS: Final = (SampleFlag.CONTACT, SampleFlag.RUNNING, SampleFlag.FORCE_VALID, SampleFlag.MOTION_VALID)


class Now(NamedTuple):
    """Measures at each sample, all of shape (n,). Means are over the `WINDOW_US` before it."""

    force_n: Floats
    """Mean while running; 0 without a valid force. Nan after a loss."""
    rate_hz: Floats
    working: Bools
    touching: Bools
    step_mm: Complex
    """From the mean place before to this one, in axes that stay where they are while the pen turns; else 0."""
    speed_mm_s: Floats
    """Straight from the mean place a window before: next to nothing for a tip that stands. Nan after a loss."""
    across: Bools
    """It is from before a loss, and the most that the speed can be."""
    way_mm_s: Floats
    """Along the line of mean places: right for circles too. Nan after a loss."""
    off_us: Ints
    """Since the last contact."""
    air_us: Ints
    """Running and without contact for so long."""


class Movement:
    """Running integrals over pen time, from which the mean over any window is read. Memory does not grow.

    Between two samples everything goes in a straight line, also across those that were lost.
    """

    def begin(self, first: np.void, t_us: int) -> None:
        """Forget everything; before this sample, nothing was."""
        self._last = first.copy()
        self._off_mark_us = self._air_mark_us = self._heard_mark_us = t_us
        self._place_um = np.zeros(2, np.int64)
        self._t_us: Ints = np.array([t_us - 3 * WINDOW_US, t_us - 1])
        # Place in mm (2), force, working, contact, rate; then their integrals.
        self._values, self._sums = np.zeros((2, 6, 2))
        # The line of mean places.
        self._line_us: Ints = np.array([t_us - 3 * WINDOW_US])
        self._line_mm, self._way_mm = np.zeros(1, np.complex128), np.zeros(1)

    def feed(self, samples: SampleArray, t_us: Ints) -> Now:
        """Measure samples in pen order."""
        contact, running, forced, moves = ((samples["flags"] & flag) != 0 for flag in _FLAGS)
        touched = contact | (self._steps(samples, "contact_strokes") != 0)
        off_us, self._off_mark_us = _since(t_us, touched, self._off_mark_us)
        air_us, self._air_mark_us = _since(t_us, touched | ~running, self._air_mark_us)
        resumed = np.diff(t_us, prepend=self._t_us[-1]) > GAP_US
        heard_us, self._heard_mark_us = _since(t_us, resumed, self._heard_mark_us)
        self._append(samples, t_us, forced & running, contact & running & moves, contact)
        now, before, earlier = (self._sums_at(t_us - lag * WINDOW_US) for lag in range(3))
        mean = (now - before) / WINDOW_S
        known = heard_us >= (1 - SLACK) * WINDOW_US
        step_mm, speed_mm_s, way_mm_s, across = self._go(t_us, mean[0] + 1j * mean[1], known)
        self._last = samples[-1].copy()
        self._trim()
        return Now(
            force_n=np.where(known, mean[2], np.nan),
            rate_hz=mean[5],
            working=(now[3] - earlier[3]) / (2 * WINDOW_S) >= 1 - SLACK,
            touching=mean[4] > 0.5,
            step_mm=step_mm * np.exp(1j * np.radians(samples["heading_cdeg"] / 100)),
            speed_mm_s=speed_mm_s,
            across=across,
            way_mm_s=way_mm_s,
            off_us=off_us,
            air_us=air_us,
        )

    def _steps(self, samples: SampleArray, counter: str) -> NDArray[np.signedinteger | np.unsignedinteger]:
        """From sample to sample, across the wrap."""
        return np.diff(samples[counter], prepend=self._last[counter])

    def _append(self, samples: SampleArray, t_us: Ints, pressed: Bools, working: Bools, contact: Bools) -> None:
        steps_um = np.stack([self._steps(samples, "x_um"), self._steps(samples, "y_um")]).astype(np.int64)
        place_um = self._place_um[:, None] + np.cumsum(steps_um, axis=1)
        self._place_um = place_um[:, -1]
        force_n, rate_hz = samples["force_mn"] / 1000 * pressed, samples["rate_dhz"] / 10
        values = np.stack([*(place_um / 1000), force_n, working, contact, rate_hz])
        joined = np.concatenate([self._values[:, -1:], values], axis=1)
        steps_s = np.diff(t_us, prepend=self._t_us[-1]) / 1e6
        pieces = (joined[:, 1:] + joined[:, :-1]) / 2 * steps_s
        sums = np.cumsum(np.concatenate([self._sums[:, -1:], pieces], axis=1), axis=1)[:, 1:]
        self._t_us = np.concatenate([self._t_us, t_us])
        self._values = np.concatenate([self._values, values], axis=1)
        self._sums = np.concatenate([self._sums, sums], axis=1)

    def _go(self, t_us: Ints, place_mm: Complex, known: Bools) -> tuple[Complex, Floats, Floats, Bools]:
        """Follow the line of mean places. It leaves out those just after a loss, which hold too little of a period."""
        steps_mm = np.zeros(len(t_us), np.complex128)
        speed_mm_s, way_mm_s = np.full((2, len(t_us)), np.nan)
        line_us, line_mm = t_us[known], place_mm[known]
        steps_mm[known] = np.diff(line_mm, prepend=self._line_mm[-1])
        way_mm = np.cumsum(np.concatenate([self._way_mm[-1:], np.abs(steps_mm[known])]))[1:]
        self._line_us = np.concatenate([self._line_us, line_us])
        self._line_mm = np.concatenate([self._line_mm, line_mm])
        self._way_mm = np.concatenate([self._way_mm, way_mm])
        base = np.searchsorted(self._line_us, line_us - WINDOW_US, side="right") - 1
        speed_mm_s[known] = np.abs(line_mm - self._line_mm[base]) / WINDOW_S
        across = np.zeros(len(t_us), np.bool_)
        across[known] = line_us - self._line_us[base] > WINDOW_US + GAP_US
        way_mm_s[known] = (way_mm - np.interp(line_us - WINDOW_US, self._line_us, self._way_mm)) / WINDOW_S
        return steps_mm, speed_mm_s, way_mm_s, across

    def _sums_at(self, t_us: Ints) -> Floats:
        """The integrals up to any time in the last two windows."""
        at = np.searchsorted(self._t_us, t_us, side="right") - 1
        after = np.minimum(at + 1, len(self._t_us) - 1)
        since_s = (t_us - self._t_us[at]) / 1e6
        share = since_s / np.maximum(self._t_us[after] - self._t_us[at], 1) * 1e6
        first, second = self._values[:, at], self._values[:, after]
        sums: Floats = self._sums[:, at] + since_s * (first + (second - first) * share / 2)
        return sums

    def _trim(self) -> None:
        """Keep what the next samples may look back to."""
        keep = int(np.searchsorted(self._t_us, self._t_us[-1] - 2 * WINDOW_US, side="right")) - 1
        self._t_us, self._values, self._sums = self._t_us[keep:], self._values[:, keep:], self._sums[:, keep:]
        keep = max(0, int(np.searchsorted(self._line_us, self._t_us[-1] - WINDOW_US, side="right")) - 1)
        self._line_us, self._line_mm, self._way_mm = self._line_us[keep:], self._line_mm[keep:], self._way_mm[keep:]


def _since(t_us: Ints, marks: Bools, mark_us: int) -> tuple[Ints, int]:
    """Time since the last mark at each sample, and when that was."""
    last_us = np.maximum.accumulate(np.where(marks, t_us, mark_us))
    return t_us - last_us, int(last_us[-1])


class Heading:
    """The direction of a pass, from its first glides on, against that of the pass before.

    Directions are kept at twice their angle, so that to and fro add up.
    """

    def __init__(self) -> None:
        self._before: float | None = None
        self._rests = False
        self._along, self._way_mm, self._recent_mm = 0j, 0.0, 0.0

    def follow(self, now: Now, before_deg: float | None) -> Floats:
        """Angle to the pass before, 0 to 90 degrees, shape (n,); 90 where there is nothing to compare.

        `before_deg` is the direction of the pass that a rest within these samples ends; None if it ends none.
        """
        rests = (now.off_us >= REST_US).tolist()
        angles_deg = np.full(len(rests), 90.0)
        for at, (resting, step_mm) in enumerate(zip(rests, now.step_mm.tolist(), strict=True)):
            if resting and not self._rests:
                self._before = before_deg
                self._along, self._way_mm, self._recent_mm = 0j, 0.0, 0.0
            self._rests = resting
            if self._before is None or resting:
                continue
            length_mm = abs(step_mm)
            keep = math.exp(-length_mm / LEAST_WAY_MM)
            self._way_mm += length_mm
            self._recent_mm = self._recent_mm * keep + length_mm
            self._along = self._along * keep + (step_mm * step_mm / length_mm if length_mm else 0j)
            if self._way_mm >= LEAST_WAY_MM and abs(self._along) >= STRAIGHT * self._recent_mm:
                turned_deg = math.degrees(cmath.phase(self._along)) - 2 * self._before
                angles_deg[at] = abs((turned_deg + 180) % 360 - 180) / 2
        return angles_deg
