"""The record of every treatment, and so the outbox of its telemetry.

One SQLite file, append-only, written by one thread of one process. What `append` has returned for is on the disk.
"""

import asyncio
import contextlib
import json
import queue
import re
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pen_controller.journal_file import JournalError, open_owned

__all__ = ["NAME", "Journal", "JournalError", "Outlet", "Record", "SessionInfo", "utc_now"]

Outlet = Literal["pass", "event", "summary"]

LINGER_S = 0.005  # what nobody waits for gathers this long, so that 1,000 records/s cost 200 commits/s
BATCH_RECORDS = 500
INSERT = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the names an MQTT topic of ours can carry


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the record.

    Attributes:
        id: Place in the file; gap-free from 1.
        session: The treatment it belongs to; one session has one pen.
        seq: Place in the session; gap-free from 1.
        topic: The telemetry topic it goes out on; None is not published.
        out_seq: Place among the session's published records, gap-free from 1; None is not published.
        kind: What happened, in one word.
        pen: Name of the pen.
        pen_t_us: Time of the pen's own clock, in microseconds since its boot.
        wall: UTC in ISO 8601, a label only: nothing is ordered or decided by it.
        body: JSON object.
    """

    id: int
    session: str
    seq: int
    topic: Outlet | None
    out_seq: int | None
    kind: str
    pen: str
    pen_t_us: int | None
    wall: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What the journal holds of one session: counts, and the wall time of its first and last record."""

    session: str
    pen: str
    records: int
    published: int
    first_wall: str
    last_wall: str


@dataclass(slots=True)
class _Job:
    """Something for the writer: a record, or a cursor, or neither (a barrier)."""

    record: Record | None = None
    cursor: tuple[str, int] | None = None
    awaited: bool = False
    done: Future[Record | None] = field(default_factory=Future)


