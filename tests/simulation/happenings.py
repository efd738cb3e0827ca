"""How each act of a script comes about in the world, in a table; what a person does is in `person.py`."""

import random
from collections.abc import Callable
from datetime import date
from typing import Any, Protocol

from tests.simulation.bench import Bench
from tests.simulation.clock import Clock
from tests.simulation.disk import WRITE_MS, Disk
from tests.simulation.rival import Rival
from tests.simulation.script import LINE, TO_HOST, TO_PEN, Act, What
from tests.simulation.seams import BEGINS
from tests.simulation.truth import Kind

DRIFT_STEP_MS = 5
"""A reading that drifts changes in steps of this length."""
TODAY_DAYS = (BEGINS.date() - date(1970, 1, 1)).days


class World(Protocol):
    """What can be reached from here."""

    clock: Clock
    bench: Bench
    disk: Disk
    weather: dict[str, list[Act]]
    jumped_s: float
    chance: random.Random

    def note(self, kind: Kind, **detail: Any) -> None:
        """A deed of now."""


# --- line ------------------------------------------------------------------------------------------------------------


def line_fault(world: World, act: Act) -> None:
    """Frames of one way fare badly for a while."""
    _blow(world, act, (act.way,), Kind.LINE_FAULTY, Kind.LINE_WHOLE, way=act.way, fault=act.what.value)


def radio_gone(world: World, act: Act) -> None:
    """Nothing comes through, and nobody is told."""
    _blow(world, act, (TO_PEN, TO_HOST), Kind.LINK_LOST, Kind.LINK_BACK, by="radio")


def _blow(world: World, act: Act, ways: tuple[str, ...], begins: Kind, ends: Kind, **detail: Any) -> None:
    def calm() -> None:
        for way in ways:
            world.weather[way].remove(act)
        world.note(ends, **detail)

    for way in ways:
        world.weather[way].append(act)
    world.note(begins, **detail)
    world.clock.after(act.for_ms, calm)


# --- pen -------------------------------------------------------------------------------------------------------------


def drift(world: World, act: Act, since_us: int | None = None) -> None:
    """The depth reading drifts evenly, and stays wrong."""
    since_us = world.clock.now_us if since_us is None else since_us
    passed_ms = (world.clock.now_us - since_us) / 1000
    share = min(1.0, passed_ms / act.for_ms) if act.for_ms else 1.0
    error_um = world.bench.pen.body.depth_drift_um = round(act.figure * share)
    world.note(Kind.SENSOR_WRONG, error_um=error_um)
    if share < 1:
        world.clock.after(DRIFT_STEP_MS, drift, world, act, since_us)


def depth_stuck(world: World, act: Act) -> None:
    """The depth reading stays what it is. Its error is held against the crest, which is where the sleeve stands."""
    body = world.bench.pen.body

    def free() -> None:
        body.depth_stuck = False
        world.note(Kind.SENSOR_WRONG, error_um=body.depth_drift_um)

    body.depth_stuck = True
    world.note(Kind.SENSOR_WRONG, error_um=round(body.reading_um - body.sleeve_um), stuck=True)
    world.clock.after(act.for_ms, free)


def force_stuck(world: World, act: Act) -> None:
    """The force reading, and the contact with it, stay what they are."""
    fault(world, act, "force_stuck", True, False, Kind.FORCE_STUCK, "stuck")


def fault(world: World, act: Act, part: str, wrong: Any, right: Any, kind: Kind, name: str) -> None:
    """A part of the pen's body is faulty for a while."""

    def become(value: Any) -> None:
        setattr(world.bench.pen.body, part, value)
        world.note(kind, **{name: value})

    become(wrong)
    world.clock.after(act.for_ms, become, right)


def stall(world: World, act: Act) -> None:
    """The crank is held fast."""
    fault(world, act, "motor_stalled", True, False, Kind.MOTOR_STALLED, "stalled")


def runaway(world: World, act: Act) -> None:
    """The motor runs at another rate than told."""
    fault(world, act, "runaway_factor", act.figure, 1.0, Kind.RUNAWAY, "factor")


# --- host ------------------------------------------------------------------------------------------------------------


def clock_jump(world: World, act: Act) -> None:
    """The wall clock of the host jumps."""
    world.jumped_s += act.figure
    world.note(Kind.CLOCK_JUMPED, by_s=act.figure)


def disk_full(world: World, act: Act) -> None:
    """The host's disk takes nothing for a while."""

    def become(full: bool) -> None:
        world.disk.full = full
        world.note(Kind.DISK_FULL if full else Kind.DISK_FREE)

    become(True)
    world.clock.after(act.for_ms, become, False)


def disk_slow(world: World, act: Act) -> None:
    """A commit takes long for a while."""
    world.disk.write_ms = act.figure
    world.clock.after(act.for_ms, setattr, world.disk, "write_ms", WRITE_MS)


HAPPENINGS: dict[What, Callable[[World, Act], None]] = {
    **dict.fromkeys(LINE, line_fault),
    What.RADIO_GONE: radio_gone,
    What.REBOOT: lambda world, act: world.bench.reboot(act.for_ms * 1000),
    What.BUTTON: lambda world, _: world.bench.button(),
    What.DRIFT: drift,
    What.DEPTH_STUCK: depth_stuck,
    What.FORCE_STUCK: force_stuck,
    What.STALL: stall,
    What.RUNAWAY: runaway,
    What.CARTRIDGE: lambda world, act: world.bench.swap_cartridge(act.choice, TODAY_DAYS),
    What.CLOCK_JUMP: clock_jump,
    What.DISK_FULL: disk_full,
    What.DISK_SLOW: disk_slow,
    What.RIVAL: lambda world, act: Rival(world.bench, world.chance, act.choice).speak(
        world.clock.now_us + act.for_ms * 1000
    ),
}
"""All but those that begin, end or hold up the host's program (`world.py`), and those of a person."""
