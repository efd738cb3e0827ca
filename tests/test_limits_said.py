"""What a refusal says, word for word, and which layer's figure binds."""

import math
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given

from pen_controller import limits
from pen_controller.limits import Delivered, Envelope, Grant, Limit, Request
from tests.authorizing import CHEEK, ENVELOPE, SHIPPED, TAG, ask, envelopes, refused, requests

EXPIRED = replace(TAG, expires=date(2026, 2, 28))
ONE_PEN = SHIPPED.clinic.model_copy(update={"pens": ("simulated",)})
UNKNOWN = "(request: project rule: what is unknown permits nothing)"
SINGLE_USE = "(cartridge: project rule: one cartridge, one treatment, before its expiry)"


@pytest.mark.parametrize(
    ("changed", "asked", "limit", "message"),
    [
        ({"request": replace(CHEEK, area="elbow")}, "elbow", "0 ", f"Area: 'elbow' is not a known area {UNKNOWN}"),
        (
            {"request": replace(CHEEK, area="eyelid")},
            "eyelid",
            "0 ",
            "Area: never treated, too thin and too near the eye (area: project default, not sourced)",
        ),
        (
            {"request": replace(CHEEK, indication="spots")},
            "spots",
            "0 ",
            f"Indication: 'spots' is not a known indication {UNKNOWN}",
        ),
        (
            {"request": replace(CHEEK, area="upper_lip", indication="hair_loss")},
            "hair_loss",
            "0 ",
            "Indication: Hair loss is not listed for Upper lip (indication: project default, not sourced)",
        ),
        (
            {"request": replace(CHEEK, fitzpatrick=7)},
            7,
            "0 ",
            f"Fitzpatrick: 7 is not a Fitzpatrick type from 1 to 6 {UNKNOWN}",
        ),
        (
            {"pen_profile": "skinpen", "config": SHIPPED.model_copy(update={"clinic": ONE_PEN})},
            "skinpen",
            "0 ",
            "Pen: skinpen is not allowed (clinic: clinic demo-clinic)",
        ),
        ({"pen_profile": "biro"}, "biro", "0 ", f"Pen: 'biro' is not a known pen {UNKNOWN}"),
        (
            {"request": replace(CHEEK, depth_mm=math.nan)},
            "nan",
            "0 ",
            f"Depth: nan is not a number above 0 {UNKNOWN}",
        ),
        (
            {"envelope": replace(ENVELOPE, max_force_n=-1.5)},
            -1.5,
            "0 ",
            f"Force envelope: -1.5 is not a number above 0 {UNKNOWN}",
        ),
        (
            {"delivered": Delivered(passes=-0.5)},
            -0.5,
            "0 ",
            f"Delivered passes: -0.5 is not a number of 0 or more {UNKNOWN}",
        ),
        ({"treatment": 0}, 0, "0 ", f"Treatment: 0 is not a whole number of 1 or more {UNKNOWN}"),
        ({"cartridge": None}, "none", "0 ", f"Cartridge: no cartridge that the pen can read {UNKNOWN}"),
        (
            {"cartridge": replace(TAG, cartridge_id=0)},
            0,
            "0 ",
            f"Cartridge: 0 is not the number of a cartridge {UNKNOWN}",
        ),
        (
            {"cartridge": replace(TAG, expires="2027-01-01")},  # type: ignore[arg-type]  # as from a bad caller
            "'2027-01-01'",
            "0 ",
            f"Cartridge: its expiry or today's date is unknown {UNKNOWN}",
        ),
        ({"cartridge": EXPIRED}, "2026-02-28", "0 ", f"Cartridge: expired on 2026-02-28 {SINGLE_USE}"),
        ({"cartridge": replace(TAG, used_by=41)}, 7, "0 ", f"Cartridge: used in another treatment {SINGLE_USE}"),
        (
            {"cartridge": replace(TAG, needles=14)},
            14,
            "12 needles",
            "Cartridge: 14 needles asked, exactly 12 needles (pen profile: this project's simulator)",
        ),
        (
            {"request": replace(CHEEK, size_cm2=160.1)},
            160.1,
            "160 cm2",
            "Cheek: 160.1 cm2 asked, at most 160 cm2 (area: project default, not sourced)",
        ),
        (
            {"delivered": Delivered(passes=4.5)},
            6.5,
            "6 passes",
            "Cheek: 6.5 passes asked, at most 6 passes (area: project default, not sourced)",
        ),
        (
            {"request": replace(CHEEK, size_cm2=2.0), "delivered": Delivered(punctures=12_590)},
            6301.0,
            "6300 punctures/cm2",
            "Cheek: 6301 punctures/cm2 asked, at most 6300 punctures/cm2 (area: project default, not sourced)",
        ),
        (
            {"request": replace(CHEEK, rate_hz=150.5)},
            150.5,
            "150 Hz",
            "Cheek: 150.5 Hz asked, at most 150 Hz (area: project default, not sourced)",
        ),
        (
            {"request": replace(CHEEK, rate_hz=19.5)},
            19.5,
            "20 Hz",
            "Cheek: 19.5 Hz asked, at least 20 Hz (pen profile: this project's simulator)",
        ),
        (
            {"request": replace(CHEEK, depth_mm=1.02)},
            1.02,
            "0.05 mm",
            "Cheek: 1.02 mm asked, a multiple of 0.05 mm (pen profile: this project's simulator)",
        ),
    ],
)
def test_a_refusal_says_what_was_asked_and_what_would_be_right(
    changed: dict[str, Any], asked: float | str, limit: str, message: str
) -> None:
    answer = refused(ask(**changed))
    assert (answer.asked, answer.message) == (asked, message)
    assert f"{answer.limit.value:g} {answer.limit.unit}" == limit


