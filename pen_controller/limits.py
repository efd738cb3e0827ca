"""What is allowed, and if not, which limit forbids it. Pure: no I/O and no clock.

Layers only narrow: each cap is the least of what area, indication, skin type, clinic, pen profile
and the pen's own firmware permit. Nothing is clamped: a request is granted whole or refused, and
what is unknown, missing, NaN, infinite or negative permits nothing.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TypeGuard

from pen_controller.config import PROPOSED, Config, PenProfile
from pen_controller.layers import QUANTITIES, REPORTED, Envelope, Layer, Layers, Limit, floors, layers_of, least

__all__ = [
    "REPORTED",
    "RULE",
    "SINGLE_USE",
    "CartridgeTag",
    "Delivered",
    "Envelope",
    "Grant",
    "Layer",
    "Limit",
    "Refusal",
    "Request",
    "authorize",
    "caps",
]

RULE = "project rule: what is unknown permits nothing"
SINGLE_USE = "project rule: one cartridge, one treatment, before its expiry"

_STEP_TOLERANCE_MM = 1e-6


@dataclass(frozen=True, slots=True)
class Request:
    """What the clinician asks for in one area: `passes` more passes over `size_cm2`."""

    area: str
    indication: str
    fitzpatrick: int
    depth_mm: float
    rate_hz: float
    passes: int
    size_cm2: float


@dataclass(frozen=True, slots=True)
class CartridgeTag:
    """The cartridge in the pen; `used_by` is the treatment marked on it, None while fresh."""

    cartridge_id: int
    needles: int
    expires: date
    used_by: int | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What this area was already given in this treatment."""

    passes: float = 0
    punctures: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: the limit, what was asked, and one plain sentence."""

    limit: Limit
    asked: float | str
    message: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to treat one area up to the caps; made by `authorize` only.

    `stroke_budget` counts needle cycles from now on; `passes_cap` counts all of the treatment.
    `limits` holds the binding limit of each quantity, `floors` the least depth and rate of the pen.
    """

    area: str
    area_code: int
    depth_mm: float
    rate_hz: float
    passes: int
    size_cm2: float
    needles: int
    depth_cap_mm: float
    rate_cap_hz: float
    force_cap_n: float
    stroke_budget: int
    passes_cap: float
    density_cap_per_cm2: float
    cartridge_id: int
    treatment: int
    limits: tuple[Limit, ...]
    floors: tuple[Limit, ...]
    depth_step: Limit
    warnings: tuple[str, ...]

    def refuse_setpoint(self, depth_mm: float, rate_hz: float) -> Refusal | None:
        """Judge a set-point in mm and Hz against this grant; None permits it."""
        where, asked = _titled(self.area), {"depth": depth_mm, "rate": rate_hz}
        if refusal := _refuse_figures(asked):
            return refusal
        for limit in self.limits:
            if limit.name in asked and asked[limit.name] > limit.value:
                return _outside(where, limit, asked[limit.name], "at most")
        for floor in self.floors:
            if asked[floor.name] < floor.value:
                return _outside(where, floor, asked[floor.name], "at least")
        step = self.depth_step
        if abs(depth_mm - round(depth_mm / step.value) * step.value) > _STEP_TOLERANCE_MM:
            return _outside(where, step, depth_mm, "a multiple of")
        return None


