"""The publisher's place where several recorders speak: that of the least of them, until it is dismissed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pen_controller.journal import Journal
from pen_controller.telemetry import acks
from pen_controller.telemetry.acks import DISMISSED, MOST_RECORDERS
from tests.test_recorder_acks import Clock, fill, place_in, s1, send


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_the_place_is_that_of_the_least_of_all_recorders(journal: Journal, clock: Clock) -> None:
    await fill(journal, 4)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"4")
    place.hear("r2", "s1", b"2")
    place.hear("r1", "s1", b"4")
    await journal.flush()
    assert (place.stored_id, place.backlog, place.settled) == (2, 2, False)
    place = place_in(journal, clock)
    assert send(place, journal) == s1(3, 4), "it is remembered who lacks what"
    place.hear("r2", "s1", b"4")
    assert place.settled


async def test_a_new_recorder_gets_what_the_others_have_long_had(journal: Journal, clock: Clock) -> None:
    await fill(journal, 3, "old")
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "old", b"3")
    await journal.flush()
    place = place_in(journal, clock)
    await fill(journal, 2)
    assert send(place, journal) == s1(1, 2)
    for recorder in ("r1", "r2"):
        place.hear(recorder, "s1", b"2")
    place.rewind_if_due()
    assert send(place, journal) == [("old", 1), ("old", 2), ("old", 3)]
    place.hear("r1", "old", b"3")
    assert not place.settled
    place.hear("r2", "old", b"3")
    assert place.settled


async def test_a_dismissed_recorder_is_waited_for_no_more(journal: Journal, clock: Clock) -> None:
    await fill(journal, 3)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"3")
    place.hear("r2", "s1", b"1")
    place.hear("r2", "s1", DISMISSED)
    await journal.flush()
    assert (place.backlog, place.settled, place.ignored) == (0, True, 0)
    place = place_in(journal, clock)
    assert (place.stored_id, send(place, journal)) == (3, [])
    place.hear("r1", "s1", DISMISSED)
    assert place.follows == "broker"


async def test_a_publisher_that_was_away_learns_of_a_dismissal(journal: Journal, clock: Clock) -> None:
    await fill(journal, 3)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"3")
    place.hear("r2", "s1", b"1")
    await journal.flush()
    place = place_in(journal, clock)
    place.hear("r2", "s1", DISMISSED, retained=True)
    assert place.stored_id == place.sent_id


async def test_a_dismissed_recorder_that_came_back_is_waited_for(journal: Journal, clock: Clock) -> None:
    """Its old words still say that it was dismissed, and the broker tells them in any order."""
    await fill(journal, 2, "old")
    await fill(journal, 2)
    for words in ([("old", DISMISSED), ("s1", b"1")], [("s1", b"1"), ("old", DISMISSED)]):
        place = place_in(journal, clock)
        for session, word in words:
            place.hear("r2", session, word, retained=True)
        assert place.follows == "recorder"
        send(place, journal)
        assert not place.settled


async def test_one_that_may_be_gone_is_reminded_of_little_and_delays_nobody(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "REMINDER_RECORDS", 2)
    await fill(journal, 10)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("here", "s1", b"10")
    place.hear("gone", "s1", b"1")

    def sent_again() -> list[tuple[str, int | None]]:
        while not (sent := send(place, journal)):
            clock.now_s += 10
            place.rewind_if_due()
        return sent

    assert [len(sent_again()) for _ in range(5)] == [9, 9, 9, 9, 3]
    await fill(journal, 2)
    assert send(place, journal) == s1(11, 12), "what is new goes out whoever is away"
    place.hear("here", "s1", b"12")
    assert not place.far_ahead
    place.hear("gone", "s1", b"4")
    place.rewind_if_due()
    assert send(place, journal) == s1(*range(5, 13)), "it is back, and gets the rest at once"


async def test_what_is_new_goes_out_also_if_the_only_recorder_is_away(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others listen, too."""
    monkeypatch.setattr(acks, "REMINDER_RECORDS", 2)
    await fill(journal, 10)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("gone", "s1", b"1")
    for _ in range(100):
        clock.now_s += 10
        place.rewind_if_due()
        send(place, journal)
    await fill(journal, 2)
    assert send(place, journal) == s1(11, 12)


async def test_a_recorder_restored_from_a_backup_gets_what_lies_behind_its_words(
    journal: Journal, clock: Clock
) -> None:
    await fill(journal, 2)
    await fill(journal, 2, "s2")
    place = place_in(journal, clock)
    send(place, journal)
    for recorder, session, word in (("r1", "s1", b"2"), ("r1", "s2", b"2"), ("r2", "s1", b"1")):
        place.hear(recorder, session, word)
    await journal.flush()
    place = place_in(journal, clock)
    place.hear("r1", "s1", b"1")
    send(place, journal)
    for recorder, session in (("r1", "s1"), ("r2", "s1"), ("r2", "s2")):
        place.hear(recorder, session, b"2")
    assert not place.settled, "it has not said that it still has the second session"


async def test_strangers_cannot_make_up_recorders_without_end(journal: Journal, clock: Clock) -> None:
    await fill(journal, 1)
    place = place_in(journal, clock)
    for number in range(MOST_RECORDERS + 3):
        place.hear(f"r{number}", "s1", b"1")
    place.hear("r0", "s1", b"0")
    assert (place.ignored, len(place._recorders)) == (3, MOST_RECORDERS)
