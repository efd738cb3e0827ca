"""The models of `configs/`.

A figure group (depth, rate, force, ...) carries its own `source`, which speaks for its hard
figure; see `configs/README.md`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pen_controller.config.questions import Advice, Question, Step

PROPOSED = "project default, not sourced"
"""The source of a figure that this project proposes and no publication gives."""

_ASCENDING = ("min", "typical", "warn", "hard", "max")

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Figures(_Model):
    """Figures that may not descend from min over typical and warn to hard or max."""

    source: Text

    @field_validator(*_ASCENDING, check_fields=False)
    @classmethod
    def _ascend(cls, value: float | None, info: ValidationInfo) -> float | None:
        below = [(n, info.data[n]) for n in _ASCENDING if info.data.get(n) is not None]
        if value is not None and below and value < below[-1][1]:
            name, least = below[-1]
            raise PydanticCustomError("order", "at least {least}, which is `{name}`", {"least": least, "name": name})
        return value


class Depth(Figures):
    """Needle depth of an area, in mm."""

    min: Positive
    typical: Positive
    warn: Positive
    hard: Positive


class Typical(Figures):
    """A usual and a greatest figure; the unit is in the key: rate_hz, size_cm2."""

    typical: Positive
    hard: Positive


class Warned(Figures):
    """A figure that warns and one that stops: force_n, density_per_cm2."""

    warn: Positive
    hard: Positive


class Passes(Figures):
    """How often an area is covered in one treatment."""

    typical: Count
    warn: Count
    hard: Count


class Coverage(Figures):
    """The least fraction of an area, above 0 to 1, that a pass must cover to count."""

    min: Annotated[float, Field(gt=0, le=1)]


class Technique(Figures):
    """How an area is worked, for coaching; a `crossing_deg` left out lets passes follow each other in any direction."""

    slowest_mm_s: Positive  # below, the tip stands
    least_per_cm2: Positive  # punctures of one glide; below, it drags
    air_s: Positive  # running in the air for longer is no break between passes
    crossing_deg: Annotated[float, Field(gt=0, le=90)] | None = None  # at least, from pass to pass


class Area(_Model):
    """A part of the body that may be treated; `code` is its number on the wire."""

    code: Annotated[int, Field(ge=1, le=255)]
    label: Text
    bony: bool
    size_cm2: Typical
    depth_mm: Depth
    rate_hz: Typical
    force_n: Warned
    passes: Passes
    density_per_cm2: Warned
    coverage: Coverage
    technique: Technique


class BlockedArea(_Model):
    """A part of the body that is never treated, and why."""

    code: Annotated[int, Field(ge=1, le=255)]
    label: Text
    reason: Text
    source: Text


class Overlay(Figures):
    """Depth in mm for one indication on the named areas; never wider than theirs."""

    areas: Names
    typical: Positive
    warn: Positive
    hard: Positive


class Indication(_Model):
    """What is treated, where, and with which depth overlay."""

    label: Text
    areas: Names
    depth_mm: Overlay | None = None


class Narrowing(Figures):
    """A narrower hard figure, and where wanted a narrower warning."""

    warn: Positive | None = None
    hard: Positive


class SkinType(_Model):
    """A Fitzpatrick type: its caution for the clinician and its narrower depth in mm."""

    label: Text
    caution: str = ""
    depth_mm: Narrowing | None = None


class PenRange(Figures):
    """What a pen can be set to; min = max is a pen of one setting, such as one speed."""

    min: NotNegative
    max: Positive

    @property
    def hard(self) -> float:
        """The greatest figure, named as the other layers name theirs."""
        return self.max


class PenDepth(PenRange):
    """Depth settings of a pen in mm: multiples of `step`, counted from zero."""

    step: Positive


class PenForce(Figures):
    """The greatest pressing force of a pen in N."""

    hard: Positive


class PenProfile(_Model):
    """A model of pen, as published; `source` speaks for the needle count."""

    label: Text
    needles: Count
    tip_width_mm: Positive
    source: Text
    note: str = ""
    depth_mm: PenDepth
    rate_hz: PenRange
    force_n: PenForce


class Cartridge(_Model):
    """A type of needle cartridge; `source` speaks for the needle count."""

    label: Text
    needles: Count
    tip_width_mm: Positive
    single_use: Literal[True]
    shelf_life: Text
    source: Text


class ClinicArea(_Model):
    """What a clinic narrows in one area."""

    size_cm2: Narrowing | None = None
    depth_mm: Narrowing | None = None
    rate_hz: Narrowing | None = None
    force_n: Narrowing | None = None
    passes: Narrowing | None = None
    density_per_cm2: Narrowing | None = None


class Clinic(_Model):
    """One clinic: its name in topics, the pens it allows, what it narrows."""

    site: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    min_interval_days: Count
    pens: Names
    areas: Mapping[str, ClinicArea]


class Config(_Model):
    """A whole configuration, checked; `skin` is keyed by Fitzpatrick type 1 to 6."""

    areas: Mapping[str, Area]
    blocked: Mapping[str, BlockedArea]
    indications: Mapping[str, Indication]
    skin: Mapping[int, SkinType]
    pens: Mapping[str, PenProfile]
    cartridges: Mapping[str, Cartridge]
    screening: Mapping[str, Question]
    checklist: Mapping[str, Step]
    aftercare: Mapping[str, Advice]
    clinic: Clinic


class PlanArea(_Model):
    """One area of a plan.

    A size left out in the file is the area's typical one, an indication left out is the plan's.
    """

    area: str
    depth_mm: Positive
    rate_hz: Positive
    passes: Count
    size_cm2: Positive
    indication: str | None = None


class Plan(_Model):
    """What a treatment is to do. Whether it is allowed is for `limits.authorize` to say."""

    title: Text
    indication: str
    fitzpatrick: Annotated[int, Field(ge=1, le=6)]
    areas: Annotated[tuple[PlanArea, ...], Field(strict=False, min_length=1)]