def utc_now() -> str:
    """Return the wall time as a label: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Journal:
    """The open journal; made by `Journal.open`. Reading is safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed: JournalError | None = None
        self._closed = False
        self._gate = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._places: dict[str, tuple[int, int]] = {}
        self._reader_lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        with contextlib.ExitStack() as stack:
            self._db, self._reader = stack.enter_context(open_owned(path))
            self._last_id: int = self._query("SELECT coalesce(max(id), 0) FROM record")[0][0]
            self._files = stack.pop_all()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path | str) -> AsyncIterator[Self]:
        """Open or create the journal, readable by its owner only; leaving writes out what is queued.

        Raises:
            JournalError: It is another process's, no journal, of another version, or cannot be written.
        """
        journal = cls(Path(path))
        journal._thread.start()
        try:
            yield journal
        finally:
            with journal._gate:
                journal._closed = True
                journal._jobs.put(None)
            await asyncio.to_thread(journal._thread.join)
            journal._files.close()

    async def append(
        self,
        session: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        pen: str,
        pen_t_us: int | None = None,
        topic: Outlet | None = "event",
    ) -> Record:
        """Write one record; it is durable when this returns.

        Raises:
            ValueError: `session` or `pen` is no name, or `body` is not JSON.
            JournalError: It could not be written. The journal takes nothing more until it is opened anew.
        """
        record = _draft(session, kind, body, pen, pen_t_us, topic)
        written = await asyncio.wrap_future(self._submit(_Job(record, awaited=True)))
        assert written is not None  # noqa: S101 - a job with a record comes back with that record
        return written

    def post(
        self,
        session: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        pen: str,
        pen_t_us: int | None = None,
        topic: Outlet | None = "event",
    ) -> None:
        """Queue one record without waiting, for the path of STOP; durable milliseconds later, in order.

        A failure to write shows in `failed` and in the next `append`; only a closed journal raises here.

        Raises:
            ValueError: `session` or `pen` is no name, or `body` is not JSON.
            JournalError: The journal is closed.
        """
        self._submit(_Job(_draft(session, kind, body, pen, pen_t_us, topic)))

    async def flush(self) -> None:
        """Return when all that was posted before is durable.

        Raises:
            JournalError: It could not be written.
        """
        await asyncio.wrap_future(self._submit(_Job(awaited=True)))

    def read(self, session: str, after_seq: int = 0, limit: int = 1000) -> list[Record]:
        """Return the session's records that follow `after_seq`, in order."""
        sql = "SELECT * FROM record WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?"
        return [_record(row) for row in self._query(sql, session, after_seq, limit)]

    def published_after(self, record_id: int, limit: int = 1000, *, pen: str) -> list[Record]:
        """Return the pen's records that have a topic and an id above `record_id`, in order."""
        sql = "SELECT * FROM record WHERE topic IS NOT NULL AND pen = ? AND id > ? ORDER BY id LIMIT ?"
        return [_record(row) for row in self._query(sql, pen, record_id, limit)]

    def backlog(self, record_id: int, *, pen: str) -> int:
        """Count the pen's records that have a topic and an id above `record_id`."""
        sql = "SELECT count(*) FROM record WHERE topic IS NOT NULL AND pen = ? AND id > ?"
        count: int = self._query(sql, pen, record_id)[0][0]
        return count

    def sessions(self) -> list[SessionInfo]:
        """Return what the journal holds of each session, the oldest first."""
        sql = """
            SELECT name, first.pen, records, published, first.wall, last.wall
            FROM (SELECT session AS name, count(*) AS records, count(out_seq) AS published,
                min(id) AS first_id, max(id) AS last_id FROM record GROUP BY session)
            JOIN record AS first ON first.id = first_id
            JOIN record AS last ON last.id = last_id
            ORDER BY first_id"""
        return [SessionInfo(*row) for row in self._query(sql)]

    def cursor(self, name: str) -> int:
        """Return the id of the last record that the named publisher is done with; 0 at the beginning."""
        rows = self._query("SELECT record_id FROM cursor WHERE name = ?", name)
        return rows[0][0] if rows else 0

    def move_cursor(self, name: str, record_id: int) -> None:
        """Store a publisher's place, milliseconds later; a crash before that costs a repetition only.

        Raises:
            JournalError: The journal is closed.
        """
        self._submit(_Job(cursor=(name, record_id)))

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback`, in the writer's thread, after each commit; return what ends that.

        It must be quick and must not raise. It is called before the `append` it tells of returns.
        """
        with self._gate:
            self._listeners = (*self._listeners, callback)

        def end() -> None:
            with self._gate:
                self._listeners = tuple(each for each in self._listeners if each is not callback)

        return end

    def _submit(self, job: _Job) -> Future[Record | None]:
        with self._gate:
            if self._closed:
                raise JournalError(f"journal {self.path}: it is closed: open it again")
            self._jobs.put(job)
        return job.done

    def _query(self, sql: str, *values: str | int) -> list[Any]:
        try:
            with self._reader_lock:
                return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError.of(self.path, error) from error

    # What follows runs in the writer's thread.

    def _write(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._gather()
            batch = [job for job in batch if job.done.set_running_or_notify_cancel()]
            records = self._commit(batch)
            if any(record and record.topic for record in records):
                for listener in self._listeners:
                    listener()
            for job, record in zip(batch, records, strict=True):
                if self.failed is None:
                    job.done.set_result(record)
                else:
                    job.done.set_exception(self.failed)

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take what comes with it; linger only while nobody is waiting."""
        batch: list[_Job] = []
        deadline_s = float("inf")
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            deadline_s = min(deadline_s, 0.0 if job.awaited else time.monotonic() + LINGER_S)
            if len(batch) == BATCH_RECORDS:
                return batch, True
            try:
                job = self._jobs.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Job]) -> list[Record | None]:
        """Number the records and write all in one transaction.

        A failure is final: what would be written after it would leave a gap.
        """
        nothing: list[Record | None] = [None] * len(batch)
        if self.failed is not None or not any(job.record or job.cursor for job in batch):
            return nothing
        try:
            records = [self._number(job.record) if job.record else None for job in batch]
            cursors = dict(job.cursor for job in batch if job.cursor)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(INSERT, [_row(record) for record in records if record])
            self._db.executemany("REPLACE INTO cursor VALUES (?, ?)", cursors.items())
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self.failed = JournalError.of(self.path, error)
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            return nothing
        return records

    def _number(self, draft: Record) -> Record:
        """Give the record its place in the file, in its session and in what the session publishes."""
        if draft.session not in self._places:
            sql = "SELECT coalesce(max(seq), 0), coalesce(max(out_seq), 0) FROM record WHERE session = ?"
            self._places[draft.session] = self._db.execute(sql, (draft.session,)).fetchone()
        seq, out_seq = self._places[draft.session]
        seq, out_seq = seq + 1, out_seq + (draft.topic is not None)
        self._places[draft.session] = seq, out_seq
        self._last_id += 1
        return replace(draft, id=self._last_id, seq=seq, out_seq=out_seq if draft.topic else None)


def _draft(
    session: str,
    kind: str,
    body: Mapping[str, Any],
    pen: str,
    pen_t_us: int | None,
    topic: Outlet | None,
) -> Record:
    """Check what the writer could choke on, and take a copy of the body."""
    for label, name in (("session", session), ("kind", kind), ("pen", pen)):
        if not NAME.fullmatch(name):
            raise ValueError(f"{label} {name!r}: use 1 to 64 letters, digits, _ or -")
    if pen_t_us is not None and not 0 <= pen_t_us < 2**63:
        raise ValueError(f"pen_t_us {pen_t_us}: use microseconds since the pen's boot")
    if topic not in (None, "pass", "event", "summary"):
        raise ValueError(f"topic {topic!r}: use pass, event, summary or None")
    try:
        copy = json.loads(json.dumps(dict(body), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"body of {kind}: {error}: use plain JSON values, no NaN") from error
    return Record(0, session, 0, topic, None, kind, pen, pen_t_us, utc_now(), copy)


def _row(record: Record) -> tuple[Any, ...]:
    *values, body = (getattr(record, each.name) for each in fields(Record))
    return (*values, json.dumps(body))


def _record(row: tuple[Any, ...]) -> Record:
    values = (*row[:-1], json.loads(row[-1]))
    return Record(*values)
