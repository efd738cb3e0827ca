"""The record: durable, in order, without gaps, never changed, and one writer."""

import asyncio
import contextlib
import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pen_controller.journal import Journal, JournalError, Outlet
from pen_controller.journal import file as journal_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(path) as opened:
        yield opened


async def test_a_record_reads_back_as_it_was_appended(journal: Journal) -> None:
    body = {"depth_mm": 0.5, "steps": [1, 2], "note": "Stirn – vorsichtig", "none": None}
    record = await journal.append("s1", "arm", body, pen="p1", pen_t_us=2**40)
    assert record[:-1] == (1, "s1", 1, "event", 1, "arm", "p1", 2**40, record.wall)
    assert record.body == body
    assert record.wall.endswith("+00:00")
    assert journal.read("s1") == [record]


async def test_later_changes_of_the_body_do_not_reach_the_record(journal: Journal) -> None:
    body: dict[str, Any] = {"areas": ["cheek"]}
    journal.post("s1", "plan", body, pen="p1")
    body["areas"].append("eyelid")
    await journal.flush()
    assert journal.read("s1")[0].body == {"areas": ["cheek"]}


async def test_sequences_are_gap_free_by_session_and_by_what_is_published(path: Path) -> None:
    calls: list[tuple[str, Outlet | None]] = [
        ("a", "event"), ("b", None), ("a", None), ("a", "pass"),
    ]  # fmt: skip
    for _ in range(2):  # the second opening goes on where the first ended
        async with Journal.open(path) as journal:
            for session, topic in calls:
                await journal.append(session, "x", {}, pen="p1", topic=topic)
            a, b = journal.read("a"), journal.read("b")
    assert [record.seq for record in a] == [1, 2, 3, 4, 5, 6]
    assert [record.out_seq for record in a] == [1, None, 2, 3, None, 4]
    assert [(record.seq, record.out_seq) for record in b] == [(1, None), (2, None)]
    assert sorted(record.id for record in a + b) == list(range(1, 9))


async def test_concurrent_and_posted_records_keep_the_order_of_the_calls(journal: Journal) -> None:
    for number in range(1200):  # more than two batches
        journal.post("s1", "tick", {"number": number}, pen="p1")
    last = await journal.append("s1", "tick", {"number": 1200}, pen="p1")
    assert last.seq == 1201
    many = (journal.append("s1", "more", {"number": n}, pen="p1") for n in range(1201, 1300))
    await asyncio.gather(*many)
    numbers = [record.body["number"] for record in journal.read("s1", limit=2000)]
    assert numbers == list(range(1300))


async def test_reading_goes_on_from_a_place_and_stops_at_a_limit(journal: Journal) -> None:
    topics: list[Outlet | None] = ["event", None, "pass", "summary"]
    for topic in topics:
        journal.post("s1", "x", {}, pen="p1", topic=topic)
    journal.post("s2", "x", {}, pen="p2")
    await journal.flush()
    assert [record.seq for record in journal.read("s1", after_seq=1, limit=2)] == [2, 3]
    assert [record.id for record in journal.published_after(0, pen="p1")] == [1, 3, 4]
    assert [record.id for record in journal.published_after(1, 1, pen="p1")] == [3]
    assert [record.id for record in journal.published_after(0, pen="p2")] == [5]
    assert journal.backlog(1, pen="p1") == 2
    assert [(each.session, each.pen, each.records, each.published) for each in journal.sessions()] == [
        ("s1", "p1", 4, 3),
        ("s2", "p2", 1, 1),
    ]


async def test_a_cursor_is_kept_by_name_and_over_a_new_opening(path: Path) -> None:
    async with Journal.open(path) as journal:
        assert journal.cursor("x") == 0
        for place in (1, 2, 7):
            journal.move_cursor("x", place)
        journal.move_cursor("y", 3)
        await journal.flush()
        assert (journal.cursor("x"), journal.cursor("y")) == (7, 3)
    async with Journal.open(path) as journal:
        assert journal.cursor("x") == 7


async def test_what_is_posted_is_written_when_the_journal_closes(path: Path) -> None:
    async with Journal.open(path) as journal:
        for _ in range(700):
            journal.post("s1", "x", {}, pen="p1")
    async with Journal.open(path) as journal:
        assert len(journal.read("s1")) == 700
    with pytest.raises(JournalError, match="it is closed"):
        journal.post("s1", "x", {}, pen="p1")