def authorize(
    request: Request,
    *,
    config: Config,
    envelope: Envelope,
    pen_profile: str,
    cartridge: CartridgeTag | None,
    treatment: int,
    today: date,
    delivered: Delivered,
) -> Grant | Refusal:
    """Grant or refuse what is asked for one area.

    Args:
        request: what is asked.
        config: the limits.
        envelope: what the connected pen reports of itself.
        pen_profile: its name in `config.pens`.
        cartridge: what is in the pen; None (no tag read) is refused.
        treatment: the token of this treatment, above 0, which is marked on the cartridge.
        today: the date by which a cartridge expires.
        delivered: what this area already had in this treatment.
    """
    if refusal := _refuse_unknown(request, config, pen_profile):
        return refusal
    if refusal := _refuse_malformed(request, envelope, treatment, delivered):
        return refusal
    pen, area = config.pens[pen_profile], config.areas[request.area]
    if cartridge is None:
        return _nothing("cartridge", "none", "no cartridge that the pen can read")
    if refusal := _refuse_cartridge(cartridge, pen, treatment, today):
        return refusal

    layers = layers_of(request.area, request.indication, request.fitzpatrick, config=config, pen=pen)
    limits = least(layers, envelope)
    if refusal := _refuse_amount(request, delivered, limits):
        return refusal
    allowed = math.floor(limits["density"].value * request.size_cm2)
    budget = (allowed - delivered.punctures) // pen.needles
    if budget <= 0:
        next_per_cm2 = (delivered.punctures + pen.needles) / request.size_cm2
        return _outside(_titled(request.area), limits["density"], next_per_cm2, "at most")
    grant = Grant(
        area=request.area,
        area_code=area.code,
        depth_mm=request.depth_mm,
        rate_hz=request.rate_hz,
        passes=request.passes,
        size_cm2=request.size_cm2,
        needles=pen.needles,
        depth_cap_mm=limits["depth"].value,
        rate_cap_hz=limits["rate"].value,
        force_cap_n=limits["force"].value,
        stroke_budget=budget,
        passes_cap=limits["passes"].value,
        density_cap_per_cm2=limits["density"].value,
        cartridge_id=cartridge.cartridge_id,
        treatment=treatment,
        limits=tuple(limits.values()),
        floors=floors(pen, envelope),
        depth_step=Limit("depth", pen.depth_mm.step, "mm", pen.depth_mm.source, "pen profile"),
        warnings=_warnings(request, delivered, config, layers),
    )
    return grant.refuse_setpoint(request.depth_mm, request.rate_hz) or grant


def caps(
    area: str, indication: str, fitzpatrick: int, *, config: Config, envelope: Envelope, pen_profile: str
) -> tuple[dict[str, Limit], dict[str, Limit]]:
    """The most and the least that can be asked for, each by name (depth, rate, ...); for offers and for controls.

    Raises:
        KeyError: one of the names is not in the configuration.
    """
    pen = config.pens[pen_profile]
    most = least(layers_of(area, indication, fitzpatrick, config=config, pen=pen), envelope)
    return most, {limit.name: limit for limit in floors(pen, envelope)}


def _warnings(request: Request, delivered: Delivered, config: Config, layers: Layers) -> tuple[str, ...]:
    """What is allowed but deserves a second thought, a sentence each."""
    where = _titled(request.area)
    asked = {
        "depth": request.depth_mm,
        "rate": request.rate_hz,
        "passes": request.passes + delivered.passes,
    }
    said = []
    for name, value in asked.items():
        key, unit = QUANTITIES[name]
        groups = [(getattr(table, key, None), layer) for layer, table in layers]
        warns = [(warn, layer) for group, layer in groups if (warn := getattr(group, "warn", None))]
        if passed := [(warn, layer) for warn, layer in warns if value > warn]:
            warn, layer = min(passed)
            said.append(f"{where}: {_figure(value, unit)} is above {_figure(warn, unit)} ({layer})")
    usual_mm = config.areas[request.area].depth_mm.min
    if request.depth_mm < usual_mm:
        depth = _figure(request.depth_mm, "mm")
        said.append(f"{where}: {depth} is below {_figure(usual_mm, 'mm')}, the least that is usual")
    if caution := config.skin[request.fitzpatrick].caution:
        said.append(f"Skin type {request.fitzpatrick}: {caution}")
    return tuple(said)


def _refuse_unknown(request: Request, config: Config, pen_profile: str) -> Refusal | None:
    """Refuse what the configuration does not know, or blocks."""
    area, indication = request.area, request.indication
    if _is_key(area, config.blocked):
        blocked = config.blocked[area]
        return _nothing("area", area, f"never treated, {blocked.reason}", blocked.source, "area")
    if not _is_key(area, config.areas):
        return _nothing("area", area, f"{area!r} is not a known area")
    if not _is_key(indication, config.indications):
        return _nothing("indication", indication, f"{indication!r} is not a known indication")
    if area not in config.indications[indication].areas:
        said = f"{config.indications[indication].label} is not listed for {_titled(area)}"
        return _nothing("indication", indication, said, PROPOSED, "indication")
    if type(request.fitzpatrick) is not int or request.fitzpatrick not in config.skin:
        said = f"{request.fitzpatrick!r} is not a Fitzpatrick type from 1 to 6"
        return _nothing("fitzpatrick", request.fitzpatrick, said)
    if not _is_key(pen_profile, config.pens):
        return _nothing("pen", pen_profile, f"{pen_profile!r} is not a known pen")
    if pen_profile not in config.clinic.pens:
        source = f"clinic {config.clinic.site}"
        return _nothing("pen", pen_profile, f"{pen_profile} is not allowed", source, "clinic")
    return None


