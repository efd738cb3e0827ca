"""Streams of an ideal pen, and what `Technique` tells of them."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pen_controller import config
from pen_controller.limits import Limit
from pen_controller.treatment.technique import Fault, Technique, coached
from protocols.messages import WRAP
from protocols.samples import SAMPLE, SampleArray
from protocols.words import SampleFlag
from simulator.hand import Motion
from simulator.mistakes import tremble

SHIPPED = config.load()
CHEEK = coached(SHIPPED, "cheek")
"""3 N; standing below 1.5 mm/s; 230 punctures per cm2 a glide; 5 s in the air; 45 degrees; 80 %."""
NEEDLES, TIP_MM, RATE_HZ = 12, 10.0, 100.0
DRAGGING_MM_S = 10 * NEEDLES * RATE_HZ / 230
SENSES = SampleFlag.FORCE_VALID | SampleFlag.MOTION_VALID


@dataclass(frozen=True)
class Work:
    """Stands in for the figures of a pass counter."""

    coverage: tuple[float, float] | None = None
    direction_deg: float | None = None
    family: Literal["straight", "circular"] | None = "straight"


NOTHING = Work()


def samples(
    x_mm: Any,
    *,
    y_mm: Any = 0.0,
    force_n: Any = 1.0,
    running: Any = True,
    first_t_us: int = 0,
    flags: int = int(SENSES),
) -> SampleArray:
    """100 Hz of an ideal pen at 100 strokes a second; no force is in the air, where the sensor stands still."""
    x_mm, y_mm, force_n, running = np.broadcast_arrays(x_mm, y_mm, force_n, running)
    made = np.zeros(len(x_mm), SAMPLE)
    down = force_n > 0
    made["t_us"] = (first_t_us + np.arange(len(made)) * 10_000) % WRAP
    made["strokes"] = np.cumsum(running)
    made["contact_strokes"] = np.cumsum(running & down)
    for name, place_mm in (("x_um", x_mm), ("y_um", y_mm)):
        made[name] = np.cumsum(np.diff(place_mm, prepend=place_mm[0]) * 1000 * down).round()
    made["force_mn"] = np.round(force_n * 1000)
    made["rate_dhz"] = 10 * RATE_HZ * running
    made["flags"] = flags + SampleFlag.CONTACT * down + SampleFlag.RUNNING * running
    return made


def way(*legs: tuple[float, float]) -> NDArray[np.float64]:
    """Places at 100 Hz of legs of (seconds, mm/s)."""
    speeds = np.concatenate([np.full(round(seconds * 100), mm_s) for seconds, mm_s in legs])
    return np.cumsum(speeds) / 100


def tremor(count: int, seed: int) -> NDArray[np.float64]:
    x_mm, y_mm, heading_deg = np.zeros((3, 10 * count))
    return tremble(Motion(x_mm, y_mm, heading_deg, np.ones(10 * count)), seed).x_mm[::10]


def watch(limits: dict[Fault, Limit] = CHEEK, **options: Any) -> Technique:
    return Technique(limits, NEEDLES, TIP_MM, **options)


def told(made: SampleArray, work: Work = NOTHING, technique: Technique | None = None) -> list[tuple[Fault, str, Any]]:
    """What is raised and ended, with the second, fed in batches of 10."""
    technique = technique or watch()
    first_t_us = int(made["t_us"][0])
    changes = [alert for at in range(0, len(made), 10) for alert in technique.feed(made[at : at + 10], work)]
    return [
        (alert.fault, "raised", (alert.raised_us - first_t_us) % WRAP / 1e6)
        if alert.ended_us is None
        else (alert.fault, "ended", (alert.ended_us - first_t_us) % WRAP / 1e6)
        for alert in changes
    ]


def faults(made: SampleArray, work: Work = NOTHING, technique: Technique | None = None) -> list[Fault]:
    return [fault for fault, change, _ in told(made, work, technique) if change == "raised"]
