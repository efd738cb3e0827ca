"""Contacts, and the work they add up to: ground, way by direction, counts."""

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pen_controller.passes.tip import Event

SAME_WAY: Final = math.cos(math.radians(2 * 35))
"""Cosine of twice the angle between two directions, up to which they are one."""


class Mark(NamedTuple):
    """Sums up to a moment."""

    running_us: int
    strokes: int
    contact_strokes: int


NOTHING: Final = Mark(0, 0, 0)


class Stretch(NamedTuple):
    """The way from where a tip was set down, or turned, to its farthest point since. Ticks; millimetres."""

    start: int
    end: int
    dx_mm: float
    dy_mm: float
    length_mm: float


@dataclass(slots=True)
class Way:
    """Way by direction, at twice its angle so that to and fro add up."""

    length_mm: float = 0.0
    along_mm: float = 0.0
    across_mm: float = 0.0

    def glide(self, stretch: Stretch) -> None:
        """Add a straight stretch, longer than zero."""
        dx_mm, dy_mm, length_mm = stretch.dx_mm, stretch.dy_mm, stretch.length_mm
        self.along_mm += (dx_mm * dx_mm - dy_mm * dy_mm) / length_mm
        self.across_mm += 2 * dx_mm * dy_mm / length_mm
        self.length_mm += length_mm

    def add(self, other: "Way") -> None:
        """Add another's."""
        self.along_mm += other.along_mm
        self.across_mm += other.across_mm
        self.length_mm += other.length_mm

    def agrees(self, other: "Way") -> bool:
        """Both have one direction, or one of them has none."""
        dot = self.along_mm * other.along_mm + self.across_mm * other.across_mm
        return dot >= SAME_WAY * self.size_mm * other.size_mm

    @property
    def direction_deg(self) -> float | None:
        """From 0 to 180; None without any way."""
        if not self.size_mm:
            return None
        return math.degrees(math.atan2(self.across_mm, self.along_mm)) / 2 % 180

    @property
    def size_mm(self) -> float:
        """How much of the way goes one way."""
        return math.sqrt(self.along_mm * self.along_mm + self.across_mm * self.across_mm)


@dataclass(slots=True)
class Work:
    """Contacts in one direction: a pass, or what may become one. `since` is the end of the contact before."""

    since: Mark
    circular: bool = False
    way: Way = field(default_factory=Way)
    cells: int = 0
    """Ground swept, contact by contact."""
    most_cells: int = 0
    """In one contact."""
    contacts: int = 0
    deepest_um: int = 0

    def end(self, lift: Event) -> None:
        """This was one contact, and it is over."""
        self.circular = lift.circular
        self.cells = self.most_cells = lift.cells
        self.contacts, self.deepest_um = 1, lift.deepest_um

    def add(self, other: "Work") -> None:
        """Take work that came after this."""
        self.way.add(other.way)
        self.cells += other.cells
        self.most_cells = max(self.most_cells, other.most_cells)
        self.contacts += other.contacts
        self.deepest_um = max(self.deepest_um, other.deepest_um)

    def agrees(self, other: "Work") -> bool:
        """Both are in one direction family."""
        if self.circular or other.circular:
            return self.circular == other.circular
        return self.way.agrees(other.way)

    @property
    def direction_deg(self) -> float | None:
        """Direction of straight glides, from 0 to 180."""
        return None if self.circular else self.way.direction_deg
