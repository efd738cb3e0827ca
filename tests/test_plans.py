"""What is offered is inside every limit, and a plan that was kept is the same when it is read again."""

import itertools
import stat
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller import limits
from pen_controller.config import Config, Plan, PlanArea, load_plan
from pen_controller.config.toml_file import ConfigError
from pen_controller.limits import CartridgeTag, Delivered, Envelope, Grant, Request
from pen_controller.preparation.plans import Offer, Templates, as_toml, offer
from tests.lines import CONFIG, TODAY
from tests.virtual_treatment import narrowed

ENVELOPE = Envelope(0.0, 2.5, 20.0, 150.0, 5.0)


def offered(
    *indications: str,
    fitzpatrick: int = 2,
    pen: str = "simulated",
    config: Config = CONFIG,
    envelope: Envelope = ENVELOPE,
    concerns: Sequence[str] = (),
) -> Offer:
    return offer(indications, fitzpatrick, config=config, envelope=envelope, pen_profile=pen, concerns=concerns)


def granted(area: PlanArea, fitzpatrick: int, pen: str, envelope: Envelope = ENVELOPE) -> bool:
    verdict = limits.authorize(
        Request(area.area, area.indication or "", fitzpatrick, area.depth_mm, area.rate_hz, area.passes, area.size_cm2),
        config=CONFIG,
        envelope=envelope,
        pen_profile=pen,
        cartridge=CartridgeTag(7, CONFIG.pens[pen].needles, date(2039, 1, 1), None),
        treatment=1,
        today=TODAY,
        delivered=Delivered(),
    )
    return isinstance(verdict, Grant)


@pytest.mark.parametrize("pen", sorted(CONFIG.pens))
def test_all_that_is_offered_is_granted_and_the_rest_has_a_reason(pen: str) -> None:
    for indication, fitzpatrick in itertools.product(CONFIG.indications, range(1, 7)):
        found = offered(indication, fitzpatrick=fitzpatrick, pen=pen)
        assert all(granted(area, fitzpatrick, pen) for area in found.areas)
        assert {area.area for area in found.areas} | set(found.left_out) == set(CONFIG.indications[indication].areas)
        assert all(found.left_out.values())


@given(
    st.tuples(st.floats(0, 1), st.floats(0.1, 3), st.floats(1, 60), st.floats(61, 200), st.floats(0.1, 9)),
    st.sampled_from(sorted(CONFIG.pens)),
    st.integers(1, 6),
)
def test_also_by_a_pen_that_can_do_less(reported: tuple[float, ...], pen: str, fitzpatrick: int) -> None:
    envelope = Envelope(*reported)
    found = offered("fine_lines", "striae", fitzpatrick=fitzpatrick, pen=pen, envelope=envelope)
    assert all(granted(area, fitzpatrick, pen, envelope) for area in found.areas)


def test_it_is_the_typical_figures_where_nothing_forbids_them() -> None:
    areas = {area.area: area for area in offered("wrinkles").areas}
    for name, area in areas.items():
        own = CONFIG.areas[name]
        assert (area.depth_mm, area.rate_hz, area.passes, area.size_cm2) == (
            own.depth_mm.typical, own.rate_hz.typical, own.passes.typical, own.size_cm2.typical,
        )  # fmt: skip
    fine = {area.area: area for area in offered("fine_lines").areas}
    assert fine["cheek"].depth_mm == 0.5, "the overlay's typical depth"


def test_the_concerns_come_first_and_each_area_has_the_first_indication_that_lists_it() -> None:
    found = offered("acne_scars", "fine_lines", concerns=["neck", "chin", "scalp"])
    assert [area.area for area in found.areas][:3] == ["neck", "chin", "forehead"]
    assert [area.indication for area in found.areas][:3] == ["fine_lines", "acne_scars", "acne_scars"]
    assert list(found.left_out) == ["scalp"]


