"""Samples to ticks, steps of 50 ms of pen time, and what happens to a tip in each.

Ticks are numbered from the first sample heard. Each is told by the first sample within it, so that the result cannot
depend on how the stream was cut; a tick of which no sample came is left out.
"""

import math
from collections.abc import Sequence
from typing import Final

from pen_controller.passes.contact import touches
from pen_controller.passes.glides import begin, circular, follow, move, write_stretch
from pen_controller.passes.ground import Grid, clear, stamp
from pen_controller.passes.tip import (
    CALM,
    CONTACT_STROKES,
    DEPTH_UM,
    FLAGS,
    HEADING_CDEG,
    LIFTED,
    RESTED,
    STROKES,
    T_US,
    X_UM,
    Y_UM,
    Event,
    Sample,
    Tip,
)
from protocols.messages import WRAP
from protocols.words import SampleFlag

TICK_US: Final = 50_000
REST_TICKS: Final = 24
"""The tip is off the skin for 1.2 s: the pass is over. Lifts between glides take half a second (proposed)."""
LOST_TICKS: Final = 20
"""After a second without a sample nobody knows whether the tip was lifted meanwhile."""
FOLLOW_TICKS: Final = 2
"""Glides are looked at every 100 ms; twice as often costs more and finds no more."""
GAP_SHARE: Final = 0.15
"""Of the tip's width: stamped no farther apart, a round tip leaves no scallops that matter."""
LAG_TICKS: Final = 1
"""Contact is known a tick late."""
RUNNING, MOTION = int(SampleFlag.RUNNING), int(SampleFlag.MOTION_VALID)
MM_PER_UM: Final = 1 / 1000
_DIRECTIONS: Final = [math.radians(tenths / 10) for tenths in range(3600)]
COSINES: Final = [math.cos(angle) for angle in _DIRECTIONS]
"""By heading in tenths of a degree. A table, so that every reader of it gets the same last bit."""
SINES: Final = [math.sin(angle) for angle in _DIRECTIONS]


def walk(
    tips: Sequence[Tip], grids: Sequence[Grid], streams: Sequence[Sequence[Sample]], events: Sequence[Event]
) -> int:
    """Read a batch, each tip's samples in pen order; return how many `events` it brought, one for a sample at most."""
    brought = 0
    for lane in range(len(tips)):
        tip, stream = tips[lane], streams[lane]
        if not tip.heard:
            hear(tip, stream[0])
        for at in range(len(stream)):
            if begins_tick(tip, stream[at]):
                event = events[brought]
                event.lane, event.what = lane, CALM
                take(tip, grids[lane], stream[at], event)
                brought += event.what != CALM
        add_up(tip, stream[-1])
    return brought


def hear(tip: Tip, first: Sample) -> None:
    """Take a sample as a first one: what the pen counted before is not known."""
    tip.heard = True
    tip.t_us, tip.strokes, tip.contact_strokes = first[T_US], first[STROKES], first[CONTACT_STROKES]
    remember(tip, first)


def begins_tick(tip: Tip, now: Sample) -> bool:
    """Go on to the time of this sample; one older than the last is told from one long after it."""
    tip.clock_us += signed(now[T_US] - tip.t_us)
    tip.t_us = now[T_US]
    before, tip.tick = tip.tick, tip.clock_us // TICK_US
    return tip.tick > before


def add_up(tip: Tip, newest: Sample) -> None:
    """Follow the pen's own counters, up to the newest sample."""
    tip.total_strokes += (newest[STROKES] - tip.strokes) % WRAP
    tip.total_contact_strokes += (newest[CONTACT_STROKES] - tip.contact_strokes) % WRAP
    tip.strokes, tip.contact_strokes = newest[STROKES], newest[CONTACT_STROKES]


