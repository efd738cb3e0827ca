"""What a person may be given, reckoned anew from the TOML files of `configs/`: nothing of the controller is asked."""

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

CONFIGS = Path(__file__).parents[3] / "configs"


class Grant(NamedTuple):
    """What one request of a person allows at the most."""

    area: str
    depth_um: float
    """The least of firmware envelope, pen, area, indication, skin type and clinic."""
    punctures_per_cm2: float
    """The hard density of the area, or the clinic's."""
    size_cm2: float
    """As asked for."""


@cache
def _read(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


class Permitted:
    """The limits of one pen at one clinic.

    Args:
        pen: Name of the pen in `pens.toml`.
        envelope_depth_mm: The firmware's own deepest.
        envelope_rate_hz: The firmware's own fastest.
        configs: Folder of the TOML files.
    """

    def __init__(self, pen: str, envelope_depth_mm: float, envelope_rate_hz: float, configs: Path = CONFIGS) -> None:
        self._areas = _read(configs / "areas.toml")["areas"]
        self._indications = _read(configs / "indications.toml")["indications"]
        self._types = _read(configs / "skin.toml")["types"]
        self._clinic = _read(configs / "clinic.toml")
        self._pen = _read(configs / "pens.toml")["pens"][pen]
        self._depth_mm = envelope_depth_mm
        self._rate_hz = envelope_rate_hz
        self.needles: int = self._pen["needles"]
        """That a cartridge for this pen has."""

    def grant(self, asked: Mapping[str, Any]) -> Grant | None:
        """What a request (the detail of an APPROVED) allows; None if it must be refused."""
        area = asked["area"]
        indication = asked.get("indication")
        if area not in self._areas or str(asked["fitzpatrick"]) not in self._types:
            return None
        if indication is not None and area not in self._indications.get(indication, {"areas": ()})["areas"]:
            return None
        most = {
            "depth_mm": self._depth(area, indication, str(asked["fitzpatrick"])),
            "rate_hz": min(self._hard(area, "rate_hz"), self._pen["rate_hz"]["max"], self._rate_hz),
            "passes": self._hard(area, "passes"),
            "size_cm2": self._hard(area, "size_cm2"),
        }
        if not all(math.isfinite(asked[name]) and 0 < asked[name] <= value for name, value in most.items()):
            return None
        return Grant(area, most["depth_mm"] * 1000, self._hard(area, "density_per_cm2"), asked["size_cm2"])

    def _depth(self, area: str, indication: str | None, fitzpatrick: str) -> float:
        overlay = self._indications[indication].get("depth_mm", {}) if indication is not None else {}
        most: float = min(
            self._depth_mm,
            self._pen["depth_mm"]["max"],
            self._hard(area, "depth_mm"),
            overlay.get("hard", math.inf) if area in overlay.get("areas", ()) else math.inf,
            self._types[fitzpatrick].get("depth_mm", {}).get("hard", math.inf),
        )
        return most

    def _hard(self, area: str, figure: str) -> float:
        """The area's hard figure, or the clinic's narrower one."""
        narrower = self._clinic.get("areas", {}).get(area, {}).get(figure, {})
        return float(min(self._areas[area][figure]["hard"], narrower.get("hard", math.inf)))
