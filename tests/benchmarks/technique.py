"""How well faults of technique are noticed: `python -m tests.benchmarks.technique [--seeds A:B] [--json]`.

Each seed is a treatment, good or with mistakes (`technique_cases`). The hand trembles, lifts and pauses (a pause is
standing, and is asked for like an injected one); the pen's sensors have all their errors; 2 % of the batches are lost.

Whether a fault is there is told from the true motion, without tremor, at 1 kHz. Faults of 500 ms and longer are asked
for. One is raised in time if its alert is there within 400 ms of its onset, at the end of the batch that brought it;
batches are of 100 ms. An alert is false if its fault was not there, to within the sensors' 5 %, in the half second
before.

Tuned on seeds 0:200, reported on 1000:1200, which nothing was tuned on.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from pen_controller.passes import PassCounter, Zone
from pen_controller.treatment.technique import Fault, Technique, coached
from protocols.messages import WRAP
from simulator.mistakes import tremble
from simulator.physics import Parameters
from simulator.recording import with_lost_batches
from tests.benchmarks.technique_cases import CONFIG, NAMES, Case, case, recorded

LOST_SHARE: Final = 0.02
IN_TIME_MS: Final = 400
MEMORY_MS: Final = 500
IN_TIME_BAR: Final = 0.99
FALSE_BAR: Final = 1.0


@dataclass
class Tally:
    """Of one fault."""

    delays_ms: list[float] = field(default_factory=list)
    """Infinite where it was not raised at all."""
    false: int = 0
    """In good technique."""


def alerts(judged: Case) -> Iterator[tuple[Fault, int, bool]]:
    """What is raised (true) and ended, with the millisecond at which it is known."""
    plan = judged.plan
    samples = recorded(plan, tremble(judged.motion, plan.seed), Parameters())
    counter = PassCounter([Zone(plan.size_cm2, plan.needles, plan.tip_width_mm, judged.area.coverage.min)])
    technique = Technique(coached(CONFIG, NAMES[plan.area]), plan.needles, plan.tip_width_mm)
    for batch in with_lost_batches(samples, LOST_SHARE, np.random.default_rng((plan.seed, 5))):
        counter.feed(batch)
        now_ms = (int(batch["t_us"][-1]) - plan.first_t_us) % WRAP // 1000
        for alert in technique.feed(batch, counter.figures()):
            yield alert.fault, now_ms, alert.ended_us is None


def weigh(judged: Case, tallies: dict[Fault, Tally]) -> list[str]:
    """Add what came of this case; say what was late or false."""
    shown: dict[Fault, list[tuple[int, float]]] = {fault: [] for fault in Fault}
    for fault, now_ms, raised in alerts(judged):
        if raised:
            shown[fault].append((now_ms, math.inf))
        else:
            shown[fault][-1] = shown[fault][-1][0], now_ms
    said = []
    for fault, tally in tallies.items():
        name = f"seed {judged.plan.seed}: {fault.name.lower()}"
        for start_ms, end_ms in judged.asked[fault]:
            delays_ms = [max(0, a - start_ms) for a, b in shown[fault] if b > start_ms and a < end_ms + IN_TIME_MS]
            tally.delays_ms.append(min(delays_ms, default=math.inf))
            if tally.delays_ms[-1] > IN_TIME_MS:
                said.append(f"{name} of {start_ms} ms late")
        for at_ms, _ in shown[fault]:
            if not judged.there[fault][max(0, at_ms - MEMORY_MS) : at_ms + 1].any():
                tally.false += judged.good
                said.append(f"{name} at {at_ms} ms false")
    return said


def measure(seeds: range) -> dict[str, Any]:
    """The figures over these seeds."""
    tallies = {fault: Tally() for fault in Fault}
    minutes = {True: 0.0, False: 0.0}
    said = []
    for seed in seeds:
        judged = case(seed)
        minutes[judged.good] += len(judged.motion.x_mm) / 60_000
        said += weigh(judged, tallies)
    per_10_min = 10 / minutes[True] if minutes[True] else math.nan
    delays_ms = np.array([delay_ms for tally in tallies.values() for delay_ms in tally.delays_ms])
    in_time = float((delays_ms <= IN_TIME_MS).mean())
    false_per_10_min = sum(tally.false for tally in tallies.values()) * per_10_min
    return {
        "seeds": f"{seeds.start}:{seeds.stop}",
        "faults": {fault.name.lower(): row(tally, per_10_min) for fault, tally in tallies.items()},
        "asked": len(delays_ms),
        "in_time": round(in_time, 4),
        "good_minutes": round(minutes[True], 1),
        "false_per_10_min": round(false_per_10_min, 3),
        "other_minutes": round(minutes[False], 1),
        "late_or_false": said,
        "bar": f"in time >= {IN_TIME_BAR:.0%}, at most {FALSE_BAR:g} false in 10 minutes of good technique",
        "passed": in_time >= IN_TIME_BAR and false_per_10_min <= FALSE_BAR,
    }


def row(tally: Tally, per_10_min: float) -> dict[str, Any]:
    """The figures of one fault; a delay is None if it was not raised."""
    delays_ms = np.array(tally.delays_ms or [math.nan])
    p50_ms, p95_ms = (float(np.quantile(delays_ms, share, method="lower")) for share in (0.5, 0.95))
    return {
        "asked": len(tally.delays_ms),
        "in_time": int((delays_ms <= IN_TIME_MS).sum()),
        "p50_ms": round(p50_ms) if math.isfinite(p50_ms) else None,
        "p95_ms": round(p95_ms) if math.isfinite(p95_ms) else None,
        "false_per_10_min": round(tally.false * per_10_min, 3),
    }


def show(result: dict[str, Any]) -> None:
    """Print the figures for people."""
    faults = result.pop("faults")
    table = Table("fault", *next(iter(faults.values())), title=f"Technique, seeds {result.pop('seeds')}")
    for name, figures in faults.items():
        table.add_row(name, *map(str, figures.values()))
    console = Console()
    console.print(table)
    for key, value in result.items():
        console.print(f"{key.replace('_', ' ')}: {value}")


def main() -> int:
    """Run; the exit status says whether the bar was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.technique", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--seeds", default="1000:1200", help="from A up to and without B (default 1000:1200)")
    options = parser.parse_args()
    first, _, last = options.seeds.partition(":")
    result = measure(range(int(first), int(last)))
    if options.json:
        print(json.dumps(result))
    else:
        show(dict(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
