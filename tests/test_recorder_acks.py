"""The publisher's place in the journal: by the broker's word without a recorder, by the recorder's with one."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.journal import Journal
from pen_controller.telemetry import acks
from pen_controller.telemetry.acks import IDLE_S, LAST_IDLE_S, Place
from pen_controller.telemetry.topics import AckTopic, ack_subscription, record_subscriptions


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


def place_in(journal: Journal, clock: Clock) -> Place:
    place = Place(journal, "clinic", "p1", clock)
    place.begin()
    return place


async def fill(journal: Journal, count: int, session: str = "s1", pen: str = "p1", *, private: int = 0) -> None:
    """Add published records, each behind so many that are not published."""
    for _ in range(count):
        for _ in range(private):
            journal.post(session, "x", {}, pen=pen, topic=None)
        journal.post(session, "x", {}, pen=pen)
    await journal.flush()


def send(place: Place, journal: Journal) -> list[tuple[str, int | None]]:
    """Send all that is next; return which records these were."""
    page = journal.published_after(place.sent_id, pen="p1")
    return [(record.session, record.out_seq) for record in page if place.take(record)]


def s1(*out_seqs: int) -> list[tuple[str, int | None]]:
    return [("s1", out_seq) for out_seq in out_seqs]


@pytest.mark.hazard("H17", "H18")
async def test_without_a_recorder_the_broker_is_believed(journal: Journal, clock: Clock) -> None:
    await fill(journal, 3)
    place = place_in(journal, clock)
    assert send(place, journal) == s1(1, 2, 3)
    for record in journal.published_after(0, 2, pen="p1"):
        place.acknowledged(record)
    place.save()
    await journal.flush()
    assert (place.follows, place.backlog, place.settled) == ("broker", 1, True)
    place.begin()
    assert send(place, journal) == s1(3)


@pytest.mark.hazard("H17")
async def test_a_recorder_is_believed_and_not_the_broker(journal: Journal, clock: Clock) -> None:
    await fill(journal, 5, private=2)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"2")
    for record in journal.published_after(0, pen="p1"):
        place.acknowledged(record)
    place.save()
    await journal.flush()
    assert (place.follows, place.backlog, place.settled) == ("recorder", 3, False)
    place.begin()
    assert send(place, journal) == s1(3, 4, 5)
    place.hear("r1", "s1", b"5")
    await journal.flush()
    assert (place.backlog, place.settled) == (0, True)


@pytest.mark.hazard("H17", "H18")
async def test_what_is_lacking_is_sent_again_after_ten_idle_seconds(journal: Journal, clock: Clock) -> None:
    await fill(journal, 5)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"2")
    clock.now_s += IDLE_S - 1
    place.rewind_if_due()
    assert send(place, journal) == []
    clock.now_s += 1
    place.rewind_if_due()
    assert send(place, journal) == s1(3, 4, 5)
    clock.now_s += IDLE_S
    place.rewind_if_due()
    assert send(place, journal) == [], "nobody answered: it waits twice as long"


async def test_it_waits_longer_while_nobody_answers_and_not_for_ever(journal: Journal, clock: Clock) -> None:
    await fill(journal, 2)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"1")
    waits_s = []
    for _ in range(6):
        began_s = clock.now_s
        while not send(place, journal):
            clock.now_s += 1
            place.rewind_if_due()
        waits_s.append(clock.now_s - began_s)
    assert waits_s == [10, 20, 40, 80, LAST_IDLE_S, LAST_IDLE_S]
    place.hear("r1", "s1", b"2")
    await fill(journal, 1)
    send(place, journal)
    clock.now_s += IDLE_S
    place.rewind_if_due()
    assert send(place, journal) == s1(3)


async def test_progress_is_waited_for(journal: Journal, clock: Clock) -> None:
    await fill(journal, 5)
    place = place_in(journal, clock)
    send(place, journal)
    for word in (b"1", b"2", b"3"):
        clock.now_s += IDLE_S - 1
        place.hear("r1", "s1", word)
        place.rewind_if_due()
    assert send(place, journal) == []


async def test_new_records_are_no_progress(journal: Journal, clock: Clock) -> None:
    """A gap is filled in the middle of a treatment, not after it."""
    await fill(journal, 3)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"1")
    for _ in range(10):
        clock.now_s += IDLE_S / 10
        await fill(journal, 1)
        send(place, journal)
        place.hear("r1", "s1", b"1")
    place.rewind_if_due()
    assert send(place, journal) == s1(*range(2, 14))


async def test_a_recorder_that_lost_its_database_gets_everything_again(journal: Journal, clock: Clock) -> None:
    await fill(journal, 3)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"3")
    assert place.settled
    place.hear("r1", "s1", b"0")
    assert not place.settled
    clock.now_s += IDLE_S
    place.rewind_if_due()
    assert send(place, journal) == s1(1, 2, 3)


async def test_the_first_recorder_gets_what_only_a_broker_has_had(journal: Journal, clock: Clock) -> None:
    await fill(journal, 2, "old")
    await fill(journal, 2, "kept")
    place = place_in(journal, clock)
    send(place, journal)
    for record in journal.published_after(0, pen="p1"):
        place.acknowledged(record)
    place.save()
    await journal.flush()
    place = place_in(journal, clock)
    await fill(journal, 1)
    assert send(place, journal) == s1(1)
    place.hear("r1", "s1", b"1")
    place.hear("r1", "kept", b"2")
    place.rewind_if_due()
    assert send(place, journal) == [("old", 1), ("old", 2)]
    place.hear("r1", "old", b"2")
    assert place.settled
    await journal.flush()
    assert place_in(journal, clock).follows == "recorder", "a recorder is known from then on"


async def test_sessions_that_take_turns_are_told_apart(journal: Journal, clock: Clock) -> None:
    for session in ("a", "b", "a", "b"):
        await fill(journal, 2, session)
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "a", b"4")
    assert place.stored_id == 2
    place.hear("r1", "b", b"3")
    assert place.stored_id == 7
    clock.now_s += IDLE_S
    place.rewind_if_due()
    assert send(place, journal) == [("b", 4)]


@pytest.mark.hazard("H17", "H21")
@pytest.mark.parametrize("word", [b"4", b"-1", b"+1", b"01", b"1.0", b" 1", b"", b"x", b"9" * 30, "١".encode(), b"1\n"])
async def test_a_word_that_cannot_be_true_is_ignored(journal: Journal, clock: Clock, word: bytes) -> None:
    await fill(journal, 3)
    await fill(journal, 9, "s2", "p2")
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", word)
    assert (place.ignored, place.follows) == (1, "broker")


@pytest.mark.parametrize(("session", "word"), [("s2", b"5"), ("s2", b"0"), ("none", b"0"), ("private", b"0")])
async def test_a_word_on_a_session_that_is_not_the_pens_is_ignored(
    journal: Journal, clock: Clock, session: str, word: bytes
) -> None:
    await fill(journal, 9, "s2", "p2")
    journal.post("private", "x", {}, pen="p1", topic=None)
    await fill(journal, 1)
    place = place_in(journal, clock)
    place.hear("r1", session, word)
    assert (place.ignored, place.follows) == (1, "broker")


async def test_it_does_not_run_far_ahead_of_a_recorder_that_keeps_up(
    journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "WINDOW", 5)
    await fill(journal, 10)
    place = place_in(journal, clock)
    send(place, journal)
    assert not place.far_ahead, "nobody has said a word"
    place.hear("r1", "s1", b"1")
    assert place.far_ahead
    place.hear("r1", "s1", b"5")
    assert not place.far_ahead
    place.hear("r1", "s1", b"4")
    clock.now_s += IDLE_S
    assert not place.far_ahead, "it does not keep up: nobody else is to wait for it"


@pytest.mark.hazard("H17")
@given(st.data())
def test_nothing_that_a_recorder_lacks_is_ever_passed_over(data: st.DataObject) -> None:
    """Two sessions in turn, any records lost, connections broken: what it has and what will come are everything."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(lose_some(data, Path(folder) / "journal.sqlite"))


