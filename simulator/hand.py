"""A clinician's hand over a rectangular zone, and the truth of what it did.

The whole treatment is drawn at construction, one touch a millisecond, so that looking one up is
cheap. The zone lies in x 0..width, y 0..height. Figures are assumed; the tremor's band, the speeds,
lifts and pauses are those the pass counter has to stand.
"""

import itertools
import math
from array import array
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from simulator.physics import Touch

Floats = NDArray[np.float64]
Line = tuple[float, float, float, float]
Pattern = Literal["straight", "crosshatch", "circular"]

RATE_HZ: Final = 1000
GRID_MM: Final = 0.5
PLANNED_COVERAGE: Final = 0.98
"""A pass goes on until its drawn swath has covered this much; tremor and speed cost a little."""
PLAN_STEP_S: Final = 0.005
MOST_EXTRA_ROWS: Final = 40
SMOOTHING_MS: Final = 61
RAMP_MS: Final = 20
UP_DOWN_S: Final = 0.032
SHORTEST_S: Final = 0.4
"""No glide is cut into pieces shorter than this."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a hand moves.

    Raises:
        ValueError: There is no such pattern, or overlap, speed, force, jitter or lifts are out of range.
    """

    pattern: Pattern = "straight"
    speed_mm_s: float = 20.0  # of the tip over skin without tremor; each glide has its own, within 15 %
    overlap: float = 0.3  # share of the swath that the next row covers again, 0..0.6
    force_n: float = 1.0
    force_variation: float = 0.25  # share of the force, slow swell and noise together
    tremor_hz: tuple[float, float] = (8.0, 12.0)
    tremor_rms_mm: float = 0.3  # along each axis, also in a pause
    direction_jitter_deg: float = 12.0  # a glide is turned by at most this
    lift_every_s: tuple[float, float] = (1.0, 4.0)  # time of gliding between two lifts
    lift_s: tuple[float, float] = (0.15, 0.5)
    pause_s: tuple[float, float] = (0.2, 3.0)  # standing still with the needles in
    pause_probability: float = 0.1  # of a pause within a glide
    heading_drift_deg_per_min: float = 4.0  # how the hand slowly turns the pen

    def __post_init__(self) -> None:
        if self.pattern not in get_args(Pattern):
            raise ValueError(f"pattern {self.pattern!r}: give one of {', '.join(get_args(Pattern))}")
        if not 0 <= self.overlap <= 0.6:
            raise ValueError(f"overlap of {self.overlap}: give 0 to 0.6")
        if not (0 < self.speed_mm_s < math.inf and 0 < self.force_n < math.inf):
            raise ValueError(f"speed of {self.speed_mm_s} mm/s, force of {self.force_n} N: give more than 0")
        if not 0 <= self.direction_jitter_deg <= 45:
            raise ValueError(f"direction jitter of {self.direction_jitter_deg} degrees: give 0 to 45")
        if self.lift_every_s[0] < 2 * SHORTEST_S or self.lift_s[0] < 0.1:
            raise ValueError(f"lifts every {self.lift_every_s} s for {self.lift_s} s: at least 0.8 and 0.1 s")


STEADY: Final = Style()


@dataclass(frozen=True, slots=True)
class Glides:
    """Movements over skin, each from a lift or reversal to the next, as equally long arrays.

    Ends are those of the line drawn, without tremor; with the circular pattern they are those of
    the line along which the loops progress. A pause within a glide does not end it.
    """

    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    x0_mm: Floats
    y0_mm: Floats
    x1_mm: Floats
    y1_mm: Floats
    direction_deg: Floats
    pass_index: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start_us)


