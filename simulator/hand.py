"""A clinician's hand over a rectangular zone, and the truth of what it did.

The whole treatment is drawn at construction, one touch a millisecond, so that looking one up is
cheap. The zone lies in x 0..width, y 0..height. Figures are assumed; the tremor's band, the speeds,
lifts and pauses are those the pass counter has to stand.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.course import STEADY, Course, Pattern, Style
from simulator.ground import GRID_MM, Bools, Floats, Grid
from simulator.physics import Touch

__all__ = ["GRID_MM", "RATE_HZ", "STEADY", "Glides", "Hand", "Motion", "Pattern", "Style", "Truth"]

RATE_HZ: Final = 1000
SMOOTHING_MS: Final = 61
RAMP_MS: Final = 20
WAY_STEP: Final = 4
"""Every so many touches are enough to tell the ground swept: the tip moves less than a cell between them."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What a hand does with the pen, `RATE_HZ` times a second from time 0; arrays of one length, made read-only.

    `force_n` is 0 in the air and only there.

    Raises:
        ValueError: The arrays are empty or not of one length.
    """

    x_mm: Floats
    y_mm: Floats
    heading_deg: Floats
    force_n: Floats

    def __post_init__(self) -> None:
        arrays = self.x_mm, self.y_mm, self.heading_deg, self.force_n
        if len(self.x_mm) == 0 or {values.shape for values in arrays} != {(len(self.x_mm),)}:
            raise ValueError("motion: give x, y, heading and force as arrays of one length, at least 1")
        for values in arrays:
            values.flags.writeable = False

    @property
    def duration_us(self) -> int:
        """How long it takes."""
        return len(self.x_mm) * 1_000_000 // RATE_HZ

    @property
    def contact(self) -> Bools:
        """When the tip is on the skin."""
        return self.force_n > 0

    def at(self, t_us: int) -> Touch:
        """What the hand does `t_us` after it began; before and after, it is in the air."""
        index = t_us * RATE_HZ // 1_000_000
        inside = 0 <= index < len(self.x_mm)
        if not inside:
            index = 0 if index < 0 else -1
        x_mm, y_mm, heading_deg = self.x_mm.item(index), self.y_mm.item(index), self.heading_deg.item(index)
        return Touch(x_mm, y_mm, heading_deg, self.force_n.item(index) if inside else 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Glides:
    """Movements over skin in one direction, each from landing or reversal to reversal or lift, as equally long arrays.

    A reversal is a moment, the middle of the turn from row to row: glides tile the contact. A pause
    does not end a glide. With the circular pattern a glide is the whole contact.
    """

    start_us: Ints
    end_us: Ints
    direction_deg: Floats
    """Of the row, without tremor; nan with the circular pattern."""
    pass_index: Ints

    def __len__(self) -> int:
        return len(self.start_us)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the hand did, exactly. Times are since it began; arrays by pass are in order of passes, from 0."""

    glides: Glides
    passes: int
    pass_us: Ints
    """First landing and last lift of each pass, shape (passes, 2)."""
    reversals: int
    """Turns from one glide into the next without a lift."""
    lift_us: Ints
    """Start and end of each time in the air between first and last contact, shape (lifts, 2)."""
    pause_us: Ints
    """Start and end of each pause, shape (pauses, 2)."""
    path_mm: float
    """Length of way in contact, tremor included."""
    contact_s: float
    area_cm2: float
    swept: Bools
    """Which cell of the zone the tip covered, shape (passes, rows in y, columns in x)."""
    coverage: tuple[float, ...]
    """Share of the zone swept, by pass."""
    ground_cm2: tuple[float, ...]
    """Ground swept in the zone and around it, by pass."""
    motion: Motion = field(repr=False)
    tip_width_mm: float

    def coverage_at(self, pass_index: int, t_us: int) -> float:
        """Ground swept within this pass until `t_us`, in the zone or not, as a share of the zone's size, at most 1.

        So defined because nobody tells a pen where the zone's rim is.
        """
        first_us, end_us = self.pass_us[pass_index].tolist()
        way = _way(self.motion, first_us, min(t_us, end_us))
        return min(1.0, _ground_cm2(*way, self.tip_width_mm) / self.area_cm2)


class Hand:
    """A hand that treats a zone; the same arguments give the same hand.

    Raises:
        ValueError: A size is not positive or there is no pass.
        RuntimeError: The style cannot cover the zone.
    """

    def __init__(
        self,
        width_mm: float,
        height_mm: float,
        passes: int,
        seed: int,
        style: Style = STEADY,
        tip_width_mm: float = 10.0,
    ) -> None:
        if not (0 < width_mm < math.inf and 0 < height_mm < math.inf and 0 < tip_width_mm < math.inf):
            raise ValueError(f"zone of {width_mm} x {height_mm} mm, tip of {tip_width_mm} mm: give more than 0")
        if passes < 1:
            raise ValueError(f"{passes} passes: give at least 1")
        rng = np.random.default_rng(seed)
        course = Course(style, (width_mm, height_mm), tip_width_mm, rng)
        for index in range(passes):
            course.draw_pass(index)
        ends_ms = math.ceil((course.t_s[-1] + 0.3) * RATE_HZ)
        course.lift_for(_fast_length(ends_ms) / RATE_HZ - course.t_s[-1])
        self.motion = _moved(course, style, rng)
        self.truth = _truth(course, self.motion)

    @property
    def duration_us(self) -> int:
        """How long it takes."""
        return self.motion.duration_us

    def at(self, t_us: int) -> Touch:
        """What the hand does `t_us` after it began; before and after, it is in the air."""
        return self.motion.at(t_us)


