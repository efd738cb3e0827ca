"""No grant ever exceeds a layer, and every refusal says which limit, its value, unit and source."""

import ast
import itertools
import math
import sys
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller import config as configuration
from pen_controller import layers, limits
from pen_controller.config import ClinicArea, Config, Narrowing
from pen_controller.limits import Delivered, Envelope, Grant, Limit, Refusal, Request
from tests.authorizing import (
    CHEEK,
    ENVELOPE,
    OPEN,
    OPEN_CLINIC,
    SHIPPED,
    TAG,
    ask,
    envelopes,
    granted,
    refused,
    requests,
)
from tests.safety_case.figures import measured


def narrowed(area: str, hard: dict[str, float]) -> Config:
    """A configuration whose clinic says this of the area, wider or narrower: limits must cope."""
    groups = {key: Narrowing(hard=value, source="us") for key, value in hard.items()}
    clinic = OPEN_CLINIC.model_copy(update={"areas": {area: ClinicArea.model_validate(groups)}})
    return SHIPPED.model_copy(update={"clinic": clinic})


def indication_of(area: str) -> str:
    return next(name for name, each in SHIPPED.indications.items() if area in each.areas)


def say_of(request: Request, config: Config, envelope: Envelope, pen: str) -> dict[str, list[float]]:
    """Every hard figure with a say, spelt out again and without the code under test."""
    area, overlay = config.areas[request.area], config.indications[request.indication].depth_mm
    skin, clinic = config.skin[request.fitzpatrick].depth_mm, config.clinic.areas.get(request.area)
    profile = config.pens[pen]
    say: dict[str, list[float]] = {
        "depth": [area.depth_mm.hard, profile.depth_mm.max, envelope.max_depth_mm],
        "rate": [area.rate_hz.hard, profile.rate_hz.max, envelope.max_rate_hz],
        "force": [area.force_n.hard, profile.force_n.hard, envelope.max_force_n],
        "passes": [area.passes.hard],
        "density": [area.density_per_cm2.hard],
        "size": [area.size_cm2.hard],
    }
    if overlay and request.area in overlay.areas:
        say["depth"].append(overlay.hard)
    if skin:
        say["depth"].append(skin.hard)
    for name, group in {
        "depth": clinic and clinic.depth_mm,
        "rate": clinic and clinic.rate_hz,
        "force": clinic and clinic.force_n,
        "passes": clinic and clinic.passes,
        "density": clinic and clinic.density_per_cm2,
        "size": clinic and clinic.size_cm2,
    }.items():
        if group:
            say[name].append(group.hard)
    return say


def test_the_demo_is_granted() -> None:
    grant = granted(ask())
    assert (grant.area_code, grant.depth_cap_mm, grant.rate_cap_hz, grant.force_cap_n) == (8, 2.0, 150, 5.0)
    assert (grant.passes_cap, grant.density_cap_per_cm2, grant.stroke_budget) == (6, 6300, 3150)
    assert (grant.needles, grant.cartridge_id, grant.treatment, grant.warnings) == (12, 7, 42, ())
    assert (grant.area, grant.depth_mm, grant.rate_hz, grant.passes, grant.size_cm2) == ("cheek", 1.0, 100.0, 2, 6.0)
    assert grant.depth_step == Limit("depth", 0.05, "mm", "this project's simulator", "pen profile")
    assert [limit.name for limit in grant.limits] == ["depth", "rate", "force", "size", "passes", "density"]


@pytest.mark.parametrize("plan", ["demo", "full_face"])
def test_shipped_plans_are_granted_without_a_warning(plan: str) -> None:
    path = Path(configuration.__file__).parents[2] / "configs" / "plans" / f"{plan}.toml"
    loaded = configuration.load_plan(path, SHIPPED)
    for entry in loaded.areas:
        figures = entry.model_dump() | {"indication": entry.indication or loaded.indication}
        request = Request(fitzpatrick=loaded.fitzpatrick, **figures)
        assert granted(ask(request)).warnings == ()


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("clinic", ["open", "shipped"])
@pytest.mark.parametrize("fitzpatrick", [2, 6])
@pytest.mark.parametrize("area", sorted(SHIPPED.areas))
def test_every_area_at_every_depth_step(area: str, fitzpatrick: int, clinic: str) -> None:
    config = OPEN if clinic == "open" else SHIPPED
    for indication, step in itertools.product(SHIPPED.indications, range(1, 61)):
        if area not in SHIPPED.indications[indication].areas:
            continue
        depth_mm = step * 50 / 1000
        request = Request(area, indication, fitzpatrick, depth_mm, 50.0, 1, 4.0)
        most = min(say_of(request, config, ENVELOPE, "simulated")["depth"])
        answer = ask(request, config=config)
        if depth_mm <= most:
            assert granted(answer).depth_cap_mm == most
        else:
            measured("granted", isinstance(answer, Grant))
            assert refused(answer).limit.value == most
            assert refused(answer).asked == depth_mm


