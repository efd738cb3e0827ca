"""Follows a tip over skin: where it turns back, how far it glides, and whether it goes in circles.

Tremor of 8 to 12 Hz moves a hand faster than a slow glide does. The mean of two places 50 ms apart keeps a third of it
at most, and nothing is decided on less than a millimetre.
"""

import math
from typing import Final

from pen_controller.passes.tip import CALM, TURNED, Event, Tip

LEAST_MM: Final = 1.0
"""A shorter way is no glide."""
BACK_MM: Final = 2.0
"""A tip that comes so far back from its farthest point has turned."""
CHORD_MM: Final = 2.0
"""Turning is measured from one piece of way of this length to the next."""
BEND_OVER_TIPS: Final = 4.0
"""Turning is averaged over about this many widths of the tip."""
CIRCULAR: Final = 1.2
"""Radians turned the same way in one tip width of way: from here on it is circles. Loops of 0.4 tip widths have 2.3."""


def begin(tip: Tip) -> None:
    """The tip was set down in the tick just seen: this place is zero."""
    tip.x_mm = tip.y_mm = tip.before_x_mm = tip.before_y_mm = 0.0
    tip.begin_x_mm = tip.begin_y_mm = tip.far_x_mm = tip.far_y_mm = 0.0
    tip.ahead_x = tip.ahead_y = tip.reach_mm = 0.0
    tip.chord_end_x_mm = tip.chord_end_y_mm = tip.chord_x = tip.chord_y = 0.0
    tip.start = tip.end = tip.seen


def move(tip: Tip, dx_mm: float, dy_mm: float) -> None:
    """Move the tip by a tick's way."""
    tip.before_x_mm, tip.before_y_mm = tip.x_mm, tip.y_mm
    tip.x_mm += dx_mm
    tip.y_mm += dy_mm


def follow(tip: Tip, event: Event) -> None:
    """See where the tip is. If it turned back, a stretch is over, and written into `event`; not so in circles."""
    x_mm, y_mm = (tip.x_mm + tip.before_x_mm) / 2, (tip.y_mm + tip.before_y_mm) / 2
    follow_bend(tip, x_mm, y_mm)
    dx_mm, dy_mm = x_mm - tip.begin_x_mm, y_mm - tip.begin_y_mm
    away_mm = length_mm(dx_mm, dy_mm)
    along_mm = away_mm if tip.reach_mm < LEAST_MM else dx_mm * tip.ahead_x + dy_mm * tip.ahead_y
    lead_mm = along_mm - tip.reach_mm
    if lead_mm > 0:
        reach(tip, x_mm, y_mm)
    elif lead_mm < -BACK_MM:
        write_stretch(tip, tip.end, event)
        event.what = CALM if circular(tip) else TURNED
        tip.begin_x_mm, tip.begin_y_mm, tip.start = tip.far_x_mm, tip.far_y_mm, tip.end
        reach(tip, x_mm, y_mm)


def reach(tip: Tip, x_mm: float, y_mm: float) -> None:
    """This is the farthest point of the stretch under way."""
    dx_mm, dy_mm = x_mm - tip.begin_x_mm, y_mm - tip.begin_y_mm
    tip.far_x_mm, tip.far_y_mm, tip.end = x_mm, y_mm, tip.seen
    tip.reach_mm = length_mm(dx_mm, dy_mm)
    tip.ahead_x, tip.ahead_y = dx_mm / tip.reach_mm, dy_mm / tip.reach_mm


def write_stretch(tip: Tip, end: int, event: Event) -> None:
    """Write the stretch under way, up to tick `end`, into `event`."""
    event.start, event.end = tip.start, end
    event.dx_mm, event.dy_mm = tip.far_x_mm - tip.begin_x_mm, tip.far_y_mm - tip.begin_y_mm
    event.length_mm = tip.reach_mm


def circular(tip: Tip) -> bool:
    """The tip goes in circles, as seen over its last few centimetres."""
    return abs(tip.bend) > CIRCULAR / tip.width_mm * tip.bend_mm


def follow_bend(tip: Tip, x_mm: float, y_mm: float) -> None:
    """Measure how the way turns, one chord after the other."""
    dx_mm, dy_mm = x_mm - tip.chord_end_x_mm, y_mm - tip.chord_end_y_mm
    chord_mm = length_mm(dx_mm, dy_mm)
    if chord_mm < CHORD_MM:
        return
    chord_x, chord_y = dx_mm / chord_mm, dy_mm / chord_mm
    if tip.chord_x != 0 or tip.chord_y != 0:
        fade = 1 + chord_mm / (BEND_OVER_TIPS * tip.width_mm)
        tip.bend = tip.bend / fade + (tip.chord_x * chord_y - tip.chord_y * chord_x)
        tip.bend_mm = tip.bend_mm / fade + chord_mm
    tip.chord_end_x_mm, tip.chord_end_y_mm = x_mm, y_mm
    tip.chord_x, tip.chord_y = chord_x, chord_y


def length_mm(x_mm: float, y_mm: float) -> float:
    """Length of a way. Not by `hypot`, whose last bit differs between libraries."""
    return math.sqrt(x_mm * x_mm + y_mm * y_mm)
