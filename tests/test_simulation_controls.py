"""Take controls away, and the simulation's oracle sees the hazard; where several hold it, any one of them is enough."""

import pytest

from tests.simulation.controls import TAKEN, Taken, take_away
from tests.simulation.script import Script
from tests.simulation.verdict import judge

SCRIPTS = {script.model_dump_json(): script for script in (taken.script for taken in TAKEN)}


def hazards(script: Script) -> set[str]:
    return {violation.hazard for _, violation in judge(script).violations}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=[f"script{number}" for number in range(len(SCRIPTS))])
def test_with_all_controls_nothing_is_violated(script: Script) -> None:
    assert hazards(script) == set()


@pytest.mark.parametrize("taken", TAKEN, ids=[f"{'+'.join(taken.controls)}-{taken.hazard}" for taken in TAKEN])
def test_without_its_controls_a_hazard_is_seen(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    for control in taken.controls:
        take_away(monkeypatch, control)
    assert taken.hazard in hazards(taken.script)


KEPT = [(taken, kept) for taken in TAKEN for kept in taken.controls if len(taken.controls) > 1]


@pytest.mark.parametrize(("taken", "kept"), KEPT, ids=[f"{taken.hazard}-{kept}" for taken, kept in KEPT])
def test_one_control_that_is_left_is_enough(taken: Taken, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for control in set(taken.controls) - {kept}:
        take_away(monkeypatch, control)
    assert taken.hazard not in hazards(taken.script)
