"""Treatments with mistakes, and the truth of what is wrong with them: what `technique.py` here is measured on.

Each seed is a treatment of `simulator.scenarios` made good: speed, force and order of directions as the area wants
them. Of four seeds one stays so, two have mistakes put in, one goes twice the same way or breaks a pass off.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pen_controller import config
from pen_controller.treatment.movement import LEAST_WAY_MM
from pen_controller.treatment.technique import Fault
from protocols.samples import SampleArray
from simulator.hand import Motion
from simulator.mistakes import Kind, Mistake, inject
from simulator.physics import SKINS, Parameters
from simulator.recording import STEP_US, record
from simulator.scenarios import AREAS, Scenario, scenario

Bools = NDArray[np.bool_]
Span = tuple[int, int]

CONFIG: Final = config.load()
NAMES: Final = {area.code: name for name, area in CONFIG.areas.items()}
LEAST_MS: Final = 500
"""Shorter faults are not asked for."""
SENSORS: Final = 0.05
"""How wrong the pen may see force and speed: 3 % for good, 2 % and 5 % a reading."""
REST_MS: Final = 1200
LANDING_MS: Final = 50
"""The hand's force rises and falls within this."""
BROKEN_OFF: Final = 0.45
"""At most this share of a zone is done when a pass is broken off: the pen sees its rim, and overlap, as more."""
FASTEST_MM_S: Final = {"straight": 150.0, "crosshatch": 150.0, "circular": 100.0}
"""No hand is faster."""
PERFECT: Final = Parameters(
    force_noise=0, force_floor_n=0, motion_noise=0, motion_scale_error=0, heading_noise_deg=0,
    heading_drift_deg_per_min=0, rate_noise=0,
)  # fmt: skip
KINDS: Final[dict[Kind, Fault]] = {
    "press": Fault.PRESSING, "stand": Fault.DWELLING, "hurry": Fault.DRAGGING, "hover": Fault.AIR
}  # fmt: skip


@dataclass
class Case:
    """A treatment, and the truth of what is wrong with it; spans are in ms."""

    plan: Scenario
    motion: Motion
    """Without tremor."""
    there: dict[Fault, Bools]
    """Millisecond by millisecond, to within the sensors' errors."""
    asked: dict[Fault, list[Span]]
    good: bool

    @property
    def area(self) -> config.Area:
        """The limits of the area."""
        return CONFIG.areas[NAMES[self.plan.area]]


def case(seed: int) -> Case:
    """The case of this seed."""
    rng = np.random.default_rng((seed, 4))
    plan = _good(scenario(seed), rng)
    if seed % 4 == 0:
        return _judged(plan, plan.hand().motion, good=True)
    if seed % 4 < 3:
        return _erring(plan, rng)
    crossed = CONFIG.areas[NAMES[plan.area]].technique.crossing_deg is not None
    return _same_way(plan) if crossed and rng.random() < 0.5 else _broken_off(plan, rng)


def _dragging_mm_s(plan: Scenario) -> float:
    """From this speed on it is dragging, at the rate without load."""
    per_cm = 10 * plan.needles / plan.tip_width_mm
    return 10 * per_cm * plan.rate_hz / CONFIG.areas[NAMES[plan.area]].technique.least_per_cm2


def _good(drawn: Scenario, rng: np.random.Generator) -> Scenario:
    """The same as the area wants it; half of them near the speed where dragging begins."""
    area = CONFIG.areas[NAMES[drawn.area]]
    if _dragging_mm_s(drawn) < 10:
        drawn = replace(drawn, needles=14, rate_hz=100.0)
    dragging_mm_s = _dragging_mm_s(drawn)
    speed_mm_s = min(drawn.style.speed_mm_s, 0.75 * dragging_mm_s)
    if rng.random() < 0.5:
        speed_mm_s = min(60.0, rng.uniform(0.55, 0.75) * dragging_mm_s)
    push_n = drawn.needles * SKINS[drawn.area].piercing_n / 2  # of the needles themselves
    force_n = min(drawn.style.force_n, max(0.4, (area.force_n.warn - push_n) / 1.75))
    style = replace(drawn.style, speed_mm_s=speed_mm_s, force_n=force_n, tremor_rms_mm=0.0)
    if style.pattern == "straight" and area.technique.crossing_deg:
        style = replace(style, pattern="crosshatch")
    return replace(drawn, style=style, passes=min(2, drawn.passes))


def _erring(plan: Scenario, rng: np.random.Generator) -> Case:
    """With up to four mistakes, one after the other, each begun on the skin."""
    warn_n, dragging_mm_s = CONFIG.areas[NAMES[plan.area]].force_n.warn, _dragging_mm_s(plan)
    hurried_mm_s = rng.uniform(1.3, 2.0) * dragging_mm_s
    hurry = hurried_mm_s / (0.85 * plan.style.speed_mm_s)  # 0.85: the slowest of its glides
    kinds: list[Kind] = ["press", "stand", "hover"]
    if hurry < 4 and hurried_mm_s < FASTEST_MM_S[plan.style.pattern]:
        kinds += ["hurry", "hurry"]
    amounts: dict[Kind, float] = {"press": rng.uniform(1.15, 2) * warn_n, "hurry": hurry}
    motion = plan.hand().motion
    made: list[Mistake] = []
    free_ms = 500
    for _ in range(4):
        contact = motion.contact
        settled = contact[free_ms:-1500] & contact[free_ms - 150 : -1650] & contact[free_ms + 50 : -1450]
        starts_ms = np.flatnonzero(settled) + free_ms
        if len(starts_ms) == 0:
            break
        start_ms = int(starts_ms[min(len(starts_ms) - 1, int(rng.uniform(0, 4000)))])
        kind = kinds[rng.integers(len(kinds))]
        end_ms = start_ms + int(rng.uniform(5500, 8000) if kind == "hover" else rng.uniform(550, 2500))
        wanted = Mistake(kind, 1000 * start_ms, 1000 * end_ms, amounts.get(kind, 1.0))
        try:
            motion = inject(plan.hand().motion, [*made, wanted])
        except ValueError:  # so hurried, the hand is done before
            break
        made.append(wanted)
        free_ms = end_ms + 2000
    return _judged(plan, motion, made)


