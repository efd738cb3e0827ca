"""The line that a hand follows over a rectangular zone, before tremor: knots in time, drawn glide by glide."""

import cmath
import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from simulator.ground import GRID_MM, Bools, Floats, Grid

Line = tuple[float, float, float, float]
Range = tuple[float, float]
Pattern = Literal["straight", "crosshatch", "circular"]

PLANNED_COVERAGE: Final = 0.98
"""A pass goes on until its drawn swath has covered this much; tremor and speed cost a little."""
PLAN_STEP_S: Final = 0.005
MOST_EXTRA_ROWS: Final = 40
UP_DOWN_S: Final = 0.032
SHORTEST_S: Final = 0.4
"""No glide is cut into pieces shorter than this, and a short row is done slowly enough to take as long."""
TURN_KNOTS: Final = 8


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
    tremor_hz: Range = (8.0, 12.0)
    tremor_rms_mm: float = 0.3  # along each axis, also in a pause
    direction_jitter_deg: float = 12.0  # a glide is turned by at most this
    lift_every_s: Range | None = (1.0, 4.0)  # time of gliding between two lifts; None: contact is kept through a pass
    lift_s: Range = (0.15, 0.5)
    between_passes_s: Range = (1.5, 4.0)
    """In the air after a pass: to wipe, put gel on, look. Crossed passes follow an ordinary lift half of the time."""
    pause_s: Range = (0.2, 3.0)  # standing still with the needles in
    pause_probability: float = 0.1  # of a pause within a glide
    heading_deg: float = 0.0  # how the hand holds the pen at first
    heading_drift_deg_per_min: float = 4.0  # how it slowly turns the pen

    def __post_init__(self) -> None:
        if self.pattern not in get_args(Pattern):
            raise ValueError(f"pattern {self.pattern!r}: give one of {', '.join(get_args(Pattern))}")
        if not 0 <= self.overlap <= 0.6:
            raise ValueError(f"overlap of {self.overlap}: give 0 to 0.6")
        if not (0 < self.speed_mm_s < math.inf and 0 < self.force_n < math.inf):
            raise ValueError(f"speed of {self.speed_mm_s} mm/s, force of {self.force_n} N: give more than 0")
        if not 0 <= self.direction_jitter_deg <= 45:
            raise ValueError(f"direction jitter of {self.direction_jitter_deg} degrees: give 0 to 45")
        if self.lift_every_s is not None and self.lift_every_s[0] < 2 * SHORTEST_S:
            raise ValueError(f"lifts every {self.lift_every_s} s: at least 0.8 s, or None")
        if min(self.lift_s[0], self.between_passes_s[0]) < 0.1:
            raise ValueError(f"lifts of {self.lift_s} s, {self.between_passes_s} s between passes: at least 0.1 s")


STEADY: Final = Style()


