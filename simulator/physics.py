"""The pen's body: motor, crank, needles, skin, sensors and battery.

One `Body` is stepped by the firmware and knows no wall clock and no I/O. Between two changes of its inputs the motion
has a closed form, so a step may be of any length; only while the depth sleeve travels is it cut into short ones.
"""

import cmath
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from simulator.parts import DEFAULT_SKIN, SKINS, Parameters, Skin

__all__ = [
    "DEFAULT_SKIN",
    "SKINS",
    "TURN",
    "Body",
    "Parameters",
    "Readings",
    "Skin",
    "Touch",
    "deepest_mm",
    "lift",
    "normals",
]

TURN: Final = 2 * math.pi
SLEEVE_STEP_MM: Final = 0.05  # at most so far in one step, which keeps the crest exact to microns
READ_NUMBERS: Final = 6  # normal numbers that a reading of all sensors takes


class Touch(NamedTuple):
    """What the hand does with the pen now; `force_n` <= 0 means it is in the air.

    `heading_deg` is how the pen is turned about its own axis, not where it is going.
    """

    x_mm: float
    y_mm: float
    heading_deg: float
    force_n: float


@dataclass(slots=True)
class Readings:
    """What the pen's sensors say."""

    strokes: int  # crank cycles completed since power-on
    since_stroke_us: int  # time since the last of them ended, by the edge of the crank's own switch
    contact_strokes: int  # of these, the ones with the needles out of the tip and contact sensed
    rate_hz: float
    depth_um: int  # deepest measured needle extension since the last reading
    sleeve_um: int  # measured position of the depth sleeve; a home switch makes it exactly 0 at home
    force_mn: int
    current_ma: int
    x_um: int  # displacement since power-on along the pen's own first axis; unchanged in the air
    y_um: int
    path_um: int  # length of way over skin since power-on, tremor included
    heading_cdeg: int  # by gyroscope, 0 to 35999; it drifts
    contact: bool
    battery_pct: int
    temperature_dc: int


def _unsigned(value: float) -> int:
    """As a sensor gives what is not negative."""
    return round(value) if value > 0 else 0


def lift(phase: float) -> float:
    """Share of the sleeve's position that the needles are out: (1 - cos 2 pi phase) / 2."""
    return 0.5 - 0.5 * math.cos(TURN * phase)


def normals(uniform: Callable[[], float], pairs: int) -> list[float]:
    """Standard normal numbers, the last first: bit by bit those of `random.gauss`, at a quarter of its cost."""
    drawn: list[float] = []
    for _ in range(pairs):
        angle, length = TURN * uniform(), math.sqrt(-2.0 * math.log(1.0 - uniform()))
        drawn += math.cos(angle) * length, math.sin(angle) * length
    drawn.reverse()
    return drawn


def deepest_mm(phase: float, turned: float, sleeve_mm: float, moved_mm: float) -> float:
    """Deepest extension while the crank turns from `phase` by `turned` cycles and the sleeve moves, both evenly.

    The extension is (sleeve + share * moved) * lift(phase + share * turned), for share in 0..1. Its derivative is zero
    at phase 1/2 + atan(moved / (2 pi turned sleeve)) / pi: the crest, a little late while the sleeve extends. With a
    sleeve at rest the result is exact. While it moves, `turned` is to be below 1, and the result is at most 0.1 um too
    low; near home, 3 um.
    """
    if moved_mm == 0 and turned >= (0.5 - phase) % 1:
        return sleeve_mm
    deepest = max(sleeve_mm * lift(phase), (sleeve_mm + moved_mm) * lift(phase + turned))
    if turned <= 0:
        return deepest
    at_mm = sleeve_mm + moved_mm / 2
    for _ in range(2 if moved_mm else 1):
        crest = 0.5 + math.atan2(moved_mm, TURN * turned * at_mm) / math.pi
        crest += math.ceil(phase - crest)
        share = (crest - phase) / turned
        if share > 1:
            return deepest
        at_mm = sleeve_mm + share * moved_mm
    return max(deepest, at_mm * lift(crest))


