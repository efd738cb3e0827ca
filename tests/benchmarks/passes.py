"""How well passes, glides, density and coverage are counted, against the truth of the simulated hand.

    python -m tests.benchmarks.passes [--seeds A:B] [--json] [--jobs N]

Each seed is one treatment (`simulator.scenarios`), with 2 % of its batches lost. Thresholds were chosen on seeds 0 to
999; seeds from 20000 on are for reporting and were never looked at while choosing.
"""

import argparse
import json
import math
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pen_controller.passes import Coverage, Glide, Pass, PassCounter, Zone
from pen_controller.passes.ticks import TICK_US
from simulator.hand import Truth
from simulator.scenarios import Scenario, scenario

SAME_GLIDE = 0.5
"""Two glides are the same if they share so much of their time together."""
LOOKS_PER_PASS = 5
KNOWN_CM = 3.5
"""A new direction is known after 15 mm of glides and a tenth of a second: until then the old pass is under way."""


@dataclass(slots=True)
class Score:
    """What one treatment, or several, came to."""

    treatments: int = 0
    exact: int = 0
    off_by_more: int = 0
    punctures_missed: int = 0
    glides: int = 0
    found: int = 0
    matched: int = 0
    density_errors: list[float] = field(default_factory=list)
    kept_errors: list[float] = field(default_factory=list)
    held: int = 0
    looks: int = 0
    widths: list[float] = field(default_factory=list)

    def add(self, other: "Score") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def f1(self) -> float:
        return 2 * self.matched / max(1, self.glides + self.found)

    def figures(self) -> dict[str, float]:
        """The figures that the bars are about."""
        return {
            "treatments": self.treatments,
            "passes_exact": self.exact / max(1, self.treatments),
            "passes_off_by_more_than_one": self.off_by_more,
            "punctures_missed": self.punctures_missed,
            "density_error_p95": _percentile(self.density_errors, 95),
            "glide_f1": self.f1,
            "coverage_error_kept_p95": _percentile(self.kept_errors, 95),
            "coverage_in_interval": self.held / self.looks if self.looks else math.nan,
            "coverage_interval_width_mean": float(np.mean(self.widths)) if self.widths else math.nan,
        }


BARS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "passes_exact": ("at least 98 %", lambda value: value >= 0.98),
    "passes_off_by_more_than_one": ("none", lambda value: value == 0),
    "punctures_missed": ("none", lambda value: value == 0),
    "density_error_p95": ("at most 2 %", lambda value: value <= 0.02),
    "glide_f1": ("at least 0.99", lambda value: value >= 0.99),
    "coverage_error_kept_p95": ("at most 3 points", lambda value: value <= 0.03),
    "coverage_in_interval": ("at least 95 %", lambda value: value >= 0.95),
}


def score(seed: int) -> tuple[int, str, str, int, Score]:
    """Count one treatment, and hold it against the truth: seed, pattern, area, passes too many, score."""
    case = scenario(seed)
    truth, recording = case.hand().truth, case.recording()
    counted = count(case)
    stream = recording.samples
    pen_punctures = int(stream["contact_strokes"][-1] - stream["contact_strokes"][0]) * case.needles
    true_punctures = recording.contact_strokes * case.needles
    over = len(counted.passes) - truth.passes
    result = Score(
        treatments=1,
        exact=over == 0,
        off_by_more=abs(over) > 1,
        punctures_missed=abs(counted.punctures - pen_punctures),
        glides=len(truth.glides),
        found=len(counted.glides),
        matched=_matched(truth, counted.glides),
        density_errors=[abs(counted.punctures / true_punctures - 1)],
    )
    _judge_coverage(truth, counted, result)
    return seed, case.style.pattern, case.area_name, over, result


@dataclass(slots=True)
class Counted:
    """What the counter made of a treatment; `looks` are coverages of the pass under way, and when."""

    glides: list[Glide]
    passes: list[Pass]
    looks: list[tuple[int, Coverage]]
    punctures: int


