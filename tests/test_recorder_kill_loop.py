"""A short kill loop: real processes, SIGKILL at random moments, nothing lost. `tests.benchmarks.kill_loop` is long."""

import pytest

from tests.benchmarks import kill_loop


@pytest.mark.parametrize("broker", ["nats", "mosquitto"])
@pytest.mark.timeout(400)
def test_nothing_is_lost_doubled_or_overlooked(broker: str) -> None:
    outcome = kill_loop.run(broker, rounds=5, records=1000, idle_s=1.0)
    assert (outcome.lost, outcome.altered, outcome.duplicates, outcome.undetected_gaps) == (0, 0, 0, 0), outcome
    assert outcome.records == 1000
