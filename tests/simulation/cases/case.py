"""What a case is: a calm treatment with one thing done to it, `over` its bound by a little, or exactly at it."""

from collections.abc import Callable

from tests.simulation.story import Story

Case = Callable[[Story, bool], object]
CASES: dict[str, tuple[str, Case]] = {}
"""By name: the hazard that the case violates when over, and the case."""


def case(hazard: str) -> Callable[[Case], Case]:
    """Register a case of a hazard, under its function's name."""

    def keep(function: Case) -> Case:
        name = getattr(function, "__name__", "")
        assert name not in CASES
        CASES[name] = hazard, function
        return function

    return keep


def stop_at(story: Story, bound_us: int, over: bool) -> Story:
    """Needles out until exactly `bound_us` from now, or a microsecond longer."""
    return story.wait(bound_us + over).home()
