"""What a pen reports of a hand's motion, drawn at once instead of step by step.

It is `physics.Body` with its needles running all the while, read each 5 ms as the firmware does, and so told in arrays:
a recording takes a thousandth of the time it tells of. The body stays the measure; the tests hold the two together.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.messages import WRAP
from protocols.samples import SAMPLE, SampleArray
from protocols.words import SampleFlag
from simulator.ground import Bools, Floats
from simulator.hand import RATE_HZ, Motion
from simulator.physics import DEFAULT_SKIN, TURN, Parameters, Skin
from simulator.sampler import BATCH_SAMPLES

STEP_US: Final = 5_000
"""How often the firmware reads the body while the needles run."""
STEP_S: Final = STEP_US / 1e6
STANDARD: Final = Parameters()
FORGOTTEN: Final = 1e-9
"""A filter's past is left out from where it weighs less than this."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A stream of samples, with what the pen itself does not know."""

    samples: SampleArray
    contact_strokes: int
    """Strokes that ended while the hand was truly in contact."""


def record(
    motion: Motion,
    pen: Parameters = STANDARD,
    seed: int = 0,
    *,
    sample_rate_hz: int = 100,
    rate_hz: float = 100.0,
    depth_um: int = 500,
    skin: Skin = DEFAULT_SKIN,
    first_t_us: int = 0,
    bounce_ms: float = 30.0,
) -> Recording:
    """Samples of a pen that this motion is done with, its needles at rate and depth from the first to the last.

    Args:
        motion: of the hand.
        pen: needles, and how wrong the sensors are.
        seed: of that.
        sample_rate_hz: samples a second, a divisor of 200.
        rate_hz: strokes a second, without load.
        depth_um: how far the needles come out.
        skin: under the tip.
        first_t_us: pen time at the motion's beginning; it counts modulo 2**32.
        bounce_ms: for up to so long after each landing the pen's contact comes and goes.

    Raises:
        ValueError: A sample is not a whole number of 5 ms, or rate or depth are not positive.
    """
    if not (1 <= sample_rate_hz <= 200 and 200 % sample_rate_hz == 0):
        raise ValueError(f"{sample_rate_hz} samples a second: give a divisor of 200")
    if not (0 < rate_hz < math.inf and 0 < depth_um <= pen.travel_mm * 1000):
        raise ValueError(f"{rate_hz} Hz, {depth_um} um: give more than 0, and no depth beyond the pen's travel")
    rng = np.random.default_rng(seed)
    step = STEP_US * RATE_HZ // 1_000_000
    force_n = motion.force_n[::step]
    load_mnm, push_n = _load(pen, skin, depth_um / 1000, force_n)
    reached_hz, phase = _turn(pen, rate_hz, load_mnm)
    seen_n = _pressed(pen, force_n, push_n, phase, rng)
    contact = _bouncing(_held(seen_n > pen.contact_on_n, seen_n <= pen.contact_off_n), bounce_ms, rng)
    ended = np.diff(np.floor(phase), prepend=0).astype(np.int64)
    sensed = np.concatenate([[False], contact[:-1]])  # strokes of a step count by the contact known at its start
    moved_mm, way_mm = _moved(pen, motion, step, rng)
    current_ma = _current_ma(pen, rate_hz, load_mnm, reached_hz) + rng.normal(0, pen.current_noise_ma, len(phase))
    crest_um = _crest_um(depth_um, phase) + rng.normal(0, pen.depth_noise_um, len(phase))

    every = 200 // sample_rate_hz
    samples = np.zeros(1 + (len(phase) - 1) // every, SAMPLE)
    t_us = first_t_us + np.arange(len(samples), dtype=np.int64) * (1_000_000 // sample_rate_hz)
    samples["t_us"] = t_us % WRAP
    samples["strokes"] = np.floor(phase)[::every]
    samples["contact_strokes"] = np.cumsum(ended * sensed)[::every]
    samples["path_um"] = np.rint(way_mm[::every] * 1000)
    samples["x_um"] = np.rint(moved_mm.real[::every] * 1000)
    samples["y_um"] = np.rint(moved_mm.imag[::every] * 1000)
    samples["depth_um"] = np.rint(np.maximum(0, _highest(crest_um, every)))
    samples["force_mn"] = np.rint(seen_n[::every] * 1000)
    samples["rate_dhz"] = np.rint((reached_hz * rng.normal(1, pen.rate_noise, len(phase)))[::every] * 10)
    samples["current_ma"] = np.rint(np.maximum(0, current_ma[::every]))
    samples["heading_cdeg"] = _heading_cdeg(pen, motion.heading_deg[::step], rng)[::every]
    samples["flags"] = SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID | SampleFlag.MOTION_VALID | SampleFlag.RUNNING
    samples["flags"] |= np.where(contact[::every], np.uint16(SampleFlag.CONTACT), np.uint16(0))
    return Recording(samples, int(ended[force_n > 0].sum()))


def with_lost_batches(samples: SampleArray, share: float, rng: np.random.Generator) -> list[SampleArray]:
    """The stream in batches of 10 as a line delivers it, this share of them lost on average.

    The first and the last arrive: what was before one or after the other nobody can know.
    """
    batches = [samples[at : at + BATCH_SAMPLES] for at in range(0, len(samples), BATCH_SAMPLES)]
    arrives = rng.random(len(batches)) >= share
    arrives[[0, -1]] = True
    return [batch for batch, here in zip(batches, arrives.tolist(), strict=True) if here]


def _load(pen: Parameters, skin: Skin, depth_mm: float, force_n: Floats) -> tuple[Floats, Floats]:
    """Load on the motor in mNm, and the tip's push at the crest in N, in each step."""
    pierce_n = pen.needles * skin.piercing_n
    given_mm = (pierce_n + np.maximum(0, pierce_n - force_n)) / skin.stiffness_n_per_mm
    inside_mm = np.maximum(0, depth_mm - given_mm)
    beyond_mm = np.maximum(0, inside_mm - skin.thickness_mm) * skin.bone
    bone_n = skin.bone_n_per_mm * beyond_mm
    stroke_mj = pierce_n * (inside_mm - beyond_mm) + bone_n * beyond_mm / 2
    load_mnm = stroke_mj / TURN + pen.rubbing_mnm_per_n * force_n
    push_n = min(skin.stiffness_n_per_mm * depth_mm, pierce_n) + bone_n
    return np.where(force_n > 0, load_mnm, 0), np.where(force_n > 0, push_n, 0)


def _turn(pen: Parameters, rate_hz: float, load_mnm: Floats) -> tuple[Floats, Floats]:
    """Rate and crank cycles so far at the end of each step; the first ends at time 0."""
    goal_hz = np.maximum(0, rate_hz - pen.droop_hz_per_mnm * load_mnm)
    decayed = -math.expm1(-STEP_S / pen.speed_loop_s)
    reached_hz = _followed(goal_hz, decayed)
    before_hz = np.concatenate([goal_hz[:1], reached_hz[:-1]])
    turned = goal_hz * STEP_S + (before_hz - goal_hz) * pen.speed_loop_s * decayed
    turned[0] = 0
    return reached_hz, np.cumsum(turned)


def _pressed(pen: Parameters, force_n: Floats, push_n: Floats, phase: Floats, rng: np.random.Generator) -> Floats:
    """Force as the pen reads it: hand and push of the needles, filtered, with noise."""
    turned = np.diff(phase, prepend=phase[0])
    ahead = np.diff(np.sin(TURN * phase), prepend=0.0)
    push_n = push_n * (0.5 - ahead / (2 * TURN * np.maximum(turned, 1e-6)))
    true_n = _followed(force_n + push_n, -math.expm1(-STEP_S / pen.force_filter_s))
    return np.maximum(0, true_n + (pen.force_floor_n + pen.force_noise * true_n) * rng.standard_normal(len(true_n)))


def _followed(goal: Floats, share: float) -> Floats:
    """What comes nearer to its goal by this share a step, from the first goal on."""
    taps = math.ceil(math.log(FORGOTTEN) / math.log1p(-share))
    weights = share * (1 - share) ** np.arange(taps)
    padded = np.concatenate([np.full(taps - 1, goal[0]), goal])
    followed: Floats = np.convolve(padded, weights / weights.sum(), mode="valid")
    return followed


def _held(on: Bools, off: Bools) -> Bools:
    """A flag that rises with `on`, falls with `off` and stays between; down at first."""
    last = np.maximum.accumulate(np.where(on | off, np.arange(len(on)), 0))
    return on[last]


def _bouncing(contact: Bools, bounce_ms: float, rng: np.random.Generator) -> Bools:
    """The same with each rise followed by a time in which it comes and goes, up to `bounce_ms` long."""
    rises = np.flatnonzero(contact[1:] & ~contact[:-1]) + 1
    most = int(bounce_ms * 1000 / STEP_US)
    lasts = rng.integers(0, most + 1, len(rises))[:, None] > np.arange(most)
    away = (lasts & (rng.random(lasts.shape) < 0.5)).ravel()
    places = np.minimum(rises[:, None] + np.arange(most), len(contact) - 1).ravel()
    bouncing = contact.copy()
    bouncing[places[away]] = False
    return bouncing


def _moved(
    pen: Parameters, motion: Motion, step: int, rng: np.random.Generator
) -> tuple[NDArray[np.complex128], Floats]:
    """Displacement along the pen's own axes, as x + iy, and length of way, as the sensor has summed them."""
    place_mm = motion.x_mm[::step] + 1j * motion.y_mm[::step]
    contact = motion.force_n[::step] > 0
    steps_mm = np.diff(place_mm, prepend=place_mm[0]) * (contact & np.concatenate([[False], contact[:-1]]))
    scale = 1 + rng.uniform(-pen.motion_scale_error, pen.motion_scale_error)
    steps_mm *= scale * rng.normal(1, pen.motion_noise, len(steps_mm))
    turned = np.exp(-1j * np.radians(motion.heading_deg[::step]))
    return np.cumsum(steps_mm * turned), np.cumsum(np.abs(steps_mm))


def _heading_cdeg(pen: Parameters, heading_deg: Floats, rng: np.random.Generator) -> Ints:
    drift_deg_per_s = rng.uniform(-pen.heading_drift_deg_per_min, pen.heading_drift_deg_per_min) / 60
    seen_deg = heading_deg + drift_deg_per_s * STEP_S * np.arange(len(heading_deg))
    seen_deg += rng.normal(0, pen.heading_noise_deg, len(seen_deg))
    seen_cdeg: Ints = np.rint(seen_deg * 100).astype(np.int64) % 36_000
    return seen_cdeg


def _current_ma(pen: Parameters, rate_hz: float, load_mnm: Floats, reached_hz: Floats) -> Floats:
    goal_hz = np.maximum(0, rate_hz - pen.droop_hz_per_mnm * load_mnm)
    gain = TURN * (goal_hz - reached_hz) / pen.speed_loop_s
    torque_mnm = pen.friction_mnm + load_mnm + pen.inertia_mnm_s2 * gain
    return np.clip(torque_mnm / pen.torque_mnm_per_ma, 0, pen.stall_ma)


def _crest_um(depth_um: int, phase: Floats) -> Floats:
    """Deepest extension within each step."""
    out = 0.5 - 0.5 * np.cos(TURN * phase)
    ends = np.maximum(out, np.concatenate([out[:1], out[:-1]]))
    crested = np.diff(np.floor(phase + 0.5), prepend=0) > 0
    return depth_um * np.where(crested, 1.0, ends)


def _highest(values: Floats, every: int) -> Floats:
    """The highest of each value that is kept and the ones since the last, of which every so many are kept."""
    padded = np.concatenate([np.zeros(every - 1), values])
    highest: Floats = padded[: len(padded) // every * every].reshape(-1, every).max(axis=1)
    return highest
