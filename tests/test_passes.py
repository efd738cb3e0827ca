"""Pass counting: as its definition read in plain Python, the same however the stream is cut, honest about the rest."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.passes import Figures, Finished, Glide, Pass, PassCounter, Zone
from protocols.messages import WRAP
from protocols.samples import SAMPLE, SampleArray
from protocols.words import SampleFlag
from simulator.hand import Hand, Motion
from simulator.physics import Parameters
from simulator.recording import record
from simulator.scenarios import Scenario, scenario
from tests.passes_oracle import Oracle

ZONE = Zone(size_cm2=6.0, needles=12, tip_width_mm=10.0)
SENSORS = int(SampleFlag.RUNNING | SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID | SampleFlag.MOTION_VALID)
SEEDS = range(40)
no_numba = pytest.mark.skipif(find_spec("numba") is None, reason="Numba is not installed")
both_ways = pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=no_numba)])


class Tip:
    """Draws the samples of an ideal pen, 100 a second, with 100 strokes a second."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, bool]] = [(0.0, 0.0, False)]

    def glide(self, dx_mm: float, dy_mm: float, speed_mm_s: float = 20.0) -> "Tip":
        x, y, _ = self.rows[-1]
        steps = max(1, round(float(np.hypot(dx_mm, dy_mm)) / speed_mm_s * 100))
        self.rows += [(x + dx_mm * n / steps, y + dy_mm * n / steps, True) for n in range(1, steps + 1)]
        return self

    def stay(self, seconds: float) -> "Tip":
        self.rows += [(*self.rows[-1][:2], True)] * round(seconds * 100)
        return self

    def air(self, seconds: float) -> "Tip":
        self.rows += [(*self.rows[-1][:2], False)] * round(seconds * 100)
        return self

    def rows_over(self, count: int, length_mm: float, pitch_mm: float, *, turned: bool = False) -> "Tip":
        """Rows to and fro in one contact, joined by ways across; `turned` by 90 degrees."""
        for number in range(count):
            along = length_mm if number % 2 == 0 else -length_mm
            self.glide(*((0.0, along) if turned else (along, 0.0)))
            if number + 1 < count:
                self.glide(*((pitch_mm, 0.0) if turned else (0.0, pitch_mm)))
        return self

    def samples(self) -> SampleArray:
        samples = np.zeros(len(self.rows), SAMPLE)
        x, y, contact = (np.array(column) for column in zip(*self.rows, strict=True))
        number = np.arange(len(x))
        samples["t_us"], samples["strokes"] = number * 10_000, number
        samples["contact_strokes"] = np.cumsum(contact)
        samples["x_um"], samples["y_um"] = np.rint(x * 1000), np.rint(y * 1000)
        samples["depth_um"], samples["current_ma"] = 500, 100
        samples["flags"] = SENSORS | contact
        return samples


def count(
    samples: SampleArray, zone: Zone = ZONE, size: int = 10, *, compiled: bool = False
) -> tuple[list[Glide], list[Pass], Figures]:
    counter = PassCounter([zone], compiled=compiled)
    finished = [*(counter.feed(batch) for batch in cut(samples, size)), counter.finish()]
    glides, passes = joined(finished)
    return glides, passes, counter.figures()


def cut(samples: SampleArray, size: int) -> Iterator[SampleArray]:
    return (samples[at : at + size] for at in range(0, len(samples), size))


def joined(finished: list[Finished]) -> tuple[list[Glide], list[Pass]]:
    return [glide for one in finished for glide in one.glides], [done for one in finished for done in one.passes]


def zone_of(case: Scenario) -> Zone:
    return Zone(case.size_cm2, case.needles, case.tip_width_mm)


# --- against the definition ------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("seed", SEEDS)
def test_it_agrees_with_its_definition_read_in_plain_python(seed: int, compiled: bool) -> None:
    case = scenario(seed)
    agree(case, case.batches(), compiled=compiled)


@both_ways
@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_its_definition_when_seconds_are_lost(seed: int, compiled: bool) -> None:
    case = scenario(seed)
    batches = case.batches()
    agree(case, [batch for number, batch in enumerate(batches) if number % 61 < 40], compiled=compiled)


