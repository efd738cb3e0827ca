"""Sets what the tests came to beside what `tests/hazards.toml` promises. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from tests.safety_case.figures import HAZARDS, MEASURED, Figure
from tests.safety_case.hazards import Bound, SafetyCase
from tests.simulation.oracle import Measure


@dataclass(frozen=True, slots=True)
class Ran:
    """What one test came to. `said` is why it failed or was skipped."""

    test: str
    hazards: tuple[str, ...]
    measured: Mapping[str, Figure]
    outcome: str
    said: str = ""

    @classmethod
    def of(cls, report: pytest.TestReport) -> "Ran | None":
        """Of a report by pytest, if it is the last word on a test of hazards."""
        told: dict[str, Any] = dict(report.user_properties)
        if HAZARDS not in told or (report.when != "call" and report.passed):
            return None
        return cls(report.nodeid, tuple(told[HAZARDS]), told[MEASURED], report.outcome, report.longreprtext)


class Row(NamedTuple):
    """One bound of one hazard, or a hazard without, as text: what the table shows.

    `measured` is by tests, and `simulated` by the simulation's oracle, of the hazard as a whole.
    """

    hazard: str
    bound: str
    measured: str
    simulated: str
    tests: str
    controls: str
    verdict: str


class Judgement(NamedTuple):
    """The table, and what is wrong, a line each; nothing: the case holds."""

    rows: list[Row]
    problems: list[str]


def judge(
    case: SafetyCase, ran: Iterable[Ran], *, simulated: Mapping[str, Measure] | None = None, whole: bool = True
) -> Judgement:
    """Judge a run of the tests of hazards.

    Args:
        case: what is promised.
        ran: what each test came to.
        simulated: what the oracle measured, by hazard; several of one begin alike.
        whole: all of them have run; else what was not measured is no fault.
    """
    tests = list(ran)
    problems = [f"{one.test}: {one.outcome}" for one in tests if one.outcome == "failed"]
    for one in tests:
        problems += [f"{one.test}: no hazard {name}" for name in one.hazards if name not in case.hazard]
    rows = []
    for name, hazard in case.hazard.items():
        passed = [one for one in tests if name in one.hazards and one.outcome == "passed"]
        controls = controls_by_place(case, name)
        if hazard.not_applicable:
            rows.append(Row(f"{name} {hazard.title}", hazard.not_applicable, "", "", "", "", "not applicable"))
            continue
        seen = _simulated(name, simulated or {})
        if whole and not passed:
            problems.append(f"{name}: no test")
        if not controls:
            problems.append(f"{name}: no control")
        for key, bound in hazard.bounds.items():
            figure = together([one.measured[key] for one in tests if name in one.hazards and key in one.measured])
            verdict = _verdict(bound, figure)
            if verdict == "MISSED" or (whole and figure is None):
                problems.append(f"{name} {key}: {_told(bound, figure)}; {bound.text}")
            told = _told(bound, figure), seen, str(len(passed)), controls, verdict
            rows.append(Row(f"{name} {hazard.title}", bound.text, *told))
    return Judgement(rows, problems)


def together(figures: Iterable[Figure]) -> Figure | None:
    """The figures of several tests as one; None of none."""
    kept = list(figures)
    if not kept:
        return None
    return Figure(
        worst=max(one["worst"] for one in kept),
        total=sum(one["total"] for one in kept),
        of=sum(one["of"] for one in kept),
    )


def controls_by_place(case: SafetyCase, hazard: str) -> str:
    """How many controls there are against a hazard at each place: `pen 3, host 2`."""
    places = [control.place for control in case.controls_of(hazard).values()]
    return ", ".join(f"{place} {places.count(place)}" for place in dict.fromkeys(places))


def _verdict(bound: Bound, figure: Figure | None) -> str:
    if figure is None:
        return "not measured"
    return "inside" if figure["worst"] <= bound.most else "MISSED"


def _told(bound: Bound, figure: Figure | None) -> str:
    if figure is None:
        return "not measured"
    if bound.most == 0:
        return f"{figure['total']:,.0f} of {figure['of']:,}"
    return f"{figure['worst']:.3g} {bound.unit}, at most {bound.most:g}"


def _simulated(hazard: str, measures: Mapping[str, Measure]) -> str:
    said = []
    for name, measure in measures.items():
        if name.partition(" ")[0] != hazard:
            continue
        if measure.provoked:
            said.append(f"provoked {measure.provoked:,} times")
        if measure.worst is not None and measure.bound is not None:
            said.append(f"{measure.worst:.4g} of {measure.bound:.4g} {measure.unit}")
    return ", ".join(said)
