"""What one area has been given in one treatment: over all its runs, and across restarts of the pen and of this program.

No I/O. The pass counter measures what it sees. What the pen did unseen (behind a lost line, after a killed program) is
added from the pen's own cumulative counters. Where those are gone too, because the pen rebooted, the most that can have
happened counts against the hard limits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pen_controller.config import Config
from pen_controller.limits import Delivered, Grant, Limit, Refusal, Request
from pen_controller.passes import Figures, Finished, PassCounter, Zone
from pen_controller.pen.guard import RATE_TOLERANCE
from pen_controller.treatment.technique import Alert, Technique, coached
from protocols.messages import WRAP, Identity
from protocols.samples import SampleArray
from protocols.words import Capability

STOPPING_STROKES = 2
"""The needles come home within so many strokes."""


class PenCounters(NamedTuple):
    """The pen's own counters, modulo 2**32, and the boot since which they count."""

    boot_id: int
    strokes: int
    contact_strokes: int


class Given(NamedTuple):
    """What adds up over runs. A stroke in contact times needles is a puncture.

    `uncertain_strokes` is the most that may have been made in contact beyond those counted, by a pen that rebooted, or
    while its force sensor was frozen.
    """

    passes: int = 0
    glides: int = 0
    strokes: int = 0
    contact_strokes: int = 0
    uncertain_strokes: int = 0
    deepest_um: int = 0
    duration_s: float = 0.0


