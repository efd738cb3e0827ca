"""What a page may have done, in a table: path, body, who may, and the act. All of it is POST."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pen_controller.clinic import requests as ask
from pen_controller.clinic.accounts import Settings
from pen_controller.clinic.desk import NotNowError
from pen_controller.clinic.laptop import Act, ForbiddenError, Request
from pen_controller.clinic.login import add_account, log_in, log_out, set_password, set_role, set_up, settle
from pen_controller.clinic.people import Who
from pen_controller.clinic.snapshot import Json, planned
from pen_controller.config import Plan, PlanArea
from pen_controller.pen import reported
from pen_controller.preparation import plans
from pen_controller.preparation.answers import AnswerError, Case, read_answer
from pen_controller.preparation.udi import read_udi

Answer = Mapping[str, Any]


class Needs(IntEnum):
    """Who may."""

    SCREEN = 0
    """Any page of ours, before login too."""
    ACCOUNT = 1
    """Who is logged in. Reports are for clinicians and viewers; engineers have those of practice only."""
    WORK = 2
    """Clinicians, and engineers while the pen is a simulated one."""
    CLINICIAN = 3
    """Clinicians."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: `body` is the model of what is asked."""

    path: str
    body: type[Any]
    needs: Needs
    act: Act


def may(request: Request, needs: Needs) -> bool:
    """Whether who asks may do what needs so much."""
    who = request.who
    if needs is Needs.SCREEN or who is None:
        return needs is Needs.SCREEN
    desk = request.laptop.desk
    return needs is Needs.ACCOUNT or who.may_work(needs is Needs.WORK and (desk.pen is None or desk.is_practice))


def _who(request: Request) -> Who:
    if request.who is None:
        raise NotNowError("log in first")
    return request.who


# --- pen -------------------------------------------------------------------------------------------------------------


async def scan(request: Request, _: ask.Asked) -> Answer:
    """Look for pens; those found appear in the snapshot."""
    request.laptop.desk.look()
    return {}


async def pick(request: Request, asked: ask.Url) -> Answer:
    """Open and claim a pen that was found."""
    await request.laptop.desk.pick(asked.url, _who(request))
    return {}


async def release(request: Request, _: ask.Asked) -> Answer:
    """Give the pen up."""
    await request.laptop.desk.release()
    return {}


async def reconnect(request: Request, _: ask.Asked) -> Answer:
    """Open the lost line again."""
    await request.laptop.desk.reconnect()
    return {}


async def resume(request: Request, asked: ask.ResumeAsked) -> Answer:
    """Let a stopped pen go on; no needles run before an area is started."""
    await request.laptop.desk.resume(asked.latch_id, _who(request))
    return {}


async def practise(request: Request, asked: ask.PracticeAsked) -> Answer:
    """Have something happen to the simulated pen."""
    if request.laptop.practise is None:
        raise NotNowError("there is no simulated pen here: start with pen app --sim")
    request.laptop.practise("unplug 2" if asked.happens == "unplug" else asked.happens)
    return {}


# --- preparation -----------------------------------------------------------------------------------------------------


async def case(request: Request, asked: ask.CaseAsked) -> Answer:
    """Begin a treatment with its case, or enter the case anew."""
    answer = read_answer("case", asked.model_dump(mode="json"))
    assert isinstance(answer, Case)  # noqa: S101  # what is read as a case is one; no type says so
    await request.laptop.desk.begin(answer, _who(request))
    return {}


async def screening(request: Request, asked: ask.ScreeningAsked) -> Answer:
    """Answer a question of the screening."""
    override = asked.override and {"by": _who(request).name, "reason": asked.override.reason}
    return await _enter(request, "screening", {**asked.model_dump(mode="json"), "override": override}, signed=False)


async def cartridge(request: Request, asked: ask.CartridgeAsked) -> Answer:
    """Enter the cartridge's label; lot and expiry may be left to its UDI."""
    body = asked.model_dump(mode="json")
    if asked.udi:
        udi = read_udi(asked.udi)
        body |= {"lot": body["lot"] or udi.lot, "expiry": body["expiry"] or (udi.expiry and udi.expiry.isoformat())}
    for name in ("lot", "expiry"):
        if body[name] is None:
            raise AnswerError(f"cartridge: {name}: type what the label says")
    return await _enter(request, "cartridge", body)


async def read_label(_: Request, asked: ask.Scanned) -> Answer:
    """Read a scanned UDI; nothing is entered."""
    udi = read_udi(asked.scan)
    return {"udi": asked.scan, "device": udi.device, "lot": udi.lot, "expiry": udi.expiry and udi.expiry.isoformat()}


