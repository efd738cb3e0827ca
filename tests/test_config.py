"""The shipped configuration holds together, and every fault in one is named."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import ValidationError

from pen_controller import config
from pen_controller.config import PROPOSED, ConfigError

SHIPPED = config.load()
CONFIGS = Path(str(files("configs")))

DEPTHS_MM = {  # min, typical, warn, hard, as in the table of the domain
    "forehead": (0.25, 0.5, 0.5, 0.75),
    "glabella": (0.25, 0.5, 0.5, 1.0),
    "temple": (0.25, 0.3, 0.5, 0.75),
    "periorbital": (0.2, 0.25, 0.3, 0.5),
    "nose": (0.25, 0.3, 0.5, 0.8),
    "cheekbone": (0.5, 0.5, 0.75, 1.0),
    "cheek": (0.5, 1.0, 1.5, 2.0),
    "chin": (0.5, 1.0, 1.5, 2.0),
    "upper_lip": (0.25, 0.25, 0.5, 0.75),
    "jawline": (0.5, 0.75, 1.0, 1.5),
    "neck": (0.25, 0.5, 1.0, 1.5),
    "decolletage": (0.25, 0.5, 1.0, 1.5),
    "hands": (0.25, 0.5, 0.75, 1.0),
    "scalp": (0.5, 0.6, 1.2, 1.5),
    "abdomen": (1.0, 1.5, 2.0, 2.5),
}
CODES = [*DEPTHS_MM]
CODES.insert(4, "eyelid")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the shipped files, to be spoiled."""
    return Path(shutil.copytree(CONFIGS, tmp_path / "mine"))


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def refused(path: Path) -> list[str]:
    """The problems of a file or directory, a line each, without the directory."""
    root = path if path.is_dir() else path.parent
    return [str(p).replace(f"{root}/", "").replace(f"{root}\\", "") for p in config.check(path)]


def test_depths_are_those_of_the_domain() -> None:
    found = {
        name: (a.depth_mm.min, a.depth_mm.typical, a.depth_mm.warn, a.depth_mm.hard)
        for name, a in SHIPPED.areas.items()
    }
    assert found == DEPTHS_MM


def test_codes_on_the_wire_never_change() -> None:
    codes = {area.code: name for name, area in SHIPPED.areas.items()}
    codes |= {area.code: name for name, area in SHIPPED.blocked.items()}
    assert codes == dict(enumerate(CODES, start=1))


def test_density_cap_allows_the_hard_passes_at_a_sensible_speed() -> None:
    for area in SHIPPED.areas.values():
        pass_per_cm2 = 14 * area.rate_hz.hard / (1.0 * 2.0)  # 14 needles, 1 cm tip, 2 cm/s
        assert area.density_per_cm2.hard >= area.passes.hard * pass_per_cm2


def test_a_glide_at_six_centimetres_a_second_is_not_yet_dragging() -> None:
    for area in SHIPPED.areas.values():
        fastest_per_cm2 = 14 * area.rate_hz.typical / (1.0 * 6.0)  # 14 needles, 1 cm tip, 6 cm/s
        assert area.technique.least_per_cm2 == pytest.approx(fastest_per_cm2, abs=5)


def test_proposed_figures_say_so() -> None:
    for area in SHIPPED.areas.values():
        for group in (area.rate_hz, area.force_n, area.passes, area.density_per_cm2, area.size_cm2, area.technique):
            assert group.source == PROPOSED
    assert SHIPPED.areas["temple"].depth_mm.source == PROPOSED
    assert SHIPPED.areas["forehead"].depth_mm.source.startswith("Dr. Pen")


def test_every_pen_has_a_cartridge() -> None:
    kinds = {(c.needles, c.tip_width_mm) for c in SHIPPED.cartridges.values()}
    for pen in SHIPPED.pens.values():
        assert (pen.needles, pen.tip_width_mm) in kinds


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError):
        SHIPPED.areas["cheek"].depth_mm.hard = 3.0  # type: ignore[misc]  # the point of the test