@dataclass(frozen=True, slots=True)
class Truth:
    """What the hand did, exactly."""

    glides: Glides
    passes: int
    reversals: int
    """Turns from one glide into the next without a lift."""
    lift_us: NDArray[np.int64]
    """Start and end of each time in the air between first and last contact, shape (lifts, 2)."""
    pause_us: NDArray[np.int64]
    """Start and end of each pause, shape (pauses, 2)."""
    path_mm: float
    """Length of way in contact, tremor included."""
    contact_s: float
    area_cm2: float
    swept: NDArray[np.bool_]
    """Which cell of the zone the tip covered, shape (passes, rows in y, columns in x)."""
    coverage: tuple[float, ...]
    """Share of the zone swept, by pass."""


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
        zone = _Zone(width_mm, height_mm, tip_width_mm)
        course = _Course(style, zone, rng)
        for index in range(passes):
            course.draw_pass(index)
        course.wait(0.3)

        t_s = np.arange(math.ceil(course.t_s[-1] * RATE_HZ)) / RATE_HZ
        x_mm, y_mm, contact = course.sample(t_s)
        x_mm, y_mm = _smooth(x_mm), _smooth(y_mm)
        x_mm += _band_noise(rng, len(t_s), style.tremor_hz, style.tremor_rms_mm)
        y_mm += _band_noise(rng, len(t_s), style.tremor_hz, style.tremor_rms_mm)
        swell = _band_noise(rng, len(t_s), (0.1, 2.0), style.force_variation)
        force_n = style.force_n * np.clip(1 + swell, 0.4, 2.0) * _ramp(contact)
        heading_deg = style.heading_drift_deg_per_min / 60 * t_s + _band_noise(rng, len(t_s), (0.05, 0.5), 1.5)

        self._samples = [array("d", values.tobytes()) for values in (x_mm, y_mm, heading_deg, force_n)]
        self.duration_us = len(t_s) * 1_000_000 // RATE_HZ
        edges = np.searchsorted(t_s, [*course.pass_starts_s, t_s[-1] + 1])
        parts = [slice(*ends) for ends in itertools.pairwise(edges.tolist())]
        swept = np.stack([zone.swept(x_mm[part], y_mm[part], contact[part]) for part in parts])
        together = contact[1:] & contact[:-1]
        self.truth = Truth(
            glides=course.glides(),
            passes=passes,
            reversals=course.reversals,
            lift_us=_gaps_us(contact),
            pause_us=np.array(course.pauses_us, dtype=np.int64).reshape(-1, 2),
            path_mm=float(np.hypot(np.diff(x_mm), np.diff(y_mm))[together].sum()),
            contact_s=float(contact.sum()) / RATE_HZ,
            area_cm2=width_mm * height_mm / 100,
            swept=swept,
            coverage=tuple(float(share) for share in swept.mean(axis=(1, 2))),
        )

    def at(self, t_us: int) -> Touch:
        """What the hand does `t_us` after it began; before and after, it is in the air."""
        index = t_us * RATE_HZ // 1_000_000
        x_mm, y_mm, heading_deg, force_n = self._samples
        if not 0 <= index < len(x_mm):
            edge = 0 if index < 0 else -1
            return Touch(x_mm[edge], y_mm[edge], heading_deg[edge], 0.0)
        return Touch(x_mm[index], y_mm[index], heading_deg[index], force_n[index])