def test_a_refusal_is_one_plain_sentence() -> None:
    answer = refused(ask(Request("periorbital", "fine_lines", 2, 0.8, 60.0, 1, 4.0)))
    assert answer.message == "Periorbital: 0.8 mm asked, at most 0.4 mm (clinic: decision of the demo clinic)"
    assert answer.asked == 0.8


given_before = st.builds(Delivered, passes=st.floats(0, 4), punctures=st.integers(0, 20_000))
clinic_figures = st.fixed_dictionaries(
    {},
    optional={
        "size_cm2": st.floats(5, 500),
        "depth_mm": st.floats(0.3, 3),
        "rate_hz": st.floats(50, 200),
        "force_n": st.floats(0.5, 8),
        "passes": st.floats(2, 8),
        "density_per_cm2": st.floats(500, 8000),
    },
)


@pytest.mark.hazard("H01", "H14")
@given(request=requests, envelope=envelopes, delivered=given_before, hard=clinic_figures)
def test_no_grant_exceeds_any_layer(
    request: Request, envelope: Envelope, delivered: Delivered, hard: dict[str, float]
) -> None:
    config = narrowed(request.area, hard)
    indication = request.indication
    if request.area not in config.indications[indication].areas:
        assert refused(ask(request, config=config)).limit.name == "indication"
        request = replace(request, indication=indication_of(request.area))
    answer = ask(request, config=config, envelope=envelope, delivered=delivered)
    most = {name: min(say) for name, say in say_of(request, config, envelope, "simulated").items()}
    room = most["density"] * request.size_cm2 - delivered.punctures
    fits = (
        request.depth_mm <= most["depth"]
        and request.rate_hz <= most["rate"]
        and request.passes + delivered.passes <= most["passes"]
        and request.size_cm2 <= most["size"]
        and request.depth_mm >= envelope.min_depth_mm
        and request.rate_hz >= max(envelope.min_rate_hz, 20.0)
        and room >= 12
    )
    assert isinstance(answer, Grant) == fits
    if isinstance(answer, Refusal):
        refused(answer)
        return
    measured("granted", answer.depth_cap_mm > most["depth"])
    assert answer.depth_cap_mm == most["depth"]
    assert answer.rate_cap_hz == most["rate"]
    assert answer.force_cap_n == most["force"]
    assert answer.passes_cap == most["passes"]
    assert answer.density_cap_per_cm2 == most["density"]
    assert answer.stroke_budget * 12 <= room < (answer.stroke_budget + 1) * 12
    for limit in answer.limits:
        assert limit.value == most[limit.name]


@pytest.mark.hazard("H01")
@given(request=requests, hard=clinic_figures, factor=st.floats(0.1, 1.0))
def test_a_narrower_clinic_never_widens(request: Request, hard: dict[str, float], factor: float) -> None:
    request = replace(request, indication=indication_of(request.area))
    before = ask(request, config=narrowed(request.area, hard))
    narrower = {key: value * factor for key, value in hard.items()}
    after = ask(request, config=narrowed(request.area, narrower))
    if isinstance(after, Grant):
        wide = granted(before)
        assert after.depth_cap_mm <= wide.depth_cap_mm
        assert after.rate_cap_hz <= wide.rate_cap_hz
        assert after.force_cap_n <= wide.force_cap_n
        assert after.passes_cap <= wide.passes_cap
        assert after.stroke_budget <= wide.stroke_budget