def test_a_narrower_clinic_is_heeded() -> None:
    config = narrowed("cheek", depth_mm={"hard": 0.33}, rate_hz={"hard": 50}, passes={"hard": 2})
    (cheek,) = (area for area in offered("wrinkles", config=config).areas if area.area == "cheek")
    assert (cheek.depth_mm, cheek.rate_hz, cheek.passes) == (0.3, 50.0, 2)


def test_a_pen_of_one_speed_is_not_offered_where_that_is_too_fast() -> None:
    found = offered("fine_lines", pen="skinpen")
    assert "116.7 Hz asked, at most 80 Hz" in found.left_out["periorbital"]
    assert {area.rate_hz for area in found.areas} == {116.7}


def test_an_unknown_name_is_an_error_and_an_empty_offer_no_plan() -> None:
    with pytest.raises(KeyError):
        offered("spots")
    with pytest.raises(ValueError, match="nothing can be offered: Scalp: "):
        offered("hair_loss", envelope=Envelope(2.0, 2.5, 20.0, 150.0, 5.0)).plan("t", 2)


# --- templates -------------------------------------------------------------------------------------------------------

FIGURES = st.floats(min_value=1e-6, max_value=1e6)
TITLES = st.text(st.characters(codec="utf-8"), min_size=1)
AREAS = st.builds(
    PlanArea,
    area=st.sampled_from(sorted(CONFIG.areas)),
    depth_mm=FIGURES,
    rate_hz=FIGURES,
    passes=st.integers(1, 10**9),
    size_cm2=FIGURES,
    indication=st.none() | st.sampled_from(sorted(CONFIG.indications)),
)
PLANS = st.builds(
    Plan,
    title=TITLES,
    indication=st.sampled_from(sorted(CONFIG.indications)),
    fitzpatrick=st.integers(1, 6),
    areas=st.lists(AREAS, min_size=1, max_size=4).map(tuple),
)


@given(PLANS)
def test_a_plan_is_the_same_when_it_is_read_again(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> None:
    path = tmp_path_factory.getbasetemp() / "plan.toml"
    path.write_bytes(as_toml(plan))
    assert load_plan(path, CONFIG) == plan


def test_templates_are_kept_by_name_for_their_owner_only(tmp_path: Path) -> None:
    templates = Templates(tmp_path / "plans", CONFIG)
    assert templates.names() == []
    plan = offered("fine_lines", fitzpatrick=3).plan("Full face", 3)
    path = templates.save("full-face", plan)
    assert templates.names() == ["full-face"]
    assert templates.load("full-face") == load_plan(path, CONFIG) == plan
    assert [each.name for each in path.parent.iterdir()] == ["full-face.toml"], "no half a file is left"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = plan.model_copy(update={"title": "Other"})
    with pytest.raises(ValueError, match="there is a template 'full-face' already"):
        templates.save("full-face", other)
    templates.save("full-face", other, replace=True)
    assert templates.load("full-face") == other
    templates.remove("full-face")
    assert templates.names() == []
    with pytest.raises(ConfigError, match=r"full-face\.toml"):
        templates.load("full-face")


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/b", "a\\b", "/etc/x", "C:x", ".x", "X", "a b", "a\n", "a\0", "con", "com1", "é", "a" * 41],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    templates = Templates(tmp_path / "plans", CONFIG)
    plan = offered("hair_loss").plan("t", 2)
    for use in (lambda: templates.load(name), lambda: templates.save(name, plan), lambda: templates.remove(name)):
        with pytest.raises(ValueError, match="can name no template"):
            use()
    assert list(tmp_path.rglob("*")) == []


def test_a_template_says_nothing_of_a_patient_but_indication_and_skin_type() -> None:
    assert set(Plan.model_fields) == {"title", "indication", "fitzpatrick", "areas"}
    assert set(PlanArea.model_fields) == {"area", "depth_mm", "rate_hz", "passes", "size_cm2", "indication"}