def _refuse_malformed(request: Request, envelope: Envelope, treatment: int, delivered: Delivered) -> Refusal | None:
    """Refuse figures that are no figures."""
    positive = {
        "depth": request.depth_mm,
        "rate": request.rate_hz,
        "size": request.size_cm2,
        "depth envelope": envelope.max_depth_mm,
        "rate envelope": envelope.max_rate_hz,
        "force envelope": envelope.max_force_n,
    }
    not_negative = {
        "least depth envelope": envelope.min_depth_mm,
        "least rate envelope": envelope.min_rate_hz,
        "delivered passes": delivered.passes,
    }
    if refusal := _refuse_figures(positive) or _refuse_figures(not_negative, zero=True):
        return refusal
    counts = {"passes": (request.passes, 1), "treatment": (treatment, 1)}
    counts["delivered punctures"] = (delivered.punctures, 0)
    for name, (count, lowest) in counts.items():
        if type(count) is not int or not _is_number(count) or count < lowest:
            return _nothing(name, count, f"{count!r} is not a whole number of {lowest} or more")
    return None


def _refuse_figures(figures: dict[str, float], *, zero: bool = False) -> Refusal | None:
    """Refuse what is no finite figure above 0, or at `zero`."""
    for name, value in figures.items():
        if not _is_number(value) or value < 0 or (value == 0 and not zero):
            wanted = "of 0 or more" if zero else "above 0"
            return _nothing(name, value, f"{value!r} is not a number {wanted}")
    return None


def _refuse_cartridge(tag: CartridgeTag, pen: PenProfile, treatment: int, today: date) -> Refusal | None:
    """Refuse a cartridge that is expired, used, of another kind or unreadable."""
    if type(tag.cartridge_id) is not int or tag.cartridge_id <= 0:
        said = f"{tag.cartridge_id!r} is not the number of a cartridge"
        return _nothing("cartridge", tag.cartridge_id, said)
    if type(tag.expires) is not date or type(today) is not date:
        return _nothing("cartridge", repr(tag.expires), "its expiry or today's date is unknown")
    if tag.expires < today:
        said = f"expired on {tag.expires}"
        return _nothing("cartridge", str(tag.expires), said, SINGLE_USE, "cartridge")
    if tag.used_by is not None and tag.used_by != treatment:
        said = "used in another treatment"
        return _nothing("cartridge", tag.cartridge_id, said, SINGLE_USE, "cartridge")
    if tag.needles != pen.needles:
        limit = Limit("needles", pen.needles, "needles", pen.source, "pen profile")
        return _outside("Cartridge", limit, tag.needles, "exactly")
    return None


def _refuse_amount(request: Request, delivered: Delivered, limits: dict[str, Limit]) -> Refusal | None:
    """Refuse too large a zone, or more passes than the treatment has left."""
    where = _titled(request.area)
    asked = {"size": request.size_cm2, "passes": request.passes + delivered.passes}
    for name, value in asked.items():
        if value > limits[name].value:
            return _outside(where, limits[name], value, "at most")
    return None


def _nothing(name: str, asked: object, said: str, source: str = RULE, layer: Layer = "request") -> Refusal:
    """A refusal that permits nothing; no figure would be right, so it has no unit."""
    shown = asked if _is_number(asked) else str(asked)
    message = f"{_titled(name)}: {said} ({layer}: {source})"
    return Refusal(Limit(name, 0.0, "", source, layer), shown, message)


def _outside(where: str, limit: Limit, asked: float, relation: str) -> Refusal:
    """A refusal that says what would have been right: at most, at least, exactly ... the limit."""
    unit, source = limit.unit, f"{limit.layer}: {limit.source}"
    expected = f"{relation} {_figure(limit.value, unit)}"
    return Refusal(limit, asked, f"{where}: {_figure(asked, unit)} asked, {expected} ({source})")


def _figure(value: float, unit: str) -> str:
    """A figure in full, so that one just above a limit never reads as equal to it."""
    return f"{str(value).removesuffix('.0')} {unit}"


def _titled(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _is_number(value: object) -> TypeGuard[float]:
    """True for a finite int or float; NaN compares false, and a bool is no figure."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _is_key(name: object, among: Mapping[str, object]) -> bool:
    return isinstance(name, str) and name in among
