"""The models of `configs/`, and how they are read and checked.

A figure group (depth, rate, force, ...) carries its own `source`, which speaks for its hard
figure; see `configs/README.md`. Every problem of a file is reported, not the first only.
"""

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pen_controller import questions
from pen_controller.questions import Advice, Question, Step
from pen_controller.texts import check_texts
from pen_controller.toml_file import ConfigError, Problem, TomlFile

__all__ = ["ConfigError", "Problem"]

PROPOSED = "project default, not sourced"
"""The source of a figure that this project proposes and no publication gives."""

KINDS = ("areas", "indications", "skin", "pens", "cartridges", "screening", "checklist", "aftercare", "clinic")
"""The files, without `.toml`."""
_ASCENDING = ("min", "typical", "warn", "hard", "max")

Positive = Annotated[float, Field(gt=0)]
_Source = tuple[str, Traversable]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[str, ...], Field(strict=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Figures(_Model):
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


class Depth(_Figures):
    """Needle depth of an area, in mm."""

    min: Positive
    typical: Positive
    warn: Positive
    hard: Positive


class Typical(_Figures):
    """A usual and a greatest figure; the unit is in the key: rate_hz, size_cm2."""

    typical: Positive
    hard: Positive


class Warned(_Figures):
    """A figure that warns and one that stops: force_n, density_per_cm2."""

    warn: Positive
    hard: Positive


class Passes(_Figures):
    """How often an area is covered in one treatment."""

    typical: Count
    warn: Count
    hard: Count


class Coverage(_Figures):
    """The least fraction of an area, above 0 to 1, that a pass must cover to count."""

    min: Annotated[float, Field(gt=0, le=1)]


class Technique(_Figures):
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


class Overlay(_Figures):
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


class Narrowing(_Figures):
    """A narrower hard figure, and where wanted a narrower warning."""

    warn: Positive | None = None
    hard: Positive


class SkinType(_Model):
    """A Fitzpatrick type: its caution for the clinician and its narrower depth in mm."""

    label: Text
    caution: str = ""
    depth_mm: Narrowing | None = None


class PenRange(_Figures):
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


class PenForce(_Figures):
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


def load(directory: Path | None = None) -> Config:
    """Read a configuration.

    Args:
        directory: holds all files of `KINDS`; None reads the shipped ones.

    Raises:
        ConfigError: with every problem found.
    """
    problems: list[Problem] = []
    config = _build(_within(directory, problems) if directory else _shipped(), problems)
    if config is None or problems:
        raise ConfigError(problems)
    return config


def load_plan(path: Traversable, config: Config) -> Plan:
    """Read a plan, whose areas and indication must be known to `config`.

    Raises:
        ConfigError: with every problem found.
    """
    problems: list[Problem] = []
    plan = _plan(TomlFile(str(path), path, problems), config)
    if plan is None or problems:
        raise ConfigError(problems)
    return plan


def check(path: Path) -> list[Problem]:
    """Find every problem of a directory (once it loads, of its `plans/` too) or of one file.

    One file is checked against the shipped others. Its name says its kind (`areas.toml`, ...);
    under any other name it is a clinic if it has the key `site`, texts if it has `language`, else a plan.
    """
    problems: list[Problem] = []
    if path.is_dir():
        config = _build(_within(path, problems), problems)
        if config:
            for plan in sorted(path.glob("plans/*.toml")):
                _plan(TomlFile(str(plan), plan, problems), config)
        return problems
    file = TomlFile(str(path), path, problems)
    kind = path.stem if path.stem in KINDS else "clinic" if "site" in file.raw else "plan"
    if file.broken:
        return problems
    if "language" in file.raw:
        check_texts(file)
    elif kind == "plan":
        _plan(file, load())
    else:
        _build(_shipped() | {kind: (str(path), path)}, problems)
    return problems


def _shipped() -> dict[str, _Source]:
    return {k: (f"configs/{k}.toml", files("configs") / f"{k}.toml") for k in KINDS}


def _within(directory: Path, problems: list[Problem]) -> dict[str, _Source]:
    """The files of a directory; a misnamed one would lose its limits in silence, so is refused."""
    problems.extend(
        Problem(str(path), "file", path.stem, f"one of: {', '.join(KINDS)}")
        for path in sorted(directory.glob("*.toml"))
        if path.stem not in KINDS
    )
    return {k: (str(directory / f"{k}.toml"), directory / f"{k}.toml") for k in KINDS}


def _build(sources: Mapping[str, _Source], problems: list[Problem]) -> Config | None:
    """Read and check all files; None if any has a problem."""
    before = len(problems)
    file = {kind: TomlFile(*source, problems) for kind, source in sources.items()}
    area_names, pen_names = file["areas"].names("areas"), file["pens"].names("pens")
    types = file["skin"].names("types")
    if types != set("123456") and not file["skin"].broken:
        file["skin"].refuse("types", sorted(types), 'the six types "1" to "6"')

    areas = file["areas"].take("areas", Area)
    blocked = file["areas"].take("blocked", BlockedArea)
    indications = file["indications"].take("indications", Indication)
    skin = file["skin"].take("types", SkinType)
    pens = file["pens"].take("pens", PenProfile)
    cartridges = file["cartridges"].take("cartridges", Cartridge)
    screening = questions.take(file["screening"], "screening", Question)
    checklist = questions.take_steps(file["checklist"])
    aftercare = questions.take(file["aftercare"], "aftercare", Advice)
    narrowed = file["clinic"].take("areas", ClinicArea, optional=True)
    clinic = file["clinic"].rest(Clinic, areas=narrowed)
    for each in file.values():
        each.close()

    _check_codes(file["areas"], areas, blocked)
    if not file["areas"].broken:
        _check_indications(file["indications"], indications, areas, area_names)
        _check_narrowed(file["clinic"], narrowed, areas, area_names)
    if clinic and not file["pens"].broken:
        file["clinic"].known("pens", clinic.pens, pen_names)
    if clinic is None or len(problems) > before:
        return None
    return Config(
        areas=areas,
        blocked=blocked,
        indications=indications,
        skin={int(name): entry for name, entry in skin.items()},
        pens=pens,
        cartridges=cartridges,
        screening=screening,
        checklist=checklist,
        aftercare=aftercare,
        clinic=clinic,
    )


def _check_codes(file: TomlFile, areas: Mapping[str, Area], blocked: Mapping[str, BlockedArea]) -> None:
    codes = [(f"areas.{name}", area.code) for name, area in areas.items()]
    codes += [(f"blocked.{name}", area.code) for name, area in blocked.items()]
    owner: dict[int, str] = {}
    for key, code in codes:
        if owner.setdefault(code, key) != key:
            file.refuse(f"{key}.code", code, f"a code of its own; {owner[code]} has it")


def _check_indications(
    file: TomlFile, indications: Mapping[str, Indication], areas: Mapping[str, Area], names: set[str]
) -> None:
    for name, indication in indications.items():
        at = f"indications.{name}"
        file.known(f"{at}.areas", indication.areas, names)
        if overlay := indication.depth_mm:
            file.known(f"{at}.depth_mm.areas", overlay.areas, indication.areas)
            for area in (each for each in overlay.areas if each in areas):
                _check_narrows(file, f"{at}.depth_mm", overlay, areas[area].depth_mm)


def _check_narrowed(
    file: TomlFile, narrowed: Mapping[str, ClinicArea], areas: Mapping[str, Area], names: set[str]
) -> None:
    file.known("areas", narrowed, names)
    for name in (each for each in narrowed if each in areas):
        for group, figures in narrowed[name]:
            if figures is not None:
                _check_narrows(file, f"areas.{name}.{group}", figures, getattr(areas[name], group))


def _check_narrows(file: TomlFile, at: str, figures: _Figures, base: _Figures) -> None:
    """Refuse a warning or hard figure that is wider than the area's own."""
    for key in ("warn", "hard"):
        value, most = getattr(figures, key), getattr(base, key, None)
        if value is not None and most is not None and value > most:
            file.refuse(f"{at}.{key}", value, f"at most {most} (areas.toml: {base.source})")


def _plan(file: TomlFile, config: Config) -> Plan | None:
    """Check a plan; a size left out becomes the area's typical one."""
    listed = file.raw.get("areas")
    for i, entry in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(entry, dict) and isinstance(name := entry.get("area"), str):
            file.known(f"areas[{i}].area", [name], config.areas)
            area = config.areas.get(name)
            entry.setdefault("size_cm2", area.size_cm2.typical if area else 1.0)
        if isinstance(entry, dict) and isinstance(name := entry.get("indication"), str):
            file.known(f"areas[{i}].indication", [name], config.indications)
    if isinstance(name := file.raw.get("indication"), str):
        file.known("indication", [name], config.indications)
    return file.rest(Plan)