class _Course:
    """The line that the hand follows, as knots in time, drawn glide by glide."""

    def __init__(self, style: Style, zone: "_Zone", rng: np.random.Generator) -> None:
        self.style, self.zone, self.rng = style, zone, rng
        circular = style.pattern == "circular"
        self.loop_mm = 0.4 * zone.tip_mm if circular else 0.0
        self.pitch_mm = (1 - style.overlap) * zone.tip_mm
        # The swath reaches this far to either side of the line: loops leave scallops at its rim.
        self.reach_mm = self.loop_mm + (0.3 if circular else 0.5) * zone.tip_mm
        self.t_s, self.x_mm, self.y_mm, self.loops = [0.0], [0.0], [0.0], [0.0]
        self.contact = [False]  # on the way to a knot
        self.reversals = 0
        self.pauses_us: list[tuple[int, int]] = []
        self.pass_starts_s: list[float] = []
        self._glides: list[tuple[float, ...]] = []
        self._left_s = self._budget_s()

    def draw_pass(self, index: int) -> None:
        """Rows to and fro over the zone, then more of them where it is not covered yet."""
        turned = self.style.pattern == "crosshatch" and index % 2 == 1
        sides_mm = self.zone.width_mm, self.zone.height_mm
        self.pass_starts_s.append(self.t_s[-1])
        for number, row in enumerate(self._rows(*(sides_mm[::-1] if turned else sides_mm))):
            self._row(_turn(row) if turned else row, index, fresh=number == 0)
        for _ in range(MOST_EXTRA_ROWS):
            t_s = np.arange(self.pass_starts_s[-1], self.t_s[-1], PLAN_STEP_S)
            missing = ~self.zone.swept(*self.sample(t_s))
            if missing.mean() < 1 - PLANNED_COVERAGE:
                return
            row = self._widest_gap(missing.T if turned else missing)
            self._row(_turn(row) if turned else row, index, fresh=True)
        raise RuntimeError(f"pass {index} leaves {missing.mean():.0%} of the zone uncovered: give a calmer style")

    def sample(self, t_s: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """The tip's place and contact at each time, before tremor and smoothing."""
        contact = np.array(self.contact)[np.searchsorted(self.t_s, t_s, side="right")]
        angle = 2 * math.pi * np.interp(t_s, self.t_s, self.loops)
        x_mm = np.interp(t_s, self.t_s, self.x_mm) + self.loop_mm * np.cos(angle)
        y_mm = np.interp(t_s, self.t_s, self.y_mm) + self.loop_mm * np.sin(angle)
        return x_mm, y_mm, contact

    def wait(self, seconds: float) -> None:
        """Stays in the air where it is."""
        self._knot(self.x_mm[-1], self.y_mm[-1], seconds, contact=False)

    def glides(self) -> Glides:
        """The glides drawn so far."""
        start_s, end_s, x0_mm, y0_mm, x1_mm, y1_mm, passes = np.array(self._glides).T
        direction_deg = np.degrees(np.arctan2(y1_mm - y0_mm, x1_mm - x0_mm)) % 360
        start_us, end_us = (np.rint(t_s * 1e6).astype(np.int64) for t_s in (start_s, end_s))
        return Glides(start_us, end_us, x0_mm, y0_mm, x1_mm, y1_mm, direction_deg, passes.astype(np.int64))

    def _rows(self, along_mm: float, across_mm: float) -> list[Line]:
        """Jittered rows of the given overlap, evenly over the zone, every second one backwards."""
        inset_mm = min(self.loop_mm + 0.25 * self.zone.tip_mm, along_mm / 4)
        rim_mm = min(self.reach_mm, across_mm / 2)
        spacing_mm = 2 * self.reach_mm * (1 - self.style.overlap)
        count = 1 + math.ceil((across_mm - 2 * rim_mm) / spacing_mm)
        rows = []
        for number, middle_mm in enumerate(np.linspace(rim_mm, across_mm - rim_mm, count)):
            jitter_deg = self.rng.uniform(-1, 1) * self.style.direction_jitter_deg
            slope_mm = (along_mm / 2 - inset_mm) * math.tan(math.radians(jitter_deg))
            first_mm, last_mm = np.clip([middle_mm - slope_mm, middle_mm + slope_mm], 0, across_mm).tolist()
            row = (inset_mm, first_mm, along_mm - inset_mm, last_mm)
            rows.append(row if number % 2 == 0 else (*row[2:], *row[:2]))
        return rows

    def _widest_gap(self, missing: NDArray[np.bool_]) -> Line:
        """A line along the band in which most is missing, over what is; axes (across, along)."""
        across = np.arange(len(missing))
        near = np.abs(across[:, None] - across) * GRID_MM <= 0.6 * self.reach_mm
        row = int(np.argmax(near @ missing.sum(axis=1)))
        columns = np.flatnonzero(missing[near[row]].any(axis=0))
        first_mm, last_mm = ((columns[[0, -1]] + 0.5) * GRID_MM).tolist()
        longer_mm = max(0.0, self.zone.tip_mm - (last_mm - first_mm)) / 2
        row_mm = (row + 0.5) * GRID_MM
        return first_mm - longer_mm, row_mm, last_mm + longer_mm, row_mm

    def _row(self, row: Line, index: int, *, fresh: bool) -> None:
        """One row, reached by a lift or, with gliding time left, by a reversal in contact."""
        x0_mm, y0_mm, x1_mm, y1_mm = row
        speed_mm_s = self.style.speed_mm_s * self.rng.uniform(0.85, 1.15)
        if self.loop_mm:
            speed_mm_s *= self.pitch_mm / math.hypot(2 * math.pi * self.loop_mm, self.pitch_mm)
        turn_s = math.pi / 2 * math.dist((self.x_mm[-1], self.y_mm[-1]), (x0_mm, y0_mm)) / speed_mm_s
        if fresh or self._left_s < turn_s + SHORTEST_S:
            self._lift(x0_mm, y0_mm)
        else:
            self._reverse(x0_mm, y0_mm, turn_s)
        length_mm = math.dist((x0_mm, y0_mm), (x1_mm, y1_mm))
        done_mm = 0.0
        while True:
            left_s = (length_mm - done_mm) / speed_mm_s
            last = left_s < self._left_s + SHORTEST_S
            piece_s = left_s if last else self._left_s
            done_mm = length_mm if last else done_mm + piece_s * speed_mm_s
            share = done_mm / length_mm
            self._glide(x0_mm + share * (x1_mm - x0_mm), y0_mm + share * (y1_mm - y0_mm), piece_s, index)
            self._left_s -= piece_s
            if last:
                return
            self._lift(self.x_mm[-1], self.y_mm[-1])

    def _glide(self, x_mm: float, y_mm: float, seconds: float, index: int) -> None:
        start_s, x0_mm, y0_mm = self.t_s[-1], self.x_mm[-1], self.y_mm[-1]
        loops = math.dist((x0_mm, y0_mm), (x_mm, y_mm)) / self.pitch_mm
        if self.rng.random() < self.style.pause_probability:
            share = self.rng.uniform(0.2, 0.8)
            x1_mm, y1_mm = x0_mm + share * (x_mm - x0_mm), y0_mm + share * (y_mm - y0_mm)
            self._knot(x1_mm, y1_mm, share * seconds, contact=True, loops=share * loops)
            pause_s = self.rng.uniform(*self.style.pause_s)
            self.pauses_us.append((round(self.t_s[-1] * 1e6), round((self.t_s[-1] + pause_s) * 1e6)))
            self._knot(x1_mm, y1_mm, pause_s, contact=True)
            seconds, loops = (1 - share) * seconds, (1 - share) * loops
        self._knot(x_mm, y_mm, seconds, contact=True, loops=loops)
        self._glides.append((start_s, self.t_s[-1], x0_mm, y0_mm, x_mm, y_mm, index))

    def _lift(self, x_mm: float, y_mm: float) -> None:
        """Up, over and down: smoothing is not to drag the needles sideways while they are in."""
        seconds = self.rng.uniform(*self.style.lift_s)
        self._knot(self.x_mm[-1], self.y_mm[-1], UP_DOWN_S, contact=False)
        self._knot(x_mm, y_mm, seconds - 2 * UP_DOWN_S, contact=False)
        self._knot(x_mm, y_mm, UP_DOWN_S, contact=False)
        self._left_s = self._budget_s()

    def _reverse(self, x_mm: float, y_mm: float, seconds: float) -> None:
        """Half a turn over to the next row, bulging the way the hand was going."""
        x0_mm, y0_mm = self.x_mm[-1], self.y_mm[-1]
        came = complex(x0_mm - self._glides[-1][2], y0_mm - self._glides[-1][3])
        ahead = came / abs(came)
        across_mm = math.dist((x0_mm, y0_mm), (x_mm, y_mm))
        for angle in np.linspace(0, math.pi, 9)[1:].tolist():
            share, bulge_mm = (1 - math.cos(angle)) / 2, across_mm / 2 * math.sin(angle)
            self._knot(
                x0_mm + share * (x_mm - x0_mm) + bulge_mm * ahead.real,
                y0_mm + share * (y_mm - y0_mm) + bulge_mm * ahead.imag,
                seconds / 8,
                contact=True,
                loops=math.pi / 2 * across_mm / 8 / self.pitch_mm,
            )
        self._left_s -= seconds
        self.reversals += 1

    def _knot(self, x_mm: float, y_mm: float, seconds: float, *, contact: bool, loops: float = 0.0) -> None:
        self.t_s.append(self.t_s[-1] + seconds)
        self.x_mm.append(x_mm)
        self.y_mm.append(y_mm)
        self.loops.append(self.loops[-1] + loops)
        self.contact.append(contact)

    def _budget_s(self) -> float:
        return self.rng.uniform(*self.style.lift_every_s)


class _Zone:
    """The rectangle on a grid, and the round tip that sweeps it."""

    def __init__(self, width_mm: float, height_mm: float, tip_mm: float) -> None:
        self.width_mm, self.height_mm, self.tip_mm = width_mm, height_mm, tip_mm
        self.columns, self.rows = math.ceil(width_mm / GRID_MM), math.ceil(height_mm / GRID_MM)
        self.margin = math.ceil(tip_mm / 2 / GRID_MM)
        offsets_mm = np.arange(-self.margin, self.margin + 1) * GRID_MM
        self._tip = offsets_mm**2 + offsets_mm[:, None] ** 2 <= (tip_mm / 2) ** 2

    def swept(self, x_mm: Floats, y_mm: Floats, contact: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Cells that the tip was over while in contact, shape (rows in y, columns in x)."""
        rows, columns = self.rows + 2 * self.margin, self.columns + 2 * self.margin
        row = np.floor(y_mm[contact] / GRID_MM).astype(np.int64) + self.margin
        column = np.floor(x_mm[contact] / GRID_MM).astype(np.int64) + self.margin
        near = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        spots = np.zeros((rows, columns))
        spots[row[near], column[near]] = 1
        # A convolution with the tip; its wrapped-around part falls into the margin that is cut off.
        stamped = np.fft.irfft2(np.fft.rfft2(spots) * np.fft.rfft2(self._tip, s=spots.shape), s=spots.shape)
        return stamped[2 * self.margin :, 2 * self.margin :] > 0.5


def _turn(row: Line) -> Line:
    """Changes the two axes over, as a pass along y needs it."""
    x0_mm, y0_mm, x1_mm, y1_mm = row
    return y0_mm, x0_mm, y1_mm, x1_mm


def _smooth(knots_mm: Floats) -> Floats:
    """Rounds corners and starts, by a Hann window."""
    window = np.hanning(SMOOTHING_MS + 2)[1:-1]
    padded = np.pad(knots_mm, SMOOTHING_MS // 2, mode="edge")
    smooth: Floats = np.convolve(padded, window / window.sum(), mode="valid")
    return smooth


def _band_noise(rng: np.random.Generator, samples: int, band_hz: tuple[float, float], rms: float) -> Floats:
    """Noise of nothing but the given band, of the given root mean square."""
    frequencies_hz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    inside = (frequencies_hz >= band_hz[0]) & (frequencies_hz <= band_hz[1])
    spectrum = inside * (rng.standard_normal(len(inside)) + 1j * rng.standard_normal(len(inside)))
    noise = np.fft.irfft(spectrum, samples)
    return noise * (rms / max(float(noise.std()), 1e-12))


def _ramp(contact: NDArray[np.bool_]) -> Floats:
    """0 in the air, rising to 1 within the first and falling in the last milliseconds of contact."""
    inside = np.convolve(contact, np.ones(2 * RAMP_MS + 1) / (2 * RAMP_MS + 1), mode="same")
    share: Floats = contact * np.clip(2 * inside - 1, 0, 1)
    return share


def _gaps_us(contact: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Start and end of each time in the air between first and last contact."""
    edges = np.flatnonzero(np.diff(contact.astype(np.int8))) + 1
    return (edges[1:-1].reshape(-1, 2) * 1_000_000) // RATE_HZ
