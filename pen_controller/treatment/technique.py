"""What a hand does wrong, said while it can still be put right. Pure: no I/O and no clock.

A fault is what its definition says, held against the limits of the area (`coached`). *Working* is: needles running and
tip on the skin, for the last 200 ms. Speeds are without tremor (see `movement`).

| fault | it is there when | and has ended when |
| --- | --- | --- |
| pressing | the force is above the area's warning | it is below 0.9 of that for 0.5 s |
| dwelling | working, the tip is slower than the slowest glide: it stands | twice as fast, or lifted, for 0.3 s |
| dragging | working, needles x rate / (tip x speed) is below the least density of a glide | 1.1 of that for 0.5 s |
| air | needles have run off the skin for longer than a break takes | set down, or stopped, for 0.1 s |
| direction | 20 mm into a new pass, it goes the way of the pass before, where passes are to cross | away for 0.3 s |
| coverage | the tip rests, 1.2 s off the skin, and the pass under way is surely not complete | set down for 0.5 s |

Disputable: standing is a fault from its first moment, since every tenth of a second adds a hundred punctures per cm2 to
one spot. A pass is surely not complete only when even its greatest possible coverage is too little, so that a pass with
much overlap may be broken off unnoticed. Circles have no direction to cross.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Literal, Protocol

from pen_controller.config import Config
from pen_controller.limits import Limit
from pen_controller.treatment.movement import REST_US, Heading, Movement, Now, Reading
from protocols.messages import WRAP
from protocols.samples import SampleArray
from protocols.words import SampleFlag

LOST_US: Final = 1_000_000
"""After so long without a sample nothing of before counts."""
CLEAR_DEG: Final = 5.0
"""A direction has to be so much beyond the limit to be another."""


class Fault(IntEnum):
    """What can be wrong, the most dangerous first."""

    PRESSING = 1
    DWELLING = 2
    DRAGGING = 3
    AIR = 4
    DIRECTION = 5
    COVERAGE = 6

    @property
    def severity(self) -> Literal["warning", "advice"]:
        """A warning is of what may hurt, advice of what may want doing again."""
        return "warning" if self <= Fault.AIR else "advice"


ADVICE: Final = {
    Fault.PRESSING: "Lighter",
    Fault.DWELLING: "Move on",
    Fault.DRAGGING: "Slower",
    Fault.AIR: "Set the needles down or stop",
    Fault.DIRECTION: "Cross the direction",
    Fault.COVERAGE: "Fill the gaps",
}
_TIMES_US: Final = {
    Fault.PRESSING: (50_000, 500_000),
    Fault.DWELLING: (50_000, 300_000),
    Fault.DRAGGING: (50_000, 500_000),
    Fault.AIR: (0, 100_000),
    Fault.DIRECTION: (0, 300_000),
    Fault.COVERAGE: (0, 500_000),
}
"""How long a fault has to show before it is raised, and be gone before it ends."""
_NEEDED: Final = {
    Fault.PRESSING: SampleFlag.FORCE_VALID,
    Fault.DWELLING: SampleFlag.MOTION_VALID,
    Fault.DRAGGING: SampleFlag.MOTION_VALID,
    Fault.AIR: SampleFlag(0),
    Fault.DIRECTION: SampleFlag.MOTION_VALID,
    Fault.COVERAGE: SampleFlag.MOTION_VALID,
}


_Verdict = tuple[float, bool, bool]


@dataclass(frozen=True, slots=True)
class Alert:
    """A fault with the words to put it right. `value` is what was measured when it was raised; times are pen time."""

    fault: Fault
    advice: str
    value: float
    limit: Limit
    raised_us: int
    ended_us: int | None = None


class Work(Protocol):
    """What has to be known of the pass under way; `passes.Figures` has it. None is what is not known, or not yet."""

    @property
    def coverage(self) -> tuple[float, float] | None:
        """Least and greatest share of the zone that may have been swept."""

    @property
    def family(self) -> Literal["straight", "circular"] | None:
        """How the tip goes."""

    @property
    def direction_deg(self) -> float | None:
        """From 0 to 180; None in circles too."""


def coached(config: Config, area: str) -> dict[Fault, Limit]:
    """The limits that an area's technique is held against, as the clinic has narrowed them.

    Raises:
        KeyError: there is no such area.
    """
    figures = config.areas[area]
    technique, coverage, force = figures.technique, figures.coverage, figures.force_n
    limits = {
        Fault.PRESSING: Limit("force", force.warn, "N", force.source, "area"),
        Fault.DWELLING: Limit("speed", technique.slowest_mm_s, "mm/s", technique.source, "area"),
        Fault.DRAGGING: Limit("density of a glide", technique.least_per_cm2, "punctures/cm2", technique.source, "area"),
        Fault.AIR: Limit("time in the air", technique.air_s, "s", technique.source, "area"),
        Fault.COVERAGE: Limit("coverage of a pass", coverage.min, "of the zone", coverage.source, "area"),
    }
    if technique.crossing_deg:
        angle = Limit("angle to the pass before", technique.crossing_deg, "degrees", technique.source, "area")
        limits[Fault.DIRECTION] = angle
    clinic = config.clinic.areas.get(area)
    if clinic and (own := clinic.force_n) and (most_n := own.warn or own.hard) < force.warn:
        limits[Fault.PRESSING] = Limit("force", most_n, "N", own.source, "clinic")
    return limits


class Technique:
    """Watches one area under one pen. The result does not depend on how the stream is cut, up to a second a batch.

    Args:
        limits: of `coached`; a fault that has none is not judged.
        needles: of the cartridge.
        tip_width_mm: width of the swath.
        contact: the pen senses contact; without, nothing but pressing can be told.
    """

    def __init__(
        self, limits: Mapping[Fault, Limit], needles: int, tip_width_mm: float, *, contact: bool = True
    ) -> None:
        self._wanted = frozenset(limits)
        told = (fault for fault in sorted(limits) if contact or fault is Fault.PRESSING)
        self._watches = [_Watch(fault, limits[fault]) for fault in told]
        self._per_cm = needles / (tip_width_mm / 10)
        self._movement = Movement()
        self._heading = Heading()
        self._t_us: int | None = None
        self._flags = int(SampleFlag.FORCE_VALID | SampleFlag.MOTION_VALID)
        self._min_coverage = limits[Fault.COVERAGE].value if Fault.COVERAGE in limits else 0.0
        self._most_coverage = 0.0
        self._direction_deg: float | None = None

    @property
    def current(self) -> Alert | None:
        """The most dangerous of the faults there are: the one to show."""
        return next((watch.alert for watch in self._watches if watch.alert), None)

    @property
    def untold(self) -> frozenset[Fault]:
        """Faults that cannot be told, for want of a sensor, as the newest sample has it."""
        seen = {watch.fault for watch in self._watches if self._flags & _NEEDED[watch.fault] == _NEEDED[watch.fault]}
        return self._wanted - seen

    def feed(self, samples: SampleArray, figures: Work) -> list[Alert]:
        """Judge samples of shape (n,) in pen order.

        Args:
            samples: of dtype SAMPLE.
            figures: of the pass counter that was fed the same samples.

        Returns:
            The alerts raised (`ended_us` is None) and ended, in order. Any number may be under way at once: a record
            wants them all, a screen `current` only.
        """
        changes: list[Alert] = []
        for sample in map(Reading, *(samples[name].tolist() for name in Reading._fields)):
            changes += self._judge(sample)
        # What is decided in a rest is decided by what was known before the batch: this one may reach beyond the rest.
        self._most_coverage = figures.coverage[1] if figures.coverage else 0.0
        if figures.family is not None:
            self._direction_deg = figures.direction_deg
        return changes

    def _judge(self, sample: Reading) -> list[Alert]:
        last_us = self._t_us
        t_us = sample.t_us if last_us is None else last_us + (sample.t_us - last_us) % WRAP
        if last_us is None or t_us - last_us > LOST_US:
            self._movement.begin(sample, t_us)
        self._t_us, self._flags = t_us, sample.flags
        now = self._movement.feed(sample, t_us)
        changes = []
        for watch in self._watches:
            verdict, alert = self._verdict(watch, now), watch.alert
            if not watch.turns(t_us, verdict):
                continue
            value, *_ = verdict
            changes.append(watch.end(alert, t_us) if alert else watch.begin(t_us, value, self._advice(watch, now)))
        return changes

    def _verdict(self, watch: "_Watch", now: Now) -> _Verdict:
        """What is measured of a fault, whether that is faulty, and whether it is surely right.

        Nan is not known, which speaks neither for nor against; between faulty and right nothing changes.
        """
        limit = watch.limit.value
        match watch.fault:
            case Fault.PRESSING:
                return now.force_n, now.force_n > limit, now.force_n < 0.9 * limit
            case Fault.DWELLING:
                slow, moves = now.speed_mm_s < limit, now.speed_mm_s > 2 * limit
                speed_mm_s = math.nan if now.across and not slow else now.speed_mm_s
                return speed_mm_s, slow and now.working, moves or not now.working
            case Fault.DRAGGING:
                density = self._per_cm * now.rate_hz / max(now.way_mm_s / 10, 0.01)
                return density, density < limit and now.working, density > 1.1 * limit or not now.working
            case Fault.AIR:
                return now.air_us / 1e6, now.air_us >= 1e6 * limit, now.air_us < 1e6 * limit
            case Fault.DIRECTION:
                begun = None if 0 < self._most_coverage < self._min_coverage else self._direction_deg
                angle_deg = self._heading.follow(now, begun)
                return angle_deg, angle_deg < limit, angle_deg >= limit + CLEAR_DEG
            case Fault.COVERAGE:
                rests = now.off_us >= REST_US and now.air_us > 0
                return self._most_coverage, rests and 0 < self._most_coverage < limit, now.touching

    def _advice(self, watch: "_Watch", now: Now) -> str:
        advice = ADVICE[watch.fault]
        if watch.fault is not Fault.DRAGGING:
            return advice
        return f"{advice}, {_round_down(self._per_cm * now.rate_hz / watch.limit.value):g} cm/s"


class _Watch:
    """Whether one fault is there: it comes and goes when for some time nothing has spoken against that."""

    def __init__(self, fault: Fault, limit: Limit) -> None:
        self.fault, self.limit = fault, limit
        self.alert: Alert | None = None
        self._against_us: int | None = None
        self._raise_us, self._clear_us = _TIMES_US[fault]

    def turns(self, now_us: int, verdict: _Verdict) -> bool:
        """Whether with this sample's verdict the fault begins, or ends."""
        value, faulty, right = verdict
        if math.isnan(value):
            return False
        if not (right if self.alert else faulty):
            self._against_us = now_us
            return False
        if self._against_us is None:
            self._against_us = now_us
        if now_us - self._against_us < (self._clear_us if self.alert else self._raise_us):
            return False
        self._against_us = now_us
        return True

    def begin(self, now_us: int, value: float, advice: str) -> Alert:
        """The fault is there."""
        self.alert = Alert(self.fault, advice, value, self.limit, now_us % WRAP)
        return self.alert

    def end(self, alert: Alert, now_us: int) -> Alert:
        """It is there no more."""
        self.alert = None
        return replace(alert, ended_us=now_us % WRAP)


def _round_down(speed_cm_s: float) -> float:
    """To what a person can keep to: half centimetres a second, or tenths when slow."""
    step_cm_s = 0.5 if speed_cm_s >= 1 else 0.1
    return round(math.floor(speed_cm_s / step_cm_s) * step_cm_s, 1)
