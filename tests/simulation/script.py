"""What happens in one simulated world, as plain data: a pen, a plan, and acts with their times. JSON in and out.

`generate(seed)` makes a script. The same script makes the same world, to the last bit.
"""

import random
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from pen_controller.config import PlanArea


class What(StrEnum):
    """What can happen. Of the line: `way` and `chance` say where, and to which share of the frames."""

    DROP = "drop"
    CORRUPT = "corrupt"
    SPLIT = "split"
    MERGE = "merge"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    SQUEEZE = "squeeze"  # figure: bytes a second
    UNPLUG = "unplug"  # the host's system knows at once
    RADIO_GONE = "radio gone"  # nobody is told

    REBOOT = "reboot"  # for_ms: without power
    BUTTON = "button"
    DRIFT = "drift"  # figure: micrometres of error, reached after for_ms; it stays
    DEPTH_STUCK = "depth stuck"
    FORCE_STUCK = "force stuck"
    STALL = "motor stall"
    RUNAWAY = "runaway"  # figure: factor of the rate
    CARTRIDGE = "cartridge"  # choice: fresh, used, expired, needles, wiped (used, and its tag says fresh)

    HOST_STALL = "host stall"
    SUSPEND = "suspend"
    CRASH = "crash"  # for_ms: until it is started again
    QUIT = "quit"  # closed by a person, in order; for_ms: until it is started again
    CLOCK_JUMP = "clock jump"  # figure: seconds
    DISK_FULL = "disk full"
    DISK_SLOW = "disk slow"  # figure: milliseconds that a write takes
    RIVAL = "rival"  # choice: claim, bombard, stop

    STOP = "stop"
    START = "start"  # though it may run already
    OTHER_AREA = "other area"  # choice: finish (the one under way, first), blunt (arms it at once)
    TOO_MUCH = "too much"  # starts the area at this depth: figure, in mm
    CHANGE = "change"  # while needles run: figure, in mm
    FINISH = "finish"
    HASTY = "hasty"  # from now on resumes at once, without reading
    CLOSE = "close"  # ends the treatment


LINE = (What.DROP, What.CORRUPT, What.SPLIT, What.MERGE, What.DELAY, What.DUPLICATE, What.REORDER, What.SQUEEZE)
TO_PEN, TO_HOST = "to pen", "to host"


class Act(BaseModel):
    """One thing that happens, at `at_ms`, and lasts `for_ms` where it lasts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_ms: int
    what: What
    for_ms: int = 0
    way: str = ""
    chance: float = 1.0
    figure: float = 0.0
    choice: str = ""


class Script(BaseModel):
    """One simulated world. `seed` decides all that is left to chance in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    model: str = "simulated"
    seconds: float = 20.0
    fitzpatrick: int = 2
    prepared: bool = True
    """Whether the person answers the checklist before starting; otherwise never."""
    latency_ms: float = 1.0
    """Of the line, each way."""
    areas: tuple[PlanArea, ...]
    acts: tuple[Act, ...] = ()


# --- making one ------------------------------------------------------------------------------------------------------

Maker = Callable[[random.Random], dict[str, Any]]

AREAS: dict[str, tuple[str, float]] = {
    "cheek": ("acne_scars", 1.0),
    "forehead": ("fine_lines", 0.5),
    "periorbital": ("fine_lines", 0.25),
    "neck": ("fine_lines", 0.5),
    "abdomen": ("striae", 1.5),
    "nose": ("acne_scars", 0.5),
    "chin": ("acne_scars", 0.75),
}
"""What is treated there, and at which depth in mm: within all limits."""


def _line(most_chance: float, *, longest_ms: int = 12_000) -> Maker:
    return lambda chance: {
        "way": chance.choice((TO_PEN, TO_HOST)),
        "chance": round(chance.choice((0.02, 0.1, most_chance * chance.random(), most_chance)), 3),
        "for_ms": chance.randint(20, longest_ms),
    }


def _lasting(shortest_ms: int, longest_ms: int) -> Maker:
    return lambda chance: {"for_ms": chance.randint(shortest_ms, longest_ms)}


def _figure(figures: Sequence[float], shortest_ms: int = 0, longest_ms: int = 0) -> Maker:
    return lambda chance: {"figure": chance.choice(figures), "for_ms": chance.randint(shortest_ms, longest_ms)}


def _choice(*choices: str, longest_ms: int = 0) -> Maker:
    return lambda chance: {"choice": chance.choice(choices), "for_ms": longest_ms and chance.randint(500, longest_ms)}


def _nothing(_: random.Random) -> dict[str, Any]:
    return {}


YEAR_S, HOUR_S = 365 * 86_400.0, 3_600.0

