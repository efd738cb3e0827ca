"""Each control of the safety case can be taken away, whereupon the test that names it fails."""

import pytest

from tests.safety_case.hazards import load
from tests.safety_case.seams import SEAMS
from tests.safety_case.without import noticed_without

CONTROLS = load().control


def test_every_control_can_be_taken_away() -> None:
    assert SEAMS.keys() == CONTROLS.keys()


@pytest.mark.parametrize(
    "control", [pytest.param(name, marks=pytest.mark.hazard(*one.against)) for name, one in CONTROLS.items()]
)
def test_taking_a_control_away_fails_its_test(control: str) -> None:
    assert noticed_without(control), f"{CONTROLS[control].test} does not notice that {control!r} is gone"
