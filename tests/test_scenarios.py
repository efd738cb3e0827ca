"""What follows from a seed: all that a pass counter has to stand, within reason."""

import numpy as np
import pytest

from protocols.messages import WRAP
from simulator.physics import SKINS
from simulator.scenarios import AREAS, Scenario, scenario

EYELID = 5


@pytest.fixture(scope="module")
def drawn() -> list[Scenario]:
    return [scenario(seed) for seed in range(1000)]


def test_every_area_but_the_eyelid_has_its_usual_ways() -> None:
    assert set(AREAS) == set(SKINS) - {EYELID}
    assert len({area.name for area in AREAS.values()}) == len(AREAS)


def test_the_same_seed_gives_the_same_treatment() -> None:
    one, same, other = scenario(3), scenario(3), scenario(4)
    assert one == same != other
    assert np.array_equal(one.recording().samples, same.recording().samples)


def test_hand_and_recording_are_drawn_once() -> None:
    one = scenario(3)
    assert one.hand() is one.hand()
    assert one.recording() is one.recording()


def test_two_batches_in_a_hundred_are_lost() -> None:
    arrived = [batch for seed in range(20) for batch in scenario(seed).batches()]
    sent = sum(len(scenario(seed).recording().samples) for seed in range(20))
    assert 0.975 < sum(map(len, arrived)) / sent < 0.985
    assert np.array_equal(np.concatenate(scenario(3).batches()), np.concatenate(scenario(3).batches()))


def test_seeds_take_in_all_there_is(drawn: list[Scenario]) -> None:
    assert {one.area for one in drawn} == set(AREAS)
    assert {one.style.pattern for one in drawn} == {"straight", "crosshatch", "circular"}
    assert {one.passes for one in drawn} == set(range(1, 7))
    assert {one.needles for one in drawn} == {6, 12, 14, 16, 36}
    assert {one.tip_width_mm for one in drawn} == {8, 10, 12}
    for figures, lowest, highest in (
        ([one.style.speed_mm_s for one in drawn], 5, 60),
        ([one.style.overlap for one in drawn], 0, 0.6),
        ([one.rate_hz for one in drawn], 40, 150),
        ([one.style.heading_deg for one in drawn], -180, 180),
    ):
        assert lowest <= min(figures) <= lowest + 0.02 * (highest - lowest)
        assert highest - 0.02 * (highest - lowest) <= max(figures) <= highest


def test_zones_and_pressure_suit_their_area(drawn: list[Scenario]) -> None:
    for one in drawn:
        area = AREAS[one.area]
        assert one.area_name == area.name
        assert area.force_n[0] <= one.style.force_n <= area.force_n[1]
        assert 3 <= one.size_cm2 <= area.size_cm2[1] + 1e-9
        assert area.aspect[0] - 1e-9 <= one.width_mm / one.height_mm <= area.aspect[1] + 1e-9


def test_contact_is_kept_in_one_of_six_on_small_zones(drawn: list[Scenario]) -> None:
    kept = [one for one in drawn if one.contact_kept]
    assert 130 < len(kept) < 205
    assert max(one.size_cm2 for one in kept) == pytest.approx(9)


def test_pen_time_wraps_in_some(drawn: list[Scenario]) -> None:
    late = [one for one in drawn if one.first_t_us > WRAP - 20_000_000]
    assert 150 < len(late) < 250
    first, last = late[0].recording().samples["t_us"][[0, -1]].tolist()
    assert last < first == late[0].first_t_us


def test_treatments_are_done_in_time_and_cover_their_zone() -> None:
    durations_s, passes_s = [], []
    for seed in range(0, 4000, 50):
        one = scenario(seed)
        hand = one.hand()
        durations_s.append(hand.duration_us / 1e6)
        passes_s.extend((np.diff(hand.truth.pass_us) / 1e6).ravel().tolist())
        assert min(hand.truth.coverage) > 0.93
        assert hand.truth.passes == one.passes
        recording = one.recording()
        assert int(recording.samples["contact_strokes"][-1]) == pytest.approx(recording.contact_strokes, rel=0.1)
        assert one.contact_kept == (len(hand.truth.lift_us) == one.passes - 1)
    assert np.quantile(passes_s, 0.99) < 120
    assert np.mean(durations_s) < 90
    assert np.quantile(durations_s, 0.9) < 190