@dataclass(slots=True)
class AreaCount:
    """One area of one treatment.

    Args:
        area: its name in the configuration.
        zone: what has to be known to count it.
        technique: watches how it is worked.
        warn: figures at which a warning is due (`warned`).
        earlier: what it was given before this program began, and what the pen did unseen.
    """

    area: str
    zone: Zone
    technique: Technique
    warn: dict[str, Limit]
    earlier: Given = field(default_factory=Given)
    wanted_passes: int = 1
    hard: dict[str, Limit] = field(default_factory=dict)
    """Limits of the last grant, by name."""
    rate_hz: float = 0.0
    """Of the last start."""
    pen: PenCounters | None = None
    """How far the pen's own counters are counted here; None once they begin anew."""
    closed: Limit | None = None
    """The hard limit by which this area is closed for the rest of the treatment."""
    warned: set[str] = field(default_factory=set)
    """Names of the limits that a warning was given for."""
    warnings: list[str] = field(default_factory=list)
    """What the person was warned of."""
    counter: PassCounter = field(init=False)
    figures: Figures = field(init=False)
    """Of the counter, after the newest sample."""

    def __post_init__(self) -> None:
        self.counter = PassCounter([self.zone])
        self.figures = self.counter.figures()

    # --- counting ----------------------------------------------------------------------------------------------------

    def begin(self, sample: SampleArray, boot_id: int, rate_hz: float) -> None:
        """A run begins. `sample`, of shape (1,), was taken while the needles were in: from there on is counted."""
        self.rate_hz = rate_hz
        self.counter.forget_counters()
        self.pen = PenCounters(boot_id, 0, 0)
        self.feed(sample)

    def feed(self, samples: SampleArray) -> Finished:
        """Count samples of a run, shape (n,) with n of at least 1, in pen order; return what they complete."""
        if self.pen is None:
            raise ValueError(f"{self.area}: no run has begun: call begin first")
        finished = self.counter.feed(samples)
        newest = samples[-1]
        self.pen = self.pen._replace(strokes=int(newest["strokes"]), contact_strokes=int(newest["contact_strokes"]))
        self.figures = self.counter.figures()
        return self._numbered(finished)

    def coach(self, samples: SampleArray) -> list[Alert]:
        """Judge the technique in samples just fed; return the alerts that they raise and end."""
        return self.technique.feed(samples, self.figures)

    def finish(self) -> Finished:
        """A run is over: so is a pass that is complete."""
        finished = self.counter.finish()
        self.figures = self.counter.figures()
        return self._numbered(finished)

    def catch_up(self, now: PenCounters, deepest_um: int) -> None:
        """Count what the pen did since the newest sample fed. `deepest_um` is the pen's own, of all of the run."""
        if self.pen is None or self.pen.boot_id != now.boot_id:
            raise ValueError(f"{self.area}: the pen's counters have begun anew: use lose")
        strokes = (now.strokes - self.pen.strokes) % WRAP
        in_contact = (now.contact_strokes - self.pen.contact_strokes) % WRAP if self.zone.contact else strokes
        self.earlier = self.earlier._replace(
            strokes=self.earlier.strokes + strokes,
            contact_strokes=self.earlier.contact_strokes + in_contact,
            deepest_um=max(self.earlier.deepest_um, deepest_um if in_contact else 0),
        )
        self.pen = now

    def lose(self, unseen_s: float) -> int:
        """The pen rebooted, and what it did for `unseen_s` at most is lost; return the most strokes that it can be."""
        self.pen = None
        return self.doubt(unseen_s)

    def doubt(self, seconds: float) -> int:
        """Nobody knows what was made in contact for so long; return the most strokes beyond those counted."""
        most = math.ceil(self.rate_hz * RATE_TOLERANCE * seconds) + STOPPING_STROKES
        most = max(0, min(most, self.strokes_left))
        self.earlier = self.earlier._replace(uncertain_strokes=self.earlier.uncertain_strokes + most)
        return most

    def _numbered(self, finished: Finished) -> Finished:
        """Passes, numbered through the whole treatment."""
        before = self.earlier.passes
        return Finished(finished.glides, [replace(one, index=before + one.index) for one in finished.passes])

    # --- what it came to ---------------------------------------------------------------------------------------------

    @property
    def given(self) -> Given:
        """All that this area has been given in this treatment."""
        earlier, seen = self.earlier, self.figures
        return Given(
            passes=earlier.passes + (seen.passes or 0),
            glides=earlier.glides + seen.glides,
            strokes=earlier.strokes + seen.strokes,
            contact_strokes=earlier.contact_strokes + seen.punctures // self.zone.needles,
            uncertain_strokes=earlier.uncertain_strokes,
            deepest_um=max(earlier.deepest_um, seen.deepest_um),
            duration_s=earlier.duration_s + seen.duration_s,
        )

    @property
    def passes(self) -> int | None:
        """Passes that are complete and over; None for a pen without a motion sensor."""
        return self.given.passes if self.zone.motion else None

    @property
    def punctures(self) -> int:
        """Those counted."""
        return self.given.contact_strokes * self.zone.needles

    @property
    def density_per_cm2(self) -> float:
        """Punctures over the zone's size."""
        return self.punctures / self.zone.size_cm2

    @property
    def delivered(self) -> Delivered:
        """What the limits have to know: the most that it can have been."""
        given = self.given
        return Delivered(given.passes, (given.contact_strokes + given.uncertain_strokes) * self.zone.needles)

    def has(self, passes: int) -> bool:
        """Whether it was given so many passes; without a motion sensor, the density that they should come to."""
        if self.passes is None:
            return self.density_per_cm2 >= self.density_of(passes)
        return self.passes >= passes

    def density_of(self, passes: int) -> float:
        """Punctures per cm2 that so many passes should come to: of each, density over passes at which to warn."""
        return passes * self.warn["density"].value / self.warn["passes"].value

    # --- limits ------------------------------------------------------------------------------------------------------

    def allow(self, grant: Grant) -> Grant:
        """Take the limits of a new grant; return it with no more strokes than this area has left."""
        self.hard = {limit.name: limit for limit in grant.limits}
        return replace(grant, stroke_budget=max(0, min(grant.stroke_budget, self.strokes_left)))

    @property
    def stroke_budget(self) -> Limit:
        """Needle cycles for the whole treatment, in skin or not: what the density allows, if all were in skin.

        Strokes in the air count too, for the pen itself keeps this budget and asks no sensor of contact. It errs to
        too few: on a small zone with long rests the area closes before its density is reached.
        """
        density, strokes = self.hard["density"], self._most_punctures // self.zone.needles
        return Limit("strokes", strokes, "strokes", f"as many as the density allows; {density.source}", density.layer)

    @property
    def _most_punctures(self) -> int:
        return math.floor(self.hard["density"].value * self.zone.size_cm2)

    @property
    def strokes_left(self) -> int:
        """Of the stroke budget."""
        given = self.given
        return self._most_punctures // self.zone.needles - given.strokes - given.uncertain_strokes

    @property
    def reached(self) -> Limit | None:
        """The hard limit that this area has come to, if any."""
        passes, density, delivered = self.hard["passes"], self.hard["density"], self.delivered
        if delivered.passes >= passes.value:
            return passes
        if (self._most_punctures - delivered.punctures) // self.zone.needles <= 0:
            return density
        return self.stroke_budget if self.strokes_left <= 0 else None

    def refuse(self, request: Request) -> Refusal | None:
        """Why this area may not be gone on with, if it may not; what else forbids it is for `limits` to say."""
        if self.closed is not None:
            return Refusal(self.closed, request.passes, closing(self.area, self.closed))
        if request.size_cm2 != self.zone.size_cm2:
            limit = Limit("size", self.zone.size_cm2, "cm2", "project rule: an area keeps its size", "request")
            said = f"{request.size_cm2:g} cm2 asked, begun with {limit.value:g} cm2: give the same size"
            return Refusal(limit, request.size_cm2, f"{_titled(self.area)}: {said}")
        return None

    def warnings_due(self) -> Iterator[Limit]:
        """Warning figures reached, each once in a treatment; its words are the last of `warnings`."""
        values = {"passes": self.passes or 0, "density": self.density_per_cm2}
        for name, limit in self.warn.items():
            if name not in self.warned and values[name] >= limit.value:
                self.warned.add(name)
                self.warnings.append(f"{_titled(self.area)}: {_reached(limit)}, the figure to warn at")
                yield limit