def count(case: Scenario) -> Counted:
    """Count a treatment as it comes over a line that loses batches."""
    truth = case.hand().truth
    counter = PassCounter([Zone(case.size_cm2, case.needles, case.tip_width_mm)])
    counted = Counted([], [], [], 0)
    moments = iter(sorted(_moments(truth)))
    moment = next(moments)
    for batch in case.batches():
        finished = counter.feed(batch)
        counted.glides += finished.glides
        counted.passes += finished.passes
        now_us = (int(batch["t_us"][-1]) - case.first_t_us) % (1 << 32)
        while now_us >= moment:
            coverage = counter.figures().coverage
            assert coverage is not None
            counted.looks.append((now_us // TICK_US * TICK_US, coverage))
            moment = next(moments, 1 << 62)
    finished = counter.finish()
    counted.glides += finished.glides
    counted.passes += finished.passes
    counted.punctures = counter.figures().punctures
    return counted


def _moments(truth: Truth) -> Iterable[int]:
    """When to look at the coverage: evenly over each pass, and shortly before its end."""
    for first_us, end_us in truth.pass_us.tolist():
        for share in range(1, LOOKS_PER_PASS + 1):
            yield round(first_us + (end_us - first_us) * (share / LOOKS_PER_PASS) - 1)


def _matched(truth: Truth, found: list[Glide]) -> int:
    """True glides that were found: those of which one shares at least half of the time of both together."""
    starts, ends = truth.glides.start_us, truth.glides.end_us
    taken: set[int] = set()
    for glide in found:
        shared = np.minimum(ends, glide.end_us) - np.maximum(starts, glide.start_us)
        joined = np.maximum(ends, glide.end_us) - np.minimum(starts, glide.start_us)
        best = int(np.argmax(shared / joined))
        if shared[best] >= SAME_GLIDE * joined[best]:
            taken.add(best)
    return len(taken)


def _judge_coverage(truth: Truth, counted: Counted, result: Score) -> None:
    lifts_us = truth.lift_us[:, 0]
    for at_us, coverage in counted.looks:
        index = int(np.searchsorted(truth.pass_us[:, 0], at_us, side="right")) - 1
        first_us = int(truth.pass_us[index, 0])
        true = truth.coverage_at(index, at_us)
        if true * truth.area_cm2 < truth.tip_width_mm / 10 * KNOWN_CM:
            continue
        if ((lifts_us > first_us) & (lifts_us < at_us)).any():
            result.looks += 1
            result.held += coverage.low <= true <= coverage.high
            result.widths.append(coverage.high - coverage.low)
        else:
            result.kept_errors.append(abs(coverage.high - true))


def _percentile(values: list[float], share: float) -> float:
    return float(np.percentile(values, share)) if values else math.nan


def main() -> None:
    """Run the seeds asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="20000:21000", metavar="A:B", help="from A up to but not B (20000:21000)")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), help="processes side by side")
    parser.add_argument("--json", action="store_true", help="figures for a script")
    options = parser.parse_args()
    try:
        first, end = (int(number) for number in options.seeds.split(":"))
    except ValueError:
        parser.error(f"--seeds {options.seeds}: give two numbers as in 0:1000")
    console = Console(stderr=True)
    groups: defaultdict[str, Score] = defaultdict(Score)
    missed: list[tuple[int, int]] = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        results = pool.imap_unordered(score, range(first, end), chunksize=4)
        for seed, pattern, area, over, result in track(results, "treatments", end - first, console=console):
            for group in ("all", pattern, area):
                groups[group].add(result)
            if over:
                missed.append((seed, over))
    report(groups, sorted(missed), as_json=options.json)


def report(groups: dict[str, Score], missed: list[tuple[int, int]], *, as_json: bool) -> None:
    """Print the figures; the exit code is 1 if a bar is missed."""
    total = groups["all"].figures()
    met = {name: good(total[name]) for name, (_, good) in BARS.items()}
    if as_json:
        groups_figures = {name: group.figures() for name, group in groups.items()}
        print(json.dumps({"groups": groups_figures, "bars_met": met, "passes_wrong_by_seed": missed}))
    else:
        table = Table("", *(name.replace("_", " ") for name in total))
        for name in ("all", *sorted(set(groups) - {"all"})):
            table.add_row(name, *(f"{value:.4g}" for value in groups[name].figures().values()))
        console = Console(width=180)
        console.print(table)
        for name, (bar, _) in BARS.items():
            console.print(f"{'met' if met[name] else 'MISSED'}: {name.replace('_', ' ')} {total[name]:.4f} ({bar})")
        if missed:
            console.print("passes wrong, seed:too many: " + " ".join(f"{seed}:{over:+d}" for seed, over in missed))
    sys.exit(0 if all(met.values()) else 1)


if __name__ == "__main__":
    main()
