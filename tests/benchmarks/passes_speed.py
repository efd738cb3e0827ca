"""How fast passes are counted: `python -m tests.benchmarks.passes_speed [--json]`.

Sixteen pens side by side in batches of ten samples: compiled, in plain Python as in a treatment, and by the same
definition read once more for the tests (the oracle). All take turns on one core, and what counts is their processor
time, so that a busy machine hits each.
"""

import argparse
import json
import sys
from statistics import median
from time import process_time

import numpy as np
from rich.console import Console
from rich.table import Table

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


def ours(cases: list[Scenario], batches: list[SampleArray], *, compiled: bool) -> float:
    """Samples a second of the counter, all pens side by side."""
    zones = [Zone(case.size_cm2, case.needles, case.tip_width_mm) for case in cases]
    counter = PassCounter(zones, compiled=compiled)
    began = process_time()
    for batch in batches:
        counter.feed(batch)
    return sum(batch.size for batch in batches) / (process_time() - began)


def oracle(cases: list[Scenario], batches: list[SampleArray]) -> float:
    """Samples a second of the oracle, one pen after the other."""
    oracles = [Oracle(case.size_cm2, case.tip_width_mm) for case in cases]
    began = process_time()
    for batch in batches:
        for one, samples in zip(oracles, batch, strict=True):
            one.feed(samples)
    return sum(batch.size for batch in batches) / (process_time() - began)


def measure() -> dict[str, float]:
    """Medians over the rounds; a ratio is one of each round."""
    cases = treatments()
    samples = np.stack([case.recording().samples[: 100 * SECONDS] for case in cases])
    batches = [samples[:, at : at + BATCH_SAMPLES].copy() for at in range(0, samples.shape[1], BATCH_SAMPLES)]
    began = process_time()
    ours(cases, batches[:1], compiled=True)
    compile_s = process_time() - began
    rounds = [
        (ours(cases, batches, compiled=True), ours(cases, batches, compiled=False), oracle(cases, batches))
        for _ in range(ROUNDS)
    ]
    return {
        "compiled_samples_per_s": median(compiled for compiled, _, _ in rounds),
        "uncompiled_samples_per_s": median(uncompiled for _, uncompiled, _ in rounds),
        "oracle_samples_per_s": median(oracle for _, _, oracle in rounds),
        "ratio": median(compiled / oracle for compiled, _, oracle in rounds),
        "uncompiled_us_per_batch": median(BATCH_SAMPLES * 1e6 / uncompiled for _, uncompiled, _ in rounds),
        "compile_s": compile_s,
    }


def main() -> None:
    """Run all three and print what they came to; the exit code is 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures for a script")
    options = parser.parse_args()
    figures = measure()
    met = {"samples_per_s": figures["compiled_samples_per_s"] >= SAMPLES_BAR, "ratio": figures["ratio"] >= RATIO_BAR}
    if options.json:
        print(json.dumps({**figures, "bars_met": met}))
    else:
        table = Table("", "M samples/s", title=f"{PENS} pens, batches of {BATCH_SAMPLES}")
        for name in ("compiled", "uncompiled", "oracle"):
            table.add_row(name, f"{figures[f'{name}_samples_per_s'] / 1e6:.2f}")
        console = Console()
        console.print(table)
        console.print(f"compiled: bar {SAMPLES_BAR / 1e6:.0f} M samples/s; made once in {figures['compile_s']:.1f} s")
        console.print(f"compiled over oracle: {figures['ratio']:.1f} (bar {RATIO_BAR:.0f})")
        console.print(f"a pen's batch in a treatment, not compiled: {figures['uncompiled_us_per_batch']:.0f} us")
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