def _moved(course: Course, style: Style, rng: np.random.Generator) -> Motion:
    """The line drawn, with tremor, pressure and the turning of the pen."""
    t_s = np.arange(round(course.t_s[-1] * RATE_HZ)) / RATE_HZ
    x_mm, y_mm, contact = course.sample(t_s)
    x_mm, y_mm = _smooth(x_mm), _smooth(y_mm)
    x_mm += band_noise(rng, len(t_s), style.tremor_hz, style.tremor_rms_mm)
    y_mm += band_noise(rng, len(t_s), style.tremor_hz, style.tremor_rms_mm)
    swell = band_noise(rng, len(t_s), (0.1, 2.0), style.force_variation)
    force_n = style.force_n * np.clip(1 + swell, 0.4, 2.0) * _ramp(contact)
    heading_deg = style.heading_deg + style.heading_drift_deg_per_min / 60 * t_s
    heading_deg += band_noise(rng, len(t_s), (0.05, 0.5), 1.5)
    return Motion(x_mm, y_mm, heading_deg, force_n)


def _truth(course: Course, motion: Motion) -> Truth:
    start_s, end_s, direction_deg, pass_index = np.array(course.glides).T
    glides = Glides(_us(start_s), _us(end_s), direction_deg, pass_index.astype(np.int64))
    passes = int(glides.pass_index[-1]) + 1
    firsts = np.searchsorted(glides.pass_index, np.arange(passes + 1))
    pass_us = np.stack([glides.start_us[firsts[:-1]], glides.end_us[firsts[1:] - 1]], axis=1)
    contact = motion.contact
    ways = [_way(motion, first_us, end_us) for first_us, end_us in pass_us.tolist()]
    swept = np.stack([course.grid.swept(*way, course.tip_mm) for way in ways])
    together = contact[1:] & contact[:-1]
    return Truth(
        glides=glides,
        passes=passes,
        pass_us=pass_us,
        reversals=course.reversals,
        lift_us=_gaps_us(contact),
        pause_us=_us(np.array(course.pauses_s)).reshape(-1, 2),
        path_mm=float(np.hypot(np.diff(motion.x_mm), np.diff(motion.y_mm))[together].sum()),
        contact_s=float(contact.sum()) / RATE_HZ,
        area_cm2=course.zone_mm[0] * course.zone_mm[1] / 100,
        swept=swept,
        coverage=tuple(float(share) for share in swept.mean(axis=(1, 2))),
        ground_cm2=tuple(_ground_cm2(*way, course.tip_mm) for way in ways),
        motion=motion,
        tip_width_mm=course.tip_mm,
    )


def _way(motion: Motion, start_us: int, end_us: int) -> tuple[Floats, Floats]:
    """Where the tip was in contact from `start_us` until `end_us`, close enough together for its swath."""
    first, end = (-(-t_us * RATE_HZ // 1_000_000) for t_us in (start_us, max(start_us, end_us)))
    part = slice(first, end, WAY_STEP)
    contact = motion.force_n[part] > 0
    return motion.x_mm[part][contact], motion.y_mm[part][contact]


def _ground_cm2(x_mm: Floats, y_mm: Floats, tip_mm: float) -> float:
    if len(x_mm) == 0:
        return 0.0
    cells = int(Grid.around(x_mm, y_mm, tip_mm).swept(x_mm, y_mm, tip_mm).sum())
    return cells * GRID_MM**2 / 100


def _us(t_s: Floats) -> Ints:
    return np.rint(t_s * 1e6).astype(np.int64)


def _smooth(knots_mm: Floats) -> Floats:
    """Rounds corners and starts, by a Hann window."""
    window = np.hanning(SMOOTHING_MS + 2)[1:-1]
    padded = np.pad(knots_mm, SMOOTHING_MS // 2, mode="edge")
    smooth: Floats = np.convolve(padded, window / window.sum(), mode="valid")
    return smooth


def band_noise(rng: np.random.Generator, samples: int, band_hz: tuple[float, float], rms: float) -> Floats:
    """Noise of nothing but the given band, of the given root mean square."""
    lowest, highest = math.ceil(band_hz[0] * samples / RATE_HZ), math.floor(band_hz[1] * samples / RATE_HZ)
    spectrum = np.zeros(samples // 2 + 1, dtype=np.complex128)
    inside = spectrum[lowest : highest + 1]
    inside += rng.standard_normal(len(inside)) + 1j * rng.standard_normal(len(inside))
    noise: Floats = np.fft.irfft(spectrum, samples)
    noise *= rms / max(float(noise.std()), 1e-12)
    return noise


def _fast_length(samples: int) -> int:
    """The next number without large prime factors: transforms of such a length are much faster."""
    while True:
        rest = samples
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return samples
        samples += 1


def _ramp(contact: Bools) -> Floats:
    """0 in the air, rising to 1 within the first and falling in the last milliseconds of contact."""
    inside = np.convolve(contact, np.ones(2 * RAMP_MS + 1) / (2 * RAMP_MS + 1), mode="same")
    share: Floats = contact * np.clip(2 * inside - 1, 0, 1)
    return share


def _gaps_us(contact: Bools) -> Ints:
    """Start and end of each time in the air between first and last contact."""
    edges = np.flatnonzero(np.diff(contact.astype(np.int8))) + 1
    return (edges[1:-1].reshape(-1, 2) * 1_000_000) // RATE_HZ
