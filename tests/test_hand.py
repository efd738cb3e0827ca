"""The hand against the truth it tells of itself."""

from typing import get_args

import numpy as np
import pytest

from simulator.hand import GRID_MM, Hand, Motion, Pattern, Style
from simulator.physics import Touch

PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
CALM = Style(tremor_rms_mm=0, direction_jitter_deg=0, pause_probability=0)


def touches(hand: Hand, step_us: int = 1000) -> np.ndarray:
    """Rows of time in seconds, x, y, heading, force."""
    seen = [(t_us, hand.at(t_us)) for t_us in range(0, hand.duration_us, step_us)]
    return np.array([(t_us / 1e6, one.x_mm, one.y_mm, one.heading_deg, one.force_n) for t_us, one in seen]).T


def spans(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last index of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_seed_gives_the_same_hand(pattern: Pattern) -> None:
    one, same, other = (Hand(30, 20, 2, seed, Style(pattern)) for seed in (1, 1, 2))
    assert np.array_equal(touches(one), touches(same))
    assert one.duration_us != other.duration_us or not np.array_equal(touches(one), touches(other))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("overlap", [0, 0.3, 0.6])
@pytest.mark.parametrize("size_mm", [(30, 20), (40, 50), (12, 9), (6, 45)])
def test_every_pass_covers_the_zone(pattern: Pattern, overlap: float, size_mm: tuple[float, float]) -> None:
    for seed in range(4):
        hand = Hand(*size_mm, 2, seed, Style(pattern, overlap=overlap, speed_mm_s=40))
        assert min(hand.truth.coverage) >= 0.95
        assert hand.truth.coverage == tuple(hand.truth.swept.mean(axis=(1, 2)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_swept_map_is_where_the_tip_was(pattern: Pattern) -> None:
    hand = Hand(24, 18, 2, 3, Style(pattern, overlap=0), tip_width_mm=6)
    assert hand.truth.swept.shape == (2, 36, 48)
    t_s, x_mm, y_mm, _, force_n = touches(hand)
    second = t_s * 1e6 >= hand.truth.glides.start_us[hand.truth.glides.pass_index == 1][0]
    columns_mm, rows_mm = ((np.arange(cells) + 0.5) * GRID_MM for cells in (48, 36))
    for index, part in enumerate([~second, second]):
        inside = part & (force_n > 0)
        x_way, y_way = x_mm[inside][::5], y_mm[inside][::5]
        distance_mm = np.array(
            [[np.hypot(x_way - x, y_way - y).min() for x in columns_mm.tolist()] for y in rows_mm.tolist()]
        )
        swept = hand.truth.swept[index]
        assert swept[distance_mm < 3 - GRID_MM].all()
        assert not swept[distance_mm > 3 + GRID_MM].any()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_path_and_contact_time_are_those_of_the_touches(pattern: Pattern) -> None:
    hand = Hand(40, 30, 2, 5, Style(pattern))
    _, x_mm, y_mm, _, force_n = touches(hand)
    together = (force_n[1:] > 0) & (force_n[:-1] > 0)
    assert np.hypot(np.diff(x_mm), np.diff(y_mm))[together].sum() == pytest.approx(hand.truth.path_mm)
    assert (force_n > 0).sum() / 1000 == pytest.approx(hand.truth.contact_s)
    assert hand.truth.area_cm2 == pytest.approx(12)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_gaps_in_contact_are_the_lifts_and_glides_lie_between(pattern: Pattern) -> None:
    hand = Hand(60, 40, 3, 7, Style(pattern))
    truth = hand.truth
    force_n = touches(hand)[4]
    gaps = spans(force_n == 0)[1:-1]
    assert np.array_equal(np.array(gaps) * 1000, truth.lift_us)
    assert len(truth.glides) == 1 + len(truth.lift_us) + truth.reversals
    assert (truth.reversals > 0) == (pattern != "circular")
    assert len(truth.lift_us) > 0
    assert np.all(truth.glides.start_us[1:] >= truth.glides.end_us[:-1])
    assert np.all(truth.glides.end_us > truth.glides.start_us)
    for start_us, end_us in zip(truth.glides.start_us, truth.glides.end_us, strict=True):
        assert force_n[start_us // 1000 + 2 : end_us // 1000 - 2].min() > 0


def test_glides_tile_the_contact() -> None:
    truth = Hand(60, 40, 2, 7).truth
    joined = truth.glides.start_us[1:] == truth.glides.end_us[:-1]
    assert joined.sum() == truth.reversals
    assert (~joined).sum() == len(truth.lift_us)
    assert (truth.glides.end_us - truth.glides.start_us).sum() / 1e6 == pytest.approx(truth.contact_s, abs=0.1)


def test_a_reversal_is_the_turning_point() -> None:
    hand = Hand(60, 40, 2, 7, CALM)
    starts_us = hand.truth.glides.start_us[1:]
    for t_us in starts_us[starts_us == hand.truth.glides.end_us[:-1]].tolist():
        x_mm = hand.motion.x_mm[t_us // 1000 - 60 : t_us // 1000 + 61]
        outward = 1 if x_mm[60] > 30 else -1
        assert abs(int(np.argmax(outward * x_mm)) - 60) <= 3


def test_a_glide_goes_its_direction() -> None:
    hand = Hand(60, 40, 4, 7, Style("crosshatch", tremor_rms_mm=0, pause_probability=0))
    glides = hand.truth.glides
    seen = 0
    for start_us, end_us, direction_deg in zip(glides.start_us, glides.end_us, glides.direction_deg, strict=True):
        first, last = start_us // 1000 + 950, end_us // 1000 - 950
        if last > first:
            dx_mm, dy_mm = np.ptp(hand.motion.x_mm[[first, last]]), np.ptp(hand.motion.y_mm[[first, last]])
            off_deg = np.degrees(np.arctan2(dy_mm, dx_mm)) - abs((direction_deg + 90) % 180 - 90)
            assert abs(off_deg) < 1
            seen += 1
    assert seen > 12


def test_passes_have_their_time_and_a_break_between_them() -> None:
    for pattern in PATTERNS:
        for seed in range(5):
            truth = Hand(40, 30, 4, seed, Style(pattern)).truth
            for index in range(4):
                mine = truth.glides.pass_index == index
                assert truth.pass_us[index].tolist() == [truth.glides.start_us[mine][0], truth.glides.end_us[mine][-1]]
            breaks_s = (truth.pass_us[1:, 0] - truth.pass_us[:-1, 1]) / 1e6
            ordinary = breaks_s <= 0.5
            assert np.all(ordinary | ((breaks_s >= 1.5) & (breaks_s <= 4.0)))
            assert pattern == "crosshatch" or not ordinary.any()
    breaks_s = np.concatenate([np.diff(_pass_ends_us(seed)) / 1e6 for seed in range(20)])
    assert 0.25 < (breaks_s[:, 0] < 1).mean() < 0.75


def _pass_ends_us(seed: int) -> np.ndarray:
    pass_us = Hand(20, 20, 4, seed, Style("crosshatch")).truth.pass_us
    return np.stack([pass_us[:-1, 1], pass_us[1:, 0]], axis=1)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_contact_can_be_kept_through_a_pass(pattern: Pattern) -> None:
    for seed in range(8):
        hand = Hand(28, 22, 3, seed, Style(pattern, lift_every_s=None))
        truth = hand.truth
        assert len(truth.lift_us) == 2
        assert min(truth.coverage) >= 0.95
        assert len(truth.glides) == 3 + truth.reversals
        if pattern != "circular":
            turns = np.diff(truth.glides.direction_deg)[truth.glides.pass_index[1:] == truth.glides.pass_index[:-1]]
            assert np.all(np.abs((turns % 360) - 180) <= 24.01)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ground_is_what_the_tip_went_over_in_the_zone_and_around_it(pattern: Pattern) -> None:
    hand = Hand(24, 18, 2, 3, Style(pattern), tip_width_mm=6)
    truth = hand.truth
    step_mm = 0.2
    axis_mm = np.arange(-15, 45, step_mm)
    for index, (start_us, end_us) in enumerate(truth.pass_us.tolist()):
        part = slice(start_us // 1000, end_us // 1000, 5)
        inside = hand.motion.contact[part]
        x_mm, y_mm = hand.motion.x_mm[part][inside], hand.motion.y_mm[part][inside]
        near = np.zeros((len(axis_mm), len(axis_mm)), dtype=bool)
        for x, y in zip(x_mm.tolist(), y_mm.tolist(), strict=True):
            columns, rows = (slice(*np.searchsorted(axis_mm, [mm - 3, mm + 3])) for mm in (x, y))
            near[rows, columns] |= (axis_mm[columns] - x) ** 2 + (axis_mm[rows, None] - y) ** 2 <= 9
        assert truth.ground_cm2[index] == pytest.approx(near.sum() * step_mm**2 / 100, rel=0.01)


def test_coverage_grows_with_the_ground_up_to_one() -> None:
    truth = Hand(40, 30, 2, 5).truth
    start_us, end_us = truth.pass_us[1].tolist()
    shares = [truth.coverage_at(1, t_us) for t_us in range(start_us, end_us + 1, (end_us - start_us) // 20)]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] == 1
    assert truth.coverage_at(1, start_us - 1) == 0
    assert truth.coverage_at(1, 10**12) == 1
    moment_us = truth.glides.start_us[truth.glides.pass_index == 1][2]
    whole = Hand(400, 30, 1, 5, Style(lift_every_s=(4, 4))).truth
    assert whole.coverage_at(0, 10**12) == min(1.0, whole.ground_cm2[0] / 120)
    assert 0 < truth.coverage_at(1, int(moment_us)) < 1


def test_a_motion_is_read_only_and_of_one_length() -> None:
    motion = Hand(20, 20, 1, 0).motion
    assert motion.duration_us == len(motion.x_mm) * 1000
    assert np.array_equal(motion.contact, motion.force_n > 0)
    with pytest.raises(ValueError, match="read-only"):
        motion.force_n[0] = 1
    with pytest.raises(ValueError, match="one length"):
        Motion(motion.x_mm, motion.y_mm, motion.heading_deg, motion.force_n[1:])


def test_every_second_pass_of_a_crosshatch_is_turned_by_90_degrees() -> None:
    for seed in range(5):
        glides = Hand(50, 40, 4, seed, Style("crosshatch")).truth.glides
        off_deg = (glides.direction_deg - 90 * (glides.pass_index % 2) + 90) % 180 - 90
        assert np.abs(off_deg).max() <= 12.01
        assert np.abs(off_deg).max() > 5
        assert set(glides.pass_index.tolist()) == {0, 1, 2, 3}


def test_straight_glides_go_to_and_fro() -> None:
    glides = Hand(50, 40, 1, 0, CALM).truth.glides
    directions = glides.direction_deg.round().astype(int).tolist()
    assert set(directions) == {0, 180}


def test_circles_turn_all_the_way_round() -> None:
    hand = Hand(40, 30, 1, 2, Style("circular", tremor_rms_mm=0, pause_probability=0))
    _, x_mm, y_mm, _, force_n = touches(hand)
    first, end = max(spans(force_n > 0), key=lambda span: span[1] - span[0])
    directions = np.arctan2(np.diff(y_mm[first:end]), np.diff(x_mm[first:end]))
    turned = np.abs(np.diff(np.unwrap(directions)).sum()) / (2 * np.pi)
    pitch_loops = (end - first) / 1000 * 20 / np.hypot(2 * np.pi * 4, 7)
    assert turned == pytest.approx(pitch_loops, rel=0.25)
    assert turned > 1


@pytest.mark.parametrize("speed_mm_s", [5, 20, 60])
def test_glides_keep_to_their_speed(speed_mm_s: float) -> None:
    hand = Hand(60, 40, 2, 3, Style(speed_mm_s=speed_mm_s, tremor_rms_mm=0, pause_probability=0))
    _, x_mm, y_mm, _, force_n = touches(hand)
    speeds = np.hypot(np.diff(x_mm), np.diff(y_mm)) * 1000
    assert speeds[(force_n[1:] > 0) & (force_n[:-1] > 0)].max() < 1.3 * speed_mm_s  # turns are a little faster
    glides = hand.truth.glides
    turn_ms = 50 + round(1000 * np.pi / 4 * 20 / (0.85 * speed_mm_s))  # half a turn over to a row 20 mm away
    for start_us, end_us in zip(glides.start_us, glides.end_us, strict=True):
        inner = speeds[start_us // 1000 + turn_ms : max(0, end_us // 1000 - turn_ms)]
        assert np.all(inner > 0.84 * speed_mm_s)
        assert np.all(inner < 1.16 * speed_mm_s)


def test_tremor_has_its_band_and_size() -> None:
    still, shaking = (Hand(40, 30, 2, 9, Style(tremor_rms_mm=rms_mm)) for rms_mm in (0, 0.3))
    for axis in (1, 2):
        tremor_mm = touches(shaking)[axis] - touches(still)[axis]
        power = np.abs(np.fft.rfft(tremor_mm)) ** 2
        frequencies_hz = np.fft.rfftfreq(len(tremor_mm), 0.001)
        inside = (frequencies_hz >= 8) & (frequencies_hz <= 12)
        assert power[inside].sum() > 0.999 * power.sum()
        assert tremor_mm.std() == pytest.approx(0.3, rel=0.01)
    assert shaking.truth.path_mm > 1.3 * still.truth.path_mm


def test_a_pause_stands_still_with_the_needles_in() -> None:
    hand = Hand(60, 40, 3, 11, Style(pause_probability=1, tremor_rms_mm=0))
    assert len(hand.truth.pause_us) == len(hand.truth.glides)
    for start_us, end_us in hand.truth.pause_us:
        assert 0.2e6 <= end_us - start_us <= 3e6
        within = [hand.at(int(t_us)) for t_us in np.linspace(start_us + 31_000, end_us - 31_000, 9)]
        assert len({(round(one.x_mm, 6), round(one.y_mm, 6)) for one in within}) == 1
        assert all(one.force_n > 0 for one in within)


def test_lifts_come_every_one_to_four_seconds_of_gliding() -> None:
    hand = Hand(80, 60, 2, 4, Style(speed_mm_s=5, pause_probability=0))
    contacts = spans(touches(hand)[4] > 0)
    assert max(end - first for first, end in contacts) <= 4000 + 400 + 2
    lifts_us = np.diff(Hand(80, 60, 1, 4, Style(speed_mm_s=5)).truth.lift_us, axis=1)
    assert lifts_us.min() >= 149_000
    assert lifts_us.max() <= 501_000


def test_pressure_varies_around_its_mean_and_ramps_at_each_contact() -> None:
    hand = Hand(60, 40, 3, 6, Style(force_n=1.5))
    force_n = touches(hand)[4]
    for first, end in spans(force_n > 0):
        assert force_n[first] < 0.2
        assert force_n[end - 1] < 0.2
        assert force_n[first + 30 : end - 30].min() > 0.5
    pressed = force_n[force_n > 0.6]
    assert pressed.mean() == pytest.approx(1.5, rel=0.15)
    assert 0.1 < pressed.std() / pressed.mean() < 0.4


def test_the_hand_turns_the_pen_slowly() -> None:
    hand = Hand(80, 60, 6, 6, Style(heading_drift_deg_per_min=20))
    t_s, _, _, heading_deg, _ = touches(hand, 100_000)
    assert np.polyfit(t_s, heading_deg, 1)[0] * 60 == pytest.approx(20, abs=3)


def test_before_and_after_it_is_in_the_air() -> None:
    hand = Hand(20, 20, 1, 0)
    for t_us in (-1, 0, hand.duration_us - 1, hand.duration_us, hand.duration_us + 10**9):
        assert hand.at(t_us).force_n == 0
    assert isinstance(hand.at(0), Touch)
    assert hand.at(-5).x_mm == hand.at(0).x_mm
    assert hand.at(10**12).x_mm == hand.at(hand.duration_us - 1).x_mm


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": "zigzag"}, "straight, crosshatch, circular"),
        ({"overlap": 0.7}, "0 to 0.6"),
        ({"overlap": float("nan")}, "0 to 0.6"),
        ({"speed_mm_s": 0}, "more than 0"),
        ({"force_n": float("nan")}, "more than 0"),
        ({"direction_jitter_deg": 50}, "0 to 45"),
        ({"lift_every_s": (0.1, 1)}, "at least 0.8"),
        ({"lift_s": (0.01, 1)}, "0.1 s"),
        ({"between_passes_s": (0.01, 1)}, "0.1 s"),
    ],
)
def test_a_senseless_style_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Style(**change)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("zone", [(0, 10, 1), (10, -1, 1), (10, float("inf"), 1), (10, 10, 0)])
def test_a_senseless_zone_is_refused(zone: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="give"):
        Hand(*zone, seed=0)