def agree(case: Scenario, batches: list[SampleArray], *, compiled: bool) -> None:
    """Counter and oracle say the same of all this."""
    counter = PassCounter([zone_of(case)], compiled=compiled)
    oracle = Oracle(case.size_cm2, case.tip_width_mm)
    finished = [counter.feed(batch) for batch in batches]
    for batch in batches:
        oracle.feed(batch)
    glides, passes = joined([*finished, counter.finish()])
    oracle.finish()
    assert [(glide.start_us, glide.end_us) for glide in glides] == oracle.glides
    assert [(done.strokes, done.punctures) for done in passes] == [
        (strokes, in_contact * case.needles) for strokes, in_contact, _, _ in oracle.passes
    ]
    cell = oracle.cell_mm**2 / 100 / case.size_cm2
    for done, (_, _, least, most) in zip(passes, oracle.passes, strict=True):
        assert done.coverage == pytest.approx((min(1.0, least * cell), min(1.0, most * cell)))
    assert counter.figures().punctures == oracle.contact_strokes * case.needles


@both_ways
def test_strokes_by_spot_agree_with_the_definition_too(compiled: bool) -> None:
    counter, oracle = PassCounter([ZONE], compiled=compiled), Oracle(ZONE.size_cm2, ZONE.tip_width_mm)
    samples = Tip().air(0.5).glide(15, 0, 80).stay(1).glide(-10, 20).air(0.5).samples()
    for batch in cut(samples[:250], 10):
        counter.feed(batch)
        oracle.feed(batch)
    punctures_per_cm2 = max(oracle.cells.values()) * ZONE.needles / (oracle.cell_mm**2 / 100)
    assert counter.figures().local_density_per_cm2 == pytest.approx(punctures_per_cm2)
    counter.feed(samples[250:])
    oracle.feed(samples[250:])
    spots = list(oracle.cells.values())
    assert counter.figures().evenness_cv == pytest.approx(np.std(spots) / np.mean(spots))


@pytest.mark.parametrize("seed", range(12))
def test_it_counts_what_the_hand_did(seed: int) -> None:
    """The proof is `python -m tests.benchmarks.passes`; here are a few seeds of it."""
    case = scenario(seed)
    truth = case.hand().truth
    glides, passes, figures = count(np.concatenate(case.batches()), zone_of(case))
    samples = case.recording().samples
    assert len(passes) == truth.passes == figures.passes
    assert len(glides) == pytest.approx(len(truth.glides), abs=1 + 0.03 * len(truth.glides))
    assert (
        figures.punctures == (int(samples["contact_strokes"][-1]) - int(samples["contact_strokes"][0])) * case.needles
    )
    assert sum(done.punctures for done in passes) <= figures.punctures


# --- however the stream comes ----------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("seed", [0, 3, 17])
@pytest.mark.parametrize("size", [1, 3, 7, 137, 10**6])
def test_the_result_does_not_depend_on_how_the_stream_is_cut(seed: int, size: int, compiled: bool) -> None:
    case = scenario(seed)
    samples = np.concatenate(case.batches())[:6000]
    assert count(samples, zone_of(case), size, compiled=compiled) == count(samples, zone_of(case))


