"""The safety case: it leaves no hazard, control or test out, and says so where one is missing or a bound is missed."""

import ast
import json
import pkgutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from tests.safety_case import figures
from tests.safety_case.__main__ import markdown
from tests.safety_case.case import Ran, judge, together
from tests.safety_case.figures import Figure, measured
from tests.safety_case.hazards import Bound, Control, Hazard, SafetyCase, load
from tests.simulation.oracle import Measure

TESTS = Path(__file__).parent
CASE = load()
WIRE_AND_SAFETY = [f"H{number:02}" for number in range(1, 26)]


def marked() -> dict[str, set[str]]:
    """The hazards of each test function that is marked, by its file and name, as they stand in the files."""
    found: dict[str, set[str]] = {}
    for path in TESTS.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.hazard":
                    found[f"{path.name}::{node.name}"] = {ast.literal_eval(argument) for argument in mark.args}
    return found


MARKED = marked()

# --- the file, and the tests that are marked --------------------------------------------------------------------------


def test_every_hazard_has_tests_and_controls_and_no_other_is_named() -> None:
    assert list(CASE.hazard) == WIRE_AND_SAFETY
    shown = set().union(*MARKED.values())
    left_out = {name for name, hazard in CASE.hazard.items() if hazard.not_applicable}
    assert shown == CASE.hazard.keys() - left_out
    assert {name for control in CASE.control.values() for name in control.against} == shown


@pytest.mark.parametrize("name", CASE.control)
def test_a_control_leads_to_code_and_to_a_test_of_a_hazard_it_is_against(name: str) -> None:
    control = CASE.control[name]
    assert pkgutil.resolve_name(control.code) is not None
    assert MARKED[control.test.partition("[")[0]] & set(control.against), "its test is not marked with its hazards"


def test_a_hazard_has_bounds_or_a_reason_why_not() -> None:
    with pytest.raises(ValidationError, match="give its bounds, or the reason"):
        Hazard(title="x", causes=())
    with pytest.raises(ValidationError, match="give its bounds, or the reason"):
        Hazard(title="x", causes=(), bounds={"home": Bound(text="x", most=1, unit="S")}, not_applicable="x")


# --- figures ---------------------------------------------------------------------------------------------------------


class Item:
    """A test that is marked, as pytest has it."""

    user_properties: ClassVar[list[tuple[str, Any]]] = []

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [getattr(pytest.mark, name)("H22", "H23").mark]


def test_figures_of_a_test_are_kept_by_their_bounds() -> None:
    with figures.of(Item()):  # type: ignore[arg-type]  # a stand-in
        measured("changed", 0)
        measured("changed", 1, of=4)
        with pytest.raises(LookupError, match="no bound 'home' in H22, H23"):
            measured("home", 1.0)
    told = dict(Item.user_properties)
    assert told == {
        figures.HAZARDS: ["H22", "H23"],
        figures.MEASURED: {"changed": {"worst": 1.0, "total": 1.0, "of": 5}},
    }
    json.dumps(told)


def test_what_no_hazard_has_is_not_measured() -> None:
    with pytest.raises(LookupError, match="mark the test"):
        measured("home", 1.0)


# --- the judgement ---------------------------------------------------------------------------------------------------

LEASE = Control(
    place="pen", what="it ends", code="simulator.ownership.Ownership.lease_ends", against=("H03",), test="t.py::one"
)
HOME = Bound(text="home in 2 S", most=2, unit="S")
NONE = Bound(text="0 executed", most=0, unit="frames")


def case(**hazards: Mapping[str, Bound]) -> SafetyCase:
    made = {name: Hazard(title=name, causes=(), bounds=bounds) for name, bounds in hazards.items()}
    lease = LEASE.model_copy(update={"against": tuple(hazards)})
    return SafetyCase(hazard=made, control={"lease": lease})


def ran(*hazards: str, outcome: str = "passed", **seen: float) -> Ran:
    return Ran("t.py::one", hazards, {name: Figure(worst=x, total=x, of=10) for name, x in seen.items()}, outcome)


@pytest.mark.parametrize(("worst", "verdict"), [(1.9, "inside"), (2.0, "inside"), (2.001, "MISSED")])
def test_a_bound_is_missed_beyond_it(worst: float, verdict: str) -> None:
    judged = judge(case(H03={"home": HOME}), [ran("H03", home=1.0), ran("H03", home=worst)])
    assert [row.verdict for row in judged.rows] == [verdict]
    assert judged.problems == ([] if verdict == "inside" else ["H03 home: 2 S, at most 2; home in 2 S"])
    assert judged.rows[0].controls == "pen 1"
    assert judged.rows[0].tests == "2"