async def aftercare(request: Request, _: ask.Asked) -> Answer:
    """The aftercare sheet was handed over."""
    return await _enter(request, "aftercare", {"given": True})


def entering(kind: str) -> Act:
    """An act that takes in an answer of a kind as it is asked, signed by who asks."""

    async def act(request: Request, asked: ask.Asked) -> Answer:
        return await _enter(request, kind, asked.model_dump(mode="json"))

    return act


async def correction(request: Request, asked: ask.CorrectionAsked) -> Answer:
    """Correct what was entered; nothing is changed, it is added."""
    body = asked.model_dump(mode="json")
    if isinstance(body["body"], dict):
        body["body"] = {**body["body"], **_signed(request, body["body"])}
    return await _enter(request, "correction", body)


def _signed(request: Request, body: Mapping[str, Any]) -> dict[str, Any]:
    """Who signs what holds from now on: who corrects, never a name from the page."""
    signed: dict[str, Any] = {}
    if "by" in body:
        signed["by"] = _who(request).name
    if isinstance(body.get("override"), dict):
        signed["override"] = {**body["override"], "by": _who(request).name}
    return signed


async def _enter(request: Request, kind: str, body: Mapping[str, Any], *, signed: bool = True) -> Answer:
    by = {"by": _who(request).name} if signed else {}
    return {"seq": await request.laptop.desk.enter(read_answer(kind, {**body, **by}))}


# --- plan ------------------------------------------------------------------------------------------------------------


async def offer(request: Request, _: ask.Asked) -> Answer:
    """Offer a plan from the case, inside all limits; nothing is planned yet."""
    desk = request.laptop.desk
    intake = desk.need_treatment().intake
    if desk.pen is None or intake.case is None:
        raise NotNowError("enter the case first")
    pen = desk.pen.identity
    if pen.model not in desk.config.pens:
        raise NotNowError(f"{pen.model}: the configuration has no such pen")
    offered = plans.offer(
        intake.case.indications,
        intake.fitzpatrick,
        config=desk.config,
        envelope=reported.envelope(pen),
        pen_profile=pen.model,
        concerns=intake.case.concerns,
    )
    return {"areas": _limited(request, offered.areas), "left_out": dict(offered.left_out)}


async def limited(request: Request, asked: ask.PlanAsked) -> Answer:
    """Say what can be set in these areas; nothing is planned yet."""
    return {"areas": _limited(request, [_area(request, area) for area in asked.areas])}


def _limited(request: Request, areas: Iterable[PlanArea]) -> list[Json]:
    desk = request.laptop.desk
    return [planned(desk, desk.need_treatment(), area) for area in areas]


async def plan(request: Request, asked: ask.PlanAsked) -> Answer:
    """Plan these areas."""
    await request.laptop.desk.intend(tuple(_area(request, area) for area in asked.areas))
    return {}


def _area(request: Request, asked: ask.AreaAsked) -> PlanArea:
    """An area with what it leaves out: planned if it is planned, else typical."""
    desk = request.laptop.desk
    if asked.area not in desk.config.areas:
        raise AnswerError(f"area: {asked.area!r}: expected one of {', '.join(desk.config.areas)}")
    if asked.indication is not None and asked.indication not in desk.config.indications:
        raise AnswerError(f"indication: {asked.indication!r}: expected one of {', '.join(desk.config.indications)}")
    planned = next((area for area in desk.plan if area.area == asked.area), None)
    typical_cm2 = planned.size_cm2 if planned else desk.config.areas[asked.area].size_cm2.typical
    return PlanArea(
        area=asked.area,
        depth_mm=asked.depth_mm,
        rate_hz=asked.rate_hz,
        passes=asked.passes,
        size_cm2=asked.size_cm2 or typical_cm2,
        indication=asked.indication or (planned.indication if planned else None),
    )


async def save_plan(request: Request, asked: ask.TemplateAsked) -> Answer:
    """Keep the plan under way as a template."""
    desk = request.laptop.desk
    intake = desk.need_treatment().intake
    if not desk.plan:
        raise NotNowError("nothing is planned yet")
    kept = Plan(title=asked.name, indication=intake.indication, fitzpatrick=intake.fitzpatrick, areas=desk.plan)
    await asyncio.to_thread(request.laptop.templates.save, asked.name, kept, replace=asked.replace)
    return {}


async def load_plan(request: Request, asked: ask.TemplateName) -> Answer:
    """Read a template; nothing is planned yet."""
    loaded = await asyncio.to_thread(request.laptop.templates.load, asked.name)
    return {"areas": _limited(request, loaded.areas), "title": loaded.title}