class Body:
    """The pen's body; a seed and the same calls give the same readings.

    Motor: the rate r follows its set-point less the droop, dr/dt = (set - droop * load - r) / tau. Load, in mNm for
    mJ: (energy of a stroke) / 2 pi + rubbing * force. Current: (friction + load + inertia * acceleration) / constant.

    Needles: extension e = sleeve * (1 - cos 2 pi phase) / 2. Skin: a spring of stiffness k until the needles are
    through at F = needles * piercing force, so they go in by p = e - F / k; less by (F - force) / k under a hand too
    light to hold the tip down, and by no more than the thickness over bone. The energy of a stroke is F * p at its
    crest, and the tip pushes back with min(k e, F); over bone, excess^2 * stiffness / 2 and excess * stiffness more.

    Faults, to be set from outside: `motor_stalled`; `runaway_factor`, times the rate's set-point; `depth_drift_um`,
    added to the depth reading (the sleeve's own is independent); `depth_stuck` and `force_stuck`: the reading stays
    what it was, and with the force the contact.
    """

    def __init__(self, seed: int = 0, parameters: Parameters | None = None) -> None:
        self.parameters = p = parameters or Parameters()
        self.skin: Skin = DEFAULT_SKIN
        self.motor_stalled = False
        self.runaway_factor = 1.0
        self.depth_drift_um = 0
        self.depth_stuck = False
        self.force_stuck = False
        self._random = random.Random(seed)  # noqa: S311 - noise that a seed repeats, no secret
        self._drawn: list[float] = []
        error = self._random.uniform
        self._motion_scale = 1 + error(-p.motion_scale_error, p.motion_scale_error)
        self._drift_deg_per_s = error(-p.heading_drift_deg_per_min, p.heading_drift_deg_per_min) / 60
        self._now_us: int | None = None
        self._age_s = 0.0
        self._touch = Touch(0.0, 0.0, 0.0, 0.0)
        self._rate_hz = self._phase = self._sleeve_mm = 0.0
        self._since_stroke_s = 0.0
        self._force_n = self._seen_force_n = self._current_ma = 0.0
        self._contact = False
        self._deepest_mm = self._true_deepest_mm = 0.0
        self._seen_depth_um = 0
        self._charge_mah = p.battery_mah
        self._temperature_c = p.ambient_c
        self.power_on()

    def power_on(self) -> None:
        """Take the power away and give it back: the spring retracts, and all that is counted begins at zero."""
        self.retract()
        self._strokes = self._contact_strokes = 0
        self._moved_mm, self._way_mm = 0j, 0.0  # in the pen's axes, since the last reading
        self._seen_mm, self._seen_way_mm = 0j, 0.0  # the same, as the sensor has summed it

    def drive(self, rate_hz: float, depth_um: int) -> None:
        """Run the motor to a rate and the sleeve to a depth; undoes an earlier `retract`.

        Raises:
            ValueError: The rate is negative or no number, or the depth is outside the travel.
        """
        if not 0 <= rate_hz < math.inf:
            raise ValueError(f"rate of {rate_hz} Hz: give a finite rate of 0 Hz or more")
        if not 0 <= depth_um <= self.parameters.travel_mm * 1000:
            raise ValueError(f"depth of {depth_um} um: give 0 to {self.parameters.travel_mm * 1000:.0f} um")
        self._set_rate_hz, self._set_sleeve_mm = rate_hz, depth_um / 1000
        self._braked = False

    def retract(self) -> None:
        """Let the spring pull the sleeve home and the brake stop the motor; needs no power."""
        self._set_rate_hz = self._set_sleeve_mm = 0.0
        self._braked = True

    def touch(self, touch: Touch) -> None:
        """Take what the hand does from now on; the way from the last touch is a straight line."""
        before = self._touch
        if before.force_n > 0 and touch.force_n > 0:
            step_mm = complex(touch.x_mm - before.x_mm, touch.y_mm - before.y_mm)
            self._moved_mm += step_mm * cmath.rect(1.0, -math.radians(touch.heading_deg))
            self._way_mm += abs(step_mm)
        self._touch = touch if touch.force_n >= 0 else touch._replace(force_n=0.0)

    def advance(self, now_us: int) -> None:
        """Move the body on to `now_us`; the first call only sets the clock.

        Raises:
            ValueError: `now_us` is before the time of the last call.
        """
        before_us, self._now_us = self._now_us, now_us
        if before_us is None or now_us == before_us:
            return
        if now_us < before_us:
            self._now_us = before_us
            raise ValueError(f"time {now_us} us is before {before_us} us: time only goes forward")
        p = self.parameters
        whole_s = left_s = (now_us - before_us) * 1e-6
        while left_s > 0:
            left_s -= self._step(left_s)
        self._age_s += whole_s
        self._charge_mah = max(0.0, self._charge_mah - (self._current_ma + p.electronics_ma) * whole_s / 3600)
        warm_c = p.ambient_c + p.heating_c_per_w * p.battery_v * self._current_ma / 1000
        self._temperature_c += (warm_c - self._temperature_c) * -math.expm1(-whole_s / p.heating_s)
        if not self.force_stuck:
            spread_n = p.force_floor_n + p.force_noise * self._force_n
            seen_n = self._force_n + self._noise()() * spread_n
            self._seen_force_n = seen_n if seen_n > 0 else 0.0
            threshold_n = p.contact_off_n if self._contact else p.contact_on_n
            self._contact = self._seen_force_n > threshold_n

    def read(self) -> Readings:
        """Read the sensors, with their noise, and begin a new deepest mark."""
        p, noise = self.parameters, self._noise()
        if not self.depth_stuck:
            depth_um = self._deepest_mm * 1000 + self.depth_drift_um
            self._seen_depth_um = _unsigned(depth_um + noise() * p.depth_noise_um)
        self._deepest_mm = self._sleeve_mm * lift(self._phase)
        sleeve_um = _unsigned(self._sleeve_mm * 1000 + noise() * p.sleeve_noise_um)
        scale = self._motion_scale * (1.0 + noise() * p.motion_noise)
        self._seen_mm += scale * self._moved_mm
        self._seen_way_mm += scale * self._way_mm
        self._moved_mm, self._way_mm = 0j, 0.0
        heading_deg = self._touch.heading_deg + self._drift_deg_per_s * self._age_s
        heading_cdeg = round(100 * (heading_deg + noise() * p.heading_noise_deg))
        # By place, not by name: this is done for each control tick, and takes half the time.
        return Readings(
            self._strokes,
            round(self._since_stroke_s * 1e6),
            self._contact_strokes,
            self._rate_hz + noise() * (p.rate_noise * self._rate_hz),
            self._seen_depth_um,
            0 if self.retracted else sleeve_um,
            round(self._seen_force_n * 1000),
            _unsigned(self._current_ma + noise() * p.current_noise_ma),
            round(self._seen_mm.real * 1000),
            round(self._seen_mm.imag * 1000),
            round(self._seen_way_mm * 1000),
            heading_cdeg % 36_000,
            self._contact,
            round(100 * self._charge_mah / p.battery_mah),
            round(self._temperature_c * 10),
        )

    @property
    def true_extension_um(self) -> float:
        """How far the needles are out of the tip now."""
        return self._sleeve_mm * lift(self._phase) * 1000

    @property
    def deepest_extension_um(self) -> float:
        """How far they have been out at most since `reset_truth`."""
        return self._true_deepest_mm * 1000

    @property
    def true_penetration_um(self) -> float:
        """How far the needles are in the skin now."""
        return self._press(self._sleeve_mm * lift(self._phase))[0] * 1000

    @property
    def true_strokes(self) -> int:
        """Crank cycles completed since power-on."""
        return self._strokes

    @property
    def phase(self) -> float:
        """Where the crank is, in cycles from 0 to 1; needles are home at 0, deepest at 1/2."""
        return self._phase

    @property
    def rate_hz(self) -> float:
        """How fast the crank turns now."""
        return self._rate_hz

    @property
    def retracted(self) -> bool:
        """The sleeve is home, so no needle is out at any phase."""
        return self._sleeve_mm == 0

    def reset_truth(self) -> None:
        """Begin the deepest extension anew, from where the needles are now."""
        self._true_deepest_mm = self._sleeve_mm * lift(self._phase)

    def _noise(self) -> Callable[[], float]:
        """What gives a standard normal number, for the next few calls."""
        if len(self._drawn) < READ_NUMBERS:
            self._drawn = normals(self._random.random, 64) + self._drawn
        return self._drawn.pop

    def _press(self, extension_mm: float) -> tuple[float, float]:
        """Penetration in mm and how far, in mm, a needle would have gone beyond bone."""
        skin, force_n = self.skin, self._touch.force_n
        if force_n <= 0:
            return 0.0, 0.0
        pierce_n = self.parameters.needles * skin.piercing_n
        given_mm = (pierce_n + (pierce_n - force_n if pierce_n > force_n else 0.0)) / skin.stiffness_n_per_mm
        if extension_mm <= given_mm:
            return 0.0, 0.0
        depth_mm = extension_mm - given_mm
        if skin.bone and depth_mm > skin.thickness_mm:
            return skin.thickness_mm, depth_mm - skin.thickness_mm
        return depth_mm, 0.0

    def _load(self) -> tuple[float, float]:
        """Load on the motor in mNm, and the tip's push at the crest in N."""
        skin, force_n = self.skin, self._touch.force_n
        if force_n <= 0:
            return 0.0, 0.0
        depth_mm, excess_mm = self._press(self._sleeve_mm)
        pierce_n = self.parameters.needles * skin.piercing_n
        bone_n = skin.bone_n_per_mm * excess_mm
        stroke_mj = pierce_n * depth_mm + bone_n * excess_mm / 2
        push_n = min(skin.stiffness_n_per_mm * self._sleeve_mm, pierce_n) + bone_n
        return stroke_mj / TURN + self.parameters.rubbing_mnm_per_n * force_n, push_n

    def _step(self, left_s: float) -> float:
        """Move on by at most `left_s`; returns by how much."""
        before_mm, phase = self._sleeve_mm, self._phase
        load_mnm, push_n = self._load()
        step_s = left_s if before_mm == self._set_sleeve_mm else self._slide(left_s)
        turned = self._turn(step_s, load_mnm)
        deepest = deepest_mm(phase, turned, before_mm, self._sleeve_mm - before_mm)
        if deepest > self._deepest_mm:
            self._deepest_mm = deepest
        if deepest > self._true_deepest_mm:
            self._true_deepest_mm = deepest

        strokes = int(phase + turned)
        self._phase = phase + turned - strokes
        self._strokes += strokes
        self._since_stroke_s = step_s * self._phase / turned if strokes else self._since_stroke_s + step_s
        if self._contact and before_mm > 0:
            self._contact_strokes += strokes

        # The push is averaged over the step, so that long steps do not alias with the strokes.
        if turned > 1e-6:
            ahead = math.sin(TURN * (phase + turned)) - math.sin(TURN * phase)
            share = 0.5 - ahead / (2 * TURN * turned)
        else:
            share = lift(phase)
        blend = -math.expm1(-step_s / self.parameters.force_filter_s)
        self._force_n += (self._touch.force_n + push_n * share - self._force_n) * blend
        return step_s

    def _slide(self, left_s: float) -> float:
        """Move the sleeve towards where it is set; returns for how long."""
        p = self.parameters
        gap_mm = self._set_sleeve_mm - self._sleeve_mm
        speed = p.retract_mm_per_s if self._braked else p.extend_mm_per_s
        step_s = min(left_s, SLEEVE_STEP_MM / speed)
        if abs(gap_mm) <= speed * step_s:
            self._sleeve_mm = self._set_sleeve_mm
            return abs(gap_mm) / speed
        self._sleeve_mm += math.copysign(speed * step_s, gap_mm)
        return step_s

    def _turn(self, step_s: float, load_mnm: float) -> float:
        """Turn the motor; returns by how many cycles."""
        p, rate_hz = self.parameters, self._rate_hz
        self._current_ma = 0.0
        if self.motor_stalled:
            self._rate_hz = 0.0
            self._current_ma = p.stall_ma if self._set_rate_hz > 0 else 0.0
            return 0.0
        if self._braked:
            self._rate_hz = max(0.0, rate_hz - p.brake_hz_per_s * step_s)
            return (rate_hz**2 - self._rate_hz**2) / (2 * p.brake_hz_per_s)
        driven = self._set_rate_hz > 0
        goal_hz = self._set_rate_hz * self.runaway_factor - p.droop_hz_per_mnm * load_mnm
        if goal_hz < 0 or not driven:
            goal_hz = 0.0
        decayed = -math.expm1(-step_s / p.speed_loop_s)
        self._rate_hz = rate_hz + (goal_hz - rate_hz) * decayed
        if driven:
            gain = TURN * (goal_hz - self._rate_hz) / p.speed_loop_s
            torque_mnm = p.friction_mnm + load_mnm + p.inertia_mnm_s2 * gain
            current_ma = torque_mnm / p.torque_mnm_per_ma
            self._current_ma = p.stall_ma if current_ma > p.stall_ma else max(0.0, current_ma)
        elif self._rate_hz < 0.5:  # friction holds what turns so slowly
            self._rate_hz = 0.0
        return goal_hz * step_s + (rate_hz - goal_hz) * p.speed_loop_s * decayed