def _same_way(plan: Scenario) -> Case:
    """Two passes in one direction."""
    plan = replace(plan, passes=2, style=replace(plan.style, pattern="straight"))
    judged = _judged(plan, plan.hand().motion)
    motion, second_ms = judged.motion, int(plan.hand().truth.pass_us[1, 0]) // 1000
    steps_mm = np.hypot(np.diff(motion.x_mm), np.diff(motion.y_mm)) * motion.contact[1:]
    shows_ms = second_ms + int(np.argmax(np.cumsum(steps_mm[second_ms:]) >= LEAST_WAY_MM))
    judged.asked[Fault.DIRECTION].append((shows_ms, len(motion.x_mm)))
    judged.there[Fault.DIRECTION][second_ms:] = True
    return judged


def _broken_off(plan: Scenario, rng: np.random.Generator) -> Case:
    """With a rest in the first pass. Not in circles: their greatest coverage is too generous to say surely."""
    plan = replace(plan, style=replace(plan.style, pattern="crosshatch"))
    truth = plan.hand().truth
    first_us, last_us = truth.pass_us[0].tolist()
    off_us = int(first_us + 0.25 * (1 - plan.style.overlap) * (last_us - first_us))
    while truth.coverage_at(0, off_us) > BROKEN_OFF:
        off_us = (first_us + off_us) // 2
    rest = Mistake("hover", off_us, off_us + int(rng.uniform(2e6, 4.5e6)))
    judged = _judged(plan, inject(plan.hand().motion, [rest]))
    contact, off_ms = judged.motion.contact, off_us // 1000
    lifted_ms = off_ms - int(np.argmax(contact[off_ms::-1]))
    landed_ms = off_ms + int(np.argmax(contact[off_ms:]))
    judged.asked[Fault.COVERAGE].append((lifted_ms + REST_MS, landed_ms))
    judged.there[Fault.COVERAGE][lifted_ms + REST_MS - LANDING_MS : landed_ms] = True
    return judged


def recorded(plan: Scenario, motion: Motion, pen: Parameters, sample_rate_hz: int = 100) -> SampleArray:
    """Samples of this motion."""
    return record(
        motion,
        replace(pen, needles=plan.needles),
        plan.seed,
        sample_rate_hz=sample_rate_hz,
        rate_hz=plan.rate_hz,
        depth_um=AREAS[plan.area].depth_um,
        skin=SKINS[plan.area],
        first_t_us=plan.first_t_us,
    ).samples


def _judged(plan: Scenario, motion: Motion, mistakes: Sequence[Mistake] = (), *, good: bool = False) -> Case:
    """What is wrong, millisecond by millisecond. Direction and coverage are for the caller to add."""
    area = CONFIG.areas[NAMES[plan.area]]
    contact, at_ms = motion.contact, np.arange(len(motion.x_mm))
    speed_mm_s = np.hypot(np.gradient(motion.x_mm), np.gradient(motion.y_mm)) * 1000
    told = recorded(plan, motion, PERFECT, 1_000_000 // STEP_US)
    told_ms = np.arange(len(told)) * STEP_US / 1000
    force_n = np.interp(at_ms, told_ms, told["force_mn"] / 1000)
    force_n = np.convolve(force_n, np.full(50, 1 / 50), mode="same")  # without the beat of the needles
    dragging_mm_s = _dragging_mm_s(plan) * np.interp(at_ms, told_ms, told["rate_dhz"]) / 10 / plan.rate_hz
    off_ms = at_ms - np.maximum.accumulate(np.where(contact, at_ms, 0))
    surely, nearly = (
        {
            Fault.PRESSING: contact & (force_n > share * area.force_n.warn),
            Fault.DWELLING: contact & (speed_mm_s < area.technique.slowest_mm_s / share),
            Fault.DRAGGING: contact & (speed_mm_s > share * dragging_mm_s),
            Fault.AIR: off_ms >= 1000 * area.technique.air_s - (share < 1) * LANDING_MS,
            Fault.DIRECTION: np.zeros(len(contact), np.bool_),
            Fault.COVERAGE: np.zeros(len(contact), np.bool_),
        }
        for share in (1.0, 1 - SENSORS)
    )
    asked: dict[Fault, list[Span]] = {fault: [] for fault in Fault}
    for mistake in mistakes:
        fault, start_ms, end_ms = KINDS[mistake.kind], mistake.start_us // 1000, mistake.end_us // 1000
        asked[fault] += [span for span in _long_spans(surely[fault]) if start_ms < span[1] and span[0] < end_ms][:1]
        if mistake.kind == "hover":  # in a pass: it is broken off, or counts as two in one direction
            nearly[Fault.COVERAGE][start_ms:] = nearly[Fault.DIRECTION][start_ms:] = True
    asked[Fault.DWELLING] = _long_spans(surely[Fault.DWELLING])  # the hand's own pauses too
    return Case(plan, motion, nearly, asked, good)


def _long_spans(there: Bools) -> list[Span]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there.astype(np.int8), [0]])))
    return [(start, end) for start, end in edges.reshape(-1, 2).tolist() if end - start >= LEAST_MS]
