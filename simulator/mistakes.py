"""What a hand does wrong, put into a motion at exact times, so that whoever is to notice can be held against it."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from simulator.ground import Floats
from simulator.hand import RATE_HZ, Motion, band_noise

Kind = Literal["press", "hurry", "stand", "hover"]

US_PER_STEP: Final = 1_000_000 // RATE_HZ


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake, in the time of the motion that has it.

    - press: wherever the tip is on the skin, it presses with `amount` N.
    - hurry: the hand does all `amount` times as fast.
    - stand: the hand stays where it is, as it is.
    - hover: the hand stays where it is, lifted off the skin.

    After standing or hovering, the hand goes on where it was; nothing of the course is left out.

    Raises:
        ValueError: There is no such kind, or times or amount make no sense.
    """

    kind: Kind
    start_us: int
    end_us: int
    amount: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"mistake {self.kind!r}: give one of {', '.join(get_args(Kind))}")
        if not 0 <= self.start_us < self.end_us:
            raise ValueError(f"mistake from {self.start_us} to {self.end_us} us: give a beginning and a later end")
        if not 0 < self.amount < math.inf:
            raise ValueError(f"{self.kind} by {self.amount}: give more than 0")


def inject(motion: Motion, mistakes: Iterable[Mistake]) -> Motion:
    """Do the same with these mistakes.

    Tremor that is in the motion is stopped and hurried with it: make the hand without, and `tremble` afterwards.

    Raises:
        ValueError: Mistakes overlap, or the motion is over before one of them is.
    """
    ordered = sorted(mistakes, key=lambda mistake: mistake.start_us)
    if any(after.start_us < before.end_us for before, after in itertools.pairwise(ordered)):
        raise ValueError("mistakes overlap: make one after the other")
    ends = [mistake.end_us // US_PER_STEP for mistake in ordered]
    pace = np.ones(max([0, *ends]) + len(motion.x_mm))
    for mistake in ordered:
        pace[_span(mistake)] = {"hurry": mistake.amount, "stand": 0.0, "hover": 0.0}.get(mistake.kind, 1.0)
    course = np.concatenate([[0.0], np.cumsum(pace[:-1])])  # where in the old motion each step of the new one is
    course = course[: int(np.searchsorted(course, len(motion.x_mm) - 0.5))]
    if ends and ends[-1] > len(course):
        raise ValueError(f"a mistake ends at {ends[-1]} ms, the motion at {len(course)} ms: make it earlier")
    steps = np.arange(len(motion.x_mm))
    x_mm, y_mm, heading_deg = (np.interp(course, steps, a) for a in (motion.x_mm, motion.y_mm, motion.heading_deg))
    force_n = motion.force_n[np.rint(course).astype(np.int64)]  # between contact and air there is nothing
    for mistake in ordered:
        span = _span(mistake)
        if mistake.kind == "hover":
            force_n[span] = 0.0
        elif mistake.kind == "press":
            force_n[span] = np.where(force_n[span] > 0, mistake.amount, 0.0)
    return Motion(x_mm, y_mm, heading_deg, force_n)


def tremble(motion: Motion, seed: int, rms_mm: float = 0.3, band_hz: tuple[float, float] = (8.0, 12.0)) -> Motion:
    """The same with a tremor of this band, `rms_mm` along each axis."""
    rng = np.random.default_rng(seed)
    x_mm, y_mm = (_trembling(a, rng, rms_mm, band_hz) for a in (motion.x_mm, motion.y_mm))
    return Motion(x_mm, y_mm, motion.heading_deg, motion.force_n)


def _trembling(place_mm: Floats, rng: np.random.Generator, rms_mm: float, band_hz: tuple[float, float]) -> Floats:
    return place_mm + band_noise(rng, len(place_mm), band_hz, rms_mm)


def _span(mistake: Mistake) -> slice:
    return slice(mistake.start_us // US_PER_STEP, mistake.end_us // US_PER_STEP)
