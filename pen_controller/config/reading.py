"""Reads `configs/` and plans, and checks them: every problem of a file is reported, not the first only."""

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pen_controller.config import questions
from pen_controller.config.models import (
    Area,
    BlockedArea,
    Cartridge,
    Clinic,
    ClinicArea,
    Config,
    Figures,
    Indication,
    PenProfile,
    Plan,
    SkinType,
)
from pen_controller.config.questions import Advice, Question
from pen_controller.config.texts import check_texts
from pen_controller.config.toml_file import ConfigError, Problem, TomlFile

KINDS = ("areas", "indications", "skin", "pens", "cartridges", "screening", "checklist", "aftercare", "clinic")
"""The files, without `.toml`."""

_Source = tuple[str, Traversable]


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


def _check_narrows(file: TomlFile, at: str, figures: Figures, base: Figures) -> None:
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