NOT_FIGURES: list[Any] = [math.nan, math.inf, -math.inf, -1.0, 0, True, None, "1", 10**400]


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("bad", NOT_FIGURES)
@pytest.mark.parametrize("field", ["depth_mm", "rate_hz", "passes", "size_cm2"])
def test_what_is_no_figure_permits_nothing(field: str, bad: Any) -> None:
    answer = refused(ask(replace(CHEEK, **{field: bad})))
    assert (answer.limit.name, answer.limit.value) == (field.partition("_")[0], 0.0)


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("bad", NOT_FIGURES)
@pytest.mark.parametrize("field", Envelope.__dataclass_fields__)
def test_a_pen_that_reports_nonsense_permits_nothing(field: str, bad: Any) -> None:
    answer = ask(envelope=replace(ENVELOPE, **{field: bad}))
    if field.startswith("min") and bad == 0:
        granted(answer)
    else:
        assert refused(answer).limit.name.endswith("envelope")


@pytest.mark.hazard("H15", "H14")
@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"request": replace(CHEEK, area="elbow")}, "area"),
        ({"request": replace(CHEEK, area="eyelid")}, "area"),
        ({"request": replace(CHEEK, area=None)}, "area"),  # type: ignore[arg-type]  # as from a bad caller
        ({"request": replace(CHEEK, area=["cheek"])}, "area"),  # type: ignore[arg-type]  # as above
        ({"request": replace(CHEEK, indication="spots")}, "indication"),
        ({"request": replace(CHEEK, indication="hair_loss")}, "indication"),
        ({"request": replace(CHEEK, fitzpatrick=0)}, "fitzpatrick"),
        ({"request": replace(CHEEK, fitzpatrick=7)}, "fitzpatrick"),
        ({"request": replace(CHEEK, fitzpatrick=True)}, "fitzpatrick"),
        ({"request": replace(CHEEK, fitzpatrick=2.0)}, "fitzpatrick"),  # type: ignore[arg-type]  # as above
        ({"request": replace(CHEEK, passes=2.0)}, "passes"),  # type: ignore[arg-type]  # as above
        ({"pen_profile": "biro"}, "pen"),
        ({"treatment": 0}, "treatment"),
        ({"treatment": True}, "treatment"),
        ({"delivered": Delivered(passes=math.nan)}, "delivered passes"),
        ({"delivered": Delivered(passes=-1)}, "delivered passes"),
        ({"delivered": Delivered(punctures=-1)}, "delivered punctures"),
        ({"delivered": Delivered(punctures=1.0)}, "delivered punctures"),  # type: ignore[arg-type]  # as above
        ({"cartridge": None}, "cartridge"),
        ({"cartridge": replace(TAG, cartridge_id=0)}, "cartridge"),
        ({"cartridge": replace(TAG, expires=date(2026, 2, 28))}, "cartridge"),
        ({"cartridge": replace(TAG, expires=None)}, "cartridge"),  # type: ignore[arg-type]  # as above
        ({"today": datetime(2026, 3, 1)}, "cartridge"),  # noqa: DTZ001  # only its type matters
        ({"cartridge": replace(TAG, used_by=41)}, "cartridge"),
        ({"cartridge": replace(TAG, needles=14)}, "needles"),
        ({"request": replace(CHEEK, size_cm2=160.1)}, "size"),
        ({"request": replace(CHEEK, passes=7)}, "passes"),
        ({"delivered": Delivered(passes=4.5)}, "passes"),
        ({"delivered": Delivered(punctures=6 * 6300)}, "density"),
        ({"delivered": Delivered(punctures=6 * 6300 - 11)}, "density"),
    ],
)
def test_refused_by_name(changed: dict[str, Any], name: str) -> None:
    assert refused(ask(**changed)).limit.name == name


def test_just_inside_each_bound_is_granted() -> None:
    granted(ask(cartridge=replace(TAG, cartridge_id=1)))
    granted(ask(cartridge=replace(TAG, used_by=42)))  # the same treatment, after a pause
    granted(ask(delivered=Delivered(passes=4)))
    granted(ask(replace(CHEEK, size_cm2=160.0)))
    assert granted(ask(delivered=Delivered(punctures=6 * 6300 - 12))).stroke_budget == 1


