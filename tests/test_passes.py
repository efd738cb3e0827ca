"""Pass counting: exact where the pen counts, the same however the stream is cut, honest about the rest."""

import numpy as np
import pytest

from pen_controller.passes import PassCounter
from protocols.messages import WRAP
from protocols.samples import SAMPLE, SampleArray
from protocols.words import SampleFlag
from simulator.hand import Hand, Style
from simulator.physics import Touch

NEEDLES, TIP_MM, SIZE_CM2 = 12, 10.0, 6.0
IN_SKIN = int(SampleFlag.CONTACT | SampleFlag.RUNNING)


def stream(
    touches: list[Touch], *, rate_hz: float = 100.0, first_t_us: int = 0, first_strokes: int = 0
) -> tuple[SampleArray, int]:
    """100 Hz samples of an ideal sensor over these touches; with the true number of strokes in contact."""
    samples = np.zeros(len(touches), SAMPLE)
    x_um = y_um = path_um = 0.0
    strokes = contact_strokes = 0.0
    for index, touch in enumerate(touches):
        contact = touch.force_n > 0
        if index:
            strokes += rate_hz / 100
            contact_strokes += rate_hz / 100 * contact
            before = touches[index - 1]
            if contact and before.force_n > 0:
                x_um += (touch.x_mm - before.x_mm) * 1000
                y_um += (touch.y_mm - before.y_mm) * 1000
                path_um += np.hypot(touch.x_mm - before.x_mm, touch.y_mm - before.y_mm) * 1000
        flags = IN_SKIN if contact else int(SampleFlag.RUNNING)
        samples[index] = (
            (first_t_us + index * 10_000) % WRAP,
            (first_strokes + int(strokes)) % WRAP,
            (first_strokes + int(contact_strokes)) % WRAP,
            int(path_um),
            int(x_um),
            int(y_um),
            500,
            int(touch.force_n * 1000),
            int(rate_hz * 10),
            100,
            0,
            flags,
        )
    return samples, int(contact_strokes)


def over_zone(pattern: str, passes: int, seed: int) -> list[Touch]:
    side_mm = (SIZE_CM2 * 100) ** 0.5
    hand = Hand(side_mm, side_mm, passes, seed, Style(pattern=pattern))  # type: ignore[arg-type]  # parametrised
    touches = [hand.at(t_us) for t_us in range(0, hand.duration_us, 10_000)]
    return [Touch(touch.x_mm, touch.y_mm, 0.0, touch.force_n) for touch in touches]


def counted(*batches: SampleArray) -> PassCounter:
    counter = PassCounter(NEEDLES, TIP_MM, SIZE_CM2)
    for batch in batches:
        counter.feed(batch)
    return counter


def figures(counter: PassCounter) -> tuple[float, ...]:
    return (counter.passes, counter.strokes, counter.punctures, counter.deepest_um, counter.duration_s)


@pytest.mark.parametrize("pattern", ["straight", "crosshatch", "circular"])
def test_punctures_and_density_are_exact(pattern: str) -> None:
    samples, contact_strokes = stream(over_zone(pattern, 2, seed=3))
    counter = counted(samples)
    assert counter.punctures == contact_strokes * NEEDLES > 0
    assert counter.density_per_cm2 == counter.punctures / SIZE_CM2


@pytest.mark.parametrize("first", [0, WRAP - 1_000_000])
def test_the_result_does_not_depend_on_how_the_stream_is_cut(first: int) -> None:
    samples, _ = stream(over_zone("crosshatch", 2, seed=1), first_t_us=first, first_strokes=first)
    whole = figures(counted(samples))
    for size in (1, 3, 10, 137):
        assert figures(counted(*(samples[at : at + size] for at in range(0, len(samples), size)))) == whole


def test_counters_wrap() -> None:
    touches = over_zone("straight", 2, seed=1)
    plain, _ = stream(touches)
    wrapping, _ = stream(touches, first_t_us=WRAP - 50_000, first_strokes=WRAP - 5)
    first, second = counted(plain), counted(wrapping)
    assert (second.strokes, second.punctures, second.duration_s) == (first.strokes, first.punctures, first.duration_s)


def test_a_lost_batch_loses_no_count() -> None:
    samples, _ = stream(over_zone("straight", 2, seed=2))
    whole, holed = counted(samples), counted(samples[:200], samples[260:])
    assert (holed.strokes, holed.punctures) == (whole.strokes, whole.punctures)


def test_finished_passes_share_out_the_total() -> None:
    samples, _ = stream(over_zone("straight", 3, seed=5))
    counter = PassCounter(NEEDLES, TIP_MM, SIZE_CM2)
    passes = [done for at in range(0, len(samples), 10) for done in counter.feed(samples[at : at + 10])]
    assert [done.index for done in passes] == list(range(1, int(counter.passes) + 1))
    assert len(passes) >= 3
    assert sum(done.punctures for done in passes) <= counter.punctures
    assert all(done.how.startswith("area equivalent") for done in passes)


@pytest.mark.parametrize(("pattern", "most"), [("straight", 1.6), ("crosshatch", 1.6), ("circular", 4.0)])
def test_passes_are_never_counted_too_few(pattern: str, most: float) -> None:
    """This first version errs to the safe side: it may end an area early, and never late."""
    for seed in range(5):
        samples, _ = stream(over_zone(pattern, 3, seed))
        assert 3 <= counted(samples).passes <= 3 * most


def test_standing_still_is_no_pass() -> None:
    samples, contact_strokes = stream([Touch(0.0, 0.0, 0.0, 1.0)] * 2000)
    counter = counted(samples)
    assert counter.passes == 0
    assert counter.punctures == contact_strokes * NEEDLES


def test_needles_in_the_air_puncture_nothing() -> None:
    samples, _ = stream([Touch(0.1 * index, 0.0, 0.0, 0.0) for index in range(1000)])
    counter = counted(samples)
    assert (counter.passes, counter.punctures) == (0, 0)
    assert counter.strokes > 900
    assert counter.deepest_um == 0


def test_an_interruption_keeps_the_counts_and_forgets_the_place() -> None:
    touches = over_zone("straight", 2, seed=4)
    samples, _ = stream(touches)
    counter = PassCounter(NEEDLES, TIP_MM, SIZE_CM2)
    counter.feed(samples[:300])
    before = counter.passes
    counter.forget_place()
    jumped = samples[300:].copy()
    jumped["x_um"] += 50_000  # five centimetres on: ground that was not swept
    counter.feed(jumped[:10])
    assert counter.passes < before + 0.1
    counter.feed(jumped[10:])
    assert counter.strokes == counted(samples).strokes


def test_a_rebooted_pen_begins_its_counters_anew() -> None:
    samples, _ = stream(over_zone("straight", 1, seed=4))
    counter = PassCounter(NEEDLES, TIP_MM, SIZE_CM2)
    counter.feed(samples)
    once = counter.strokes
    counter.forget_counters()
    counter.feed(samples)
    assert counter.strokes == 2 * once


def test_an_empty_batch_is_nothing() -> None:
    assert PassCounter(NEEDLES, TIP_MM, SIZE_CM2).feed(np.zeros(0, SAMPLE)) == []
