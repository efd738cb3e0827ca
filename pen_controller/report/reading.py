"""Reads a journal that another program may be writing: no lock is taken, and nothing is written."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pen_controller.journal import Record, SessionInfo
from pen_controller.journal.file import APPLICATION_ID, FAILURES, SCHEMA_VERSION, JournalError, check_log
from pen_controller.journal.journal import SELECT, SESSIONS
from pen_controller.journal.record import NAME

LAPTOP = "laptop"
"""The session, and its pen, of what belongs to no treatment: who came to the clinic's laptop, and went."""


def sessions(path: Path) -> list[SessionInfo]:
    """Return what a journal holds of each treatment, the oldest first.

    Raises:
        JournalError: it is not there, is no journal, is of another version, or cannot be read.
    """
    with opened(path) as db:
        return [info for info in map(SessionInfo._make, db.execute(SESSIONS)) if info.session != LAPTOP]


def records(path: Path, session: str | None = None) -> list[Record]:
    """Return all records of a session, in order; of the newest treatment if none is named.

    Raises:
        JournalError: as `sessions`.
        ValueError: the journal has no such session, or none at all.
    """
    newest = "SELECT session FROM record WHERE session != ? ORDER BY id DESC LIMIT 1"
    with opened(path) as db:
        wanted = session or next((name for (name,) in db.execute(newest, (LAPTOP,))), None)
        found = [Record(*row) for row in db.execute(SELECT + "WHERE session = ? ORDER BY seq", (wanted,))]
    if not found:
        wanted = f"no session {session}: pen report --list shows those it has" if session else "it is empty"
        raise ValueError(f"journal {path}: {wanted}")
    if not NAME.fullmatch(str(found[0].session)):  # by which files are called; damaged, it need not be a text
        raise ValueError(f"journal {path}: session {found[0].session!r} is no name: this program did not write it")
    return found


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal to read only. Raises `JournalError`, as `sessions`, inside the `with` statement too."""
    if not path.is_file():
        raise JournalError(f"journal {path}: it is not there: give the one that 'pen run' named, with --journal")
    try:
        check_log(path)
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
                raise JournalError(f"journal {path}: it is no journal of version {SCHEMA_VERSION}: choose another file")
            yield db
    except FAILURES as error:
        raise JournalError.of(path, error) from error