async def test_posting_never_waits_for_the_disk(journal: Journal, path: Path) -> None:
    """Another program holds the file: posting returns at once, and the record comes when it lets go."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.post("s1", "stop", {}, pen="p1")
    assert journal.read("s1") == []
    other.execute("COMMIT")
    other.close()
    await journal.flush()
    assert [record.kind for record in journal.read("s1")] == ["stop"]


async def test_an_append_given_up_before_it_is_written_leaves_no_gap(journal: Journal, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # the writer waits for it with the first record in hand
    first = asyncio.create_task(journal.append("s1", "first", {}, pen="p1"))
    await asyncio.sleep(0)
    while journal._jobs:  # noqa: ASYNC110 - the writer's thread has no event to wait for
        await asyncio.sleep(0)
    given_up = asyncio.create_task(journal.append("s1", "given-up", {}, pen="p1"))
    await asyncio.sleep(0)
    given_up.cancel()
    other.execute("COMMIT")
    other.close()
    await first
    await journal.append("s1", "last", {}, pen="p1")
    assert [(record.seq, record.kind) for record in journal.read("s1")] == [(1, "first"), (2, "last")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"session": "a/b"}, "session 'a/b': use 1 to 64 letters"),
        ({"pen": ""}, "pen ''"),
        ({"kind": "x\n"}, "kind"),
        ({"body": {"depth_mm": float("nan")}}, "no NaN"),
        ({"body": {"when": object()}}, "plain JSON"),
        ({"body": {"half": "\ud800"}}, "surrogates"),
        ({"pen_t_us": -1}, "pen_t_us -1"),
        ({"pen_t_us": 2**63}, "microseconds"),
        ({"topic": "live"}, "topic 'live'"),
    ],
)
async def test_what_cannot_be_recorded_is_refused_at_the_call(
    journal: Journal, change: dict[str, Any], message: str
) -> None:
    good: dict[str, Any] = {"session": "s1", "kind": "x", "body": {}, "pen": "p1"}
    with pytest.raises(ValueError, match=message):
        journal.post(**good | change)
    assert (await journal.append(**good)).seq == 1


@pytest.mark.hazard("H23")
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE record SET body = '{}' WHERE id = 1",
        "DELETE FROM record",
        "UPDATE checkpoint SET record_id = 1",
        "DELETE FROM checkpoint",
        "INSERT OR REPLACE INTO record SELECT * FROM record WHERE id = 1",
        "INSERT INTO record VALUES (4, 's1', 3, NULL, NULL, 'x', 'p1', NULL, '', '{}', x'')",
        "INSERT INTO record VALUES (3, 's1', 4, NULL, NULL, 'x', 'p1', NULL, '', '{}', x'')",
        "INSERT OR REPLACE INTO record VALUES (3, 's1', 2, NULL, NULL, 'x', 'p1', NULL, '', '{}', x'')",
        "INSERT INTO record VALUES (3, 's1', 3, 'event', 2, 'x', 'p1', NULL, '', '{}', x'')",
    ],
)
async def test_no_program_can_change_the_record(journal: Journal, path: Path, sql: str) -> None:
    before = [await journal.append("s1", kind, {}, pen="p1") for kind in ("treatment_begun", "x")]
    other = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|without gaps"):
        other.execute(sql)
    other.close()
    assert journal.read("s1") == before


async def test_a_second_writer_is_refused_and_readers_are_not(journal: Journal, path: Path) -> None:
    await journal.append("s1", "x", {}, pen="p1")
    with pytest.raises(JournalError, match=r"journal\.db: another process has it"):
        async with Journal.open(path):
            pass
    await journal.append("s1", "x", {}, pen="p1")  # the refusal has not let go of the first's lock
    other = await asyncio.to_thread(_python, OTHER_PROCESS, path)
    assert other.stdout == "2\n"
    assert "another process has it" in other.stderr.splitlines()[-1]


OTHER_PROCESS = """
    import asyncio, sqlite3, sys
    from pen_controller.journal import Journal
    print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM record").fetchone()[0])
    async def main():
        async with Journal.open(sys.argv[1]):
            pass
    asyncio.run(main())
