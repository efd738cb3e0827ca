"""The recorder's database: every record once, and nothing is said to be stored that is not."""

import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.journal import Journal
from pen_controller.recorder import StoreError, database, store
from pen_controller.recorder.store import Key, Row, SessionInfo, Store
from tests.safety_case.figures import measured

S1, S2, OTHER = Key("clinic", "p1", "s1"), Key("clinic", "p1", "s2"), Key("clinic", "p2", "s1")


def rows(key: Key, *seqs: int) -> list[Row]:
    return [Row(key, seq, "event", f'{{"seq": {seq}, "wall": "w{seq}"}}') for seq in seqs]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'telemetry.sqlite'}"


@pytest.fixture
def opened(database_url: str) -> Iterator[Store]:
    with Store.open(database_url) as made:
        yield made


@pytest.fixture
def in_file(url: str) -> Iterator[Store]:
    with Store.open(url) as made:
        yield made


@pytest.mark.hazard("H17")
def test_a_record_is_stored_once_and_a_gap_ends_what_is_acknowledged(opened: Store) -> None:
    assert opened.commit(rows(S1, 1, 2, 2)) == (2, {S1: 2}, set())
    assert opened.commit(rows(S1, 2, 4, 5)) == (2, {S1: 2}, {S1})
    assert opened.commit(rows(S1, 4)) == (0, {S1: 2}, {S1})
    assert opened.commit(rows(S1, 7) + rows(S2, 1)) == (2, {S1: 2, S2: 1}, {S1})
    assert opened.commit(rows(S1, 3)) == (1, {S1: 5}, {S1})
    assert opened.commit(rows(S1, 6)) == (1, {S1: 7}, set())


def test_a_session_whose_beginning_is_missing_is_stored_up_to_nothing(opened: Store) -> None:
    assert opened.commit(rows(S1, 2, 3)) == (2, {S1: 0}, {S1})
    assert opened.commit(rows(S1, 1)) == (1, {S1: 3}, set())


def test_sessions_of_one_name_at_two_pens_are_two(opened: Store) -> None:
    assert opened.commit(rows(S1, 1) + rows(OTHER, 1, 2)).stored == {S1: 1, OTHER: 2}
    with pytest.raises(ValueError, match="clinic/p1/s1, clinic/p2/s1"):
        opened.find("s1")
    assert opened.find("clinic/p2/s1") == OTHER
    with pytest.raises(ValueError, match="there are 0"):
        opened.find("s9")


@pytest.mark.hazard("H17")
@given(st.lists(st.lists(st.integers(1, 25), min_size=1, max_size=12), max_size=12))
def test_whatever_comes_in_whatever_order(batches: list[list[int]]) -> None:
    seen: set[int] = set()
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/telemetry.sqlite") as kept:
        for batch in batches:
            new = len(set(batch) - seen)
            seen |= set(batch)
            head = next(seq for seq in range(27) if seq + 1 not in seen)
            assert kept.commit(rows(S1, *batch)) == (new, {S1: head}, {S1} if max(seen) > head else set())
        stored = [row.seq for row in kept.records(S1)]
        measured("doubled", len(stored) - len(set(stored)), of=len(stored))
        assert stored == sorted(seen)


def test_what_was_committed_is_there_after_opening_again(database_url: str) -> None:
    with Store.open(database_url) as first:
        first.commit(rows(S1, 1, 2, 4, 8, 9, 12) + rows(S2, 1))
    with Store.open(database_url, create=False) as second:
        assert second.sessions() == [
            SessionInfo("clinic", "p1", "s1", 6, 2, "w1", "w12", [(3, 3), (5, 7), (10, 11)]),
            SessionInfo("clinic", "p1", "s2", 1, 1, "w1", "w1", []),
        ]
        assert list(second.records(S1)) == rows(S1, 1, 2, 4, 8, 9, 12)


def test_records_come_in_pages(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAGE_RECORDS", 3)
    opened.commit(rows(S1, *range(1, 8)))
    assert [row.seq for row in opened.records(S1)] == list(range(1, 8))


def test_unsettled_are_sessions_with_gaps_and_the_latest_of_each_pen(opened: Store) -> None:
    s3 = Key("clinic", "p1", "s3")
    for key, seqs in ((S1, (2,)), (S2, (1, 2)), (s3, (1,)), (OTHER, (1,))):
        opened.commit(rows(key, *seqs))
    assert opened.unsettled() == {S1: 0, s3: 1, OTHER: 1}


def test_two_recorders_make_and_share_a_database(database_url: str) -> None:
    """Both store the same records at the same time, in different order; the last to commit knows all."""
    total, heads = 300, []

    def fill(order: int) -> None:
        with Store.open(database_url) as mine:
            for seq in range(1, total + 1)[::order]:
                head = mine.commit(rows(S1, seq) + rows(S2, seq)).stored[S1]
            heads.append(head)

    threads = [threading.Thread(target=fill, args=(order,)) for order in (1, -1)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert heads == [total, total]
    with Store.open(database_url, create=False) as reader:
        assert [(one.records, one.stored) for one in reader.sessions()] == [(total, total)] * 2


@pytest.mark.parametrize(
    ("pragma", "words"),
    [("max_page_count = 20", "the disk is full"), ("query_only = ON", "it is read-only")],
)
def test_a_database_that_takes_nothing_says_so_and_keeps_nothing_by_halves(
    in_file: Store, url: str, pragma: str, words: str
) -> None:
    in_file.commit(rows(S1, 1))
    with in_file._engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA {pragma}")
    many = [Row(S1, seq, "event", "x" * 2000) for seq in range(2, 100)]
    with pytest.raises(StoreError, match=words):
        in_file.commit(many)
    with Store.open(url, create=False) as reader:
        assert [row.seq for row in reader.records(S1)] == [1]


def test_a_locked_database_says_so(url: str, in_file: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.01)
    other = sqlite3.connect(tmp_path / "telemetry.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="another process has it"), Store.open(url):
            pass
    finally:
        other.close()
    in_file.commit(rows(S1, 1))


def test_where_there_is_no_folder_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="its folder must exist"), Store.open(f"sqlite:///{tmp_path}/no/where.sqlite"):
        pass


def test_reading_makes_no_file_and_changes_nothing(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"), Store.open(url, create=False):
        pass
    assert list(tmp_path.iterdir()) == []
    with Store.open(url):
        pass
    with Store.open(url, create=False) as reader, pytest.raises(StoreError, match="read-only"):
        reader.commit(rows(S1, 1))


async def test_a_journal_is_not_taken_for_a_recorders_database(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    async with Journal.open(path):
        pass
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a recorder's"), Store.open(f"sqlite:///{path}"):
        pass
    assert path.read_bytes() == before


def test_a_file_of_something_else_or_of_another_version_is_refused(url: str, tmp_path: Path) -> None:
    strange = tmp_path / "letter.txt"
    strange.write_text("Dear colleague, " * 100)
    with pytest.raises(StoreError, match="no database"), Store.open(f"sqlite:///{strange}"):
        pass
    with Store.open(url) as made, made._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE pen_recorder SET schema_version = 99")
    with pytest.raises(StoreError, match="its schema is 99"), Store.open(url):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "telemetry.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x.sqlite?mode=ro",
        "mysql://host/db",
        "postgresql://host",
        "postgresql://clinic:secret@host/db",
        "postgresql://host/db?password=secret",
    ],
)
def test_a_url_that_will_not_do_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ValueError, match="database") as refusal, Store.open(text):
        pass
    assert "secret" not in str(refusal.value)