def take(tip: Tip, grid: Grid, now: Sample, event: Event) -> None:
    """Take a tick, told by this sample; write into `event` what happened in it."""
    running_us = (now[T_US] - tip.told_t_us) % WRAP if now[FLAGS] & RUNNING else 0
    strokes = (now[STROKES] - tip.told_strokes) % WRAP
    in_contact = (now[CONTACT_STROKES] - tip.told_contact_strokes) % WRAP
    dx_mm, dy_mm = way_mm(tip, now)
    contact = touches(tip, now, running_us)
    if not tip.senses_contact:
        in_contact = strokes if contact else 0
    lost = tip.down and tip.tick - tip.seen > LOST_TICKS
    stayed = tip.down and contact and not lost
    tip.seen = tip.tick
    if tip.down and not stayed:
        lift(tip, event)
    if contact and not stayed:
        set_down(tip, grid, event)
    tip.down = contact
    tip.sum_running_us += running_us
    tip.sum_strokes += strokes
    tip.sum_contact_strokes += in_contact
    if contact:
        if not lost:  # else nobody knows what its way was
            sweep(tip, grid, dx_mm, dy_mm)
        stamp(tip, grid, tip.x_mm, tip.y_mm, in_contact)
        tip.deepest_um = max(tip.deepest_um, now[DEPTH_UM])
    else:
        rest_if_due(tip, tip.seen, event)
    if stayed and tip.seen % FOLLOW_TICKS == 0:
        follow(tip, event)
    tip.moved_x_mm, tip.moved_y_mm = dx_mm, dy_mm
    remember(tip, now)


def remember(tip: Tip, now: Sample) -> None:
    """This sample told the newest tick."""
    tip.told_t_us, tip.told_strokes, tip.told_contact_strokes = now[T_US], now[STROKES], now[CONTACT_STROKES]
    tip.told_x_um, tip.told_y_um, tip.told_flags = now[X_UM], now[Y_UM], now[FLAGS]


def way_mm(tip: Tip, now: Sample) -> tuple[float, float]:
    """Way since the tick before, in axes that stay where they are while the pen turns."""
    if tip.told_flags & now[FLAGS] & MOTION == 0:
        return 0.0, 0.0
    x_mm, y_mm = signed(now[X_UM] - tip.told_x_um) * MM_PER_UM, signed(now[Y_UM] - tip.told_y_um) * MM_PER_UM
    heading = now[HEADING_CDEG] // 10 % len(COSINES)
    cosine, sine = COSINES[heading], SINES[heading]
    return x_mm * cosine - y_mm * sine, x_mm * sine + y_mm * cosine


def sweep(tip: Tip, grid: Grid, dx_mm: float, dy_mm: float) -> None:
    """Move the tip over skin. One that moves fast sweeps what is between two places, too."""
    move(tip, dx_mm, dy_mm)
    if max(abs(dx_mm), abs(dy_mm)) > GAP_SHARE * tip.width_mm:
        stamp(tip, grid, tip.x_mm - dx_mm / 2, tip.y_mm - dy_mm / 2, 0)


def lift(tip: Tip, event: Event) -> None:
    """The tip was lifted: tell of the contact."""
    tip.lifted, tip.rested = tip.seen - LAG_TICKS, False
    write_stretch(tip, tip.lifted, event)
    event.what = LIFTED
    event.landed, event.circular, event.deepest_um = tip.landed, circular(tip), tip.deepest_um
    event.cells, event.given, event.squares = tip.cells, tip.given, tip.squares
    event.running_us, event.strokes, event.contact_strokes = (
        tip.sum_running_us,
        tip.sum_strokes,
        tip.sum_contact_strokes,
    )


def set_down(tip: Tip, grid: Grid, event: Event) -> None:
    """The tip was set down: a contact begins."""
    tip.landed = tip.seen - LAG_TICKS
    rest_if_due(tip, tip.landed, event)
    begin(tip)
    clear(tip)
    tip.deepest_um = 0
    stamp(tip, grid, 0.0, 0.0, 0)
    if not tip.down:
        # Contact is known a tick late. A tip in the air does not move: all that the tick before moved was on skin.
        move(tip, tip.moved_x_mm, tip.moved_y_mm)


def rest_if_due(tip: Tip, now: int, event: Event) -> None:
    """The tip has been off the skin for long, up to the tick `now`."""
    if not tip.rested and now - tip.lifted >= REST_TICKS:
        tip.rested = True
        event.what = RESTED


def signed(difference: int) -> int:
    """Of two numbers modulo 2**32."""
    return (difference + WRAP // 2) % WRAP - WRAP // 2
