"""The course of one zone: stretches to glides, contacts to passes."""

import math
from dataclasses import dataclass, field

from pen_controller.passes.figures import Coverage, Family, Finished, Glide, Pass, Zone
from pen_controller.passes.glides import LEAST_MM, Stretch
from pen_controller.passes.ticks import TICK_US
from pen_controller.passes.work import NOTHING, Contact, Mark, Way, Work

CHANGED_MM = 15.0
"""Glides of this length together in another direction are a change of direction, less is an aside."""
CIRCLES_SHOW_MM = 30.0
"""Circles are recognised within this way."""
FRESH_SHARE = 0.35
"""At least this share of the ground was swept for the first time: rows overlap by 60 % at most, and at their ends."""
HELD_BACK = 2
"""So many stretches of a contact are held back until it is seen whether they are pieces of circles."""


@dataclass(slots=True)
class Area:
    """One zone, contact by contact."""

    lane: int
    zone: Zone
    cell_cm2: float
    """Size of a cell of ground."""
    glides: int = 0
    passes: int = 0
    deepest_um: int = 0
    _work: Work = field(default_factory=lambda: Work(NOTHING))
    _aside: Work | None = None
    """Contacts in another direction, too few yet to tell."""
    _contact: Work = field(default_factory=lambda: Work(NOTHING))
    _stretches: list[Stretch] = field(default_factory=list)
    _set_down: int = 0
    _lifted: Mark = NOTHING
    _ticks: int = 0
    _cells: int = 0
    _strokes: float = 0.0
    _squares: float = 0.0

    def set_down(self, number: int) -> None:
        """The tip was set down in tick `number`."""
        self._contact = Work(self._lifted)
        self._set_down = number

    def stretch(self, stretch: Stretch, circular: bool, finished: Finished) -> None:
        """The tip turned back; or it seems so, while it goes in circles."""
        if circular:
            return
        self._stretches.append(stretch)
        if len(self._stretches) > HELD_BACK:
            self._glide(self._stretches.pop(0), finished)
            self._end_if_changed(self._contact, Work(self._lifted), finished)

    def lift(self, last: Stretch, contact: Contact, finished: Finished) -> None:
        """The tip was lifted: the contact is over, and `last` its last stretch."""
        stretches, self._stretches = [*self._stretches, last], []
        if contact.circular or not self.zone.motion:
            way_mm = sum(stretch.length_mm for stretch in stretches)
            stretches = [Stretch(self._set_down, last.end, 0.0, 0.0, max(way_mm, LEAST_MM))]
        self._contact.circular = contact.circular
        for stretch in stretches:
            self._glide(stretch, finished)
        self._contact.end(contact)
        self._sum(contact, last.end)
        if self.zone.motion:
            self._place(self._contact, finished)

    def rest(self, finished: Finished) -> None:
        """The tip rests: a pass that is complete is over."""
        self._take_aside()
        self._end_work(self._lifted, Work(self._lifted), finished, keep=True)

    def coverage(self, open_cells: int, under_way: Stretch | None = None) -> Coverage:
        """Of the pass under way, with the cells of the contact under way and its last stretch if that is straight."""
        works = [self._work] if self._aside is None else [self._work, self._aside]
        if under_way is not None and self._changes(under_way):
            works = works[1:]
        cells = sum(work.cells for work in works) + open_cells
        contacts = sum(work.contacts for work in works) + (open_cells > 0)
        most = max([open_cells, *(work.most_cells for work in works)])
        least = cells if contacts <= 1 else max(most, FRESH_SHARE * cells)
        scale = self.cell_cm2 / self.zone.size_cm2
        return Coverage(min(1.0, least * scale), min(1.0, cells * scale))

    def contact_ticks(self, now: int | None) -> int:
        """Time in contact, up to the tick `now` if the tip is down."""
        return self._ticks + (0 if now is None else now - self._set_down)

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

    def _sum(self, contact: Contact, number: int) -> None:
        self._lifted = contact.mark
        self._ticks += number - self._set_down
        self.deepest_um = max(self.deepest_um, contact.deepest_um)
        self._cells += contact.swept.cells
        self._strokes += contact.swept.strokes
        self._squares += contact.swept.squares

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
        coverage = self.coverage(0)
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
