"""Plans: offered from indication and skin type inside all limits, and kept as templates.

A template is a file as `pen run` takes it. It says nothing of a patient but indication and skin type; its title is a
person's own words.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import tomli_w

from pen_controller import limits
from pen_controller.config import Config, Plan, PlanArea, load_plan
from pen_controller.files import save
from pen_controller.limits import CartridgeTag, Delivered, Envelope, Limit, Refusal, Request

_NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)[a-z0-9][a-z0-9_-]{0,39}")
"""Of a template; the names left out are devices on Windows."""
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Offer:
    """Areas to treat, the concerns first, and the areas that cannot be offered, each with the reason."""

    areas: tuple[PlanArea, ...]
    left_out: Mapping[str, str]

    def plan(self, title: str, fitzpatrick: int) -> Plan:
        """Make a plan of it. Raises `ValueError` where no area is left."""
        if not self.areas:
            raise ValueError(f"nothing can be offered: {'; '.join(self.left_out.values())}")
        return Plan(title=title, indication=self.areas[0].indication or "", fitzpatrick=fitzpatrick, areas=self.areas)


def offer(
    indications: Sequence[str],
    fitzpatrick: int,
    *,
    config: Config,
    envelope: Envelope,
    pen_profile: str,
    concerns: Sequence[str] = (),
) -> Offer:
    """Offer the typical depth, rate and passes for each area of the indications, as far as every limit allows.

    Args:
        indications: keys of the configuration; an area that several list is offered for the first of them.
        fitzpatrick: skin type, 1 to 6.
        config: the limits and the typical figures.
        envelope: what the connected pen reports of itself.
        pen_profile: its name in `config.pens`.
        concerns: areas to come first, in this order.

    Raises:
        KeyError: a name or the skin type is not in the configuration.
    """
    first = {area: name for name in reversed(indications) for area in config.indications[name].areas}
    order = [*dict.fromkeys(concerns), *(area for area in config.areas if area in first and area not in concerns)]
    areas, left_out = [], {}
    for area in order:
        if area not in first:
            left_out[area] = f"{area}: none of the indications is listed for it"
            continue
        wanted, refusal = _typical(
            area, first[area], fitzpatrick, config=config, envelope=envelope, pen_profile=pen_profile
        )
        if refusal is None:
            areas.append(wanted)
        else:
            left_out[area] = refusal.message
    return Offer(tuple(areas), left_out)


def _typical(
    area: str, indication: str, fitzpatrick: int, *, config: Config, envelope: Envelope, pen_profile: str
) -> tuple[PlanArea, Refusal | None]:
    """The typical figures of an area, as near as limits and pen let them be; and what forbids it still."""
    own, pen, overlay = config.areas[area], config.pens[pen_profile], config.indications[indication].depth_mm
    caps, floors = limits.caps(area, indication, fitzpatrick, config=config, envelope=envelope, pen_profile=pen_profile)
    depth_mm = overlay.typical if overlay and area in overlay.areas else own.depth_mm.typical
    wanted = PlanArea(
        area=area,
        depth_mm=_settable(depth_mm, caps["depth"], floors["depth"], pen.depth_mm.step),
        rate_hz=max(min(own.rate_hz.typical, caps["rate"].value), floors["rate"].value),
        passes=max(1, int(min(own.passes.typical, caps["passes"].value))),
        size_cm2=min(own.size_cm2.typical, caps["size"].value),
        indication=indication,
    )
    verdict = limits.authorize(
        Request(area, indication, fitzpatrick, wanted.depth_mm, wanted.rate_hz, wanted.passes, wanted.size_cm2),
        config=config,
        envelope=envelope,
        pen_profile=pen_profile,
        cartridge=CartridgeTag(1, pen.needles, date.max, None),  # one as it should be
        treatment=1,
        today=date.min,
        delivered=Delivered(),
    )
    return wanted, verdict if isinstance(verdict, Refusal) else None


def _settable(typical_mm: float, cap: Limit, floor: Limit, step_mm: float) -> float:
    """The deepest setting that is no deeper than typical; the least that the pen has, where all are deeper."""
    most, least = min(typical_mm, cap.value), max(floor.value, step_mm)
    steps = max(math.floor(most / step_mm + _TINY), math.ceil(least / step_mm - _TINY))
    return round(steps * step_mm, 6)


# --- templates -------------------------------------------------------------------------------------------------------


class Templates:
    """Plans kept by name in a folder of this user, one TOML file each.

    Args:
        folder: made when the first is saved.
        config: by which plans are read.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self._folder, self._config = folder, config

    def names(self) -> list[str]:
        """Those that there are, in order."""
        return sorted(path.stem for path in self._folder.glob("*.toml") if _NAME.fullmatch(path.stem))

    def load(self, name: str) -> Plan:
        """Read one.

        Raises:
            ValueError: the name is none.
            ConfigError: it is not there, or is wrong.
        """
        return load_plan(self._path(name), self._config)

    def save(self, name: str, plan: Plan, *, replace: bool = False) -> Path:
        """Keep a plan; return its file.

        Args:
            name: 1 to 40 of the letters a to z, figures, - and _.
            plan: what to keep.
            replace: the one of this name that there is already.

        Raises:
            ValueError: the name is none, or taken.
            OSError: it cannot be written.
        """
        path = self._path(name)
        if path.exists() and not replace:
            raise ValueError(f"there is a template {name!r} already: take another name, or replace it")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        save(path, as_toml(plan))
        return path

    def remove(self, name: str) -> None:
        """Forget one. Raises `ValueError` if the name is none, `FileNotFoundError` if there is none of it."""
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can name no template: give 1 to 40 of the letters a to z, figures, - and _")
        return self._folder / f"{name}.toml"


def as_toml(plan: Plan) -> bytes:
    """A plan as a file, such as `config.load_plan` reads."""
    return tomli_w.dumps(plan.model_dump(exclude_none=True)).encode()
