"""What tests of hazards measure: it travels with each test's own report, and so from any worker too."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TypedDict

import pytest

from tests.safety_case.hazards import load

HAZARDS, MEASURED = "hazards", "measured"
"""Names of the two properties of a test's report."""


class Figure(TypedDict):
    """What one test saw for one bound: the worst, all together, and out of how many."""

    worst: float
    total: float
    of: int


_measured: ContextVar[tuple[list[str], dict[str, Figure]] | None] = ContextVar("measured", default=None)


def measured(bound: str, figure: float, *, of: int = 1) -> None:
    """Say what a test marked `hazard` saw for a bound of its hazards. May be called any number of times.

    Args:
        bound: its name in `tests/hazards.toml`, in each hazard of the test's that has it.
        figure: in the unit named there.
        of: how many attempts a count is out of.

    Raises:
        LookupError: the running test has no mark, or none of its hazards has such a bound.
    """
    running = _measured.get()
    if running is None:
        raise LookupError("mark the test: @pytest.mark.hazard(...)")
    hazards, figures = running
    if not any(bound in load().hazard[hazard].bounds for hazard in hazards):
        raise LookupError(f"no bound {bound!r} in {', '.join(hazards)}: see tests/hazards.toml")
    before = figures.get(bound, Figure(worst=float("-inf"), total=0.0, of=0))
    figures[bound] = Figure(
        worst=max(before["worst"], float(figure)), total=before["total"] + float(figure), of=before["of"] + of
    )


@contextlib.contextmanager
def of(item: pytest.Item) -> Iterator[None]:
    """While entered, `measured` speaks for this test."""
    hazards = [hazard for marker in item.iter_markers("hazard") for hazard in marker.args]
    figures: dict[str, Figure] = {}
    if hazards:
        item.user_properties += [(HAZARDS, hazards), (MEASURED, figures)]
    token = _measured.set((hazards, figures) if hazards else None)
    try:
        yield
    finally:
        _measured.reset(token)