class Course:
    """The line drawn so far, at first none. `rng` decides all that is left to chance."""

    def __init__(self, style: Style, zone_mm: tuple[float, float], tip_mm: float, rng: np.random.Generator) -> None:
        self.style, self.zone_mm, self.tip_mm, self.rng = style, zone_mm, tip_mm, rng
        self.grid = Grid.over(*zone_mm)
        circular = style.pattern == "circular"
        self.loop_mm = 0.4 * tip_mm if circular else 0.0
        self.pitch_mm = (1 - style.overlap) * tip_mm
        # The swath reaches this far to either side of the line: loops leave scallops at its rim.
        self.reach_mm = self.loop_mm + (0.3 if circular else 0.5) * tip_mm
        self.t_s, self.x_mm, self.y_mm, self.loops = [0.0], [0.0], [0.0], [0.0]
        self.contact = [False]  # on the way to a knot
        self.glides: list[tuple[float, float, float, int]] = []
        """Start and end in seconds, direction in degrees (nan: circular), pass from 0."""
        self.reversals = 0
        self.pauses_s: list[tuple[float, float]] = []
        self._glide_s: float | None = None  # since when the glide under way goes on
        self._pass = 0
        self._ahead = 1 + 0j
        self._left_s = self._budget_s()

    def draw_pass(self, index: int) -> None:
        """Rows to and fro over the zone, then more of them where it is not covered yet.

        Raises:
            RuntimeError: The zone is not covered after many rows more.
        """
        turned = self.style.pattern == "crosshatch" and index % 2 == 1
        between = index > 0 and (self.style.pattern != "crosshatch" or self.rng.random() < 0.5)
        air_s: Range | None = self.style.between_passes_s if between else self.style.lift_s
        along_mm, across_mm = self.zone_mm[::-1] if turned else self.zone_mm
        missing = np.ones((self.grid.rows, self.grid.columns), dtype=np.bool_)
        drawn_s = self.t_s[-1]
        self._end_glide(drawn_s)
        self._pass = index
        for row in self._rows(along_mm, across_mm):
            self._row(_turn(row) if turned else row, air_s)
            air_s = None
        for _ in range(MOST_EXTRA_ROWS):
            missing &= ~self._swept_since(drawn_s)
            if missing.mean() < 1 - PLANNED_COVERAGE:
                return
            drawn_s = self.t_s[-1]
            row = (
                self._row_over(missing.T, along_mm, self.y_mm[-1])
                if turned
                else self._row_over(missing, along_mm, self.x_mm[-1])
            )
            self._row(_turn(row) if turned else row, self.style.lift_s if self.style.lift_every_s else None)
        raise RuntimeError(f"pass {index} leaves {missing.mean():.0%} of the zone uncovered: give a calmer style")

    def lift_for(self, seconds: float) -> None:
        """Ends the glide, and stays in the air where it is."""
        self._end_glide(self.t_s[-1])
        self._knot(self.x_mm[-1], self.y_mm[-1], seconds, contact=False)

    def sample(self, t_s: Floats) -> tuple[Floats, Floats, Bools]:
        """The tip's place and contact at each time, before tremor and smoothing."""
        contact = np.array(self.contact)[np.searchsorted(self.t_s, t_s, side="right")]
        x_mm, y_mm = np.interp(t_s, self.t_s, self.x_mm), np.interp(t_s, self.t_s, self.y_mm)
        if self.loop_mm:
            angle = 2 * math.pi * np.interp(t_s, self.t_s, self.loops)
            x_mm += self.loop_mm * np.cos(angle)
            y_mm += self.loop_mm * np.sin(angle)
        return x_mm, y_mm, contact

    def _swept_since(self, since_s: float) -> Bools:
        x_mm, y_mm, contact = self.sample(np.arange(since_s, self.t_s[-1], PLAN_STEP_S))
        return self.grid.swept(x_mm[contact], y_mm[contact], self.tip_mm)

    def _rows(self, along_mm: float, across_mm: float) -> list[Line]:
        """Jittered rows of the given overlap, evenly over the zone, every second one backwards."""
        inset_mm = self._inset_mm(along_mm)
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

    def _inset_mm(self, along_mm: float) -> float:
        return min(self.loop_mm + 0.25 * self.tip_mm, along_mm / 4)

    def _row_over(self, missing: Bools, along_mm: float, here_mm: float) -> Line:
        """A line along the band in which most is missing, over what is; `missing` has axes (across, along).

        Where contact is kept, it leads from the end where the hand is, `here_mm`, all the way back to the other.
        """
        across = np.arange(len(missing))
        near = np.abs(across[:, None] - across) * GRID_MM <= 0.6 * self.reach_mm
        score = near @ missing.sum(axis=1)
        best = np.flatnonzero(score == score.max())
        row = int(best[len(best) // 2])
        columns = np.flatnonzero(missing[near[row]].any(axis=0))
        first_mm, last_mm = ((columns[[0, -1]] + 0.5) * GRID_MM).tolist()
        row_mm = (row + 0.5) * GRID_MM
        if self.style.lift_every_s:
            longer_mm = max(0.0, self.tip_mm - (last_mm - first_mm)) / 2
            return first_mm - longer_mm, row_mm, last_mm + longer_mm, row_mm
        inset_mm = self._inset_mm(along_mm)
        there_mm = max(last_mm, along_mm - inset_mm) if here_mm < along_mm / 2 else min(first_mm, inset_mm)
        return here_mm, row_mm, there_mm, row_mm

    def _row(self, row: Line, air_s: Range | None) -> None:
        """One row, reached through the air or, without `air_s` and with gliding time left, by a reversal in contact."""
        x0_mm, y0_mm, x1_mm, y1_mm = row
        length_mm = math.dist((x0_mm, y0_mm), (x1_mm, y1_mm))
        speed_mm_s = self.style.speed_mm_s * self.rng.uniform(0.85, 1.15)
        if self.loop_mm:
            speed_mm_s *= self.pitch_mm / math.hypot(2 * math.pi * self.loop_mm, self.pitch_mm)
        speed_mm_s = min(speed_mm_s, length_mm / SHORTEST_S)
        turn_s = math.pi / 2 * math.dist((self.x_mm[-1], self.y_mm[-1]), (x0_mm, y0_mm)) / speed_mm_s
        if air_s or self._left_s < turn_s + SHORTEST_S:
            self._lift(x0_mm, y0_mm, air_s or self.style.lift_s)
        else:
            self._reverse(x0_mm, y0_mm, turn_s)
        self._ahead = complex(x1_mm - x0_mm, y1_mm - y0_mm) / length_mm
        done_mm = 0.0
        while True:
            left_s = (length_mm - done_mm) / speed_mm_s
            last = left_s < self._left_s + SHORTEST_S
            piece_s = left_s if last else self._left_s
            done_mm = length_mm if last else done_mm + piece_s * speed_mm_s
            share = done_mm / length_mm
            self._glide(x0_mm + share * (x1_mm - x0_mm), y0_mm + share * (y1_mm - y0_mm), piece_s)
            self._left_s -= piece_s
            if last:
                return
            self._lift(self.x_mm[-1], self.y_mm[-1], self.style.lift_s)

    def _glide(self, x_mm: float, y_mm: float, seconds: float) -> None:
        x0_mm, y0_mm = self.x_mm[-1], self.y_mm[-1]
        loops = math.dist((x0_mm, y0_mm), (x_mm, y_mm)) / self.pitch_mm
        if self.rng.random() < self.style.pause_probability:
            share = self.rng.uniform(0.2, 0.8)
            x1_mm, y1_mm = x0_mm + share * (x_mm - x0_mm), y0_mm + share * (y_mm - y0_mm)
            self._knot(x1_mm, y1_mm, share * seconds, contact=True, loops=share * loops)
            pause_s = self.rng.uniform(*self.style.pause_s)
            self.pauses_s.append((self.t_s[-1], self.t_s[-1] + pause_s))
            self._knot(x1_mm, y1_mm, pause_s, contact=True)
            seconds, loops = (1 - share) * seconds, (1 - share) * loops
        self._knot(x_mm, y_mm, seconds, contact=True, loops=loops)

    def _lift(self, x_mm: float, y_mm: float, range_s: Range) -> None:
        """Up, over and down: smoothing is not to drag the needles sideways while they are in."""
        seconds = self.rng.uniform(*range_s)
        self.lift_for(UP_DOWN_S)
        self._knot(x_mm, y_mm, seconds - 2 * UP_DOWN_S, contact=False)
        self._knot(x_mm, y_mm, UP_DOWN_S, contact=False)
        self._glide_s = self.t_s[-1]
        self._left_s = self._budget_s()

    def _reverse(self, x_mm: float, y_mm: float, seconds: float) -> None:
        """Half a turn over to the next row, bulging the way the hand was going; its middle is the reversal."""
        x0_mm, y0_mm = self.x_mm[-1], self.y_mm[-1]
        across_mm = math.dist((x0_mm, y0_mm), (x_mm, y_mm))
        middle_s = self.t_s[-1] + seconds / 2
        for angle in np.linspace(0, math.pi, TURN_KNOTS + 1)[1:].tolist():
            share, bulge_mm = (1 - math.cos(angle)) / 2, min(across_mm, self.tip_mm) / 2 * math.sin(angle)
            self._knot(
                x0_mm + share * (x_mm - x0_mm) + bulge_mm * self._ahead.real,
                y0_mm + share * (y_mm - y0_mm) + bulge_mm * self._ahead.imag,
                seconds / TURN_KNOTS,
                contact=True,
                loops=math.pi / 2 * across_mm / TURN_KNOTS / self.pitch_mm,
            )
        self._left_s -= seconds
        if not self.loop_mm:
            self._end_glide(middle_s)
            self._glide_s = middle_s
            self.reversals += 1

    def _end_glide(self, t_s: float) -> None:
        if self._glide_s is None:
            return
        direction_deg = math.nan if self.loop_mm else math.degrees(cmath.phase(self._ahead)) % 360
        self.glides.append((self._glide_s, t_s, direction_deg, self._pass))
        self._glide_s = None

    def _knot(self, x_mm: float, y_mm: float, seconds: float, *, contact: bool, loops: float = 0.0) -> None:
        self.t_s.append(self.t_s[-1] + seconds)
        self.x_mm.append(x_mm)
        self.y_mm.append(y_mm)
        self.loops.append(self.loops[-1] + loops)
        self.contact.append(contact)

    def _budget_s(self) -> float:
        """Gliding time until the next lift."""
        return self.rng.uniform(*self.style.lift_every_s) if self.style.lift_every_s else math.inf


def _turn(row: Line) -> Line:
    """Changes the two axes over, as a pass along y needs it."""
    x0_mm, y0_mm, x1_mm, y1_mm = row
    return y0_mm, x0_mm, y1_mm, x1_mm
