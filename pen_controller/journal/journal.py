"""The record of every treatment, and so the outbox of its telemetry.

One SQLite file, append-only, written by one thread of one process. What `append` has returned for is on the disk.
"""

import asyncio
import contextlib
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pen_controller.journal import chain
from pen_controller.journal import key as journal_key
from pen_controller.journal.file import DAMAGED, FAILURES, JournalError, open_owned
from pen_controller.journal.record import Outlet, Record, draft, utc_now

__all__ = ["Journal", "SessionInfo"]

LINGER_S = 0.005  # what nobody waits for gathers this long, so that 1,000 records/s cost 200 commits/s
BATCH_RECORDS = 500
BLOCK_RECORDS = 100
SELECT = "SELECT id, session, seq, topic, out_seq, kind, pen, pen_t_us, wall, body FROM record "  # as of `Record`
INSERT = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_BLOCK = INSERT + ", (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" * (BLOCK_RECORDS - 1)
SESSIONS = """
    SELECT name, first.pen, records, published, first.wall, last.wall
    FROM (SELECT session AS name, count(*) AS records, count(out_seq) AS published,
        min(id) AS first_id, max(id) AS last_id FROM record GROUP BY session)
    JOIN record AS first ON first.id = first_id
    JOIN record AS last ON last.id = last_id
    ORDER BY first_id"""  # as of `SessionInfo`
NEWEST_CHECKPOINTS = "SELECT * FROM checkpoint ORDER BY wall DESC LIMIT 100"
INSERT_CHECKPOINT = "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?)"


class SessionInfo(NamedTuple):
    """What the journal holds of one session: counts, and the wall time of its first and last record."""

    session: str
    pen: str
    records: int
    published: int
    first_wall: str
    last_wall: str


@dataclass(slots=True)
class _Job:
    """Something for the writer: a record, or a cursor, or neither (a barrier); `done` where somebody waits for it."""

    record: Record | None = None
    cursor: tuple[str, int] | None = None
    done: Future[Record | None] | None = None