@dataclass(frozen=True, slots=True)
class Live:
    """What is happening now, for a screen: the area, the newest sample (dtype SAMPLE), the most urgent alert if any."""

    area: AreaCount
    sample: Any
    alert: Alert | None


def closing(area: str, limit: Limit) -> str:
    """Why an area is closed, for a person."""
    return f"{_titled(area)}: {_reached(limit)}; closed for the rest of this treatment"


def _reached(limit: Limit) -> str:
    unit = limit.unit.removesuffix("es") if limit.value == 1 and limit.unit == "passes" else limit.unit
    return f"{limit.value:g} {unit} reached ({limit.layer}: {limit.source})"


def _titled(name: str) -> str:
    return name.replace("_", " ").capitalize()


def counted(area: str, size_cm2: float, needles: int, *, config: Config, pen: Identity) -> AreaCount:
    """Begin to count an area under a pen."""
    motion, contact = (
        bool(sensor & pen.capabilities) for sensor in (Capability.MOTION_SENSOR, Capability.FORCE_SENSOR)
    )
    tip_width_mm = pen.tip_width_um / 1000
    zone = Zone(size_cm2, needles, tip_width_mm, config.areas[area].coverage.min, motion, contact)
    technique = Technique(coached(config, area), needles, tip_width_mm, contact=contact)
    return AreaCount(area, zone, technique, warned(config, area))


def warned(config: Config, area: str) -> dict[str, Limit]:
    """Figures at which a warning is due, by name, as the clinic has narrowed them."""
    own, clinic = config.areas[area], config.clinic.areas.get(area)
    limits = {
        "passes": Limit("passes", own.passes.warn, "passes", own.passes.source, "area"),
        "density": Limit("density", own.density_per_cm2.warn, "punctures/cm2", own.density_per_cm2.source, "area"),
    }
    narrowed = {"passes": clinic.passes, "density": clinic.density_per_cm2} if clinic else {}
    for name, group in narrowed.items():
        if group and (most := group.warn or group.hard) < limits[name].value:
            limits[name] = replace(limits[name], value=most, source=group.source, layer="clinic")
    return limits
