"""The journal's file: its schema, its one owner, and what its errors mean.

SQLite holds the promise that nothing is changed, deleted, left out or written twice, also against other programs.
"""

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pen_controller import files
from pen_controller.journal import log as journal_log

APPLICATION_ID = 0x50454E4A  # "PENJ": tells our file from any other SQLite database
SCHEMA_VERSION = 2
BUSY_TIMEOUT_S = 5.0  # a backup may hold the file for a moment

SCHEMA = """
BEGIN;
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    session TEXT NOT NULL,
    seq INTEGER NOT NULL,
    topic TEXT CHECK (topic IN ('pass', 'event', 'summary')),
    out_seq INTEGER CHECK ((out_seq IS NULL) = (topic IS NULL)),
    kind TEXT NOT NULL,
    pen TEXT NOT NULL,
    pen_t_us INTEGER,
    wall TEXT NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_seq ON record (session, seq);
CREATE INDEX record_out_seq ON record (session, out_seq) WHERE topic IS NOT NULL;
CREATE INDEX record_published ON record (pen, id) WHERE topic IS NOT NULL;
CREATE TABLE genesis (hash BLOB NOT NULL) STRICT;
INSERT INTO genesis VALUES (randomblob(32));
CREATE TABLE checkpoint (
    record_id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    wall TEXT NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
CREATE TABLE cursor (name TEXT PRIMARY KEY, record_id INTEGER NOT NULL) STRICT;
CREATE TRIGGER record_is_never_changed BEFORE UPDATE ON record
BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER record_is_never_deleted BEFORE DELETE ON record
BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER checkpoint_is_never_changed BEFORE UPDATE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER checkpoint_is_never_deleted BEFORE DELETE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER record_has_no_gaps BEFORE INSERT ON record
WHEN NEW.id IS NOT 1 + (SELECT coalesce(max(id), 0) FROM record)
    OR NEW.seq IS NOT 1 + (SELECT coalesce(max(seq), 0) FROM record WHERE session = NEW.session)
    OR (NEW.topic IS NOT NULL AND NEW.out_seq IS NOT 1 + (SELECT coalesce(max(out_seq), 0)
        FROM record WHERE session = NEW.session AND topic IS NOT NULL))
BEGIN SELECT RAISE(ABORT, 'records follow one another without gaps'); END;
"""

FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What using a journal can raise; the last where SQLite's own words quote something that is no text."""

DAMAGED = "it is damaged: keep it for examination and start a new file"
ADVICE = {
    sqlite3.SQLITE_NOTADB: "it is not a journal: choose another file",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: its folder must exist and be writable",
    sqlite3.SQLITE_READONLY: "it is read-only: make the file and its folder writable",
    sqlite3.SQLITE_FULL: "the disk is full: make room, then start again",
    sqlite3.SQLITE_IOERR: "the disk does not take it: check the disk and its free space",
    sqlite3.SQLITE_BUSY: "another process has it: close that one, or choose another file",
    # All statements are ours: where the file does not take one, it is not as it was made.
    **dict.fromkeys((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT), DAMAGED),
}

EMPTY_ADVICE = (
    "it is empty, but a key is beside it: put back a copy of what it was, or move {0} and what is beside it away "
    "to begin a new one"
)
LOG_ADVICE = "its log {0}-wal has lost records: keep {0} and what is beside it for examination and start a new file"


class JournalError(Exception):
    """The journal cannot be opened or written; one line that names the file and what to do."""

    @classmethod
    def of(cls, path: Path, error: Exception) -> Self:
        """Say what an error of SQLite or of the system means for the person at the screen."""
        no_text = isinstance(error, sqlite3.OperationalError | UnicodeDecodeError)  # where there is no code
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT if no_text else sqlite3.SQLITE_OK)
        if isinstance(error, OSError):
            full = error.errno == errno.ENOSPC
            code = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_CANTOPEN
        return cls(f"journal {path}: {ADVICE.get(code & 0xFF, error)}")


@contextlib.contextmanager
def open_owned(path: Path, *, begun: bool = False) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Open or create the journal at `path` as its one writer; yield a connection to write and one to read.

    Both are in autocommit mode and may be used from any thread, each by one thread at a time.

    Args:
        path: Its file. One that is not there is made.
        begun: It had records before, so that an empty file has lost them.

    Raises:
        JournalError: It is another process's, no journal, of another version, damaged, or cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            begun = begun and path.exists()
            stack.enter_context(_ownership(path))
            check_log(path)
            writer, reader = (stack.enter_context(_connection(path)) for _ in range(2))
            _prepare(writer, path, begun=begun)
        except FAILURES as error:
            raise JournalError.of(path, error) from error
        yield writer, reader


def check_log(path: Path) -> None:
    """See that a journal that was not closed has all that was committed, before SQLite sees it and forgets.

    A program may be writing it: what is lost is not there at a second look either.

    Raises:
        JournalError: Its log is damaged.
        OSError: The files beside it cannot be read.
    """
    if journal_log.lost_frames(path) and journal_log.lost_frames(path):
        raise JournalError(f"journal {path}: {LOG_ADVICE.format(path.name)}")


def _connection(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(
        sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    )


@contextlib.contextmanager
def _ownership(path: Path) -> Iterator[None]:
    """Hold a lock in a file beside the journal."""
    with files.locked(path.with_name(f"{path.name}.lock")):
        files.create(path)
        yield


def _prepare(db: sqlite3.Connection, path: Path, *, begun: bool) -> None:
    """Make a new file a journal, or see that an old one is a journal of this version, and made as we make it."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise JournalError(f"journal {path}: it is a database of something else: choose another file")
    if tables and version != SCHEMA_VERSION:
        raise JournalError(
            f"journal {path}: its schema is {version}, this program's is {SCHEMA_VERSION}: "
            "use the program that wrote it, or choose another file"
        )
    if begun and not tables:
        raise JournalError(f"journal {path}: {EMPTY_ADVICE.format(path.name)}")
    if tables and _schema(db) != _schema_made():
        raise JournalError(f"journal {path}: {DAMAGED}")
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(f"journal {path}: its file system cannot keep it: use a local disk")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves the data in the drive's cache
    # What a torn commit has left in the log would look like damage behind the next ones: these begin it anew.
    db.execute("PRAGMA wal_checkpoint = RESTART")
    if not tables:
        ids = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        db.executescript(f"{SCHEMA} {ids} COMMIT;")


def _schema(db: sqlite3.Connection) -> list[tuple[str, ...]]:
    return db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid").fetchall()


def _schema_made() -> list[tuple[str, ...]]:
    """Return the schema as SQLite keeps it."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(f"{SCHEMA} COMMIT;")
        return _schema(db)
