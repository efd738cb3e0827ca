"""Recordings against the body they are a short cut for."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from protocols.messages import WRAP
from protocols.samples import SAMPLE, SampleArray
from protocols.words import SampleFlag
from simulator.hand import Hand, Motion, Pattern, Style
from simulator.physics import DEFAULT_SKIN, SKINS, Body, Parameters, Skin
from simulator.recording import record, with_lost_batches
from simulator.sampler import Sampler

PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
EXACT = Parameters(
    depth_noise_um=0,
    sleeve_noise_um=0,
    rate_noise=0,
    force_noise=0,
    force_floor_n=0,
    current_noise_ma=0,
    motion_noise=0,
    motion_scale_error=0,
    heading_noise_deg=0,
    heading_drift_deg_per_min=0,
)


def stepped(
    motion: Motion, pen: Parameters, seed: int, rate_hz: float, depth_um: int, skin: Skin
) -> tuple[SampleArray, int]:
    """The same by `Body` and `Sampler`, stepped as the firmware does; with the strokes truly in contact."""
    body, sampler = Body(seed, pen), Sampler(100)
    body.skin = skin
    body.drive(rate_hz, depth_um)
    body._rate_hz, body._sleeve_mm = rate_hz, depth_um / 1000  # up to speed, and out
    batches, contact_strokes, crest_um = [], 0, 0
    for t_us in range(0, motion.duration_us, 5_000):
        touch, before = motion.at(t_us), body.true_strokes
        body.touch(touch)
        body.advance(t_us)
        contact_strokes += (body.true_strokes - before) * (touch.force_n > 0)
        readings = body.read()
        crest_um = max(crest_um, readings.depth_um)
        if t_us % 10_000 == 0:
            if batch := sampler.take(t_us, readings, crest_um, running=True, wanted=True):
                batches.append(batch.records)
            crest_um = 0
    return np.concatenate(batches), contact_strokes


def contact(samples: SampleArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = (samples["flags"] & SampleFlag.CONTACT) != 0
    return mask


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("skin", "depth_um"), [(DEFAULT_SKIN, 500), (SKINS[1], 1700)])
def test_without_noise_it_is_what_the_body_reports(pattern: Pattern, skin: Skin, depth_um: int) -> None:
    motion = Hand(25, 20, 1, 3, Style(pattern, heading_drift_deg_per_min=60, heading_deg=-70)).motion
    body, true_strokes = stepped(motion, EXACT, 0, 93.0, depth_um, skin)
    recording = record(motion, EXACT, rate_hz=93.0, depth_um=depth_um, skin=skin, bounce_ms=0)
    samples = recording.samples[: len(body)]
    assert len(recording.samples) - len(body) < 10  # the batch that the sampler had not filled
    for name in ("t_us", "flags", "strokes", "contact_strokes"):
        assert np.array_equal(samples[name], body[name])
    for name in ("x_um", "y_um", "path_um", "depth_um", "force_mn", "rate_dhz", "current_ma", "heading_cdeg"):
        assert np.abs(samples[name].astype(int) - body[name].astype(int))[1:].max() <= 1  # the first took no time
    assert recording.contact_strokes == true_strokes
    assert 0 < body["contact_strokes"][-1] < body["strokes"][-1]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_with_noise_it_is_as_wrong_as_the_body(pattern: Pattern) -> None:
    motion = Hand(30, 25, 2, 4, Style(pattern, heading_deg=90)).motion
    pen = Parameters()
    body, _ = stepped(motion, pen, 7, 100.0, 500, DEFAULT_SKIN)
    recording = record(motion, pen, 7, bounce_ms=0)
    samples = recording.samples[: len(body)]
    assert (contact(samples) != contact(body)).mean() < 0.005
    assert np.abs(samples["strokes"].astype(int) - body["strokes"]).max() <= 1
    for name, rel in (("contact_strokes", 0.01), ("path_um", 0.061)):
        assert int(samples[name][-1]) == pytest.approx(int(body[name][-1]), rel=rel)
    exact = record(motion, EXACT, bounce_ms=0).samples[: len(body)]
    held = contact(samples) & contact(body) & (exact["force_mn"] > 500)
    for name in ("force_mn", "heading_cdeg", "depth_um", "rate_dhz"):
        spreads = [(seen[name].astype(int) - exact[name])[held].std() for seen in (samples, body)]
        if name == "heading_cdeg":
            # Drift apart, of which each has its own.
            spreads = [np.diff(seen[name].astype(int) - exact[name])[held[1:]].std() for seen in (samples, body)]
        assert spreads[0] == pytest.approx(spreads[1], rel=0.15)


def test_a_treatment_has_a_scale_of_its_own_and_readings_scatter_around_it() -> None:
    motion = Hand(60, 40, 1, 4, Style(tremor_rms_mm=0)).motion
    true_um = record(motion, EXACT).samples["path_um"][-1]
    scales = np.array([record(motion, Parameters(), seed).samples["path_um"][-1] / true_um for seed in range(200)])
    assert 0.028 < np.abs(scales - 1).max() < 0.032
    assert scales.std() == pytest.approx(0.03 / np.sqrt(3), rel=0.15)
    one = replace(EXACT, motion_noise=0.02)
    steps, true_steps = (
        np.diff(record(motion, pen, sample_rate_hz=200).samples["path_um"].astype(int)) for pen in (one, EXACT)
    )
    moved = true_steps > 80
    assert (steps[moved] / true_steps[moved]).std() == pytest.approx(0.02, rel=0.2)


def test_heading_drifts_up_to_10_degrees_a_minute() -> None:
    motion = Hand(60, 40, 1, 4, Style()).motion
    minutes = motion.duration_us / 60e6
    true_deg = motion.heading_deg[-1]
    errors = np.array(
        [
            (record(motion, Parameters(), seed).samples["heading_cdeg"][-1] / 100 - true_deg + 180) % 360 - 180
            for seed in range(200)
        ]
    )
    assert 9 * minutes < np.abs(errors).max() < 10 * minutes + 1.5


def test_contact_bounces_for_up_to_30_ms_after_a_landing() -> None:
    motion = Hand(60, 40, 2, 4, Style()).motion
    steady, bouncing = (
        record(motion, EXACT, 5, sample_rate_hz=200, bounce_ms=bounce_ms).samples for bounce_ms in (0, 30)
    )
    landings = np.flatnonzero(np.diff(contact(steady).astype(int)) > 0) + 1
    away = np.flatnonzero(contact(steady) & ~contact(bouncing))
    assert not (contact(bouncing) & ~contact(steady)).any()
    since = away - landings[np.searchsorted(landings, away, side="right") - 1]
    assert set(since.tolist()) == set(range(6))
    rises = (np.diff(contact(bouncing).astype(int)) > 0).sum()
    assert rises > 1.3 * len(landings)
    assert bouncing["contact_strokes"][-1] < steady["contact_strokes"][-1]
    assert np.array_equal(bouncing["strokes"], steady["strokes"])


def test_the_motion_sensor_sees_nothing_in_the_air() -> None:
    hand = Hand(60, 40, 2, 4, Style())
    samples = record(hand.motion).samples
    for start_us, end_us in hand.truth.lift_us.tolist():
        between = samples[-(-start_us // 10_000) : end_us // 10_000]
        for name in ("x_um", "y_um", "path_um"):
            assert len(set(between[name].tolist())) == 1


def test_displacement_is_along_the_pens_own_axes() -> None:
    x_mm = np.linspace(0, 30, 3000)
    motion = Motion(x_mm, np.zeros(3000), np.full(3000, 90.0), np.ones(3000))
    last = record(motion, EXACT).samples[-1]
    assert last["x_um"] == pytest.approx(0, abs=20)
    assert last["y_um"] == pytest.approx(-29_900, abs=100)


def test_pen_time_and_the_rate_of_samples_are_as_asked() -> None:
    motion = Hand(20, 20, 1, 4).motion
    samples = record(motion, sample_rate_hz=50, first_t_us=WRAP - 2_000_000).samples
    assert samples.dtype == SAMPLE
    assert samples["t_us"][0] == WRAP - 2_000_000
    assert samples["t_us"][-1] < WRAP - 2_000_000
    assert set(np.diff(samples["t_us"]).tolist()) == {20_000}
    finer = record(motion, sample_rate_hz=200).samples
    assert np.array_equal(finer["strokes"][::4], samples["strokes"])
    assert np.array_equal(finer["depth_um"][1:].reshape(-1, 4)[:50].max(axis=1), samples["depth_um"][1:51])


def test_the_same_seed_gives_the_same_recording() -> None:
    motion = Hand(20, 20, 1, 4).motion
    one, same, other = (record(motion, seed=seed).samples for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_share_of_the_batches_is_lost_but_never_the_ends() -> None:
    samples = np.zeros(9_995, SAMPLE)
    samples["t_us"] = np.arange(9_995)
    batches = with_lost_batches(samples, 0.1, np.random.default_rng(1))
    firsts = [int(batch["t_us"][0]) for batch in batches]
    assert all(first % 10 == 0 for first in firsts)
    assert firsts == sorted(set(firsts))
    assert {len(batch) for batch in batches[:-1]} == {10}
    assert len(batches[-1]) == 5
    assert 870 < len(batches) < 930
    assert np.array_equal(np.concatenate(with_lost_batches(samples, 0, np.random.default_rng(1))), samples)
    ends = with_lost_batches(samples, 1, np.random.default_rng(1))
    assert [int(batch["t_us"][0]) for batch in ends] == [0, 9990]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate_hz": 0}, "divisor of 200"),
        ({"sample_rate_hz": 60}, "divisor of 200"),
        ({"sample_rate_hz": 400}, "divisor of 200"),
        ({"rate_hz": 0}, "more than 0"),
        ({"rate_hz": float("nan")}, "more than 0"),
        ({"depth_um": 0}, "more than 0"),
        ({"depth_um": 3001}, "beyond the pen's travel"),
    ],
)
def test_a_senseless_recording_is_refused(change: dict[str, float], message: str) -> None:
    motion = Hand(20, 20, 1, 4).motion
    with pytest.raises(ValueError, match=message):
        record(motion, **change)  # type: ignore[arg-type]  # wrong on purpose