"""


def _python(script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


async def test_a_file_of_something_else_or_of_another_version_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is no database, and it is long enough for SQLite to look at it. " * 20)
    alien, newer = tmp_path / "alien", tmp_path / "newer"
    for file, sql in [
        (alien, "CREATE TABLE cat (name TEXT)"),
        (newer, f"CREATE TABLE x (y); PRAGMA application_id = {journal_file.APPLICATION_ID}; PRAGMA user_version = 3"),
    ]:
        db = sqlite3.connect(file)
        db.executescript(sql)
        db.close()
    for file, message in [
        (text, "text: it is not a journal"),
        (alien, "alien: it is a database of something else"),
        (newer, "newer: its schema is 3, this program's is 2: use the program"),
        (tmp_path / "absent" / "file", "file: it cannot be opened: its folder must exist"),
        (tmp_path, "it cannot be opened"),
    ]:
        for _ in range(2):  # the refusal lets go of the file
            with pytest.raises(JournalError, match=message):
                async with Journal.open(file):
                    pass


async def test_a_full_disk_is_said_once_and_for_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "SCHEMA", f"PRAGMA max_page_count = 30; {journal_file.SCHEMA}")
    message = r"journal\.db: the disk is full: make room"
    written = 0
    async with Journal.open(path) as journal:
        with contextlib.suppress(JournalError):
            while True:
                written = (await journal.append("s1", "x", {"text": "x" * 3000}, pen="p1")).seq
        assert journal.failed is not None
        journal.post("s1", "stop", {}, pen="p1")  # the path of STOP is not disturbed
        with pytest.raises(JournalError, match=message):
            await journal.append("s1", "small", {}, pen="p1")
        with pytest.raises(JournalError, match=message):
            await journal.flush()
    async with Journal.open(path) as journal:
        assert [record.seq for record in journal.read("s1")] == list(range(1, written + 1))
        assert (await journal.append("s1", "small", {}, pen="p1")).seq == written + 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
async def test_only_its_owner_can_read_the_files(journal: Journal, path: Path) -> None:
    await journal.append("s1", "x", {}, pen="p1")
    files = sorted(path.parent.glob("journal.db*"))
    assert [file.name for file in files] == [
        "journal.db", "journal.db-shm", "journal.db-wal", "journal.db.key", "journal.db.lock",
    ]  # fmt: skip
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_other_threads_may_read_while_records_are_written(journal: Journal) -> None:
    problems: list[str] = []

    def read() -> None:
        seen = 0
        while seen < 300:
            records = journal.published_after(0, pen="p1")
            if [record.id for record in records] != list(range(1, len(records) + 1)):
                problems.append(f"{len(records)} records with a gap")
            seen = len(records)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        await journal.append("s1", "x", {}, pen="p1")
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert problems == []


async def test_listeners_hear_of_a_record_before_its_append_returns(journal: Journal) -> None:
    heard: list[int] = []
    end = journal.listen(lambda: heard.append(journal.backlog(0, pen="p1")))
    await journal.append("s1", "x", {}, pen="p1")
    await journal.append("s1", "private", {}, pen="p1", topic=None)
    journal.move_cursor("x", 1)
    await journal.flush()
    assert heard == [1]
    end()
    await journal.append("s1", "x", {}, pen="p1")
    assert heard == [1]


WRITER = """
    import asyncio, sys
    from pen_controller.journal import Journal
    async def one(journal, session):
        while True:
            journal.post(session, "posted", {}, pen="p1", topic=None)
            record = await journal.append(session, "awaited", {}, pen="p1")
            sys.stdout.write(f"{record.session} {record.seq} {record.id}\\n")
            sys.stdout.flush()
    async def main():
        async with Journal.open(sys.argv[1]) as journal:
            await asyncio.gather(*(one(journal, f"s{n}") for n in range(4)))
    asyncio.run(main())
"""


@pytest.mark.hazard("H17")
async def test_sigkill_loses_nothing_that_append_returned_for(path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - chance in a test, no secret
    promised: set[tuple[str, int, int]] = set()
    for _ in range(6):
        writer = await asyncio.to_thread(_write_and_be_killed, path, chance.uniform(0.0, 0.12))
        promised |= {(name, int(seq), int(id_)) for name, seq, id_ in map(str.split, writer)}
        async with Journal.open(path) as journal:  # the lock has ended with its process
            records = [record for n in range(4) for record in journal.read(f"s{n}", limit=100_000)]
            assert {(r.session, r.seq, r.id) for r in records} >= promised
            for n in range(4):
                own = [record for record in records if record.session == f"s{n}"]
                assert [record.seq for record in own] == list(range(1, len(own) + 1))
                outs = [record.out_seq for record in own if record.topic]
                assert outs == list(range(1, len(outs) + 1))
    assert len(promised) > 24


def _write_and_be_killed(path: Path, after_s: float) -> list[str]:
    """Run the writer, kill it some time after its first record; return the whole lines it has printed."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(after_s)  # the moment of death is the experiment, not a wait for something
        writer.kill()
        lines = (first + writer.stdout.read()).split("\n")
    return lines[:-1]
