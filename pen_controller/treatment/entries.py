"""What a treatment writes on the record: bodies of records, ready for JSON. No I/O."""

from dataclasses import asdict
from typing import Any, Literal

from pen_controller.config import PlanArea
from pen_controller.limits import Grant, Limit, Refusal, Request
from pen_controller.passes import Pass
from pen_controller.treatment.counts import AreaCount
from pen_controller.treatment.technique import Alert
from protocols.messages import Event, Identity

Body = dict[str, Any]

PATIENT = frozenset({"indication", "skin", "preparation"})
"""Layers and names of limits that say something about the patient: what holds one of these is not published."""


def introduced(pen: Identity) -> Body:
    """Which pen it is."""
    return {"model": pen.model, "firmware": pen.firmware, "udi": pen.udi}


def planned(wanted: PlanArea, indication: str) -> Body:
    """What is planned for an area; `indication` is that of areas that name none."""
    return {
        **started(wanted),
        "passes": wanted.passes,
        "size_cm2": wanted.size_cm2,
        "indication": wanted.indication or indication,
    }


def plan_area(body: Body) -> PlanArea:
    """The area of a recorded plan, as `planned` has put it there."""
    return PlanArea.model_validate(
        {
            "area": body["area"],
            "depth_mm": float(body["depth_um"]) / 1000,
            "rate_hz": float(body["rate_dhz"]) / 10,
            **{key: body[key] for key in ("passes", "size_cm2", "indication")},
        }
    )


def armed(count: AreaCount, grant: Grant) -> Body:
    """What the pen is to be armed with, and the zone it is for."""
    return {
        "area": grant.area,
        "size_cm2": count.zone.size_cm2,
        "needles": count.zone.needles,
        "depth_cap_um": round(grant.depth_cap_mm * 1000),
        "rate_cap_dhz": round(grant.rate_cap_hz * 10),
        "force_cap_mn": round(grant.force_cap_n * 1000),
        "stroke_budget": grant.stroke_budget,
        "cartridge_id": str(grant.cartridge_id),
    }


def granted(grant: Grant) -> Body:
    """Which limits the caps come from, and what was warned of: these may tell of the patient, and are not published."""
    return {
        "area": grant.area,
        "limits": [asdict(limit) for limit in grant.limits],
        "warnings": list(grant.warnings),
    }


def started(wanted: PlanArea) -> Body:
    """What the needles are to do."""
    return {
        "area": wanted.area,
        "depth_um": round(wanted.depth_mm * 1000),
        "rate_dhz": round(wanted.rate_hz * 10),
    }


def progress(count: AreaCount) -> Body:
    """What a new process has to know to count on."""
    return {
        "area": count.area,
        "rate_dhz": round(count.rate_hz * 10),
        "pen": count.pen and count.pen._asdict(),
        "given": count.given._asdict(),
    }


def passed(area: str, one: Pass) -> Body:
    """One pass."""
    return {
        "area": area,
        "pass_index": one.index,
        "strokes": one.strokes,
        "punctures": one.punctures,
        "density_per_cm2": round(one.density_per_cm2, 1),
        "deepest_um": one.deepest_um,
        "duration_s": round(one.duration_s, 3),
        "coverage": one.coverage._asdict(),
        "family": one.family,
        "direction_deg": one.direction_deg,
        "how": one.how,
    }


def alerted(area: str, alert: Alert) -> Body:
    """An alert that was raised, or has ended if it has an `ended_us`. One without an end ended with its run."""
    return {
        "area": area,
        "fault": alert.fault.name.lower(),
        "severity": alert.fault.severity,
        "advice": alert.advice,
        "value": round(alert.value, 3),
        "limit": asdict(alert.limit),
        "raised_us": alert.raised_us,
        "ended_us": alert.ended_us,
    }


def refused(refusal: Refusal, request: Request) -> Body:
    """A refusal. What says something about the patient is left out."""
    return {**asdict(refusal), "request": asdict(request) | {"fitzpatrick": None, "indication": None}}


def outlet(refusal: Refusal) -> Literal["event"] | None:
    """Where a refusal is published; one that tells of the patient is not."""
    return None if PATIENT & {refusal.limit.layer, refusal.limit.name} else "event"


def bound(area: str, limit: Limit, text: str) -> Body:
    """An area has come to a figure that warns or closes."""
    return {"area": area, "limit": asdict(limit), "text": text}


def reported(event: Event) -> Body:
    """What the pen reports."""
    return {"number": event.number, "event": event.kind.name.lower(), "a": event.a, "b": event.b}


def summed(count: AreaCount, refusals: int) -> Body:
    """What an area was given. Coverage, family and direction are of the pass under way, if one is."""
    given, figures = count.given, count.figures
    return {
        "area": count.area,
        "passes": count.passes,
        "glides": given.glides,
        "strokes": given.strokes,
        "punctures": count.punctures,
        "uncertain_punctures": given.uncertain_strokes * count.zone.needles,
        "density_per_cm2": round(count.density_per_cm2, 1),
        "deepest_um": given.deepest_um,
        "depth_cap_um": round(count.hard["depth"].value * 1000),
        "duration_s": round(given.duration_s, 3),
        "coverage": figures.coverage and figures.coverage._asdict(),
        "family": figures.family,
        "direction_deg": figures.direction_deg,
        "evenness_cv": figures.evenness_cv,
        "closed": count.closed and count.closed.name,
        "refusals": refusals,
        "how": figures.how,
    }


def ended(areas: list[Body], refusals: int) -> Body:
    """What the whole treatment came to, and how often a limit refused."""
    totals = {key: sum(area[key] or 0 for area in areas) for key in ("passes", "strokes", "punctures")}
    return {"areas": areas, "totals": totals | {"refusals": refusals}}
