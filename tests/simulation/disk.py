"""The journal in virtual time: the real one's code, without its thread and its file.

A record goes the real way: queued, gathered, numbered, hashed, inserted and committed by the journal's own methods, in
a database of the same schema. What is new is when: gathering and writing take virtual time, and a program that is
killed meanwhile has written nothing.
"""

import asyncio
import random
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pen_controller.journal import Journal, JournalError, Record
from pen_controller.journal.chain import HASH_BYTES, Checkpoint, Head, link
from pen_controller.journal.file import APPLICATION_ID, SCHEMA, SCHEMA_VERSION
from pen_controller.journal.journal import INSERT, INSERT_CHECKPOINT, LINGER_S, _Job
from pen_controller.report.reading import LAPTOP
from pen_controller.report.verifying import must_hold

WRITE_MS = 4.0
"""What a commit takes on a common disk."""


class Disk:
    """What outlives the program: the database and its key. `write_ms` is how long a commit takes.

    Args:
        chance: of which key and hashes come.
        used: the wall time of its first record. A laptop that has a clock which can be set back was used before.
    """

    def __init__(self, chance: random.Random, used: datetime) -> None:
        self.full = False
        self.write_ms = WRITE_MS
        self.key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(HASH_BYTES))
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        ids = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        self.db.executescript(f"{SCHEMA} {ids} COMMIT;")
        genesis = chance.randbytes(HASH_BYTES)
        self.db.execute("UPDATE genesis SET hash = ?", (genesis,))
        first = Record(1, LAPTOP, 1, None, None, "login", LAPTOP, None, used.isoformat(), "{}")
        head = Head(1, link(genesis, first))
        self.db.execute(INSERT, (*first, head.hash))
        self.db.execute(INSERT_CHECKPOINT, Checkpoint.sign(self.key, head, first.wall))

    def must_hold(self, _: Path, session: str) -> None:
        """As `verifying.must_hold`, which reads a file: of a copy in one. Raises as that does."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "journal"
            copy.write_bytes(self.db.serialize())
            must_hold(copy, session)


class VirtualJournal(Journal):
    """A journal as one program has it open, on the running loop.

    Args:
        disk: where it lies.
        written: is told of each record that is there for good.
    """

    def __init__(self, disk: Disk, written: Callable[[Record], None]) -> None:
        self.path = Path("journal")
        self.failed: JournalError | None = None
        self._disk, self._written = disk, written
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._gate = threading.Condition()
        self._jobs: list[_Job] = []
        self._hurry = False
        self._busy = False
        self._listeners = ()
        self._places = {}
        self._reader_lock = threading.Lock()
        self._db = self._reader = disk.db
        self._key = disk.key
        self._last_id, self._hash = self.head()
        self._signed_id = self._query("SELECT coalesce(max(record_id), 0) FROM checkpoint")[0][0]
        self._day = self._newest_day()
        self._signed_day = self._day.isoformat()

    def die(self) -> None:
        """The program is killed: what is not committed by now never will be."""
        self._closed = True
        self._jobs.clear()

    def _submit(self, job: _Job) -> None:
        super()._submit(job)
        if not self._busy:
            self._busy = True
            self._loop.call_later(0.0 if self._hurry else LINGER_S, self._begin)

    def _begin(self) -> None:
        """Take what waits, and begin to write it."""
        self._busy = bool(self._jobs)
        if self._busy:
            self._hurry = True  # the lingering is over
            batch = [job for job in self._gather() if job.done is None or job.done.set_running_or_notify_cancel()]
            self._loop.call_later(self._disk.write_ms / 1000, self._end, batch)

    def _end(self, batch: list[_Job]) -> None:
        """It is written; tell who waits, a little later."""
        if self._closed:
            return
        records = self._commit(batch)
        for record in filter(None, records):
            self._written(record)
        self._loop.call_soon(self._tell, batch, records)
        self._begin()

    def _tell(self, batch: list[_Job], records: list[Record | None]) -> None:
        for job, record in zip(batch, records, strict=True):
            if job.done is None:
                continue
            if self.failed is None:
                job.done.set_result(record)
            else:
                job.done.set_exception(self.failed)

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        if self._disk.full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        super()._insert(rows)
