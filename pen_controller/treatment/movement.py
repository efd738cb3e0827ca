"""How a tip moves, sample by sample, without the tremor of the hand that leads it. Pure: no I/O and no clock.

Tremor of 8 to 12 Hz is faster than a slow glide: nothing is told from two samples alone, but from means over a whole
period of it. What was lost with a batch is taken as a straight line.
"""

import cmath
import math
from collections import deque
from typing import Final, NamedTuple

from protocols.messages import WRAP
from protocols.words import SampleFlag

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
_CONTACT, _RUNNING, _FORCE_VALID, _MOTION_VALID = (
    int(flag) for flag in (SampleFlag.CONTACT, SampleFlag.RUNNING, SampleFlag.FORCE_VALID, SampleFlag.MOTION_VALID)
)

# In quotes below: mypyc (`tests/compiled.py`) does not find "complex" otherwise.


class Reading(NamedTuple):
    """What is judged of a sample: fields of `SAMPLE`, as plain numbers."""

    t_us: int
    contact_strokes: int
    x_um: int
    y_um: int
    force_mn: int
    rate_dhz: int
    heading_cdeg: int
    flags: int


class Now(NamedTuple):
    """Measures at a sample. Means are over the `WINDOW_US` before it."""

    force_n: float
    """Mean while running; 0 without a valid force. Nan after a loss."""
    rate_hz: float
    working: bool
    touching: bool
    step_mm: "complex"
    """From the mean place before to this one, in axes that stay where they are while the pen turns; else 0."""
    speed_mm_s: float
    """Straight from the mean place a window before: next to nothing for a tip that stands. Nan after a loss."""
    across: bool
    """It is from before a loss, and the most that the speed can be."""
    way_mm_s: float
    """Along the line of mean places: right for circles too. Nan after a loss."""
    off_us: int
    """Since the last contact."""
    air_us: int
    """Running and without contact for so long."""


class _Point(NamedTuple):
    """A sample's values; then their integrals over time, up to here."""

    t_us: int
    place_mm: "complex"
    force_n: float
    rate_hz: float
    contact: bool
    working: bool
    place: "complex"
    force: float
    rate: float
    contact_s: float
    working_s: float


class _Place(NamedTuple):
    """A mean place, and the way to it along the line of those before."""

    t_us: int
    mm: "complex"
    way_mm: float


