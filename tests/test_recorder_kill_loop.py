"""A short kill loop: real processes, SIGKILL at random moments, nothing lost. `tests.benchmarks.kill_loop` is long."""

import pytest

from tests.benchmarks import kill_loop
from tests.safety_case.figures import measured


@pytest.mark.hazard("H17", "H18", slow=True)
@pytest.mark.parametrize(("broker", "rounds"), [("nats", 7), ("mosquitto", 7), ("mosquitto-persistent", 6)])
@pytest.mark.timeout(400)
def test_nothing_is_lost_doubled_or_overlooked(broker: str, rounds: int) -> None:
    outcome = kill_loop.run(broker, rounds=rounds, records=1000, idle_s=1.0)
    measured("lost", outcome.lost + outcome.undetected_gaps, of=1000)
    measured("doubled", outcome.duplicates, of=1000)
    assert (outcome.lost, outcome.altered, outcome.duplicates, outcome.undetected_gaps) == (0, 0, 0, 0), outcome
    assert (outcome.records, sum(outcome.kills.values()) >= rounds) == (1000, True)
