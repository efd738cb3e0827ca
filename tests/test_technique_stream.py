"""Technique over whole streams: the same however cut, wrapped or torn, and all mistakes of a treatment told once."""

from dataclasses import replace

import numpy as np
import pytest

from pen_controller.passes import PassCounter, Zone
from pen_controller.treatment.technique import Alert, Fault
from protocols.messages import WRAP
from protocols.samples import SampleArray
from simulator.hand import Hand, Style
from simulator.mistakes import Mistake, inject, tremble
from simulator.recording import record, with_lost_batches
from tests.benchmarks.technique import measure
from tests.coaching import NEEDLES, TIP_MM, faults, samples, told, tremor, watch, way


def treated(first_t_us: int = 0) -> SampleArray:
    """A crosshatch with one mistake of each kind, by a pen with all its errors."""
    hand = Hand(30, 30, 2, 3, Style(pattern="crosshatch", tremor_rms_mm=0, pause_probability=0))
    mistakes = [
        Mistake("stand", 2_500_000, 3_500_000),
        Mistake("press", 5_500_000, 6_500_000, 4.0),
        Mistake("hurry", 7_500_000, 8_500_000, 4.5),
        Mistake("hover", 10_000_000, 16_000_000),
    ]
    return record(tremble(inject(hand.motion, mistakes), 1), seed=1, first_t_us=first_t_us).samples


def run(batches: list[SampleArray]) -> list[Alert]:
    counter, technique = PassCounter([Zone(9.0, NEEDLES, TIP_MM)]), watch()
    alerts = []
    for batch in batches:
        counter.feed(batch)
        alerts += technique.feed(batch, counter.figures())
    return alerts


def test_a_whole_treatment_tells_each_mistake_once() -> None:
    raised = [alert.fault for alert in run(np.array_split(treated(), 200)) if alert.ended_us is None]
    assert raised == [Fault.DWELLING, Fault.PRESSING, Fault.DRAGGING, Fault.COVERAGE, Fault.AIR]


@pytest.mark.parametrize("first_t_us", [0, WRAP - 7_000_000])
def test_the_result_does_not_depend_on_how_the_stream_is_cut(first_t_us: int) -> None:
    made = with_lost_batches(treated(first_t_us), 0.05, np.random.default_rng(2))
    joined = np.concatenate(made)
    once = run(made)
    assert len(once) >= 8
    for size in (1, 3, 10, 97):
        assert run([joined[at : at + size] for at in range(0, len(joined), size)]) == once


def test_pen_time_may_wrap() -> None:
    plain, wrapping = run([treated()]), run([treated(WRAP - 7_000_000)])
    assert any(alert.ended_us is not None and alert.ended_us < 10_000_000 for alert in wrapping)
    for alert in wrapping:
        ended_us = None if alert.ended_us is None else (alert.ended_us + 7_000_000) % WRAP
        moved = replace(alert, raised_us=(alert.raised_us + 7_000_000) % WRAP, ended_us=ended_us)
        assert moved == plain.pop(0)
    assert plain == []


def test_a_lost_batch_is_no_fault_and_hides_none() -> None:
    x_mm = way((2, 20), (2, 0)) + tremor(400, 5)
    made = samples(x_mm, y_mm=tremor(400, 6))
    for lost in range(170, 260, 5):
        changes = told(np.delete(made, slice(lost, lost + 10)))
        assert [(fault, change) for fault, change, _ in changes] == [(Fault.DWELLING, "raised")]
        two_windows_after_s = (lost + 10) / 100 + 0.195
        assert 2.0 < changes[0][2] <= max(2.25, two_windows_after_s)


def test_after_a_long_silence_nothing_of_before_counts() -> None:
    made = samples(way((3, 20), (3, 0.0)), force_n=np.repeat([4.0, 1.0], [300, 300]))
    silent = np.delete(made, slice(150, 310))
    silent["x_um"][150:] += 60_000  # moved on meanwhile
    technique = watch()
    assert faults(silent, technique=technique) == [Fault.PRESSING, Fault.DWELLING]
    assert technique.current is not None
    assert technique.current.fault is Fault.DWELLING
    assert technique.current.raised_us > 3_100_000 + 150_000


def test_the_benchmark_meets_its_bars_on_a_few_seeds() -> None:
    result = measure(range(4))
    assert result["asked"] >= 5
    assert result["late_or_false"] == []
    assert result["passed"]
