"""The figures of the layers that narrow each other, and which of them binds. Pure: no I/O and no clock."""

from dataclasses import dataclass
from typing import Literal

from pen_controller.config import Config, PenProfile

Layer = Literal[
    "area", "indication", "skin", "clinic", "pen profile", "firmware envelope", "cartridge", "preparation", "request"
]
Layers = list[tuple[Layer, object]]
"""What has a say, and its table: figure groups under their usual keys."""

REPORTED = "reported by the pen itself"

QUANTITIES = {
    "depth": ("depth_mm", "mm"),
    "rate": ("rate_hz", "Hz"),
    "force": ("force_n", "N"),
    "size": ("size_cm2", "cm2"),
    "passes": ("passes", "passes"),
    "density": ("density_per_cm2", "punctures/cm2"),
}
"""What is limited: its key in every table, and its unit."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure that binds; value 0 of what is not a number means that nothing is permitted."""

    name: str
    value: float
    unit: str
    source: str
    layer: Layer


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the pen's firmware reports of itself."""

    min_depth_mm: float
    max_depth_mm: float
    min_rate_hz: float
    max_rate_hz: float
    max_force_n: float


def layers_of(area: str, indication: str, fitzpatrick: int, *, config: Config, pen: PenProfile) -> Layers:
    """What has a say besides the firmware. Raises `KeyError` for a name that the configuration does not know."""
    treated = config.indications[indication]
    overlay = treated.depth_mm
    return [
        ("area", config.areas[area]),
        ("indication", treated if overlay and area in overlay.areas else None),
        ("skin", config.skin[fitzpatrick]),
        ("clinic", config.clinic.areas.get(area)),
        ("pen profile", pen),
    ]


def least(layers: Layers, envelope: Envelope) -> dict[str, Limit]:
    """The binding limit of each quantity."""
    firmware = {
        "depth": envelope.max_depth_mm,
        "rate": envelope.max_rate_hz,
        "force": envelope.max_force_n,
    }
    binding = {}
    for name, (key, unit) in QUANTITIES.items():
        groups = [(layer, getattr(table, key, None)) for layer, table in layers]
        limits = [Limit(name, group.hard, unit, group.source, layer) for layer, group in groups if group]
        if name in firmware:
            limits.append(Limit(name, firmware[name], unit, REPORTED, "firmware envelope"))
        binding[name] = min(limits, key=lambda limit: limit.value)
    return binding


def floors(pen: PenProfile, envelope: Envelope) -> tuple[Limit, ...]:
    """The least depth and rate that the pen can be set to."""
    candidates = (
        ("depth", "mm", pen.depth_mm, envelope.min_depth_mm),
        ("rate", "Hz", pen.rate_hz, envelope.min_rate_hz),
    )
    return tuple(
        Limit(name, reported, unit, REPORTED, "firmware envelope")
        if reported > profile.min
        else Limit(name, profile.min, unit, profile.source, "pen profile")
        for name, unit, profile, reported in candidates
    )
