"""How fast passes are counted: `python -m tests.benchmarks.passes_speed [--json]`.

Sixteen pens side by side in batches of ten samples, against the same definition read in plain Python (the oracle of the
tests). Both take turns on one core, and what counts is their processor time, so that a busy machine hits both.
"""

import argparse
import json
import sys
from statistics import median
from time import process_time

import numpy as np
from rich.console import Console

from pen_controller.passes import PassCounter, Zone
from protocols.samples import SampleArray
from simulator.scenarios import Scenario, scenario
from tests.passes_oracle import Oracle

PENS, BATCH_SAMPLES = 16, 10
TIP_MM = 10.0
SECONDS = 60
ROUNDS = 7
SAMPLES_BAR, RATIO_BAR = 2e6, 20.0


def treatments() -> list[Scenario]:
    """The first sixteen that last long enough, with the usual tip."""
    found: list[Scenario] = []
    seed = 0
    while len(found) < PENS:
        case = scenario(seed)
        if case.tip_width_mm == TIP_MM and len(case.recording().samples) >= 100 * SECONDS:
            found.append(case)
        seed += 1
    return found


def ours(cases: list[Scenario], batches: list[SampleArray]) -> float:
    """Samples a second of the counter, all pens side by side."""
    counter = PassCounter([Zone(case.size_cm2, case.needles, case.tip_width_mm) for case in cases])
    began = process_time()
    for batch in batches:
        counter.feed(batch)
    return sum(batch.size for batch in batches) / (process_time() - began)


def plain(cases: list[Scenario], batches: list[SampleArray]) -> float:
    """Samples a second of the oracle, one pen after the other."""
    oracles = [Oracle(case.size_cm2, case.tip_width_mm) for case in cases]
    began = process_time()
    for batch in batches:
        for oracle, samples in zip(oracles, batch, strict=True):
            oracle.feed(samples)
    return sum(batch.size for batch in batches) / (process_time() - began)


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures for a script")
    options = parser.parse_args()
    cases = treatments()
    samples = np.stack([case.recording().samples[: 100 * SECONDS] for case in cases])
    batches = [samples[:, at : at + BATCH_SAMPLES].copy() for at in range(0, samples.shape[1], BATCH_SAMPLES)]
    rounds = [(ours(cases, batches), plain(cases, batches)) for _ in range(ROUNDS)]
    figures = {
        "samples_per_s": median(ours for ours, _ in rounds),
        "plain_python_samples_per_s": median(plain for _, plain in rounds),
        "ratio": median(ours / plain for ours, plain in rounds),
    }
    met = {"samples_per_s": figures["samples_per_s"] >= SAMPLES_BAR, "ratio": figures["ratio"] >= RATIO_BAR}
    if options.json:
        print(json.dumps({**figures, "bars_met": met}))
    else:
        console = Console()
        console.print(
            f"{PENS} pens, batches of {BATCH_SAMPLES}: {figures['samples_per_s'] / 1e6:.2f} M samples/s (bar 2)"
        )
        console.print(f"plain Python: {figures['plain_python_samples_per_s'] / 1e6:.2f} M samples/s")
        console.print(f"ratio {figures['ratio']:.1f} (bar {RATIO_BAR:.0f})")
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
