"""Both ends on one virtual clock, with seeded faults, judged by physics.

    python -m tests.simulation                     10^6 steps, on all cores but one
    python -m tests.simulation --steps 1e7         ten times as many
    python -m tests.simulation --hazard H05        only scripts that provoke this one
    python -m tests.simulation --seed 17           one script, told act by act
    python -m tests.simulation --script FILE       one that was written down

Exit status 1 if a bound was missed. A script that fails is made as short as it gets and written to a file; the command
that runs it again is printed.
"""

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.simulation.script import PROVOKED_BY, Script, generate
from tests.simulation.shrink import shrink
from tests.simulation.truth import Deed, Kind, Moment, Violation
from tests.simulation.verdict import Tally, judge, judge_all
from tests.simulation.world import run

SEEDS_AT_ONCE = 8
MOST_STEPS = 1e12
INTERRUPTED = 130
QUIET = frozenset({Kind.RENEWAL_ARRIVED, Kind.WRITTEN})


def main() -> int:
    """Run what the command line says; the exit status says whether every bound was kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="run the script of this seed, and tell what happens")
    parser.add_argument("--script", type=Path, help="run a script from a JSON file, and tell what happens")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many")
    parser.add_argument("--steps", type=float, default=1e6, help="run scripts until so many steps are judged")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="processes")
    parser.add_argument("--hazard", choices=sorted(PROVOKED_BY), help="each script has something that provokes this")
    parser.add_argument("--failed", type=Path, default=Path(), help="folder for shrunk scripts that fail")
    options = parser.parse_args()
    console = Console(soft_wrap=True)
    if not 0 < options.steps < MOST_STEPS or options.jobs < 1:
        parser.error("give more than 0 steps and jobs")
    if not options.failed.is_dir():
        parser.error(f"--failed: {options.failed} is no folder")
    if options.script is not None:
        try:
            script = Script.model_validate_json(options.script.read_text("utf-8"))
        except (OSError, ValueError) as error:
            parser.error(f"--script: {options.script}: {error}")
        return replay(script, console)
    if options.seed is not None:
        return replay(generate(options.seed, options.hazard), console)
    tally = Tally()
    try:
        many(tally, options.first, options.steps, options.jobs, options.hazard, console)
    except KeyboardInterrupt:
        console.print("ended by Ctrl-C; so far:")
    console.print(table(tally))
    console.print(summary(tally))
    for script, violation in tally.violations:
        console.print(f"seed {script.seed}: {violation.hazard} at {violation.t_us / 1e6:.4f} s: {violation.said}")
    for script, violation in first_of_each(tally.violations):
        path = options.failed / f"simulation-{violation.hazard}-{script.seed}.json"
        path.write_text(shrunk(script, violation.hazard).model_dump_json(indent=1), "utf-8")
        console.print(f"replay: python -m tests.simulation --script {path}")
    if tally.steps < options.steps:
        return INTERRUPTED
    return 1 if tally.violations else 0


def replay(script: Script, console: Console) -> int:
    """Tell what happens in one script, and judge it."""
    console.print_json(script.model_dump_json())
    run(script, _Teller(console))
    tally = judge(script)
    for _, violation in tally.violations:
        console.print(f"[bold red]{violation.hazard} at {violation.t_us / 1e6:.4f} s: {violation.said}[/]")
    console.print(summary(tally))
    return 1 if tally.violations else 0


class _Teller:
    """Prints every deed but the most common, and when needles go out and come home."""

    def __init__(self, console: Console) -> None:
        self._console, self._out = console, False

    def see(self, moment: Moment) -> None:
        out = not moment.retracted
        if out != self._out:
            self._out = out
            self._tell(moment.t_us, "needles out" if out else "needles home", "")

    def note(self, deed: Deed) -> None:
        if deed.kind not in QUIET:
            self._tell(deed.t_us, deed.kind.value, ", ".join(f"{name} {value}" for name, value in deed.detail.items()))

    def _tell(self, t_us: int, what: str, how: str) -> None:
        self._console.print(f"{t_us / 1e6:10.4f} s  {what:17} {how}", markup=False, highlight=False)


def many(tally: Tally, first: int, steps: float, jobs: int, hazard: str | None, console: Console) -> None:
    """Judge scripts from a seed on, until so many steps are judged, and add up what they come to."""
    seeds = count(first, SEEDS_AT_ONCE)
    with (
        # Ctrl-C is for the one who waits; who judges ends with what is under way.
        ProcessPoolExecutor(jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool,
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("steps", total=steps)
        waiting: set[Future[Tally]] = set()
        while tally.steps < steps or waiting:
            while tally.steps < steps and len(waiting) < 2 * jobs:
                waiting.add(pool.submit(_batch, next(seeds), hazard))
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for each in done:
                tally.add(each.result())
            said = f"{tally.scripts} scripts, {len(tally.violations)} violations"
            progress.update(task, completed=min(tally.steps, steps), description=said)


def _batch(first: int, hazard: str | None) -> Tally:
    return judge_all(generate(seed, hazard) for seed in range(first, first + SEEDS_AT_ONCE))


def first_of_each(violations: Iterable[tuple[Script, Violation]]) -> list[tuple[Script, Violation]]:
    """The first script that violates each hazard."""
    return list({found[1].hazard: found for found in reversed(list(violations))}.values())


def shrunk(script: Script, hazard: str) -> Script:
    """The shortest script that still violates this hazard."""
    return shrink(script, lambda each: any(found.hazard == hazard for _, found in judge(each).violations))


def table(tally: Tally) -> Table:
    """Of each hazard, how often it was provoked, and the figure that came nearest to its bound."""
    violated = Counter(violation.hazard for _, violation in tally.violations)
    made = Table("hazard", "provoked", "worst", "bound", "", "violations")
    for column in (1, 2, 3, 5):
        made.columns[column].justify = "right"
    for hazard, measure in sorted(tally.measured.items()):
        figures = ["" if figure is None else f"{figure:.1f}" for figure in (measure.worst, measure.bound)]
        made.add_row(hazard, str(measure.provoked), *figures, measure.unit, str(violated[hazard[:3]]))
    return made


def summary(tally: Tally) -> str:
    """In a line: how much was judged, and how fast."""
    times = tally.world_s / tally.cpu_s if tally.cpu_s else 0.0
    return (
        f"{tally.scripts} scripts, {tally.steps:,} steps, {tally.world_s:,.0f} simulated seconds, {times:.0f} times "
        f"real time on one core; {sum(tally.acts.values())} acts; {len(tally.violations)} violations"
    )


if __name__ == "__main__":
    sys.exit(main())
