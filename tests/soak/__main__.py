"""Hours of treatments, by one command.

`python -m tests.soak --virtual-hours 8`: one pen in virtual time, on a line that loses 2 % of all frames each way,
treatment after treatment with a new cartridge each, by one program that never ends.
`python -m tests.soak --real-minutes 30 --pens 16`: real pens in a process of their own, on real lines; one controller
process with its journal on disk, embedded broker and publishers; a recorder.

Exit status 0 if at most one stop came that nobody asked for, and memory, tasks and open files stay as they were.
"""

import argparse
import asyncio
import json
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from tests.soak.clinician import PLAN, Tally
from tests.soak.vitals import NOT_STORED, Watch

MOST_FALSE_STOPS = 1
MOST = 1e6
"""Hours or minutes: less than for ever."""


Outcome = tuple[Tally, Watch, dict[str, float]]
"""What came of a soak, the vitals, and more figures by name."""


def _virtual(options: argparse.Namespace, tell: Callable[[float], None]) -> Outcome:
    from tests.soak.virtual import Soak  # noqa: PLC0415  # what the one needs, the other need not have

    soak = Soak(options.virtual_hours, options.lost, options.seed, tell)
    speed = soak.watch.taken[-1].at_s / soak.cpu_s
    return soak.tally, soak.watch, {"frames": soak.end.frames, "lost of them": soak.end.lost, "times real time": speed}


def _real(options: argparse.Namespace, tell: Callable[[float], None]) -> Outcome:
    from tests.soak.real import soak  # noqa: PLC0415  # likewise

    return asyncio.run(soak(options.real_minutes, options.pens, options.seed, tell))


def missed(tally: Tally, watch: Watch, figures: dict[str, float]) -> list[str]:
    """Return which bars are missed, in words."""
    said = list(watch.missed())
    if tally.left or not tally.areas or tally.areas != tally.treatments * len(PLAN):
        left = "; ".join(f"{count} x {why}" for why, count in tally.left.items())
        said.append(f"{tally.areas} areas of {tally.treatments} treatments{left and ', left: '}{left}")
    if tally.false_stops > MOST_FALSE_STOPS:
        said.append(f"{tally.false_stops} stops that nobody asked for")
    if lost := figures.get(NOT_STORED):
        said.append(f"{lost} {NOT_STORED}")
    return said


def main() -> int:
    """Soak and print; the exit status says whether all bars were met."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--virtual-hours", type=float, help="in virtual time")
    kind.add_argument("--real-minutes", type=float, help="in real time")
    parser.add_argument("--pens", type=int, default=16, help="in real time (default 16)")
    parser.add_argument("--lost", type=float, default=0.02, help="share of frames, in virtual time (default 0.02)")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--trace", action="store_true", help="measure Python's objects too; takes twice as long")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    if not 0 < (options.virtual_hours or options.real_minutes or 0) < MOST or options.pens < 1:
        parser.error("give more than 0 hours, minutes and pens")
    if options.trace:
        tracemalloc.start()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("soak", total=1.0)
        tell = partial(_tell, progress, task)
        tally, watch, more = (_virtual if options.virtual_hours else _real)(options, tell)
    figures, said = vars(tally) | more, missed(tally, watch, more)
    if options.json:
        print(json.dumps(figures | {"vitals": [asdict(each) for each in watch.taken], "missed": said}))
    else:
        _print(figures, watch, said)
    return 1 if said else 0


def _tell(progress: Progress, task: TaskID, share: float) -> None:
    progress.update(task, completed=share)


def _print(figures: dict[str, Any], watch: Watch, said: list[str]) -> None:
    console, came, vitals = Console(), Table("came of it", "value"), Table("at", "an eighth", "half", "the end")
    for name, value in figures.items():
        came.add_row(name, _shown(value))
    taken = [asdict(each) for each in watch.taken]
    for name in taken[0]:
        vitals.add_row(name, *(_shown(each[name]) for each in taken))
    console.print(came, vitals, "missed: " + "; ".join(said) if said else "all bars met")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{count} x {what}" for what, count in value.items()) or "none"
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