# --- needles ---------------------------------------------------------------------------------------------------------


async def start(request: Request, asked: ask.StartAsked) -> Answer:
    """Start the needles in an area; they run when this answers."""
    wanted = _area(request, asked)
    laptop = request.laptop

    def ready() -> None:
        laptop.lives.operate(asked.live, request.screen, hold=asked.hold)
        if laptop.practise is not None:
            laptop.practise(f"zone {wanted.size_cm2}")

    await laptop.desk.start(wanted, ready)
    return {}


async def change(request: Request, asked: ask.ChangeAsked) -> Answer:
    """Change depth and rate while needles run."""
    await request.laptop.desk.change(asked.depth_mm, asked.rate_hz)
    return {}


async def finish(request: Request, _: ask.Asked) -> Answer:
    """End the area under way in order."""
    await request.laptop.desk.finish(_who(request))
    return {}


# --- after -----------------------------------------------------------------------------------------------------------


async def end(request: Request, _: ask.Asked) -> Answer:
    """End the treatment."""
    await request.laptop.desk.end()
    return {}


async def take_up(request: Request, asked: ask.SessionAsked) -> Answer:
    """Take up a treatment that was never ended."""
    await request.laptop.desk.take_up(asked.session, _who(request))
    return {}


async def report(request: Request, asked: ask.ReportAsked) -> Answer:
    """Begin to make a report."""
    if not await request.laptop.readable(_who(request), asked.session):
        raise ForbiddenError("an engineer reads reports of practice only")
    job = request.laptop.jobs.report(asked.session, asked.language)
    return {"job": job.id}


ACTS = (
    Entry("/api/setup", ask.NewAccount, Needs.SCREEN, set_up),
    Entry("/api/login", ask.Credentials, Needs.SCREEN, log_in),
    Entry("/api/logout", ask.Asked, Needs.SCREEN, log_out),
    Entry("/api/settings", Settings, Needs.ACCOUNT, settle),
    Entry("/api/accounts", ask.NewAccount, Needs.CLINICIAN, add_account),
    Entry("/api/accounts/role", ask.RoleAsked, Needs.CLINICIAN, set_role),
    Entry("/api/accounts/password", ask.PasswordAsked, Needs.ACCOUNT, set_password),
    Entry("/api/scan", ask.Asked, Needs.WORK, scan),
    Entry("/api/pen", ask.Url, Needs.WORK, pick),
    Entry("/api/pen/release", ask.Asked, Needs.WORK, release),
    Entry("/api/reconnect", ask.Asked, Needs.WORK, reconnect),
    Entry("/api/resume", ask.ResumeAsked, Needs.WORK, resume),
    Entry("/api/practice", ask.PracticeAsked, Needs.WORK, practise),
    Entry("/api/case", ask.CaseAsked, Needs.WORK, case),
    Entry("/api/screening", ask.ScreeningAsked, Needs.WORK, screening),
    Entry("/api/checked", ask.CheckedAsked, Needs.WORK, entering("checked")),
    Entry("/api/cartridge", ask.CartridgeAsked, Needs.WORK, cartridge),
    Entry("/api/cartridge/scan", ask.Scanned, Needs.WORK, read_label),
    Entry("/api/note", ask.NoteAsked, Needs.WORK, entering("note")),
    Entry("/api/aftercare", ask.Asked, Needs.WORK, aftercare),
    Entry("/api/override", ask.OverrideAsked, Needs.WORK, entering("override")),
    Entry("/api/correction", ask.CorrectionAsked, Needs.WORK, correction),
    Entry("/api/plan/offer", ask.Asked, Needs.WORK, offer),
    Entry("/api/plan/limits", ask.PlanAsked, Needs.WORK, limited),
    Entry("/api/plan", ask.PlanAsked, Needs.WORK, plan),
    Entry("/api/plans", ask.TemplateAsked, Needs.WORK, save_plan),
    Entry("/api/plans/load", ask.TemplateName, Needs.WORK, load_plan),
    Entry("/api/area/start", ask.StartAsked, Needs.WORK, start),
    Entry("/api/area/change", ask.ChangeAsked, Needs.WORK, change),
    Entry("/api/area/finish", ask.Asked, Needs.WORK, finish),
    Entry("/api/end", ask.Asked, Needs.WORK, end),
    Entry("/api/treatments/resume", ask.SessionAsked, Needs.WORK, take_up),
    Entry("/api/report", ask.ReportAsked, Needs.ACCOUNT, report),
)
