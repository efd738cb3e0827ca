"""The course of one zone: stretches to glides, contacts to passes."""

import math
from dataclasses import dataclass, field
from typing import Final

from pen_controller.passes.figures import Coverage, Family, Finished, Glide, Pass, Zone
from pen_controller.passes.glides import LEAST_MM, circular, write_stretch
from pen_controller.passes.ground import DISC, cell_cm2
from pen_controller.passes.ticks import TICK_US
from pen_controller.passes.tip import LIFTED, TURNED, Event, Tip
from pen_controller.passes.work import NOTHING, Mark, Stretch, Way, Work

CHANGED_MM: Final = 15.0
"""Glides of this length together in another direction are a change of direction, less is an aside."""
CIRCLES_SHOW_MM: Final = 30.0
"""Circles are recognised within this way."""
FRESH_SHARE: Final = 0.35
"""At least this share of the ground was swept for the first time: rows overlap by 60 % at most, and at their ends."""
HELD_BACK: Final = 2
"""So many stretches of a contact are held back until it is seen whether they are pieces of circles."""


@dataclass(slots=True)
class Area:
    """One zone, contact by contact."""

    lane: int
    zone: Zone
    glides: int = 0
    passes: int = 0
    deepest_um: int = 0
    contact_ticks: int = 0
    """Time in contact, up to the last lift."""
    _work: Work = field(default_factory=lambda: Work(NOTHING))
    _aside: Work | None = None
    """Contacts in another direction, too few yet to tell."""
    _contact: Work = field(default_factory=lambda: Work(NOTHING))
    """The one under way."""
    _stretches: list[Stretch] = field(default_factory=list)
    _lifted: Mark = NOTHING
    _cells: int = 0
    _strokes: int = 0
    _squares: float = 0.0

    def happened(self, event: Event, finished: Finished) -> None:
        """Something happened to the tip; add to `finished` what is complete now."""
        if event.what == TURNED:
            self._turn(_stretch(event), finished)
        elif event.what == LIFTED:
            self._lift(event, finished)
        else:
            self.rest(finished)

    def rest(self, finished: Finished) -> None:
        """The tip rests: a pass that is complete is over."""
        self._take_aside()
        self._end_work(self._lifted, Work(self._lifted), finished, keep=True)

    def coverage(self, tip: Tip) -> Coverage:
        """Of the pass under way, with the contact under way."""
        works = self._works
        if not tip.down:
            return self._coverage(works, 0)
        if not circular(tip) and self._changes(_under_way(tip)):
            works = works[1:]
        return self._coverage(works, tip.cells)

    def unevenness(self) -> float | None:
        """Coefficient of variation of the strokes per cell, contact by contact; None before there are any."""
        if not self._strokes:
            return None
        mean = self._strokes / self._cells
        return math.sqrt(max(0.0, self._squares / self._cells / mean**2 - 1))

    @property
    def family(self) -> Family | None:
        """How the pass under way is given, if that shows yet."""
        return _family(self._work) if self._work.way.length_mm else None

    @property
    def direction_deg(self) -> float | None:
        """Of the pass under way."""
        return self._work.direction_deg

    def _turn(self, stretch: Stretch, finished: Finished) -> None:
        self._stretches.append(stretch)
        if len(self._stretches) > HELD_BACK:
            self._glide(self._stretches.pop(0), finished)
            self._end_if_changed(self._contact, Work(self._lifted), finished)

    def _lift(self, lift: Event, finished: Finished) -> None:
        stretches = [*self._stretches, _stretch(lift)]
        contact = self._contact
        contact.end(lift)
        if contact.circular or not self.zone.motion:
            way_mm = sum(stretch.length_mm for stretch in stretches)
            stretches = [Stretch(lift.landed, lift.end, 0.0, 0.0, max(way_mm, LEAST_MM))]
        for stretch in stretches:
            self._glide(stretch, finished)
        self._sum(lift)
        if self.zone.motion:
            self._place(contact, finished)
        self._stretches, self._contact = [], Work(self._lifted)

    def _glide(self, stretch: Stretch, finished: Finished) -> None:
        start_us, end_us = stretch.start * TICK_US, stretch.end * TICK_US
        if not self.zone.motion:
            self.glides += 1
            finished.glides.append(Glide(self.lane, start_us, end_us, None))
        elif stretch.length_mm >= LEAST_MM:
            if self._contact.circular:
                self._contact.way.length_mm += stretch.length_mm
            else:
                self._contact.way.glide(stretch)
            self.glides += 1
            finished.glides.append(Glide(self.lane, start_us, end_us, stretch.length_mm))

    def _sum(self, lift: Event) -> None:
        self._lifted = Mark(lift.running_us, lift.strokes, lift.contact_strokes)
        self.contact_ticks += lift.end - lift.landed
        self.deepest_um = max(self.deepest_um, lift.deepest_um)
        self._cells += lift.cells
        self._strokes += lift.given * len(DISC)
        self._squares += lift.squares

    def _place(self, contact: Work, finished: Finished) -> None:
        """Put a contact where it belongs: to the pass under way, or aside until a change of direction is clear."""
        if contact.circular and self._work.way.length_mm < CIRCLES_SHOW_MM:
            self._work.circular = True
        if self._work.agrees(contact):
            self._take_aside()
            self._work.add(contact)
        elif self._aside is None:
            self._aside = contact
        else:
            self._aside.add(contact)
        if self._aside is not None:
            self._end_if_changed(self._aside, self._aside, finished)

    @property
    def _works(self) -> list[Work]:
        return [self._work] if self._aside is None else [self._work, self._aside]

    def _coverage(self, works: list[Work], open_cells: int) -> Coverage:
        """Of all these, with so many cells of a contact under way."""
        cells = sum(work.cells for work in works) + open_cells
        contacts = sum(work.contacts for work in works) + (open_cells > 0)
        most = max([open_cells, *(work.most_cells for work in works)])
        least = cells if contacts <= 1 else max(most, FRESH_SHARE * cells)
        scale = cell_cm2(self.zone.tip_width_mm) / self.zone.size_cm2
        return Coverage(min(1.0, least * scale), min(1.0, cells * scale))

    def _changes(self, under_way: Stretch) -> bool:
        """The contact under way has begun another pass, though it is not over yet."""
        way = Way()
        way.add(self._contact.way)
        for stretch in [*self._stretches, under_way]:
            if stretch.length_mm >= LEAST_MM:
                way.glide(stretch)
        return way.length_mm >= CHANGED_MM and not (self._work.circular or self._work.way.agrees(way))

    def _end_if_changed(self, other: Work, begun: Work, finished: Finished) -> None:
        """End the pass under way if there is enough work in another direction."""
        if other.way.length_mm >= CHANGED_MM and not self._work.agrees(other):
            self._aside = None
            self._end_work(other.since, begun, finished, keep=False)

    def _take_aside(self) -> None:
        """What was put aside was none of another pass."""
        if self._aside is not None:
            self._work.add(self._aside)
            self._aside = None

    def _end_work(self, end: Mark, begun: Work, finished: Finished, *, keep: bool) -> None:
        """Count a pass that is complete, and begin the next; one that is not goes on, or is given up."""
        coverage = self._coverage(self._works, 0)
        complete = self.zone.motion and coverage.high >= self.zone.min_coverage
        if complete:
            self.passes += 1
            finished.passes.append(self._pass(end, coverage))
        if complete or not keep:
            self._work = begun

    def _pass(self, end: Mark, coverage: Coverage) -> Pass:
        work = self._work
        punctures = (end.contact_strokes - work.since.contact_strokes) * self.zone.needles
        return Pass(
            lane=self.lane,
            index=self.passes,
            strokes=end.strokes - work.since.strokes,
            punctures=punctures,
            density_per_cm2=punctures / self.zone.size_cm2,
            deepest_um=work.deepest_um,
            duration_s=(end.running_us - work.since.running_us) / 1e6,
            coverage=coverage,
            family=_family(work),
            direction_deg=work.direction_deg,
            how="measured within one contact" if work.contacts == 1 else "area equivalent across lifts",
        )


def _family(work: Work) -> Family:
    return "circular" if work.circular else "straight"


def _stretch(event: Event) -> Stretch:
    return Stretch(event.start, event.end, event.dx_mm, event.dy_mm, event.length_mm)


def _under_way(tip: Tip) -> Stretch:
    event = Event()
    write_stretch(tip, tip.end, event)
    return _stretch(event)