def test_shipped_directory_and_each_of_its_files_are_right() -> None:
    assert config.check(CONFIGS) == []
    for pattern in ("*.toml", "plans/*.toml", "texts/*.toml"):
        for path in CONFIGS.glob(pattern):
            assert config.check(path) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "areas.toml",
            "code = 1\n",
            "code = 1\ncolour = 3\n",
            "areas.toml: areas.forehead.colour = 3: expected one of: code, label, bony, ",
        ),
        (
            "areas.toml",
            "hard = 0.75, source",
            "hardest = 0.75, source",
            "areas.forehead.depth_mm.hardest = 0.75: expected one of: source, min, typical, warn, ",
        ),
        ("areas.toml", "hard = 0.75, ", "", "areas.forehead.depth_mm.hard = (missing): expected a"),
        ("areas.toml", "hard = 0.75", "hard = nan", "depth_mm.hard = NaN: expected a finite number"),
        ("areas.toml", "hard = 0.75", "hard = inf", "depth_mm.hard = Infinity: expected a finite"),
        ("areas.toml", "hard = 0.75", "hard = true", "depth_mm.hard = true: expected a valid num"),
        ("areas.toml", "hard = 0.75", 'hard = "1"', 'depth_mm.hard = "1": expected a valid number'),
        ("areas.toml", "hard = 0.75", "hard = -1", "depth_mm.hard = -1: expected greater than 0"),
        (
            "areas.toml",
            "hard = 0.75",
            "hard = 0.4",
            "areas.forehead.depth_mm.hard = 0.4: expected at least 0.5, which is `warn`",
        ),
        ("areas.toml", "typical = 0.5", "typical = 0.2", "typical = 0.2: expected at least 0.25"),
        ("areas.toml", "typical = 3, warn = 4", "typical = 5, warn = 4", "passes.warn = 4: expect"),
        (
            "areas.toml",
            "code = 5",
            "code = 4",
            "blocked.eyelid.code = 4: expected a code of its own; areas.periorbital has it",
        ),
        ("areas.toml", "code = 1\n", "code = 256\n", "code = 256: expected less than or equal to"),
        ("areas.toml", "bony = true", "bony =", "areas.toml: line 13 = 'bony =': expected valid"),
        ("areas.toml", "crossing_deg = 45", "crossing_deg = 91", "technique.crossing_deg = 91: expected less than or"),
        ("areas.toml", "air_s = 5.0, ", "", "areas.forehead.technique.air_s = (missing): expected a"),
        ("areas.toml", "[blocked.eyelid]", "[closed.eyelid]", "closed = {"),
        ("indications.toml", '"hands",', '"feet",', 'areas = "feet": expected one of: abdomen, '),
        ("indications.toml", '["scalp"]', '["eyelid"]', 'areas = "eyelid": expected one of: abd'),
        (
            "indications.toml",
            "hard = 2.0",
            "hard = 2.2",
            "acne_scars.depth_mm.hard = 2.2: expected at most 2.0 (areas.toml: Dr. Pen needle",
        ),
        ("indications.toml", '["cheek", "chin"]', '["scalp"]', 'depth_mm.areas = "scalp": expec'),
        ("skin.toml", "[types.6]", "[types.7]", 'skin.toml: types = ["1", "2", "3", "4", "5", "7"'),
        ("pens.toml", "max = 2.5, step = 0.05", "max = 2.5", "depth_mm.step = (missing): expect"),
        ("pens.toml", "min = 20.0, max", "min = 200.0, max", "rate_hz.max = 150.0: expected at l"),
        ("cartridges.toml", "single_use = true", "single_use = false", "single_use = false: exp"),
        ("screening.toml", '"contraindication"', '"taboo"', 'skin_cancer.kind = "taboo": expected \'contra'),
        ("screening.toml", "[screening.herpes]", "[screening.hay_fever]", "hay_fever.text = (missing): expected a"),
        ("screening.toml", 'source = "SkinPen', 'sauce = "SkinPen', "screening.skin_cancer.source = (missing)"),
        ("checklist.toml", "[checklist.consent]", "[checklist.coffee]", "coffee.text = (missing): expected a text"),
        ("checklist.toml", 'unless_none = "numbing"', 'unless_none = "consent"', 'unless_none = "consent": expected'),
        ("checklist.toml", "agent = true\nminutes", "minutes", "numbing.agent = false: expected true, where minutes"),
        ("checklist.toml", "min = 20, max", "min = 50, max", "minutes.max = 45: expected at least 50, which is `min`"),
        ("aftercare.toml", "hours = 72", "hours = 0", "no_sun.hours = 0: expected greater than or equal to 1"),
        ("clinic.toml", '"demo-clinic"', '"demo/clinic"', 'clinic.toml: site = "demo/clinic": exp'),
        ("clinic.toml", '"exceed"', '"excess"', 'clinic.toml: pens = "excess": expected one of:'),
        ("clinic.toml", "[areas.neck]", "[areas.eyelid]", 'areas = "eyelid": expected one of: '),
        ("plans/demo.toml", "passes = 2", "passes = 2.5", "areas[0].passes = 2.5: expected a val"),
        ("plans/demo.toml", '"forehead"', '"brow"', 'areas[1].area = "brow": expected one of: '),
        ("plans/demo.toml", '"fine_lines"', '"spots"', 'indication = "spots": expected one of: '),
        ("plans/demo.toml", "passes = 2", 'passes = 2\nindication = "x"', 'areas[0].indication = "x": expected one of'),
        ("plans/demo.toml", "fitzpatrick = 2", "fitzpatrick = 7", "fitzpatrick = 7: expected less"),
        ("plans/demo.toml", "[[areas]]", "[[zones]]", "zones = ["),
    ],
)
def test_a_fault_is_named(directory: Path, file: str, old: str, new: str, expected: str) -> None:
    spoil(directory / file, old, new)
    said = refused(directory)
    assert any(expected in line for line in said), said
    assert any(expected in line for line in refused(directory / file))  # and when checked alone


