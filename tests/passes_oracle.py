"""The definition of `pen_controller.passes`, read in plain Python: one pen, one sample after the other, no arrays.

Slow and simple on purpose. It shares nothing with the counter but the names of its figures and of its thresholds, and
has to agree with it on every seed.
"""

import math
from collections import defaultdict
from typing import Any

from pen_controller.passes import area as area_rules
from pen_controller.passes import glides as glide_rules
from pen_controller.passes import ground as ground_rules
from pen_controller.passes import ticks as tick_rules
from pen_controller.passes import work as work_rules
from pen_controller.passes.ticks import TICK_US
from protocols.messages import WRAP
from protocols.samples import SampleArray
from protocols.words import SampleFlag

Point = tuple[float, float]
Stretch = tuple[int, int, float, float, float]  # first tick, last tick, dx, dy, length in mm


def signed(difference: int) -> int:
    return (difference + WRAP // 2) % WRAP - WRAP // 2


def length(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)


class Work:
    """Contacts in one direction."""

    def __init__(self, since: tuple[int, int]) -> None:
        self.since = since  # strokes, strokes in contact
        self.circular = False
        self.way = self.along = self.across = 0.0
        self.cells = self.most = self.contacts = 0

    def glide(self, dx: float, dy: float, way: float) -> None:
        self.along += (dx * dx - dy * dy) / way
        self.across += 2 * dx * dy / way
        self.way += way

    def add(self, other: "Work") -> None:
        self.way, self.along, self.across = self.way + other.way, self.along + other.along, self.across + other.across
        self.cells, self.most = self.cells + other.cells, max(self.most, other.most)
        self.contacts += other.contacts

    def agrees(self, other: "Work") -> bool:
        if self.circular or other.circular:
            return self.circular == other.circular
        dot = self.along * other.along + self.across * other.across
        return dot >= work_rules.SAME_WAY * length(self.along, self.across) * length(other.along, other.across)


class Oracle:
    """Counts one zone. `glides` are (start, end) in us; `passes` (strokes, contact strokes, lowest, highest cells)."""

    def __init__(self, size_cm2: float, tip_width_mm: float, min_coverage: float = 0.8) -> None:
        self.cell_mm = tip_width_mm / ground_rules.CELLS_PER_TIP
        self.least_cells = min_coverage * size_cm2 / (self.cell_mm**2 / 100)
        self.tip_mm = tip_width_mm
        radius = ground_rules.CELLS_PER_TIP / 2
        reach = range(-5, 6)
        self.disc = [(x, y) for y in reach for x in reach if math.hypot(x, y) <= radius]
        self.glides: list[tuple[int, int]] = []
        self.passes: list[tuple[int, int, float, float]] = []
        self.strokes = self.contact_strokes = 0
        self.heard: Any = None
        self.told: Any = None
        self.clock_us = self.tick = self.seen = self.lifted = 0
        self.sensed = [False, False]
        self.down = False
        self.rested = True
        self.moved: Point = (0.0, 0.0)
        self.tally = self.lifted_tally = (0, 0)
        self.bend = self.bend_way = 0.0
        self.work = Work((0, 0))
        self.aside: Work | None = None
        self.place: Point = (0.0, 0.0)
        self.before: Point = (0.0, 0.0)

    def feed(self, samples: SampleArray) -> None:
        for sample in samples.tolist():
            t_us, strokes, in_contact = sample[:3]
            if self.heard is None:
                self.heard = self.told = sample
            self.clock_us += signed(t_us - self.heard[0])
            self.strokes += (strokes - self.heard[1]) % WRAP
            self.contact_strokes += (in_contact - self.heard[2]) % WRAP
            self.heard = sample
            if self.clock_us // TICK_US > self.tick:
                self.tick = self.clock_us // TICK_US
                before, self.told = self.told, sample
                self.take(before, sample)
        if not self.down and not self.rested and self.seen - self.lifted >= tick_rules.REST_TICKS:
            self.rest()

    def finish(self) -> None:
        if self.down:
            self.lift(self.seen)
            self.down = False
        self.rest()

    def take(self, before: tuple[int, ...], now: tuple[int, ...]) -> None:
        """One tick, told by its first sample."""
        flags = now[11]
        sensed = bool(flags & SampleFlag.CONTACT)
        contact = sensed + sum(self.sensed) >= 2
        self.sensed = [sensed, self.sensed[0]]
        lost = self.down and contact and self.tick - self.seen > tick_rules.LOST_TICKS
        stayed = self.down and contact and not lost
        self.seen = self.tick
        from_air = contact and not self.down
        if self.down and not stayed:
            self.lift(self.tick)
        if contact and not stayed:
            self.set_down(from_air)
        self.down = contact
        strokes, in_contact = (now[1] - before[1]) % WRAP, (now[2] - before[2]) % WRAP
        self.tally = self.tally[0] + strokes, self.tally[1] + in_contact
        moved = self.way(before, now)
        if contact:
            self.before = self.place
            if not lost:
                self.place = self.place[0] + moved[0], self.place[1] + moved[1]
                if max(map(abs, moved)) > tick_rules.GAP_SHARE * self.tip_mm:
                    self.stamp(0, (self.place[0] - moved[0] / 2, self.place[1] - moved[1] / 2))
            self.stamp(in_contact)
        self.moved = moved
        if stayed and self.tick % tick_rules.FOLLOW_TICKS == 0:
            self.follow()

    @staticmethod
    def way(before: tuple[int, ...], now: tuple[int, ...]) -> Point:
        if not before[11] & now[11] & SampleFlag.MOTION_VALID:
            return 0.0, 0.0
        dx, dy = signed(now[4] - before[4]) * (1 / 1000), signed(now[5] - before[5]) * (1 / 1000)
        angle = math.radians(now[10] // 10 % 3600 / 10)
        return dx * math.cos(angle) - dy * math.sin(angle), dx * math.sin(angle) + dy * math.cos(angle)

    # --- contact -----------------------------------------------------------------------------------------------------

    def set_down(self, from_air: bool) -> None:
        at = self.tick - tick_rules.LAG_TICKS
        if not self.rested and at - self.lifted >= tick_rules.REST_TICKS:
            self.rest()
        self.landed = self.start = at
        self.end = self.tick
        self.begin = self.far = self.ahead = self.place = self.before = self.chord_end = self.chord = (0.0, 0.0)
        self.start = self.tick
        self.reach = 0.0
        self.cells: defaultdict[tuple[int, int], float] = defaultdict(float)
        self.stretches: list[Stretch] = []
        self.contact = Work(self.lifted_tally)
        self.stamp(0)
        if from_air:
            self.place = self.moved

    def stamp(self, strokes: int, place: Point | None = None) -> None:
        column, row = (round(mm / self.cell_mm) for mm in place or self.place)
        for x, y in self.disc:
            self.cells[column + x, row + y] += strokes / len(self.disc)

    def lift(self, tick: int) -> None:
        at = tick - tick_rules.LAG_TICKS
        last = (self.start, at, self.far[0] - self.begin[0], self.far[1] - self.begin[1], self.reach)
        stretches = [*self.stretches, last]
        circular = self.circular()
        if circular:
            way = max(glide_rules.LEAST_MM, sum(stretch[4] for stretch in stretches))
            stretches = [(self.landed, at, 0.0, 0.0, way)]
        self.contact.circular = circular
        for stretch in stretches:
            self.glide(stretch)
        self.contact.cells = self.contact.most = len(self.cells)
        self.contact.contacts = 1
        self.lifted, self.lifted_tally, self.rested = at, self.tally, False
        self.place_contact(self.contact)

    # --- movement ----------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        here = (self.place[0] + self.before[0]) / 2, (self.place[1] + self.before[1]) / 2
        self.follow_bend(here)
        dx, dy = here[0] - self.begin[0], here[1] - self.begin[1]
        away = length(dx, dy)
        along = away if self.reach < glide_rules.LEAST_MM else dx * self.ahead[0] + dy * self.ahead[1]
        lead = along - self.reach
        if lead > 0:
            self.far, self.reach, self.end = here, away, self.tick
            self.ahead = dx / away, dy / away
        elif lead < -glide_rules.BACK_MM:
            self.turn(here)

    def turn(self, here: Point) -> None:
        stretch = (self.start, self.end, self.far[0] - self.begin[0], self.far[1] - self.begin[1], self.reach)
        if not self.circular():
            self.stretches.append(stretch)
            if len(self.stretches) > area_rules.HELD_BACK:
                self.glide(self.stretches.pop(0))
                self.end_if_changed(self.contact, Work(self.lifted_tally))
        self.begin, self.start = self.far, self.end
        self.far, self.end = here, self.tick
        dx, dy = here[0] - self.begin[0], here[1] - self.begin[1]
        self.reach = length(dx, dy)
        self.ahead = dx / self.reach, dy / self.reach

    def follow_bend(self, here: Point) -> None:
        dx, dy = here[0] - self.chord_end[0], here[1] - self.chord_end[1]
        way = length(dx, dy)
        if way < glide_rules.CHORD_MM:
            return
        chord = dx / way, dy / way
        if any(self.chord):
            keep = 1 + way / (glide_rules.BEND_OVER_TIPS * self.tip_mm)
            sine = self.chord[0] * chord[1] - self.chord[1] * chord[0]
            self.bend, self.bend_way = self.bend / keep + sine, self.bend_way / keep + way
        self.chord_end, self.chord = here, chord

    def circular(self) -> bool:
        return abs(self.bend) > glide_rules.CIRCULAR / self.tip_mm * self.bend_way

    def glide(self, stretch: Stretch) -> None:
        start, end, dx, dy, way = stretch
        if way < glide_rules.LEAST_MM:
            return
        if self.contact.circular:
            self.contact.way += way
        else:
            self.contact.glide(dx, dy, way)
        self.glides.append((start * TICK_US, end * TICK_US))

    # --- passes ------------------------------------------------------------------------------------------------------

    def place_contact(self, contact: Work) -> None:
        if contact.circular and self.work.way < area_rules.CIRCLES_SHOW_MM:
            self.work.circular = True
        if self.work.agrees(contact):
            self.take_aside()
            self.work.add(contact)
        elif self.aside is None:
            self.aside = contact
        else:
            self.aside.add(contact)
        if self.aside is not None:
            self.end_if_changed(self.aside, self.aside)

    def take_aside(self) -> None:
        if self.aside is not None:
            self.work.add(self.aside)
            self.aside = None

    def end_if_changed(self, other: Work, begun: Work) -> None:
        if other.way >= area_rules.CHANGED_MM and not self.work.agrees(other):
            self.aside = None
            self.count_pass(other.since)
            self.work = begun

    def rest(self) -> None:
        self.rested = True
        self.take_aside()
        if self.count_pass(self.lifted_tally):
            self.work = Work(self.lifted_tally)

    def count_pass(self, now: tuple[int, int]) -> bool:
        work = self.work
        if work.cells < self.least_cells:
            return False
        least = work.cells if work.contacts <= 1 else max(work.most, area_rules.FRESH_SHARE * work.cells)
        self.passes.append((now[0] - work.since[0], now[1] - work.since[1], least, work.cells))
        return True
