"""Technique: each fault is told once, by its definition, whatever trembles, bounces, is lost or cut in pieces."""

import math

import numpy as np
import pytest

from pen_controller import config
from pen_controller.config import PROPOSED
from pen_controller.limits import Limit
from pen_controller.treatment.technique import ADVICE, Fault, coached
from protocols.samples import SAMPLE, SampleArray
from protocols.words import SampleFlag
from tests.coaching import (
    DRAGGING_MM_S,
    NOTHING,
    SENSES,
    SHIPPED,
    Work,
    faults,
    samples,
    told,
    tremor,
    watch,
    way,
)

GLIDING = way((4, 20))


def test_good_technique_is_left_in_peace() -> None:
    assert told(samples(way((20, 20)))) == []


def test_pressing_is_told_from_its_onset_to_its_end() -> None:
    force_n = np.repeat([1.0, 4.0, 1.0], [100, 100, 200])
    assert told(samples(GLIDING, force_n=force_n)) == [
        (Fault.PRESSING, "raised", pytest.approx(1.11)),
        (Fault.PRESSING, "ended", pytest.approx(2.53)),
    ]


def test_an_alert_says_what_was_measured_and_what_it_is_held_against() -> None:
    technique = watch()
    (alert,) = technique.feed(samples(GLIDING[:200], force_n=3.5), NOTHING)
    assert (alert.fault, alert.advice) == (Fault.PRESSING, "Lighter")
    assert alert.value == pytest.approx(3.5)
    assert alert.limit == Limit("force", 3.0, "N", PROPOSED, "area")
    assert technique.current == alert


def test_force_about_the_limit_does_not_chatter() -> None:
    beat_n = 2.97 + 0.2 * np.sin(np.arange(2000) * 2 * math.pi / 100)  # 2.77 to 3.17 N, once a second
    assert faults(samples(way((20, 20)), force_n=beat_n)) == [Fault.PRESSING]


def test_a_tap_is_not_pressing() -> None:
    force_n = np.full(400, 1.0)
    force_n[200:204] = 6.0
    assert told(samples(GLIDING, force_n=force_n)) == []


def test_a_tap_beside_a_lost_batch_is_not_pressing() -> None:
    force_n = np.full(400, 1.0)
    force_n[210] = 6.0
    assert told(np.delete(samples(GLIDING, force_n=force_n), slice(200, 210))) == []


@pytest.mark.parametrize("speed_mm_s", [5.0, 20.0, 50.0])
def test_standing_is_told_within_a_quarter_of_a_second(speed_mm_s: float) -> None:
    for seed in range(10):
        x_mm = way((2, speed_mm_s), (1, 0), (1, speed_mm_s)) + tremor(400, seed)
        (first, raised, at_s), (last, ended, until_s) = told(samples(x_mm, y_mm=tremor(400, 100 + seed)))
        assert (first, raised, last, ended) == (Fault.DWELLING, "raised", Fault.DWELLING, "ended")
        assert 2.0 < at_s <= 2.3
        assert 3.3 <= until_s <= 3.6


def test_who_lifts_stands_no_more() -> None:
    made = samples(way((1, 20), (3, 0)), force_n=np.repeat([1.0, 0.0], [200, 200]))
    assert [(fault, change) for fault, change, _ in told(made)] == [
        (Fault.DWELLING, "raised"),
        (Fault.DWELLING, "ended"),
    ]


def test_a_slow_glide_that_trembles_is_not_standing() -> None:
    for seed in range(20):
        assert told(samples(way((20, 4.25)) + tremor(2000, seed), y_mm=tremor(2000, 100 + seed))) == []


def test_turning_back_on_the_spot_is_not_standing() -> None:
    for speed_mm_s in (5.0, 10.0, 40.0):
        assert told(samples(way(*[(1.5, speed_mm_s), (1.5, -speed_mm_s)] * 4))) == []


def test_setting_down_and_gliding_off_is_not_standing() -> None:
    made = samples(way((6, 10)), force_n=np.tile(np.repeat([0.0, 1.0], [30, 170]), 3))
    for landing in range(30, 600, 200):
        made["flags"][landing + 1 : landing + 3] &= ~np.uint16(SampleFlag.CONTACT)  # bounces
    assert told(made) == []


def test_dragging_is_told_with_a_speed_to_keep() -> None:
    technique = watch()
    alerts = technique.feed(samples(way((1, 0.8 * DRAGGING_MM_S), (1, 1.3 * DRAGGING_MM_S))), NOTHING)
    assert [(alert.fault, alert.advice) for alert in alerts] == [(Fault.DRAGGING, "Slower, 5 cm/s")]
    assert 0.7 * 230 < alerts[0].value < 230
    assert 1_000_000 < alerts[0].raised_us < 1_250_000