def test_the_largest_number_is_one_and_far_too_much() -> None:
    assert refused(ask(replace(CHEEK, size_cm2=sys.float_info.max))).limit.value == 160.0


def test_a_blocked_area_says_why() -> None:
    answer = refused(ask(replace(CHEEK, area="eyelid")))
    assert SHIPPED.blocked["eyelid"].reason in answer.message


def test_a_pen_the_clinic_does_not_list_is_refused() -> None:
    clinic = SHIPPED.clinic.model_copy(update={"pens": ("exceed",)})
    answer = refused(ask(config=SHIPPED.model_copy(update={"clinic": clinic})))
    assert (answer.limit.name, answer.limit.layer) == ("pen", "clinic")


def test_a_pen_of_one_speed_and_coarse_steps() -> None:
    skinpen = {"pen_profile": "skinpen", "cartridge": replace(TAG, needles=14)}
    right = replace(CHEEK, rate_hz=116.7, depth_mm=0.75)
    granted(ask(right, **skinpen))
    assert refused(ask(replace(right, rate_hz=116.6), **skinpen)).limit.name == "rate"
    assert refused(ask(replace(right, rate_hz=116.8), **skinpen)).limit.name == "rate"
    coarse = refused(ask(replace(right, depth_mm=0.8), **skinpen))
    assert coarse.message.startswith("Cheek: 0.8 mm asked, a multiple of 0.25 mm (pen profile: ")
    granted(ask(replace(right, depth_mm=0.75 + 9e-7), **skinpen))
    refused(ask(replace(right, depth_mm=0.75 + 2e-6), **skinpen))


@pytest.mark.hazard("H01")
def test_set_points_are_held_to_the_grant() -> None:
    grant = granted(ask(envelope=replace(ENVELOPE, min_depth_mm=0.2, min_rate_hz=30.0)))
    for depth_mm, rate_hz in [(2.0, 150.0), (0.2, 30.0), (1.05, 99.5)]:
        assert grant.refuse_setpoint(depth_mm, rate_hz) is None
    for bad in NOT_FIGURES:
        refused(grant.refuse_setpoint(bad, 100.0))
        refused(grant.refuse_setpoint(1.0, bad))
    for depth_mm, rate_hz, name in [(2.05, 100, "depth"), (1.0, 150.1, "rate"), (0.15, 100, "depth")]:
        assert refused(grant.refuse_setpoint(depth_mm, rate_hz)).limit.name == name
    floor = refused(grant.refuse_setpoint(1.0, 29.9))
    assert (floor.limit.value, floor.limit.layer) == (30.0, "firmware envelope")
    refused(grant.refuse_setpoint(1.02, 100.0))


def test_a_nanometre_beside_a_depth_step_is_rounding_and_more_is_not() -> None:
    grant = granted(ask())
    assert grant.refuse_setpoint(1e-6, 100.0) is None
    assert refused(grant.refuse_setpoint(1.1e-6, 100.0)).message.startswith("Cheek: 1.1e-06 mm asked, a multiple of")


def test_warnings_are_granted() -> None:
    deep = granted(ask(replace(CHEEK, depth_mm=1.8)))
    assert deep.warnings == ("Cheek: 1.8 mm is above 1.5 mm (area)",)
    assert granted(ask(replace(CHEEK, depth_mm=0.45))).warnings[0].startswith("Cheek: 0.45 mm is below 0.5 mm")
    assert granted(ask(delivered=Delivered(passes=3))).warnings == ("Cheek: 5 passes is above 4 passes (area)",)
    assert "pigment" in granted(ask(replace(CHEEK, fitzpatrick=6))).warnings[0]
    neck = replace(CHEEK, area="neck", rate_hz=80.0, depth_mm=0.8)
    assert granted(ask(neck)).warnings == ("Neck: 0.8 mm is above 0.75 mm (clinic)",)


def test_limits_import_only_config_of_ours() -> None:
    trees = [ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")) for module in (limits, layers)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in modules if name.split(".")[0] in {"pen_controller", "protocols", "simulator"}}
    assert ours == {"pen_controller.config", "pen_controller.layers"}
    assert modules - ours <= {"math", "sys", "collections.abc", "dataclasses", "datetime", "typing"}