MAKERS: dict[What, tuple[float, Maker]] = {
    What.DROP: (3, _line(1.0)),
    What.CORRUPT: (2, _line(0.6)),
    What.SPLIT: (1, _line(1.0)),
    What.MERGE: (1, _line(1.0)),
    What.DELAY: (2, _line(1.0)),
    What.DUPLICATE: (2, _line(0.8)),
    What.REORDER: (2, _line(0.8)),
    What.SQUEEZE: (1, lambda chance: _line(1.0)(chance) | {"figure": chance.choice((900.0, 2_000.0, 6_000.0))}),
    What.UNPLUG: (4, _lasting(1, 4_000)),
    What.RADIO_GONE: (3, _lasting(50, 4_000)),
    What.REBOOT: (5, _lasting(0, 600)),
    What.BUTTON: (2, _nothing),
    What.DRIFT: (3, _figure((-400, -200, -130, 130, 200, 400), 0, 1_500)),
    What.DEPTH_STUCK: (2, _lasting(50, 3_000)),
    What.FORCE_STUCK: (1, _lasting(50, 6_000)),
    What.STALL: (3, _lasting(5, 2_000)),
    What.RUNAWAY: (4, _figure((1.05, 1.15, 1.3, 2.0), 20, 2_000)),
    What.CARTRIDGE: (4, _choice("fresh", "used", "expired", "needles", "wiped")),
    What.HOST_STALL: (4, _lasting(20, 3_000)),
    What.SUSPEND: (3, _lasting(100, 30_000)),
    What.CRASH: (5, _lasting(300, 5_000)),
    What.QUIT: (2, _lasting(300, 3_000)),
    What.CLOCK_JUMP: (2, _figure((YEAR_S, -YEAR_S, HOUR_S, -HOUR_S))),
    What.DISK_FULL: (3, _lasting(200, 5_000)),
    What.DISK_SLOW: (1, _figure((100.0, 900.0), 500, 6_000)),
    What.RIVAL: (3, _choice("claim", "bombard", "stop", longest_ms=4_000)),
    What.STOP: (5, _nothing),
    What.START: (2, _nothing),
    What.OTHER_AREA: (7, _choice("finish", "blunt", "blunt")),
    What.TOO_MUCH: (3, _figure((0.6, 1.1, 2.0, 2.5, 3.0))),
    What.CHANGE: (3, _figure((0.25, 0.5, 0.75, 1.5, 2.5))),
    What.FINISH: (1, _nothing),
    What.HASTY: (2, _nothing),
    What.CLOSE: (1, _nothing),
}
"""How often each happens, as a weight, and what it needs."""


PROVOKED_BY: dict[str, tuple[What, ...]] = {
    "H01": (What.TOO_MUCH, What.CHANGE, What.DRIFT),
    "H02": (What.OTHER_AREA,),
    "H03": (What.CRASH,),
    "H04": (What.HOST_STALL, What.SUSPEND),
    "H05": (What.RADIO_GONE, What.DROP),
    "H06": (What.UNPLUG,),
    "H07": (What.CORRUPT, What.DUPLICATE, What.REORDER, What.SPLIT, What.MERGE, What.DELAY),
    "H08": (What.DROP, What.CORRUPT),
    "H09": (What.RIVAL,),
    "H10": (What.REBOOT,),
    "H11": (What.DRIFT, What.DEPTH_STUCK),
    "H12": (What.STALL,),
    "H13": (What.RUNAWAY,),
    "H14": (What.CRASH, What.REBOOT, What.FORCE_STUCK),
    "H15": (What.CARTRIDGE,),
    "H16": (What.HASTY, What.START),
    "H17": (What.CRASH, What.DISK_SLOW),
    "H19": (What.DISK_FULL,),
    "H20": (What.CLOCK_JUMP,),
    "H25": (What.STOP, What.BUTTON, What.SQUEEZE, What.RIVAL),
}
"""By hazard, what may provoke it."""


def generate(seed: int, hazard: str | None = None) -> Script:
    """Make a script: most last 8 to 25 seconds and hold one to six acts; one in twenty is calm, and longer.

    Args:
        seed: the same one makes the same script.
        hazard: a key of `PROVOKED_BY`: at least one act is of those.
    """
    chance = random.Random(f"script {seed} {hazard or ''}")  # noqa: S311  # a simulation, not a secret
    calm = hazard is None and chance.random() < 0.05
    seconds = float(chance.randint(30, 60) if calm else chance.randint(8, 25))
    model = chance.choice(("simulated", "simulated", "simulated", "dermapen_4", "exceed"))
    # The last of these runs at 100 Hz at the least, which is too fast around the eyes.
    names = sorted(AREAS.keys() - {"periorbital"} if model == "exceed" else AREAS)
    rates_hz = (100.0,) if model == "exceed" else (100.0, 80.0)
    areas = chance.sample(names, chance.randint(1, 3))
    acts = [] if calm else [_act(chance, seconds, tuple(MAKERS)) for _ in range(chance.randint(1, 6))]
    if hazard is not None:
        acts[0] = _act(chance, seconds, PROVOKED_BY[hazard])
    return Script(
        seed=seed,
        model=model,
        seconds=seconds,
        fitzpatrick=chance.randint(1, 6),
        prepared=chance.random() > 0.04,
        latency_ms=chance.choice((0.3, 1.0, 4.0, 11.0)),
        areas=tuple(_area(chance, name, rates_hz) for name in areas),
        acts=tuple(sorted(acts, key=lambda act: act.at_ms)),
    )


def _area(chance: random.Random, name: str, rates_hz: Sequence[float]) -> PlanArea:
    indication, depth_mm = AREAS[name]
    # Most are far from what an area may be given at the most; some on little skin come to it.
    passes, size_cm2 = (6, 0.5) if chance.random() < 0.2 else (chance.randint(1, 3), chance.randint(1, 6))
    return PlanArea(
        area=name,
        indication=indication,
        depth_mm=depth_mm,
        rate_hz=chance.choice((60.0, 75.0) if name == "periorbital" else rates_hz),
        passes=passes,
        size_cm2=float(size_cm2),
    )


def _act(chance: random.Random, seconds: float, whats: Sequence[What]) -> Act:
    what = chance.choices(whats, [MAKERS[each][0] for each in whats])[0]
    # Needles run from the first second on; some things should happen before, and commands meet with bad lines.
    from_ms = 0 if chance.random() < (0.5 if what in LINE else 0.1) else 1_000
    until_ms = 1_500 if from_ms == 0 else int(seconds * 900)
    return Act(at_ms=chance.randint(from_ms, until_ms), what=what, **MAKERS[what][1](chance))