def test_pen_time_and_counters_may_wrap() -> None:
    samples = scenario(0).recording().samples[:6000]
    wrapping = samples.copy()
    for name, by in (("t_us", WRAP - 7_000_000), ("strokes", WRAP - 5), ("contact_strokes", WRAP - 50)):
        wrapping[name] = samples[name] - samples[name][0] + np.uint32(by)
    for name in ("x_um", "y_um"):
        wrapping[name] = (samples[name].astype(np.int64) + WRAP // 2 - 2000).astype(np.uint32).view(np.int32)
    assert count(wrapping) == count(samples)


@both_ways
def test_lanes_count_as_if_each_were_alone(compiled: bool) -> None:
    cases = [scenario(seed) for seed in range(8)]
    assert len({case.tip_width_mm for case in cases}) > 1
    streams = [np.concatenate(case.batches())[: 2000 + 333 * lane] for lane, case in enumerate(cases)]
    counter = PassCounter([zone_of(case) for case in cases], compiled=compiled)
    finished = []
    for at in range(0, max(map(len, streams)), 10):
        # A lane that is over repeats its last sample; each loses batches of its own.
        rows = [stream[np.minimum(np.arange(at, at + 10), len(stream) - 1)] for stream in streams]
        finished.append(counter.feed(np.stack(rows)))
    finished += [counter.finish(lane) for lane in range(len(cases))]
    glides, passes = joined(finished)
    for lane, (case, stream) in enumerate(zip(cases, streams, strict=True)):
        alone = count(stream, zone_of(case))
        assert [replace(glide, lane=0) for glide in glides if glide.lane == lane] == alone[0]
        assert [replace(done, lane=0) for done in passes if done.lane == lane] == alone[1]
        assert counter.figures(lane) == alone[2]


def test_a_lost_batch_loses_detail_and_no_count() -> None:
    samples = scenario(2).recording().samples
    holed = np.concatenate((samples[:200], samples[230:500], samples[900:]))
    assert count(holed)[2].punctures == count(samples)[2].punctures
    assert count(holed)[2].strokes == count(samples)[2].strokes


@given(st.data())
def test_no_stream_breaks_it(data: st.DataObject) -> None:
    """Whatever a broken pen sends, in whatever order: no error, no warning, figures that can be."""
    count_of = data.draw(st.integers(1, 60))
    raw = data.draw(st.binary(min_size=count_of * SAMPLE.itemsize, max_size=count_of * SAMPLE.itemsize))
    samples = np.frombuffer(raw, SAMPLE).copy()
    if data.draw(st.booleans()):
        samples["t_us"] = np.arange(count_of) * data.draw(st.sampled_from([10_000, 60_000, 2_000_000]))
        samples["flags"] |= np.uint16(SENSORS)
    zone = Zone(6.0, 12, 10.0, motion=data.draw(st.booleans()), contact=data.draw(st.booleans()))
    size = data.draw(st.integers(1, 20))
    counted = count(samples, zone, size)
    figures = counted[2]
    assert figures.coverage is None or 0 <= figures.coverage.low <= figures.coverage.high <= 1
    if find_spec("numba"):
        assert count(samples, zone, size, compiled=True) == counted


def test_an_empty_batch_is_nothing() -> None:
    assert PassCounter([ZONE]).feed(np.zeros(0, SAMPLE)) == Finished([], [])


def test_a_counter_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        PassCounter([])


# --- compiled --------------------------------------------------------------------------------------------------------


@no_numba
@pytest.mark.parametrize("zone", [ZONE, replace(ZONE, contact=False), replace(ZONE, motion=False)])
def test_compiled_it_tells_the_same_after_every_batch_and_interruption(zone: Zone) -> None:
    plain, compiled = PassCounter([zone]), PassCounter([zone], compiled=True)
    interruptions = (PassCounter.forget_place, PassCounter.forget_counters, PassCounter.finish)
    cut_short = 0
    for number, batch in enumerate(scenario(5).batches()[:600]):
        assert compiled.feed(batch) == plain.feed(batch)
        assert compiled.figures() == plain.figures()
        if number % 10 == 0:
            interrupt = interruptions[number // 10 % 3]
            told = interrupt(plain)
            assert interrupt(compiled) == told
            cut_short += len(told.glides)
    assert cut_short > 5


@no_numba
def test_compiled_it_reads_samples_wherever_they_lie() -> None:
    samples = np.concatenate(scenario(1).batches())[:3000]
    spaced = np.zeros((len(samples), 2), SAMPLE)
    spaced[:, 0] = samples
    in_a_frame = np.frombuffer(b"?" + samples.tobytes(), SAMPLE, offset=1)
    assert not in_a_frame.flags.writeable
    for stream in (spaced[:, 0], in_a_frame):
        assert count(stream, compiled=True) == count(samples)


def test_a_treatment_counts_without_numba_and_compiling_says_what_it_needs() -> None:
    program = """
import sys
sys.modules["numba"] = None  # whoever imports it fails
import pen_controller.treatment
from pen_controller.passes import PassCounter, Zone
zones = [Zone(6.0, 12, 10.0)]
PassCounter(zones)
PassCounter(zones, compiled=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: compiled counting needs Numba: pip install 'pen-controller[fast]'"
    )


# --- passes ----------------------------------------------------------------------------------------------------------


def over_zone(tip: Tip, *, turned: bool = False) -> Tip:
    """The zone of 6 cm2 swept once, in one contact, with an overlap of a quarter."""
    return tip.rows_over(3, 20.0, 7.5, turned=turned)


def test_a_rest_ends_a_pass() -> None:
    samples = over_zone(over_zone(Tip().air(0.5)).air(1.5)).air(0.3).samples()
    samples["depth_um"][len(samples) // 2 :] = 300
    _, passes, figures = count(samples)
    assert [(done.index, done.deepest_um) for done in passes] == [(1, 500), (2, 300)]
    assert (figures.passes, figures.deepest_um) == (2, 500)
    assert all(done.family == "straight" and done.coverage.high > 0.8 for done in passes)


def test_a_rest_ends_a_pass_though_only_touches_at_its_ends_were_heard() -> None:
    once = over_zone(Tip().air(0.5)).air(0.2).stay(0.05)
    heard = len(once.rows)
    samples = over_zone(once.air(1.3)).air(0.3).samples()
    _, passes, _ = count(np.concatenate((samples[:heard], samples[heard + 130 :])))
    assert len(passes) == 2


def test_a_short_lift_does_not_end_a_pass_and_repeated_ground_is_no_other_one() -> None:
    samples = over_zone(over_zone(Tip().air(0.5)).air(0.4)).air(0.3).samples()
    _, passes, _ = count(samples)
    assert len(passes) == 1
    assert passes[0].coverage.low < 1 or passes[0].coverage.high == 1


def test_a_change_of_direction_ends_a_pass_without_a_rest() -> None:
    samples = over_zone(over_zone(Tip().air(0.5)).air(0.4), turned=True).air(0.3).samples()
    _, passes, _ = count(samples)
    assert len(passes) == 2
    first, second = (done.direction_deg for done in passes)
    assert first is not None
    assert second is not None
    assert abs(second - first) == pytest.approx(90, abs=15)


def test_the_pens_own_heading_is_taken_out_of_the_direction() -> None:
    samples = over_zone(Tip().air(0.5)).air(0.3).samples()
    turned = samples.copy()
    # The pen is held turned by 90 degrees: what is its x axis now points along y.
    turned["heading_cdeg"], turned["x_um"], turned["y_um"] = 9000, samples["y_um"], -samples["x_um"]
    (before,), (after,) = count(samples)[1], count(turned)[1]
    assert before.direction_deg is not None
    assert after.direction_deg == pytest.approx(before.direction_deg, abs=0.1)


def test_a_pass_broken_off_is_none() -> None:
    samples = Tip().air(0.5).glide(20, 0).air(1.5).samples()
    _, passes, figures = count(samples)
    assert (passes, figures.passes) == ([], 0)


def test_a_pass_broken_off_goes_on_after_a_rest() -> None:
    tip = Tip().air(0.5).rows_over(2, 20.0, 7.5).air(1.5).glide(-20, 0).air(0.3)
    assert len(count(tip.samples())[1]) == 1


def test_circles_are_a_family_of_their_own_and_a_glide_lasts_as_long_as_the_contact() -> None:
    tip = Tip().air(0.5)
    angle = np.linspace(0, 12 * np.pi, 1500)
    tip.rows += [(4 * np.cos(a) + a, 4 * np.sin(a), True) for a in angle.tolist()]
    glides, passes, _ = count(tip.air(0.3).samples())
    assert [done.family for done in passes] == ["circular"]
    assert passes[0].direction_deg is None
    assert len(glides) == 1


def test_coverage_is_measured_within_a_contact_and_an_interval_across_lifts() -> None:
    counter = PassCounter([ZONE])
    counter.feed(Tip().air(0.5).glide(20, 0).samples())
    within = counter.figures().coverage
    assert within is not None
    assert within.low == within.high == pytest.approx((20 * 10 + 78.5) / 600, abs=0.04)
    counter.feed(Tip().air(0.5).glide(20, 0).air(0.5).glide(20, 0).samples())
    across = counter.figures().coverage
    assert across is not None
    assert across.low < across.high


# --- glides ----------------------------------------------------------------------------------------------------------


def test_a_glide_ends_where_the_tip_turns_back() -> None:
    glides, _, _ = count(Tip().air(0.5).glide(20, 0).glide(-20, 0).air(0.5).samples())
    assert len(glides) == 2
    assert glides[0].length_mm == pytest.approx(20, abs=1)
    assert glides[0].end_us == pytest.approx(1_500_000, abs=100_000)


def test_a_pause_does_not_end_a_glide() -> None:
    assert len(count(Tip().air(0.5).glide(10, 0).stay(2).glide(10, 0).air(0.5).samples())[0]) == 1


def test_needles_that_bounce_stay_set_down() -> None:
    samples = Tip().air(0.5).glide(20, 0).air(0.5).samples()
    for at in (55, 90):
        samples["flags"][at : at + 3] &= ~np.uint16(SampleFlag.CONTACT)
    assert len(count(samples)[0]) == 1


def test_standing_still_is_no_glide_and_no_pass_but_shows_as_local_density() -> None:
    counter = PassCounter([ZONE])
    counter.feed(Tip().air(0.5).stay(3).samples())
    figures = counter.figures()
    assert (figures.glides, figures.passes) == (0, 0)
    assert figures.local_density_per_cm2 == pytest.approx(300 * 12 / (np.pi / 4), rel=0.1)
    assert figures.contact_s == pytest.approx(3, abs=0.1)


def test_an_even_glide_is_even_and_a_pause_in_it_is_not() -> None:
    even = count(Tip().air(0.5).glide(40, 0).air(0.5).samples())[2].evenness_cv
    paused = count(Tip().air(0.5).glide(20, 0).stay(2).glide(20, 0).air(0.5).samples())[2].evenness_cv
    assert even is not None
    assert paused is not None
    assert even < 0.6 < paused


# --- what is not known -----------------------------------------------------------------------------------------------


def test_without_a_motion_sensor_there_are_no_passes_and_it_says_why() -> None:
    samples = over_zone(over_zone(Tip().air(0.5)).air(1.5)).air(0.3).samples()
    samples["flags"] &= ~np.uint16(SampleFlag.MOTION_VALID)
    glides, passes, figures = count(samples, replace(ZONE, motion=False))
    assert (passes, figures.passes, figures.coverage, figures.evenness_cv) == ([], None, None, None)
    assert "no motion sensor" in figures.how["passes"]
    assert [glide.length_mm for glide in glides] == [None, None]
    assert figures.punctures == int(samples["contact_strokes"][-1]) * 12


def in_the_air_first(motion: Motion) -> Motion:
    """The same after a second and a half in the air."""
    still = [np.full(1500, column[0]) for column in (motion.x_mm, motion.y_mm, motion.heading_deg)]
    columns = (motion.x_mm, motion.y_mm, motion.heading_deg, motion.force_n)
    return Motion(*(np.concatenate(pair) for pair in zip([*still, np.zeros(1500)], columns, strict=True)))


def test_contact_from_the_motors_current_is_flagged_as_estimated_and_near_the_truth() -> None:
    hand = Hand(30, 20, 2, seed=5).motion
    told = record(in_the_air_first(hand), Parameters(needles=12), seed=5, depth_um=1000)
    blind = told.samples.copy()
    blind["flags"] &= ~np.uint16(SampleFlag.CONTACT | SampleFlag.FORCE_VALID)
    blind["contact_strokes"] = 0
    figures = count(blind, replace(ZONE, contact=False))[2]
    assert figures.how["punctures"].startswith("estimated")
    assert figures.punctures == pytest.approx(told.contact_strokes * 12, rel=0.1)


def test_an_interruption_keeps_the_counts_and_forgets_the_place() -> None:
    samples = over_zone(Tip().air(0.5)).air(0.3).samples()
    counter = PassCounter([ZONE])
    counter.feed(samples[:200])
    counter.forget_place()
    jumped = samples[200:].copy()
    jumped["x_um"] += 50_000  # five centimetres on: ground that was not swept
    counter.feed(jumped)
    counter.finish()
    assert counter.figures().strokes == count(samples)[2].strokes
    (done,) = count(samples)[1]
    coverage = counter.figures().coverage
    assert counter.figures().passes == 1
    assert coverage is not None
    assert done.coverage.high <= 1


def test_a_rebooted_pen_begins_its_counters_anew() -> None:
    samples = over_zone(Tip().air(0.5)).air(0.3).samples()
    counter = PassCounter([ZONE])
    counter.feed(samples)
    once = counter.figures().punctures
    counter.forget_counters()
    counter.feed(samples)
    assert counter.figures().punctures == 2 * once