def test_a_jerk_is_not_dragging() -> None:
    assert told(samples(way((1, 42), (0.03, 80), (1, 42)))) == []


def test_dragging_goes_by_the_rate() -> None:
    made = samples(way((3, 30)))
    assert told(made) == []
    made["rate_dhz"] = 500
    assert faults(made) == [Fault.DRAGGING]


def test_circles_are_as_fast_as_their_way() -> None:
    angle = np.arange(300) / 100 * 1.3 * DRAGGING_MM_S / 4.0  # loops of 4 mm radius
    assert faults(samples(4 * np.cos(angle), y_mm=4 * np.sin(angle))) == [Fault.DRAGGING]


def test_running_in_the_air_is_told_after_five_seconds() -> None:
    force_n = np.repeat([1.0, 0.0, 1.0], [100, 600, 100])
    assert told(samples(way((8, 20)), force_n=force_n)) == [
        (Fault.AIR, "raised", pytest.approx(5.99)),
        (Fault.AIR, "ended", pytest.approx(7.09)),
    ]
    assert told(samples(way((8, 20)), force_n=force_n, running=force_n > 0)) == []


def test_a_touch_that_was_lost_was_a_touch() -> None:
    force_n = np.repeat([0.0, 1.0, 0.0], [400, 10, 400])
    made = samples(np.zeros(810), force_n=force_n)
    assert told(np.delete(made, slice(400, 410))) == []
    made["contact_strokes"] = 0
    assert faults(np.delete(made, slice(400, 410))) == [Fault.AIR]


def two_passes(turned_deg: float) -> SampleArray:
    """A pass along x, a rest of two seconds, and the next pass, turned."""
    along_mm = way((3, 20))
    angle = math.radians(turned_deg)
    x_mm = np.concatenate([along_mm, np.full(200, along_mm[-1]), along_mm[-1] + along_mm * math.cos(angle)])
    y_mm = np.concatenate([np.zeros(500), along_mm * math.sin(angle)])
    return samples(x_mm, y_mm=y_mm, force_n=np.repeat([1.0, 0.0, 1.0], [300, 200, 300]))


@pytest.mark.parametrize(("turned_deg", "expected"), [(0, 1), (180, 1), (30, 1), (-30, 1), (60, 0), (90, 0), (-90, 0)])
def test_two_passes_in_one_direction_are_told_where_they_are_to_cross(turned_deg: float, expected: int) -> None:
    made = two_passes(turned_deg)
    done = Work((0.9, 0.9), 0.0)
    assert faults(made, done) == [Fault.DIRECTION] * expected
    assert faults(made, done, watch(coached(SHIPPED, "periorbital"))) == []


def test_a_pass_after_circles_may_go_any_way() -> None:
    made, technique = two_passes(0), watch()
    technique.feed(made[:100], Work((0.9, 0.9), 0.0))
    assert faults(made[100:], Work((0.9, 0.9), None, "circular"), technique) == []


def test_the_pass_that_has_ended_is_remembered_until_the_next() -> None:
    made, technique = two_passes(0), watch()
    technique.feed(made[:300], Work((0.9, 0.9), 0.0))
    assert faults(made[300:], Work((0.0, 0.0), None, None), technique) == [Fault.DIRECTION]


def test_the_direction_shows_after_twenty_millimetres() -> None:
    ((_, _, at_s),) = told(two_passes(0), Work((0.9, 0.9), 0.0))
    assert at_s == pytest.approx(5.0 + 20 / 20, abs=0.15)


def test_the_direction_does_not_turn_with_the_pen() -> None:
    made = two_passes(0)
    turned = np.arange(len(made)) >= 500
    x_um, y_um = made["x_um"].copy(), made["y_um"].copy()
    made["x_um"][turned], made["y_um"][turned] = x_um[499] + y_um[turned], -(x_um[turned] - x_um[499])
    made["heading_cdeg"][turned] = 9_000
    assert faults(made, Work((0.9, 0.9), 0.0)) == [Fault.DIRECTION]


def test_each_pass_is_held_against_the_one_before() -> None:
    made, technique = two_passes(0), watch()
    third = two_passes(90)[300:]
    third["t_us"] += made["t_us"][-1] - third["t_us"][0] + 10_000
    for name in ("x_um", "y_um", "contact_strokes"):
        third[name] += made[name][-1] - third[name][0]
    changes = told(np.concatenate([made, third]), Work((0.9, 0.9), 0.0), technique)
    assert [(fault, change) for fault, change, _ in changes] == [
        (Fault.DIRECTION, "raised"),
        (Fault.DIRECTION, "ended"),
    ]


