"""One tip from tick to tick: all that is known of it, and what happens to it.

Flat numbers only, and functions of these: `contact`, `ground`, `glides` and `ticks` have them. Plain Python finds the
numbers as attributes of these classes, machine code (`compiled`) as fields of records; the functions are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Sample = Sequence[int]
"""A record of `protocols.samples.SAMPLE`; its fields are at these places."""
T_US, STROKES, CONTACT_STROKES, X_UM, Y_UM, DEPTH_UM, CURRENT_MA, HEADING_CDEG, FLAGS = 0, 1, 2, 4, 5, 6, 9, 10, 11

CALM, TURNED, LIFTED, RESTED = range(4)
"""What happens to a tip in a tick: one of these, at most."""


@dataclass(slots=True)
class Tip:
    """The state of one tip.

    Args:
        width_mm: of the round tip.
        senses_contact: the pen tells contact; else it is estimated from the motor's current.
    """

    width_mm: float
    senses_contact: bool

    # The newest sample, and all that was counted up to it.
    heard: bool = False
    t_us: int = 0
    strokes: int = 0
    contact_strokes: int = 0
    clock_us: int = 0
    tick: int = 0
    total_strokes: int = 0
    total_contact_strokes: int = 0

    # The newest tick: the sample that told it, and the sums up to it.
    seen: int = 0
    told_t_us: int = 0
    told_strokes: int = 0
    told_contact_strokes: int = 0
    told_x_um: int = 0
    told_y_um: int = 0
    told_flags: int = 0
    sum_running_us: int = 0
    sum_strokes: int = 0
    sum_contact_strokes: int = 0

    # Contact.
    down: bool = False
    sensed: bool = False
    sensed_before: bool = False
    rested: bool = True
    landed: int = 0
    lifted: int = 0
    deepest_um: int = 0
    ran_ticks: int = 0
    current_ma: float = 0.0
    idle_ma: float = 0.0
    drawn: bool = False

    # Places, counted from where the tip was set down.
    x_mm: float = 0.0
    y_mm: float = 0.0
    before_x_mm: float = 0.0
    before_y_mm: float = 0.0
    moved_x_mm: float = 0.0
    moved_y_mm: float = 0.0

    # The stretch under way: from where it began to its farthest point, and the direction there.
    start: int = 0
    end: int = 0
    begin_x_mm: float = 0.0
    begin_y_mm: float = 0.0
    far_x_mm: float = 0.0
    far_y_mm: float = 0.0
    ahead_x: float = 0.0
    ahead_y: float = 0.0
    reach_mm: float = 0.0

    # Turning: the last piece of way that it was measured on, radians turned, and the way they were turned on.
    chord_end_x_mm: float = 0.0
    chord_end_y_mm: float = 0.0
    chord_x: float = 0.0
    chord_y: float = 0.0
    bend: float = 0.0
    bend_mm: float = 0.0

    # The ground since the tip was set down; see `ground`.
    floor: int = 1
    given: int = 0
    cells: int = 0
    most: int = 0
    squares: float = 0.0


@dataclass(slots=True)
class Event:
    """Something happened to a tip. Times are in ticks."""

    lane: int = 0
    what: int = CALM

    # Turned or lifted: the stretch that is over.
    start: int = 0
    end: int = 0
    dx_mm: float = 0.0
    dy_mm: float = 0.0
    length_mm: float = 0.0

    # Lifted: the contact that is over, and the sums up to there.
    landed: int = 0
    circular: bool = False
    deepest_um: int = 0
    cells: int = 0
    given: int = 0
    squares: float = 0.0
    running_us: int = 0
    strokes: int = 0
    contact_strokes: int = 0
