"""H14: not one stroke over the budget."""

import pytest

from protocols.messages import Clear
from protocols.words import Cause, EventKind, PenLimit, PenState, Result
from tests.safety_case.figures import measured
from tests.virtual_pen import MS, VirtualPen, armed, running, stroke_us


def strokes_with_needles_out(virtual: VirtualPen, rate_dhz: int) -> int:
    """Crank cycles begun or gone on with since now while the needles were out, the last one even if not completed."""
    first = last = virtual.body.true_strokes
    step_us = int(stroke_us(rate_dhz)) // 16
    for _ in range(100 * 16):
        virtual.run(step_us, every_us=step_us)
        if virtual.body.true_extension_um > 0:
            last = virtual.body.true_strokes + 1
        if virtual.body.retracted:
            break
    return last - first


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("rate_dhz", [200, 500, 1000, 1170, 1333, 1500])
def test_no_stroke_is_over_the_budget(rate_dhz: int) -> None:
    virtual = VirtualPen()
    virtual.claim()
    for budget in range(3, 61):
        armed(virtual, budget=budget)
        assert virtual.state.budget_left == budget
        assert virtual.start(2500, rate_dhz).result is Result.OK
        virtual.run(2 * MS, every_us=200)
        strokes = strokes_with_needles_out(virtual, rate_dhz)
        measured("over", max(0, strokes - budget), of=strokes)
        assert budget - 2 <= strokes <= budget
        virtual.run(20 * MS)
        state = virtual.state
        assert (state.state, state.cause, state.budget_left) == (PenState.LATCHED, Cause.BUDGET_SPENT, 0)
        assert virtual.ask(Clear(virtual.next_id(), state.latch_id)).result is Result.OK


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("budget", [1, 2])
def test_a_budget_within_the_reserve_does_not_start(budget: int) -> None:
    virtual = armed(budget=budget)
    answer = virtual.start()
    assert (answer.result, answer.limit, answer.value) == (Result.OVER_LIMIT, PenLimit.STROKE_BUDGET, budget)
    refused = virtual.events(EventKind.REFUSED)[-1]
    assert (refused.a, refused.b) == (PenLimit.STROKE_BUDGET, budget)


def test_the_budget_left_counts_down_the_true_strokes() -> None:
    virtual = running(1000, 1000, for_us=1_000_000, budget=1000)
    before = virtual.body.true_strokes
    assert virtual.state.budget_left == pytest.approx(1000 - before, abs=1)


@pytest.mark.hazard("H14")
def test_the_budget_of_an_arm_is_not_renewed_by_set() -> None:
    virtual = running(1000, 1000, for_us=200 * MS, budget=60)
    for _ in range(100):
        virtual.run(10 * MS)
        if virtual.state.state is not PenState.RUNNING:
            break
        virtual.set(900, 1000)
    assert virtual.state.cause is Cause.BUDGET_SPENT
    assert virtual.body.true_strokes <= 60