class Movement:
    """Running integrals over pen time, from which the mean over any window is read. Memory does not grow.

    Between two samples everything goes in a straight line, also across those that were lost.
    """

    def begin(self, first: Reading, t_us: int) -> None:
        """Forget everything; before this sample, nothing was."""
        self._last = first
        self._touched_us = self._grounded_us = self._resumed_us = t_us
        nothing = (0j, 0.0, 0.0, False, False, 0j, 0.0, 0.0, 0.0, 0.0)
        self._point = _Point(t_us - 1, *nothing)
        # Of each the first is the newest that is as old as the window, or as two.
        self._window = deque([_Point(t_us - 3 * WINDOW_US, *nothing), self._point])
        self._windows = self._window.copy()
        self._line = deque([_Place(t_us - 3 * WINDOW_US, 0j, 0.0)])

    def feed(self, sample: Reading, t_us: int) -> Now:
        """Measure a sample; `t_us` is its time without the wrap."""
        last, flags = self._last, sample.flags
        running, contact = flags & _RUNNING != 0, flags & _CONTACT != 0
        touched = contact or sample.contact_strokes != last.contact_strokes
        if touched:
            self._touched_us = t_us
        if touched or not running:
            self._grounded_us = t_us
        if t_us - self._point.t_us > GAP_US:
            self._resumed_us = t_us
        known = t_us - self._resumed_us >= (1 - SLACK) * WINDOW_US
        moved_mm = complex(_signed(sample.x_um - last.x_um) / 1000, _signed(sample.y_um - last.y_um) / 1000)
        self._last = sample
        now = self._append(
            t_us,
            self._point.place_mm + moved_mm,
            sample.force_mn / 1000 if running and flags & _FORCE_VALID else 0.0,
            sample.rate_dhz / 10,
            contact,
            contact and running and flags & _MOTION_VALID != 0,
        )
        before, after, since_s, half = _around(self._window, t_us - WINDOW_US)
        rate = before.rate + since_s * _mean(before.rate_hz, after.rate_hz, half)
        contact_s = before.contact_s + since_s * _mean(before.contact, after.contact, half)
        force_n = speed_mm_s = way_mm_s = math.nan
        step_mm, across = 0j, False
        if known:
            force = before.force + since_s * _mean(before.force_n, after.force_n, half)
            place = before.place + since_s * _mean_mm(before.place_mm, after.place_mm, half)
            force_n = (now.force - force) / WINDOW_S
            step_mm, speed_mm_s, across, way_mm_s = self._go(t_us, (now.place - place) / WINDOW_S)
            step_mm *= cmath.rect(1.0, math.radians(sample.heading_cdeg / 100))
        before, after, since_s, half = _around(self._windows, t_us - 2 * WINDOW_US)
        working_s = before.working_s + since_s * _mean(before.working, after.working, half)
        return Now(
            force_n,
            (now.rate - rate) / WINDOW_S,
            (now.working_s - working_s) / (2 * WINDOW_S) >= 1 - SLACK,
            (now.contact_s - contact_s) / WINDOW_S > 0.5,
            step_mm,
            speed_mm_s,
            across,
            way_mm_s,
            t_us - self._touched_us,
            t_us - self._grounded_us,
        )

    def _append(
        self, t_us: int, place_mm: complex, force_n: float, rate_hz: float, contact: bool, working: bool
    ) -> _Point:
        """Integrate up to a sample with these values."""
        last = self._point
        half_s = (t_us - last.t_us) / 2e6
        point = self._point = _Point(
            t_us,
            place_mm,
            force_n,
            rate_hz,
            contact,
            working,
            last.place + (last.place_mm + place_mm) * half_s,
            last.force + (last.force_n + force_n) * half_s,
            last.rate + (last.rate_hz + rate_hz) * half_s,
            last.contact_s + (last.contact + contact) * half_s,
            last.working_s + (last.working + working) * half_s,
        )
        self._window.append(point)
        self._windows.append(point)
        return point

    def _go(self, t_us: int, place_mm: complex) -> tuple[complex, float, bool, float]:
        """Follow the line of mean places. It leaves out those just after a loss, which hold too little of a period.

        Returns:
            Step, speed, whether that is across a loss, and speed along the way.
        """
        line, then_us = self._line, t_us - WINDOW_US
        last = line[-1]
        step_mm = place_mm - last.mm
        way_mm = last.way_mm + abs(step_mm)
        line.append(_Place(t_us, place_mm, way_mm))
        while line[1].t_us <= then_us:
            line.popleft()
        base, after = line[0], line[1]
        share = (then_us - base.t_us) / (after.t_us - base.t_us)
        way_then_mm = base.way_mm + (after.way_mm - base.way_mm) * share
        across = t_us - base.t_us > WINDOW_US + GAP_US
        return step_mm, abs(place_mm - base.mm) / WINDOW_S, across, (way_mm - way_then_mm) / WINDOW_S


def _around(points: deque[_Point], t_us: int) -> tuple[_Point, _Point, float, float]:
    """The points before and after a time, and how far it is from the first: in seconds, and as half the share.

    Older points are forgotten. The newest is younger than `t_us`.
    """
    while points[1].t_us <= t_us:
        points.popleft()
    before, after = points[0], points[1]
    since_us = t_us - before.t_us
    return before, after, since_us / 1e6, since_us / (after.t_us - before.t_us) / 2


def _mean(first: float, second: float, half: float) -> float:
    """Mean from one value up to a share of the way to the next; `half` is half that share."""
    return first + (second - first) * half


def _mean_mm(first: complex, second: complex, half: float) -> complex:
    """The same of places."""
    return first + (second - first) * half


def _signed(difference: int) -> int:
    """Of two numbers modulo 2**32."""
    return (difference + WRAP // 2) % WRAP - WRAP // 2


class Heading:
    """The direction of a pass, from its first glides on, against that of the pass before.

    Directions are kept at twice their angle, so that to and fro add up.
    """

    def __init__(self) -> None:
        self._before: float | None = None
        self._rests = False
        self._along, self._way_mm, self._recent_mm = 0j, 0.0, 0.0

    def follow(self, now: Now, before_deg: float | None) -> float:
        """Angle to the pass before, 0 to 90 degrees; 90 where there is nothing to compare.

        `before_deg` is the direction of the pass that a rest at this sample ends; None if it ends none.
        """
        resting = now.off_us >= REST_US
        if resting and not self._rests:
            self._before = before_deg
            self._along, self._way_mm, self._recent_mm = 0j, 0.0, 0.0
        self._rests = resting
        if self._before is None or resting:
            return 90.0
        length_mm = abs(now.step_mm)
        keep = math.exp(-length_mm / LEAST_WAY_MM)
        self._way_mm += length_mm
        self._recent_mm = self._recent_mm * keep + length_mm
        self._along = self._along * keep + (now.step_mm * now.step_mm / length_mm if length_mm else 0j)
        if self._way_mm < LEAST_WAY_MM or abs(self._along) < STRAIGHT * self._recent_mm:
            return 90.0
        turned_deg = math.degrees(cmath.phase(self._along)) - 2 * self._before
        return abs((turned_deg + 180) % 360 - 180) / 2
