"""Treatments to count: from a seed follow the area, the zone, the hand and the pen.

All ranges are assumed. They take in what a pass counter has to stand: glides of 5 to 60 mm/s that overlap by up to
60 %, one to six passes, and pens of 6 to 36 needles at 40 to 150 strokes a second.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, get_args

import numpy as np

from protocols.messages import WRAP
from protocols.samples import SampleArray
from simulator.course import Pattern, Range, Style
from simulator.hand import Hand
from simulator.physics import SKINS, Parameters
from simulator.recording import Recording, record, with_lost_batches

LONGEST_PASS_S: Final = 70.0
LONGEST_S: Final = 105.0
"""Zones are no larger than a hand of this speed gets done in about this time, without lifts and pauses."""
SMALLEST_CM2: Final = 3.0
KEPT_CM2: Final = 9.0
"""Contact is kept through a pass on zones of at most this size."""
KEPT_SHARE: Final = 1 / 6
WRAP_SHARE: Final = 0.2
"""Share of pens whose 32-bit time begins anew during the treatment."""

LOST_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Area:
    """What is usual on a part of the body."""

    name: str
    size_cm2: Range  # of a zone treated in one go
    aspect: Range  # of its longer side to the shorter one
    force_n: Range
    depth_um: int


AREAS: Final = {
    1: Area("forehead", (8, 40), (1.5, 3.0), (0.7, 1.8), 500),
    2: Area("glabella", (3, 8), (1.0, 1.5), (0.7, 1.8), 500),
    3: Area("temple", (5, 16), (1.0, 1.6), (0.7, 1.5), 300),
    4: Area("periorbital", (3, 9), (1.5, 3.0), (0.7, 1.2), 250),
    6: Area("nose", (5, 15), (1.2, 2.0), (0.7, 1.5), 300),
    7: Area("cheekbone", (6, 20), (1.5, 2.5), (0.7, 1.8), 500),
    8: Area("cheek", (12, 50), (1.0, 1.5), (0.8, 2.2), 1000),
    9: Area("chin", (6, 18), (1.0, 1.6), (0.8, 2.2), 1000),
    10: Area("upper lip", (3, 9), (2.0, 3.5), (0.7, 1.5), 250),
    11: Area("jawline", (8, 30), (2.0, 4.0), (0.7, 1.8), 750),
    12: Area("neck", (15, 60), (1.0, 2.0), (0.7, 1.8), 500),
    13: Area("decolletage", (15, 60), (1.0, 2.0), (0.7, 1.8), 500),
    14: Area("hands", (12, 50), (1.0, 1.6), (0.7, 1.5), 500),
    15: Area("scalp", (15, 60), (1.0, 2.0), (0.7, 1.8), 600),
    16: Area("abdomen", (20, 80), (1.0, 2.0), (0.8, 2.2), 1500),
}
"""By area code; the eyelid, 5, is not to be treated."""


@dataclass(frozen=True)
class Scenario:
    """One treatment of one zone, in plain figures. Hand and recording are drawn when they are first asked for."""

    seed: int
    area: int
    width_mm: float
    height_mm: float
    passes: int
    style: Style
    needles: int
    tip_width_mm: float
    rate_hz: float
    first_t_us: int

    @property
    def area_name(self) -> str:
        """In words, such as 'upper lip'."""
        return AREAS[self.area].name

    @property
    def size_cm2(self) -> float:
        """Size of the zone."""
        return self.width_mm * self.height_mm / 100

    @property
    def contact_kept(self) -> bool:
        """Whether the tip stays on the skin through each pass."""
        return self.style.lift_every_s is None

    def hand(self) -> Hand:
        """The hand, and the truth of what it does."""
        return self._hand

    def recording(self) -> Recording:
        """What a pen with the usual errors reports of it."""
        return self._recording

    def batches(self) -> list[SampleArray]:
        """The recording as it arrives: batch by batch, with a share of `LOST_SHARE` missing."""
        return with_lost_batches(self.recording().samples, LOST_SHARE, np.random.default_rng(self.seed))

    @cached_property
    def _hand(self) -> Hand:
        return Hand(self.width_mm, self.height_mm, self.passes, self.seed, self.style, self.tip_width_mm)

    @cached_property
    def _recording(self) -> Recording:
        return record(
            self.hand().motion,
            Parameters(needles=self.needles),
            self.seed,
            rate_hz=self.rate_hz,
            depth_um=AREAS[self.area].depth_um,
            skin=SKINS[self.area],
            first_t_us=self.first_t_us,
        )


def scenario(seed: int) -> Scenario:
    """The treatment that follows from this seed, 0 or more."""
    rng = np.random.default_rng(seed)
    code = int(rng.choice(list(AREAS)))
    area = AREAS[code]
    kept = bool(rng.random() < KEPT_SHARE)
    style = Style(
        pattern=get_args(Pattern)[rng.integers(3)],
        speed_mm_s=_log_uniform(rng, (5, 60)),
        overlap=rng.uniform(0, 0.6),
        force_n=rng.uniform(*area.force_n),
        heading_deg=rng.uniform(-180, 180),
        lift_every_s=None if kept else (1.0, 4.0),
    )
    passes = int(rng.integers(1, 7))
    tip_width_mm = float(rng.choice([8, 10, 12], p=[0.15, 0.7, 0.15]))
    done_cm2 = _cm2_per_s(style, tip_width_mm) * min(LONGEST_PASS_S, LONGEST_S / passes)
    wanted_cm2 = _log_uniform(rng, area.size_cm2)
    size_cm2 = max(SMALLEST_CM2, min(wanted_cm2, done_cm2, KEPT_CM2 if kept else math.inf))
    height_mm = 10 * math.sqrt(size_cm2 / rng.uniform(*area.aspect))
    wraps = bool(rng.random() < WRAP_SHARE)
    return Scenario(
        seed=seed,
        area=code,
        width_mm=100 * size_cm2 / height_mm,
        height_mm=height_mm,
        passes=passes,
        style=style,
        needles=int(rng.choice([6, 12, 14, 16, 36])),
        tip_width_mm=tip_width_mm,
        rate_hz=rng.uniform(40, 150),
        first_t_us=WRAP - int(rng.integers(1, 20_000_000)) if wraps else int(rng.integers(0, 600_000_000)),
    )


def _log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """Between the limits, each doubling as likely as any other."""
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))


def _cm2_per_s(style: Style, tip_mm: float) -> float:
    """New ground a second while the hand glides, loops and overlap taken into account."""
    pitch_mm = (1 - style.overlap) * tip_mm
    if style.pattern != "circular":
        return style.speed_mm_s * pitch_mm / 100
    return style.speed_mm_s * pitch_mm / math.hypot(0.8 * math.pi * tip_mm, pitch_mm) * 1.4 * pitch_mm / 100
