"""Ten minutes of the soak, and that a soak can fail. Hours of it: `python -m tests.soak --help`."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.soak.__main__ import main, missed
from tests.soak.clinician import PLAN, Tally
from tests.soak.virtual import Soak
from tests.soak.vitals import NOT_STORED, Vitals, Watch

MINUTE_H = 1 / 60


def test_ten_minutes_of_treatments_with_two_percent_of_the_frames_lost_stop_for_nothing_and_leak_nothing() -> None:
    soak = Soak(10 * MINUTE_H, lost_share=0.02, seed=1)
    assert soak.tally.false_stops == 0, soak.tally
    assert not soak.tally.left
    assert soak.tally.areas == 2 * soak.tally.treatments >= 10
    assert 0.015 < soak.end.lost / soak.end.frames < 0.025
    assert missed(soak.tally, soak.watch, {}) == []


def test_on_a_line_that_loses_a_quarter_the_needles_stop_and_the_person_goes_on() -> None:
    soak = Soak(MINUTE_H, lost_share=0.25, seed=1)
    assert soak.tally.false_stops > 1
    assert soak.tally.treatments > 0
    assert f"{soak.tally.false_stops} stops that nobody asked for" in missed(soak.tally, soak.watch, {})


STEADY = Vitals(0.0, 100.0, 20.0, 400_000, 50.0, tasks=3, files=10, journal_mb=1.0, records=100)
WHOLE = Tally(treatments=2, areas=2 * len(PLAN))


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (Tally(), "0 areas of 0 treatments"),
        (Tally(treatments=2, areas=3), "3 areas of 2 treatments"),
        (Tally(2, 3, Counter({"too deep": 1})), "3 areas of 2 treatments, left: 1 x too deep"),
    ],
)
def test_a_soak_that_treats_nobody_or_leaves_an_area_is_missed(tally: Tally, said: str) -> None:
    assert missed(tally, Watch(1.0, [STEADY, STEADY, STEADY]), {}) == [said]


@pytest.mark.parametrize(
    "wrong", ["--virtual-hours 0", "--virtual-hours -1", "--virtual-hours nan", "--real-minutes 1 --pens 0"]
)
def test_a_soak_of_nothing_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["soak", *wrong.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"resident_mb": 140.0}, "resident memory grew by 40.0 MB"),
        ({"in_use_mb": 25.0}, "memory in use grew by 5.0 MB"),
        ({"blocks": 430_000}, "30000 small objects leaked"),
        ({"traced_mb": 53.0}, "Python's objects grew by 3.0 MB"),
        ({"tasks": 4}, "1 tasks leaked"),
        ({"files": 12}, "2 file handles leaked"),
    ],
)
def test_what_grows_is_a_bar_that_is_missed(end: dict[str, float], said: str) -> None:
    assert missed(WHOLE, Watch(1.0, [STEADY, STEADY, replace(STEADY, **end)]), {}) == [said]  # type: ignore[arg-type]  # fields by name


def test_what_grows_as_it_should_is_none() -> None:
    grown = replace(STEADY, journal_mb=100.0, records=100_000, resident_mb=101.0)
    assert missed(WHOLE, Watch(1.0, [STEADY, STEADY, grown]), {NOT_STORED: 0}) == []
    assert missed(WHOLE, Watch(1.0, [STEADY, STEADY, grown]), {NOT_STORED: 2}) == [f"2 {NOT_STORED}"]
