"""A short outage: the broker is killed, the journal fills, all of it goes out. `tests.benchmarks.outage` is long."""

import sys

import pytest

from tests.benchmarks import outage
from tests.safety_case.figures import measured


@pytest.mark.hazard("H18", slow=True)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell how much memory a process had at most")
async def test_a_backlog_goes_out_whole_and_in_order() -> None:
    outcome = await outage.run(records=4000, live=500)
    measured("lost", outcome.lost + outcome.skipped, of=4000)
    assert (outcome.lost, outcome.skipped) == (0, 0), outcome
    assert outcome.growth_mb < outage.BAR_GROWTH_MB, outcome


def test_what_is_skipped_or_repeated_is_noticed() -> None:
    seen = outage.Seen()
    for session, seq in [("a", 1), ("b", 1), ("a", 2), ("a", 2), ("a", 5), ("a", 4)]:
        seen.take(session, seq)
    assert (seen.records, seen.repeated, seen.skipped) == (4, 2, 2)