def test_counts_add_up_and_one_is_too_many() -> None:
    judged = judge(case(H07={"executed": NONE}), [ran("H07", executed=0), ran("H07", executed=1)])
    assert (judged.rows[0].measured, judged.rows[0].verdict) == ("1 of 20", "MISSED")
    assert judged.problems == ["H07 executed: 1 of 20; 0 executed"]


@pytest.mark.parametrize(
    ("tests", "problems"),
    [
        ([], ["H03: no test", "H03 home: not measured; home in 2 S"]),
        ([ran("H03")], ["H03 home: not measured; home in 2 S"]),
        ([ran("H03", home=1, outcome="failed")], ["t.py::one: failed", "H03: no test"]),
        ([ran("H03", outcome="skipped")], ["H03: no test", "H03 home: not measured; home in 2 S"]),
        ([ran("H03", "H99", home=1)], ["t.py::one: no hazard H99"]),
    ],
)
def test_what_is_left_out_is_a_problem(tests: list[Ran], problems: list[str]) -> None:
    assert judge(case(H03={"home": HOME}), tests).problems == problems


def test_a_quick_run_may_leave_bounds_unmeasured_and_misses_none() -> None:
    tests = [ran("H03", home=3.0)]
    judged = judge(case(H03={"home": HOME}, H07={"executed": NONE}), tests, whole=False)
    assert [row.verdict for row in judged.rows] == ["MISSED", "not measured"]
    assert judged.problems == ["H03 home: 3 S, at most 2; home in 2 S"]


def test_a_hazard_without_a_control_is_a_problem() -> None:
    alone = case(H03={"home": HOME}).model_copy(update={"control": {}})
    assert judge(alone, [ran("H03", home=1)]).problems == ["H03: no control"]


def test_what_is_not_applicable_is_shown_with_its_reason() -> None:
    reason = Hazard(title="x", causes=(), not_applicable="no firmware here")
    judged = judge(SafetyCase(hazard={"H24": reason}, control={}), [])
    assert (judged.rows[0].bound, judged.rows[0].verdict, judged.problems) == ("no firmware here", "not applicable", [])
    assert "| H24 x | no firmware here |" in markdown(judged)


def test_what_was_simulated_stands_beside() -> None:
    measures = {
        "H03": Measure(1200, 251.0, 270.0, "ms"),
        "H06": Measure(7, None, None, ""),
        "H06 screen": Measure(0, 22.0, 100.0, "ms"),
    }
    judged = judge(case(H03={"home": HOME}, H06={"home": HOME}), [ran("H03", "H06", home=1)], simulated=measures)
    assert [row.simulated for row in judged.rows] == [
        "provoked 1,200 times, 251 of 270 ms",
        "provoked 7 times, 22 of 100 ms",
    ]


def test_no_figures_are_none() -> None:
    assert together([]) is None


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_runs_the_tests_and_says_what_is_missing(tmp_path: Path) -> None:
    """On one test of one hazard: all others have none."""
    command = [
        sys.executable,
        "-m",
        "tests.safety_case",
        "--json",
        "-n",
        "1",
        "--steps",
        "0",
        "--markdown",
        str(tmp_path / "case.md"),
    ]
    chosen = ["--only", "test_firmware_budget.py"]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, cwd=TESTS.parent, check=False)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    budget, frozen = (row for row in told["rows"] if row["hazard"].startswith("H14") or "force" in row["bound"])
    assert (budget["verdict"], budget["measured"].split()[0]) == ("inside", "0")
    assert frozen["verdict"] == "not measured"
    assert "H01: no test" in told["problems"]
    assert not any(problem.startswith("H14") and "frozen" not in problem for problem in told["problems"])
    assert (tmp_path / "case.md").read_text().count("\n| H") == len(told["rows"])


def test_a_whole_run_ends_with_the_case(tmp_path: Path) -> None:
    """One that leaves tests out does not hold, though all its tests have passed."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.safety_case.at_the_end", "-p", "no:cacheprovider"]
    chosen = ["tests/test_firmware_stop.py::test_stop_gets_through_a_flood_of_other_frames", f"--basetemp={tmp_path}"]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, cwd=TESTS.parent, check=False)
    assert done.returncode == 1, done.stderr
    assert "1 passed" in done.stdout
    assert "H01: no test" in done.stdout
    assert "H25 home" not in done.stdout