async def lose_some(data: st.DataObject, path: Path) -> None:
    async with Journal.open(path) as journal:
        place = place_in(journal, Clock())
        kept: dict[tuple[str, str], set[int]] = {(recorder, name): set() for recorder in ("r1", "r2") for name in "ab"}
        for _ in range(data.draw(st.integers(1, 6))):
            await fill(journal, data.draw(st.integers(1, 4)), data.draw(st.sampled_from("ab")), private=1)
            for session, out_seq in send(place, journal):
                for recorder in ("r1", "r2"):
                    if out_seq and data.draw(st.booleans()):
                        kept[recorder, session].add(out_seq)
            for (recorder, session), has in kept.items():
                if has:
                    place.hear(recorder, session, b"%d" % next(seq for seq in range(99) if seq + 1 not in has))
            await journal.flush()
            again = data.draw(st.sampled_from(["no", "connection", "program"]))
            if again == "connection":
                place.begin()
            elif again == "program":
                place = place_in(journal, Clock())
        place.begin()
        coming = set(send(place, journal))
        published = {(one.session, seq + 1) for one in journal.sessions() for seq in range(one.published)}
        assert place.ignored == 0
        for recorder in place._recorders:
            has_all = {(session, seq) for (who, session), seqs in kept.items() if who == recorder for seq in seqs}
            assert has_all | coming == published


def test_the_topics_of_acknowledgements() -> None:
    assert str(AckTopic("clinic", "p1", "s1", "r1")) == "ack/v1/clinic/p1/s1/r1"
    assert AckTopic.parse("ack/v1/clinic/p1/s1/r1") == AckTopic("clinic", "p1", "s1", "r1")
    assert ack_subscription("clinic", "p1") == "ack/v1/clinic/p1/+/+"
    assert record_subscriptions("clinic") == [f"pen/v1/clinic/+/{kind}/+" for kind in ("pass", "event", "summary")]


@pytest.mark.parametrize(
    "text",
    [
        "ack/v1/clinic/p1/s1",
        "ack/v1/clinic/p1/s1/r1/x",
        "pen/v1/clinic/p1/s1/r1",
        "ack/v1/a b/p1/s1/r1",
        "ack/v1/../p1/s1/r1",
        "ack/v1/clinic/p1/s1/r.1",
    ],
)
def test_other_topics_are_no_acknowledgements(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|letters"):
        AckTopic.parse(text)


@pytest.mark.parametrize("site", ["#", "a/b", "", "clinic/+"])
def test_a_site_that_is_no_name_gives_no_subscription(site: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        record_subscriptions(site)


async def test_a_newcomer_heard_while_we_go_back_has_no_more_than_it_says(journal: Journal, clock: Clock) -> None:
    await fill(journal, 5)
    await fill(journal, 1, "s2")
    place = place_in(journal, clock)
    send(place, journal)
    place.hear("r1", "s1", b"1")
    place.begin()  # a new connection, from what r1 has
    place.hear("r2", "s1", b"3")
    await journal.flush()
    assert journal.cursors("clinic/p1/stored/") == {"r1": 1, "r2": 1}  # and not 5, where s2 begins
    assert send(place, journal) == [*s1(2, 3, 4, 5), ("s2", 1)]
    await journal.flush()
    place.save()
    await journal.flush()
    assert journal.cursors("clinic/p1/stored/") == {"r1": 1, "r2": 3}
