"""What the page is shown, as plain JSON values. What is not known is None; integers keep their units in the name."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pen_controller import limits
from pen_controller.clinic.desk import Desk
from pen_controller.config import PlanArea
from pen_controller.limits import Limit
from pen_controller.pen import Pen, reported
from pen_controller.pen.scan import Found
from pen_controller.pen.scan_table import figures_of
from pen_controller.preparation import Preparation
from pen_controller.treatment import Treatment
from pen_controller.treatment.counts import AreaCount, Live
from protocols.words import PenState, SampleFlag

Json = dict[str, Any]


def quick(desk: Desk) -> Json:
    """What changes while needles run: the pen, what it does, what each area was given."""
    treatment = desk.treatment
    return {
        "t_ms": round(time.monotonic() * 1000),
        "wall": datetime.now(UTC).isoformat(timespec="seconds"),
        "scanning": desk.places.scanning,
        "pen": desk.pen and _pen(desk.pen),
        "trouble": desk.trouble,
        "telemetry": desk.published and {"trouble": desk.published.trouble},
        "running": desk.live and treatment and treatment.running and _running(desk.live, treatment.running.wanted),
        "areas": [_area(count) for count in treatment.areas.values()] if treatment else [],
    }


def slow(desk: Desk, language: str, *, reads: bool = True) -> Json:
    """What changes when a person does something, in that person's language; `reads`: the answers too."""
    return {
        "screen": _screen(desk),
        "found": [_found(one) for one in desk.places.found.values()],
        "unended": desk.unended,
        "ended": desk.ended,
        "treatment": desk.treatment and _treatment(desk, desk.treatment, language, reads=reads),
    }


def _screen(desk: Desk) -> str:
    """Which step of the work comes next."""
    if desk.pen is None:
        return "pick_pen"
    if desk.treatment is None:
        return "report" if desk.ended else "case"
    if desk.treatment.intake.missing():
        return "preparation" if desk.treatment.intake.case else "case"
    return "treat" if desk.plan or desk.treatment.areas else "plan"


def _found(one: Found) -> Json:
    kind = one.url.partition(":")[0]
    return figures_of(one) | {"kind": kind, "trouble": one.short_trouble or None, "is_place": one.is_place}


def _pen(pen: Pen) -> Json:
    identity, state = pen.identity, pen.state
    latched = state.state is PenState.LATCHED
    cause = state.cause.name.lower()
    return {
        "serial": identity.serial,
        "model": identity.model,
        "firmware": identity.firmware,
        "connected": pen.connected,
        "age_s": round(pen.age_s, 2) if pen.connected else None,
        "state": state.state.name.lower() if pen.connected else "link_lost",
        "may_run": pen.may_run,
        "latch": {"id": state.latch_id, "cause": cause, "text": cause.replace("_", " ")} if latched else None,
        "battery_pct": state.battery_pct,
        "temperature_c": state.temperature_dc / 10,
        "stop_reason": pen.stop_reason,
        "lost_frames": pen.lost_frames,
    }


def _running(live: Live, wanted: PlanArea) -> Json:
    sample, flags = live.sample, SampleFlag(int(live.sample["flags"]))
    return {
        "area": live.area.area,
        "set_depth_mm": wanted.depth_mm,
        "set_rate_hz": wanted.rate_hz,
        "depth_um": int(sample["depth_um"]) if SampleFlag.DEPTH_VALID in flags else None,
        "rate_dhz": int(sample["rate_dhz"]),
        "force_mn": int(sample["force_mn"]) if SampleFlag.FORCE_VALID in flags else None,
        "in_contact": SampleFlag.CONTACT in flags,
        "coverage": _coverage(live.area),
        "alert": live.alert and live.alert.fault.name.lower(),
        "advice": live.alert and live.alert.advice,
        "severity": live.alert and live.alert.fault.severity,
    }


def _area(count: AreaCount) -> Json:
    return {
        "area": count.area,
        "passes": count.passes,
        "wanted": count.wanted_passes,
        "coverage": _coverage(count),
        "density_per_cm2": round(count.density_per_cm2, 1),
        "deepest_um": count.given.deepest_um,
        "punctures": count.punctures,
        "duration_s": round(count.given.duration_s, 1),
        "size_cm2": count.zone.size_cm2,
        "closed": count.closed and _limit(count.closed),
        "limits": {name: _limit(limit) for name, limit in count.hard.items()},
        "warnings": count.warnings,
    }


def _coverage(count: AreaCount) -> list[float] | None:
    return count.figures.coverage and [round(share, 3) for share in count.figures.coverage]


def _treatment(desk: Desk, treatment: Treatment, language: str, *, reads: bool) -> Json:
    intake = treatment.intake
    return {
        "session": treatment.session,
        "interrupted": treatment.interrupted or None,
        "practice": not intake.asks,
        **_answers(intake.preparation if reads else Preparation()),
        "missing": [asdict(one) for one in intake.missing(language)] if reads else [],
        "cautions": [asdict(one) for one in intake.cautions(language)] if reads else [],
        "plan": [planned(desk, treatment, area) for area in desk.plan],
        "refusals": [{"area": area, "text": one.message, "limit": _limit(one.limit), "asked": one.asked}
                     for area, one in treatment.refusals],
    }  # fmt: skip


def _answers(preparation: Preparation) -> Json:
    """What was answered: `screening.QUESTION` and `checklist.STEP` by question and step."""
    said: dict[str, Any] = {"case": None, "cartridge": None, "screening": {}, "checked": {}}
    for item, answer in preparation.answers.items():
        table, _, name = item.partition(".")
        body = answer.model_dump(mode="json")
        if name:
            said["checked" if table == "checklist" else table][name] = body
        else:
            said[table] = body
    return said


def planned(desk: Desk, treatment: Treatment, area: PlanArea) -> Json:
    """An area of a plan, with its name and what can be set there."""
    return area.model_dump() | {
        "label": desk.config.areas[area.area].label,
        **bounds(desk, treatment, area.area, area.indication or treatment.intake.indication),
    }


def bounds(desk: Desk, treatment: Treatment, area: str, indication: str) -> Json:
    """The most (`limits`) and the least (`floors`) that can be set in an area, and the pen's step of depth."""
    pen, fitzpatrick = desk.pen, treatment.intake.fitzpatrick
    known = fitzpatrick in desk.config.skin and indication in desk.config.indications
    if pen is None or not known or pen.identity.model not in desk.config.pens:
        return {"limits": {}, "floors": {}, "depth_step_mm": None}
    profile = pen.identity.model
    most, least = limits.caps(
        area, indication, fitzpatrick, config=desk.config, envelope=reported.envelope(pen.identity), pen_profile=profile
    )
    return {
        "limits": _limits(most),
        "floors": _limits(least),
        "depth_step_mm": desk.config.pens[profile].depth_mm.step,
    }


def _limits(found: Mapping[str, Limit]) -> Json:
    return {name: _limit(limit) for name, limit in found.items()}


def _limit(limit: Limit) -> Json:
    return asdict(limit)
