"""The safety case: `python -m tests.safety_case [--quick] [--steps 1e5] [--json] [--markdown FILE] [-n 2]`.

Runs the tests that are marked `@pytest.mark.hazard(...)`, those among them that take a control away, and sets what they
measured beside the bounds of `tests/hazards.toml`, and what the simulation's oracle saw beside both. Exit status 1
where a hazard has no test, a test no hazard, a bound is missed or not measured, or no test notices that a control is
gone.
"""

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.safety_case.case import Judgement, Ran, judge
from tests.safety_case.hazards import load
from tests.simulation.__main__ import many
from tests.simulation.verdict import Tally

TESTS = Path(__file__).parent.parent
COLUMNS = ("hazard", "bound", "measured", "simulated", "tests", "controls", "verdict")
STYLES = {"inside": "green", "not applicable": "dim", "not measured": "yellow", "MISSED": "bold red"}
STEPS = 1e5
"""Of the simulation; `python -m tests.simulation` makes more."""
IMPORTED = "ignore::pytest.PytestAssertRewriteWarning"
"""What this program has imported already is no test."""


class Evidence:
    """A plugin of pytest that keeps what tests of hazards came to, and shows how far it is."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.ran: list[Ran] = []
        self._progress, self._task = progress, task

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._progress.update(self._task, total=len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._progress.update(self._task, total=len(ids))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if (ran := Ran.of(report)) is not None:
            self.ran.append(ran)
        if report.when == "teardown":
            self._progress.advance(self._task)


def run_tests(only: list[str], console: Console, *, quick: bool, at_a_time: int) -> list[Ran]:
    """Run the tests of hazards, of these files only if any are named, in this process or in so many workers."""
    mark = "hazard and not hazard(slow=True)" if quick else "hazard"
    options = ["-m", mark, "-p", "no:cacheprovider", "-W", IMPORTED, "-q"]
    workers = ["-n", str(at_a_time), "--dist", "loadfile"] if at_a_time > 1 else []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress, contextlib.redirect_stdout(io.StringIO()) as said:
        evidence = Evidence(progress, progress.add_task("tests of hazards", total=None))
        status = pytest.main([*(str(TESTS / each) for each in only or [""]), *options, *workers], plugins=[evidence])
    if status != pytest.ExitCode.OK:
        console.print(said.getvalue(), markup=False, highlight=False)
    return evidence.ran


def show(judgement: Judgement, console: Console) -> None:
    """Print the table, and what is wrong."""
    table = Table(*COLUMNS, title="Safety case", show_lines=True)
    before = ""
    for row in judgement.rows:
        hazard, *cells = map(escape, row)
        again, before = hazard == before, hazard
        table.add_row("" if again else hazard, *cells[:-1], f"[{STYLES[row.verdict]}]{row.verdict}[/]")
    console.print(table)
    for problem in judgement.problems:
        console.print(problem, style="bold red", markup=False, highlight=False)
    console.print("the case holds" if not judgement.problems else f"{len(judgement.problems)} problems")


def markdown(judgement: Judgement) -> str:
    """The table as Markdown, and what is wrong."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *judgement.rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "".join(f"\n- {problem}" for problem in judgement.problems)


def main(arguments: list[str]) -> int:
    """Make the case; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.safety_case", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="leave out the slow ones; not measured is then no fault")
    parser.add_argument("--steps", type=float, default=STEPS, help="of the simulation, 0 for none")
    parser.add_argument("--json", action="store_true", help="print table and problems as one JSON object")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file, too")
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="the tests of this file only")
    parser.add_argument("-n", type=int, default=2, help="tests at a time")
    asked = parser.parse_args(arguments)
    console = Console(stderr=True)
    ran = run_tests(asked.only, console, quick=asked.quick, at_a_time=asked.n)
    tally = Tally()
    if asked.steps:
        many(tally, 0, asked.steps, asked.n, None, console)
    judgement = judge(load(), ran, simulated=tally.measured, whole=not asked.quick)
    for script, violation in tally.violations:
        judgement.problems.append(f"{violation.hazard}: seed {script.seed} of the simulation: {violation.said}")
    if asked.markdown:
        asked.markdown.write_text(markdown(judgement), encoding="utf-8")
    if asked.json:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in judgement.rows]
        print(json.dumps({"rows": rows, "problems": judgement.problems}, indent=2))
    else:
        show(judgement, Console())
    return bool(judgement.problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