PERIORBITAL = {"area": "periorbital", "indication": "fine_lines"}


@pytest.mark.parametrize(
    ("asked", "name", "value", "unit", "layer"),
    [
        ({}, "depth", 2.0, "mm", "area"),
        ({"indication": "fine_lines"}, "depth", 1.5, "mm", "indication"),
        ({"fitzpatrick": 6}, "depth", 1.5, "mm", "skin"),
        (PERIORBITAL, "depth", 0.4, "mm", "clinic"),
        ({"pen_profile": "skinpen"}, "rate", 116.7, "Hz", "pen profile"),
        ({"envelope": replace(ENVELOPE, max_depth_mm=0.5)}, "depth", 0.5, "mm", "firmware envelope"),
        ({"envelope": replace(ENVELOPE, max_rate_hz=50.0)}, "rate", 50.0, "Hz", "firmware envelope"),
        ({"envelope": replace(ENVELOPE, max_force_n=1.0)}, "force", 1.0, "N", "firmware envelope"),
        ({}, "size", 160.0, "cm2", "area"),
        ({}, "passes", 6, "passes", "area"),
        ({}, "density", 6300.0, "punctures/cm2", "area"),
    ],
)
def test_the_narrowest_layer_binds_and_is_named(
    asked: dict[str, Any], name: str, value: float, unit: str, layer: str
) -> None:
    most, _ = offered(**asked)
    assert list(most) == ["depth", "rate", "force", "size", "passes", "density"]
    limit = most[name]
    assert (limit.name, limit.value, limit.unit, limit.layer) == (name, value, unit, layer)


def test_the_least_that_can_be_set_is_named() -> None:
    """Where pen and profile agree, it is the profile, which has a source."""
    _, least = offered()
    simulator = "this project's simulator"
    assert least == {
        "depth": Limit("depth", 0.0, "mm", simulator, "pen profile"),
        "rate": Limit("rate", 20.0, "Hz", simulator, "pen profile"),
    }
    _, least = offered(envelope=replace(ENVELOPE, min_depth_mm=0.2, min_rate_hz=30.0))
    assert least == {
        "depth": Limit("depth", 0.2, "mm", limits.REPORTED, "firmware envelope"),
        "rate": Limit("rate", 30.0, "Hz", limits.REPORTED, "firmware envelope"),
    }


@given(request=requests, envelope=envelopes)
def test_what_is_offered_is_what_a_grant_allows(request: Request, envelope: Envelope) -> None:
    answer = ask(request, envelope=envelope)
    if isinstance(answer, Grant):
        most, least = offered(request.area, request.indication, request.fitzpatrick, envelope=envelope)
        assert (tuple(most.values()), tuple(least.values())) == (answer.limits, answer.floors)


def offered(
    area: str = "cheek",
    indication: str = "wrinkles",
    fitzpatrick: int = 2,
    *,
    envelope: Envelope = ENVELOPE,
    pen_profile: str = "simulated",
) -> tuple[dict[str, Limit], dict[str, Limit]]:
    return limits.caps(area, indication, fitzpatrick, config=SHIPPED, envelope=envelope, pen_profile=pen_profile)


def test_what_is_unknown_is_not_offered() -> None:
    for unknown in ({"area": "elbow"}, {"indication": "spots"}, {"fitzpatrick": 7}, {"pen_profile": "biro"}):
        with pytest.raises(KeyError):
            offered(**unknown)
