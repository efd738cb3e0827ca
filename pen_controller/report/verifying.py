"""Whether a journal is as it was written: read only, also while a program writes it."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pen_controller.journal import JournalError, Record
from pen_controller.journal import key as journal_key
from pen_controller.journal.chain import BrokenError, Checkpoint, Head, verify
from pen_controller.journal.file import DAMAGED
from pen_controller.journal.journal import SELECT
from pen_controller.report.reading import opened

Row = tuple[Record, bytes]
COLUMNS = SELECT.replace(" FROM", ", hash FROM", 1)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of looking at a journal, all of it or from the first record of one session on.

    Attributes:
        session: The one asked for; None is all.
        records: How many were looked at and hold, up to the first that does not.
        head: Where the chain stands; to be kept elsewhere as a witness. None if there is no record.
        signed: The newest checkpoint. What follows it is chained and not signed yet.
        keys: Public keys that signed, in hexadecimal digits.
        compared: These were compared with a key that is known; else they are the file's own word.
        broken: The first record that does not hold, and why; None if all hold.
    """

    session: str | None
    records: int
    head: Head | None
    signed: Checkpoint | None
    keys: tuple[str, ...]
    compared: bool
    broken: BrokenError | None


def verified(
    path: Path,
    session: str | None = None,
    *,
    trusted: Collection[bytes] = (),
    witness: Head | None = None,
    watch: Callable[[Iterable[Row], int], Iterable[Row]] = lambda rows, _: rows,
) -> Verdict:
    """Look at every record of a journal; for a session, at all from its first on, for none of it may be missing.

    Args:
        path: of the journal, or of a copy.
        session: one that it has; None is all.
        trusted: public keys that may sign. If there are none, that of the key file beside the journal; if there is no
            such file, the key that signed first.
        witness: a head that was kept elsewhere.
        watch: is given the records and how many they are; passes them on.

    Raises:
        JournalError: as `reading.sessions`; or its file is damaged.
        ValueError: there is no such session, or the key file has no key.
        OSError: the key file cannot be read.
    """
    beside = journal_key.beside(path)
    if not trusted and beside.exists():
        trusted = {journal_key.public_key(str(beside))}
    with opened(path) as db:
        db.execute("BEGIN")  # all of it as it was at one moment
        db.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        _check_file(db, path)
        first = _first(db, path, session)
        before = _before(db, first if witness is None else 1)
        checkpoints = _checkpoints(db, before)
        rows = watch(_rows(db, before), _count(db, before))
        head, broken = _followed(
            verify(rows, checkpoints, before=before, session=session, trusted=trusted, witness=witness), before
        )
    signed = [each for each in checkpoints.values() if each.record_id <= head.record_id]
    return Verdict(
        session,
        head.record_id - before.record_id,
        head if head != before else None,
        signed[-1] if signed else None,
        tuple(dict.fromkeys(each.public_key.hex() for each in signed)),
        bool(trusted),
        broken,
    )


def must_hold(path: Path, session: str) -> None:
    """See that a session is as it was written, before anything is done by what it says.

    Raises:
        JournalError: it is not; or as `verified`.
        ValueError, OSError: as `verified`.
    """
    if broken := verified(path, session).broken:
        raise JournalError(f"journal {path}: it does not hold: {broken}: pen verify tells more; begin a new treatment")


def _followed(places: Iterator[Head], head: Head) -> tuple[Head, BrokenError | None]:
    """Return the last place up to which the chain holds, and what comes next if that does not."""
    try:
        for place in places:
            head = place
    except BrokenError as error:
        return head, error.with_traceback(None)  # which would keep the file open
    return head, None


def _check_file(db: sqlite3.Connection, path: Path) -> None:
    """See that what SQLite finds records by leads to those the chain is made of."""
    (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise JournalError(f"journal {path}: {DAMAGED}")


def _first(db: sqlite3.Connection, path: Path, session: str | None) -> int:
    """Return the id of the first record of a session, or of all."""
    if session is None:
        return 1
    (first,) = db.execute("SELECT min(id) FROM record WHERE session = ?", (session,)).fetchone()
    if first is None:
        raise ValueError(f"journal {path}: no session {session}: pen report --list shows those it has")
    return int(first)


def _before(db: sqlite3.Connection, first: int) -> Head:
    """Return the place before a record; if it is gone, one that nothing follows."""
    if first == 1:
        found = db.execute("SELECT hash FROM genesis").fetchone()
    else:
        found = db.execute("SELECT hash FROM record WHERE id = ?", (first - 1,)).fetchone()
    return Head(first - 1, bytes(found[0]) if found else b"")


def _checkpoints(db: sqlite3.Connection, before: Head) -> dict[int, Checkpoint]:
    """Return those behind the records that follow; of a whole journal all, whatever they stand behind."""
    sql = "SELECT * FROM checkpoint WHERE ?1 = 0 OR record_id > ?1 ORDER BY record_id"
    return {row[0]: Checkpoint(*row) for row in db.execute(sql, (before.record_id,))}


def _count(db: sqlite3.Connection, before: Head) -> int:
    (newest,) = db.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()
    return int(newest) - before.record_id


def _rows(db: sqlite3.Connection, before: Head) -> Iterator[Row]:
    for *fields, hash_ in db.execute(COLUMNS + "WHERE id > ? ORDER BY id", (before.record_id,)):
        yield Record._make(fields), hash_