@pytest.mark.parametrize("file", [f"{kind}.toml" for kind in config.KINDS])
def test_a_missing_file_is_one_clear_problem(directory: Path, file: str) -> None:
    (directory / file).unlink()
    said = refused(directory)
    assert len(said) == 1
    assert said[0].startswith(f"{file}: file = (")


def test_a_misnamed_file_is_refused(directory: Path) -> None:
    (directory / "clinics.toml").write_text("", encoding="utf-8")
    assert refused(directory) == [f"clinics.toml: file = clinics: expected one of: {', '.join(config.KINDS)}"]


def test_a_file_that_is_not_text_is_named(directory: Path) -> None:
    (directory / "skin.toml").write_bytes(b"\xff\xfe")
    assert refused(directory) == ["skin.toml: file = (bytes): expected text in UTF-8"]


@pytest.mark.parametrize("file", ["areas.toml", "clinic.toml", "plans/demo.toml"])
def test_a_syntax_error_is_one_problem(directory: Path, file: str) -> None:
    (directory / file).write_text("site = 'x'\nsite =", encoding="utf-8")
    for path in (directory, directory / file):
        said = refused(path)
        assert len(said) == 1
        assert "line 2 = 'site =': expected valid TOML" in said[0]


def test_an_empty_file_lacks_its_table(directory: Path) -> None:
    (directory / "cartridges.toml").write_text("", encoding="utf-8")
    assert refused(directory) == [
        "cartridges.toml: cartridges = (missing): expected a table [cartridges.NAME] for each"
    ]


def test_every_problem_of_every_file_is_reported(directory: Path) -> None:
    spoil(directory / "areas.toml", "hard = 0.75", "hard = 0.1")
    spoil(directory / "areas.toml", "code = 2\n", "code = 1.5\nodd = 1\n")
    spoil(directory / "pens.toml", "needles = 12\n", "")
    spoil(directory / "clinic.toml", "hard = 0.4", "hard = 0.9")
    with pytest.raises(ConfigError) as caught:
        config.load(directory)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == [
        "areas.forehead.depth_mm.hard",
        "areas.glabella.code",
        "areas.glabella.odd",
        "pens.simulated.needles",
        "areas.periorbital.depth_mm.hard",
    ]
    assert str(caught.value).count("\n") == len(keys) - 1


GROUPS = ("size_cm2", "depth_mm", "rate_hz", "force_n", "passes", "density_per_cm2")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("area", sorted(SHIPPED.areas))
def test_a_clinic_cannot_widen(tmp_path: Path, area: str, group: str) -> None:
    base = getattr(SHIPPED.areas[area], group)
    clinic = tmp_path / "ours.toml"  # a name of its own: told by its key `site`
    text = 'site = "x"\nmin_interval_days = 28\npens = []\nareas.{}.{} = {{ hard = {}, source = "us" }}'

    clinic.write_text(text.format(area, group, base.hard), encoding="utf-8")
    assert refused(clinic) == []
    clinic.write_text(text.format(area, group, base.hard * 1.001), encoding="utf-8")
    most = base.hard if group == "passes" else float(base.hard)
    said = f"areas.{area}.{group}.hard = {base.hard * 1.001}: expected at most {most} (areas.toml: {base.source})"
    assert refused(clinic) == [f"ours.toml: {said}"]


def test_a_clinic_cannot_widen_a_warning(directory: Path) -> None:
    spoil(directory / "clinic.toml", "hard = 0.4", "warn = 0.35, hard = 0.4")
    assert any("depth_mm.warn = 0.35: expected at most 0.3" in line for line in refused(directory))


def test_plans_load_and_a_size_left_out_is_the_typical_one() -> None:
    demo = config.load_plan(CONFIGS / "plans" / "demo.toml", SHIPPED)
    assert [(a.area, a.depth_mm, a.rate_hz, a.passes, a.size_cm2) for a in demo.areas] == [
        ("cheek", 1.0, 100, 2, 4.0),
        ("forehead", 0.5, 90, 2, 4.0),
        ("periorbital", 0.25, 60, 1, 4.0),
    ]
    face = config.load_plan(CONFIGS / "plans" / "full_face.toml", SHIPPED)
    assert [a.size_cm2 for a in face.areas] == [SHIPPED.areas[a.area].size_cm2.typical for a in face.areas]


def test_a_plan_for_a_blocked_area_does_not_load(directory: Path) -> None:
    plan = directory / "plans" / "demo.toml"
    spoil(plan, '"periorbital"', '"eyelid"')
    with pytest.raises(ConfigError, match=r'areas\[2\]\.area = "eyelid": expected one of'):
        config.load_plan(plan, SHIPPED)


def test_an_area_refused_by_itself_is_not_also_missed(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "t"\nindication = "fine_lines"\nfitzpatrick = 2\n'
        '[[areas]]\narea = "cheek"\ndepth_mm = nan\nrate_hz = 100\npasses = 1\n'
    )
    assert [problem.key for problem in config.check(plan)] == ["areas[0].depth_mm"]
