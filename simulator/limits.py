"""The pen's own limits: pure answers to "may I?", held against its envelope, its arm and its cartridge.

Nothing here is shared with the controller, so that one mistake cannot pass twice. Nothing is clamped: too much is
refused with the limit that it broke.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from protocols.messages import Arm, Cartridge, Identity, Set, Start
from protocols.words import PenLimit

STOP_RESERVE_STROKES: Final = 2
"""Strokes that stopping may still take: the budget ends this much earlier, so that none is over."""
BATTERY_START_PCT: Final = 5


@dataclass(frozen=True, slots=True)
class SetPoint:
    """What the motor and the sleeve are told."""

    depth_um: int
    rate_dhz: int


@dataclass(frozen=True, slots=True)
class Caps:
    """What the arm allows, and for which area, treatment and cartridge."""

    area: int
    depth_um: int
    rate_dhz: int
    force_mn: int
    stroke_budget: int
    cartridge_id: int
    treatment: int
    today_days: int

    @classmethod
    def of(cls, arm: Arm) -> Self:
        """The caps that an arm asks for."""
        return cls(
            arm.area,
            arm.depth_cap_um,
            arm.rate_cap_dhz,
            arm.force_cap_mn,
            arm.stroke_budget,
            arm.cartridge_id,
            arm.treatment,
            arm.today_days,
        )


class Broken(NamedTuple):
    """A limit that a command breaks: which, its value and what was asked, in the wire's units."""

    limit: PenLimit
    value: int
    asked: int


def arm_breaks(caps: Caps, own: Identity) -> Broken | None:
    """Hold the caps asked for against the pen's own envelope."""
    return (
        _depth(caps.depth_um, own.max_depth_um, PenLimit.ENVELOPE_DEPTH_MAX, own)
        or _rate(caps.rate_dhz, own.max_rate_dhz, PenLimit.ENVELOPE_RATE_MAX, own)
        or _at_most(caps.force_mn, own.max_force_mn, PenLimit.ENVELOPE_FORCE_MAX)
        or (Broken(PenLimit.STROKE_BUDGET, 1, 0) if caps.stroke_budget < 1 else None)
    )


def cartridge_breaks(caps: Caps, tag: Cartridge, used: Mapping[int, int]) -> Broken | None:
    """Hold the cartridge in the pen against the arm. `used` is the pen's own memory, id -> treatment."""
    if tag.cartridge_id == 0:
        return Broken(PenLimit.CARTRIDGE_ABSENT, 0, caps.area)
    if tag.cartridge_id != caps.cartridge_id:
        return Broken(PenLimit.CARTRIDGE_OTHER, 0, caps.area)
    # Treatment 0 is the mark of a fresh cartridge: what it used would stay fresh, so it may use none.
    others = {tag.used_by, used.get(tag.cartridge_id, 0)} - {0, caps.treatment}
    if others or caps.treatment == 0:
        return Broken(PenLimit.CARTRIDGE_USED, 0, caps.area)
    if tag.expiry_days < caps.today_days:
        return Broken(PenLimit.CARTRIDGE_EXPIRED, tag.expiry_days, caps.today_days)
    return None


def set_point_breaks(command: Start | Set, caps: Caps, own: Identity, budget_left: int) -> Broken | None:
    """Hold a set-point against the arm and the envelope, and the strokes left against what stopping takes."""
    return (
        _depth(command.depth_um, caps.depth_um, PenLimit.ARM_DEPTH_CAP, own)
        or _rate(command.rate_dhz, caps.rate_dhz, PenLimit.ARM_RATE_CAP, own)
        or (
            Broken(PenLimit.STROKE_BUDGET, caps.stroke_budget, budget_left)
            if budget_left <= STOP_RESERVE_STROKES
            else None
        )
    )


def battery_breaks(battery_pct: int) -> Broken | None:
    """Hold the charge against what a run takes at the least."""
    return Broken(PenLimit.BATTERY, BATTERY_START_PCT, battery_pct) if battery_pct < BATTERY_START_PCT else None


def _depth(asked_um: int, high_um: int, limit: PenLimit, own: Identity) -> Broken | None:
    if asked_um < own.min_depth_um:
        return Broken(PenLimit.ENVELOPE_DEPTH_MIN, own.min_depth_um, asked_um)
    return _at_most(asked_um, high_um, limit)


def _rate(asked_dhz: int, high_dhz: int, limit: PenLimit, own: Identity) -> Broken | None:
    if asked_dhz < own.min_rate_dhz:
        return Broken(PenLimit.ENVELOPE_RATE_MIN, own.min_rate_dhz, asked_dhz)
    return _at_most(asked_dhz, high_dhz, limit)


def _at_most(asked: int, high: int, limit: PenLimit) -> Broken | None:
    return Broken(limit, high, asked) if asked > high else None
