"""What counting an area yields, and what has to be known for it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Family = Literal["straight", "circular"]


@dataclass(frozen=True, slots=True)
class Zone:
    """An area under one pen: what has to be known to count it.

    Args:
        size_cm2: of the zone.
        needles: of the cartridge.
        tip_width_mm: of the round tip.
        min_coverage: share of the zone that makes a pass.
        motion: the pen has a motion sensor.
        contact: the pen senses contact.
    """

    size_cm2: float
    needles: int
    tip_width_mm: float
    min_coverage: float = 0.8
    motion: bool = True
    contact: bool = True


class Coverage(NamedTuple):
    """Share of the zone that has been swept: somewhere from `low` to `high`. Equal if contact was kept."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Glide:
    """A glide, timed from the first sample heard. No length without a motion sensor."""

    lane: int
    start_us: int
    end_us: int
    length_mm: float | None


@dataclass(frozen=True, slots=True)
class Pass:
    """The zone covered once more. Counts are of this pass alone, `index` from 1; `direction_deg` from 0 to 180."""

    lane: int
    index: int
    strokes: int
    punctures: int
    density_per_cm2: float
    deepest_um: int
    duration_s: float
    coverage: Coverage
    family: Family
    direction_deg: float | None
    how: str


class Finished(NamedTuple):
    """What a batch completed."""

    glides: list[Glide]
    passes: list[Pass]


class Figures(NamedTuple):
    """What an area has been given so far. `how` says for each figure how it was got."""

    strokes: int
    punctures: int
    density_per_cm2: float
    deepest_um: int
    duration_s: float
    contact_s: float
    glides: int
    passes: int | None
    coverage: Coverage | None
    """Of the pass under way."""
    local_density_per_cm2: float | None
    """Where most since the tip was set down."""
    evenness_cv: float | None
    """Standard deviation over mean of the punctures per spot, contact by contact. One glide alone has 0.3 to 0.5."""
    family: Family | None
    direction_deg: float | None
    how: dict[str, str]
