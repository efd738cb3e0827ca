"""What somebody can do to a journal who has the file, knows how it is made, and means to change it."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from pen_controller.journal import chain
from pen_controller.journal.chain import Checkpoint, Head

SESSIONS = ("s1", "s2", "s3")
LAST = 30
COLUMNS = ("session", "seq", "topic", "out_seq", "kind", "pen", "pen_t_us", "wall", "body", "hash")
TRIGGERS = [
    "record_is_never_changed", "record_is_never_deleted", "record_has_no_gaps", "checkpoint_is_never_changed",
    "checkpoint_is_never_deleted",
]  # fmt: skip


@contextlib.contextmanager
def unguarded(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, as somebody has it who means to change it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        for trigger in TRIGGERS:
            db.execute(f"DROP TRIGGER {trigger}")
        yield db
        db.commit()


@contextlib.contextmanager
def unseen(path: Path) -> Iterator[sqlite3.Connection]:
    """The same, and the guards are put back."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        guards = db.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    with unguarded(path) as db:
        yield db
        for (guard,) in guards:
            db.execute(guard)


def rechain(db: sqlite3.Connection, _: object) -> None:
    """Make all hashes anew, as somebody does who has read how they are made."""
    (before,) = db.execute("SELECT hash FROM genesis").fetchone()
    for row in db.execute("SELECT * FROM record ORDER BY id").fetchall():
        before = chain.link(before, row[:-1])
        db.execute("UPDATE record SET hash = ? WHERE id = ?", (before, row[0]))


def renumber(db: sqlite3.Connection, _: object) -> None:
    """Close all gaps."""
    seqs: dict[str, int] = {}
    for number, (record_id, session) in enumerate(
        db.execute("SELECT id, session FROM record ORDER BY id").fetchall(), 1
    ):
        seqs[session] = seqs.get(session, 0) + 1
        db.execute("UPDATE record SET id = ?, seq = ? WHERE id = ?", (number, seqs[session], record_id))


# --- what can be done to a journal ------------------------------------------------------------------------------------

PLACES = st.integers(1, LAST)
VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary(), st.sampled_from(SESSIONS))


def edit(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    column, place, value = draw(st.sampled_from(COLUMNS)), draw(PLACES), draw(VALUES)
    db.execute(f"UPDATE record SET {column} = ? WHERE id = ?", (value, place))  # noqa: S608  # a name of ours


def edit_digit(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    """Change as little as can be changed."""
    body = json.dumps({"number": draw(st.integers(0, 9))}, separators=(",", ":"))
    db.execute("UPDATE record SET body = ? WHERE id = ?", (body, draw(PLACES)))


def delete(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    first = draw(PLACES)
    db.execute("DELETE FROM record WHERE id BETWEEN ? AND ?", (first, first + draw(st.integers(0, 3))))


def swap(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    one, other = draw(PLACES), draw(PLACES)
    for now, then in ((one, -1), (other, one), (-1, other)):
        db.execute("UPDATE record SET id = ? WHERE id = ?", (then, now))


def move(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    db.execute("UPDATE record SET id = ? WHERE id = ?", (draw(st.integers(-5, 2 * LAST)), draw(PLACES)))


def insert(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    """Put in a copy of one record, and make room for it."""
    place, session = draw(st.integers(1, LAST + 1)), draw(st.sampled_from([*SESSIONS, "s4"]))
    db.execute("UPDATE record SET id = -id WHERE id >= ?", (place,))
    db.execute("UPDATE record SET id = 1 - id WHERE id < 0")
    (row,) = db.execute("SELECT * FROM record ORDER BY id LIMIT 1").fetchall()
    db.execute(f"INSERT INTO record VALUES ({', '.join('?' * len(row))})", (place, session, 1000, *row[3:]))  # noqa: S608


def cut(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    db.execute("DELETE FROM record WHERE id >= ?", (draw(PLACES),))


def drop_session(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    db.execute("DELETE FROM record WHERE session = ?", (draw(st.sampled_from(SESSIONS)),))


def other_file(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    db.execute("UPDATE genesis SET hash = ?", (draw(st.binary(max_size=40)),))


def edit_checkpoint(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    columns = ["record_id", "hash", "wall", "public_key", "signature"]
    column, value = draw(st.sampled_from(columns)), draw(VALUES)
    places = [place for (place,) in db.execute("SELECT record_id FROM checkpoint")]
    place = draw(st.sampled_from(places))
    db.execute(f"UPDATE checkpoint SET {column} = ? WHERE record_id = ?", (value, place))  # noqa: S608  # likewise


def delete_checkpoint(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    places = [place for (place,) in db.execute("SELECT record_id FROM checkpoint WHERE record_id < ?", (LAST,))]
    db.execute("DELETE FROM checkpoint WHERE record_id = ?", (draw(st.sampled_from(places)),))


def sign_anew(db: sqlite3.Connection, draw: Callable[..., Any]) -> None:
    """Sign all with another key."""
    key = Ed25519PrivateKey.from_private_bytes(draw(st.binary(min_size=32, max_size=32)))
    for place, wall in db.execute("SELECT record_id, wall FROM checkpoint").fetchall():
        (now,) = db.execute("SELECT hash FROM record WHERE id = ?", (place,)).fetchone() or (b"",)
        db.execute("REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?)", Checkpoint.sign(key, Head(place, now), wall))


TO_RECORDS = [edit, edit_digit, delete, swap, move, insert, cut, drop_session]
TO_THE_REST = [other_file, edit_checkpoint, delete_checkpoint]