class Journal:
    """The open journal; made by `Journal.open`. Reading is safe from any thread, and raises `JournalError`."""

    def __init__(self, path: Path, key_path: Path | None = None) -> None:
        self.path = path
        self.failed: JournalError | None = None
        self._closed = False
        self._gate = threading.Condition()
        self._jobs: list[_Job] = []
        self._hurry = False  # somebody waits for one of the jobs
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._places: dict[str, tuple[int, int]] = {}
        self._reader_lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        with contextlib.ExitStack() as stack:
            self._db, self._reader = stack.enter_context(open_owned(path, begun=journal_key.beside(path).exists()))
            self._key = _key(path, key_path or journal_key.beside(path))
            self._last_id, self._hash = self.head()
            self._signed_id: int = self._query("SELECT coalesce(max(record_id), 0) FROM checkpoint")[0][0]
            self._day = self._newest_day()
            self._signed_day = self._day.isoformat()
            self._files = stack.pop_all()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path | str, key_path: Path | None = None) -> AsyncIterator[Self]:
        """Open or create the journal, readable by its owner only; leaving writes out what is queued.

        Args:
            path: Its file.
            key_path: File of the key that signs it, made if it is not there; beside the journal, if left out.

        Raises:
            JournalError: It is another process's, no journal, of another version, damaged, or cannot be written; or
                its key cannot be used.
        """
        journal = cls(Path(path), key_path)
        journal._thread.start()
        try:
            yield journal
        finally:
            with journal._gate:
                journal._closed = True
                journal._gate.notify()
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
        written = await self._done(draft(session, kind, body, pen, pen_t_us, topic))
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
        self._submit(_Job(draft(session, kind, body, pen, pen_t_us, topic)))

    async def flush(self) -> None:
        """Return when all that was posted before is durable.

        Raises:
            JournalError: It could not be written.
        """
        await self._done(None)

    def read(self, session: str, after_seq: int = 0, limit: int = 1000) -> list[Record]:
        """Return the session's records that follow `after_seq`, in order."""
        sql = SELECT + "WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?"
        return [Record._make(row) for row in self._query(sql, session, after_seq, limit)]

    def published_after(self, record_id: int, limit: int = 1000, *, pen: str) -> list[Record]:
        """Return the pen's records that have a topic and an id above `record_id`, in order."""
        sql = SELECT + "WHERE topic IS NOT NULL AND pen = ? AND id > ? ORDER BY id LIMIT ?"
        return [Record._make(row) for row in self._query(sql, pen, record_id, limit)]

    def backlog(self, record_id: int, *, pen: str) -> int:
        """Count the pen's records that have a topic and an id above `record_id`."""
        sql = "SELECT count(*) FROM record WHERE topic IS NOT NULL AND pen = ? AND id > ?"
        count: int = self._query(sql, pen, record_id)[0][0]
        return count

    def sessions(self) -> list[SessionInfo]:
        """Return what the journal holds of each session, the oldest first."""
        return [SessionInfo._make(row) for row in self._query(SESSIONS)]

    def head(self) -> chain.Head:
        """Return where the chain of what is durable stands; record 0 is none. Raises `JournalError`."""
        genesis = self._query("SELECT 0, hash FROM genesis")
        newest = self._query("SELECT id, hash FROM record ORDER BY id DESC LIMIT 1")
        record_id, hash_ = (newest or genesis or [(0, None)])[0]
        if len(genesis) != 1 or not isinstance(hash_, bytes):
            raise JournalError(f"journal {self.path}: {DAMAGED}")
        return chain.Head(record_id, hash_)

    def today(self) -> date:
        """Return the day by which a cartridge expires, in UTC: the clock's, or a later one that this record has seen.

        So a clock that is set back makes nothing fresh again. A record that was written while the clock was ahead keeps
        its day: then another journal has to be begun.
        """
        self._day = max(self._day, datetime.now(UTC).date())
        return self._day

    def _newest_day(self) -> date:
        """The newest day that was signed, as the first record of each is; what damage made of a label is not signed."""
        newest = map(chain.Checkpoint._make, self._query(NEWEST_CHECKPOINTS))
        return next((date.fromisoformat(each.wall[:10]) for each in newest if each.holds()), date.min)

    def cursor(self, name: str) -> int:
        """Return the id of the last record that the named publisher is done with; 0 at the beginning."""
        rows = self._query("SELECT record_id FROM cursor WHERE name = ?", name)
        return rows[0][0] if rows else 0

    def cursors(self, prefix: str) -> dict[str, int]:
        """Return the places of the publishers whose names begin with `prefix`, under the rest of their names."""
        sql = "SELECT substr(name, length(?1) + 1), record_id FROM cursor WHERE substr(name, 1, length(?1)) = ?1"
        return dict(self._query(sql, prefix))

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

    async def _done(self, record: Record | None) -> Record | None:
        """Have a record, and whatever came before it, written; return it with its place."""
        done: Future[Record | None] = Future()
        self._submit(_Job(record, done=done))
        return await asyncio.wrap_future(done)

    def _submit(self, job: _Job) -> None:
        with self._gate:
            if self._closed:
                raise JournalError(f"journal {self.path}: it is closed: open it again")
            self._jobs.append(job)
            self._hurry = self._hurry or job.done is not None
            if self._hurry or len(self._jobs) == 1:
                self._gate.notify()

    def _query(self, sql: str, *values: str | int) -> list[Any]:
        try:
            with self._reader_lock:
                return self._reader.execute(sql, values).fetchall()
        except FAILURES as error:
            raise JournalError.of(self.path, error) from error

    # What follows runs in the writer's thread.

    def _write(self) -> None:
        while batch := self._gather():
            batch = [job for job in batch if job.done is None or job.done.set_running_or_notify_cancel()]
            records = self._commit(batch)
            if any(record and record.topic for record in records):
                for listener in self._listeners:
                    listener()
            for job, record in zip(batch, records, strict=True):
                if job.done is None:
                    continue
                if self.failed is None:
                    job.done.set_result(record)
                else:
                    job.done.set_exception(self.failed)
        self._sign_off()

    def _gather(self) -> list[_Job]:
        """Wait for jobs, and linger while nobody waits for one; return none when the journal was closed."""
        with self._gate:
            self._gate.wait_for(lambda: self._jobs or self._closed)
            self._gate.wait_for(lambda: self._hurry or self._closed or len(self._jobs) >= BATCH_RECORDS, LINGER_S)
            batch = self._jobs[:BATCH_RECORDS]
            del self._jobs[:BATCH_RECORDS]
            self._hurry = self._hurry and bool(self._jobs)
        return batch

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
            rows, checkpoints = self._chain([record for record in records if record])
            self._db.execute("BEGIN IMMEDIATE")
            self._insert(rows)
            self._db.executemany(INSERT_CHECKPOINT, checkpoints)
            self._db.executemany("REPLACE INTO cursor VALUES (?, ?)", cursors.items())
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self.failed = JournalError.of(self.path, error)
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            return nothing
        return records

    def _chain(self, records: list[Record]) -> tuple[list[tuple[Any, ...]], list[chain.Checkpoint]]:
        """Return the rows, each record with its hash, and the checkpoints among them."""
        rows: list[tuple[Any, ...]] = []
        checkpoints: list[chain.Checkpoint] = []
        for record in records:
            self._hash = chain.link(self._hash, record)
            rows.append((*record, self._hash))
            if chain.is_signed(record.id, record.kind) or record.wall[:10] > self._signed_day:
                checkpoints.append(self._sign(record.id))
        return rows, checkpoints

    def _sign(self, record_id: int) -> chain.Checkpoint:
        wall = utc_now()
        self._signed_id, self._signed_day = record_id, max(self._signed_day, wall[:10])
        return chain.Checkpoint.sign(self._key, chain.Head(record_id, self._hash), wall)

    def _sign_off(self) -> None:
        """Sign what came after the last checkpoint; where that fails, the next one signs it too."""
        if self.failed is None and self._signed_id < self._last_id:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute(INSERT_CHECKPOINT, self._sign(self._last_id))

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        """Insert in blocks: other threads run during a statement, and have to be waited for between two."""
        blocks_end = len(rows) - len(rows) % BLOCK_RECORDS
        for at in range(0, blocks_end, BLOCK_RECORDS):
            block = rows[at : at + BLOCK_RECORDS]
            self._db.execute(INSERT_BLOCK, list(itertools.chain.from_iterable(block)))
        self._db.executemany(INSERT, rows[blocks_end:])

    def _number(self, draft: Record) -> Record:
        """Give the record its place in the file, in its session and in what the session publishes."""
        if draft.session not in self._places:
            sql = "SELECT coalesce(max(seq), 0), coalesce(max(out_seq), 0) FROM record WHERE session = ?"
            self._places[draft.session] = self._db.execute(sql, (draft.session,)).fetchone()
        seq, out_seq = self._places[draft.session]
        seq, out_seq = seq + 1, out_seq + (draft.topic is not None)
        self._places[draft.session] = seq, out_seq
        self._last_id += 1
        return draft._replace(id=self._last_id, seq=seq, out_seq=out_seq if draft.topic else None)


def _key(journal: Path, path: Path) -> Ed25519PrivateKey:
    try:
        return journal_key.private_key(path)
    except ValueError as error:
        raise JournalError(f"journal {journal}: its {error}") from error
    except OSError as error:
        raise JournalError.of(path, error) from error