def test_who_goes_on_with_a_pass_need_not_cross_it() -> None:
    assert faults(two_passes(0), Work((0.3, 0.5), 0.0)) == [Fault.COVERAGE]


def test_circles_have_no_direction_to_cross() -> None:
    made = two_passes(0)
    angle = np.arange(300) / 100 * 5
    made["x_um"][500:] = made["x_um"][499] + (4000 * np.sin(angle)).astype(np.int32)
    made["y_um"][500:] = (4000 - 4000 * np.cos(angle)).astype(np.int32)
    assert faults(made, Work((0.9, 0.9), 0.0)) == []


@pytest.mark.parametrize(("coverage", "expected"), [((0.3, 0.79), 1), ((0.3, 0.8), 0), ((0.0, 0.0), 0), (None, 0)])
def test_a_pass_broken_off_is_told_in_the_rest(coverage: tuple[float, float] | None, expected: int) -> None:
    changes = told(two_passes(90), Work(coverage, 0.0))
    assert [(fault, change) for fault, change, _ in changes] == [
        (Fault.COVERAGE, "raised"),
        (Fault.COVERAGE, "ended"),
    ][: 2 * expected]
    assert [at_s for _, _, at_s in changes] == pytest.approx([2.99 + 1.2, 5.0 + 0.55][: 2 * expected], abs=0.02)


def test_who_stops_the_needles_may_leave_a_pass() -> None:
    made = two_passes(90)
    made["flags"][300:500] &= ~np.uint16(SampleFlag.RUNNING)
    assert told(made, Work((0.3, 0.5), 0.0)) == []


def test_the_most_dangerous_is_shown() -> None:
    technique = watch()
    x_mm = way((1, 20), (3, 0))
    force_n = np.repeat([1.0, 4.0, 1.0], [200, 100, 100])
    shown = []
    for batch in np.split(samples(x_mm, force_n=force_n), 40):
        technique.feed(batch, NOTHING)
        shown.append(technique.current and technique.current.fault)
    order = [fault for fault, before in zip(shown, [None, *shown], strict=False) if fault != before]
    assert order == [Fault.DWELLING, Fault.PRESSING, Fault.DWELLING]
    assert list(ADVICE) == sorted(Fault)
    assert [fault.severity for fault in Fault] == ["warning"] * 4 + ["advice"] * 2


@pytest.mark.parametrize(
    ("flags", "contact", "untold"),
    [
        (int(SENSES), True, set()),
        (int(SampleFlag.MOTION_VALID), True, {Fault.PRESSING}),
        (int(SampleFlag.FORCE_VALID), True, {Fault.DWELLING, Fault.DRAGGING, Fault.DIRECTION, Fault.COVERAGE}),
        (int(SENSES), False, set(Fault) - {Fault.PRESSING}),
    ],
)
def test_what_a_pen_cannot_sense_is_said_and_never_told(flags: int, contact: bool, untold: set[Fault]) -> None:
    technique = watch(contact=contact)
    x_mm = way((1, 20), (1, 0), (1, 90), (7, 0))
    force_n = np.repeat([1.0, 4.0, 1.0, 0.0], [50, 50, 250, 650])
    found = set(faults(samples(x_mm, force_n=force_n, flags=flags), technique=technique))
    assert technique.untold == untold
    assert found == {Fault.PRESSING, Fault.DWELLING, Fault.DRAGGING, Fault.AIR} - untold


def test_every_area_has_its_limits_with_their_sources() -> None:
    for name, area in SHIPPED.areas.items():
        limits = coached(SHIPPED, name)
        assert set(limits) == set(Fault) - ({Fault.DIRECTION} if area.technique.crossing_deg is None else set())
        assert all(limit.source for limit in limits.values())
        assert limits[Fault.COVERAGE].value == area.coverage.min
    assert Fault.DIRECTION not in coached(SHIPPED, "periorbital")


@pytest.mark.parametrize(("narrowed", "value_n"), [({"hard": 1.2}, 1.2), ({"warn": 1.0, "hard": 2.0}, 1.0)])
def test_a_clinic_narrows_the_force(narrowed: dict[str, float], value_n: float) -> None:
    area = config.ClinicArea(force_n=config.Narrowing(source="our decision", **narrowed))
    clinic = SHIPPED.clinic.model_copy(update={"areas": {"periorbital": area}})
    limits = coached(SHIPPED.model_copy(update={"clinic": clinic}), "periorbital")
    assert limits[Fault.PRESSING] == Limit("force", value_n, "N", "our decision", "clinic")


def test_nothing_comes_of_an_empty_batch() -> None:
    assert watch().feed(np.zeros(0, SAMPLE), NOTHING) == []
