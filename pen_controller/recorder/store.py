"""The recorder's database: every record of every session, once, in SQLite or PostgreSQL.

A record is known by (site, pen, session, seq). What `Store.commit` has returned for is on the disk.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Self

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from pen_controller.recorder.database import RECORD, SESSION, opened, saying

PAGE_RECORDS = 1000


class Key(NamedTuple):
    """What names a session."""

    site: str
    pen: str
    session: str

    def __str__(self) -> str:
        return "/".join(self)


class Row(NamedTuple):
    """One record as it came: its place, the kind of topic it came on, and the JSON."""

    key: Key
    seq: int
    topic: str
    payload: str


class Committed(NamedTuple):
    """What a commit came to.

    Attributes:
        new: How many of the rows had not been stored before.
        stored: The highest number up to which nothing is missing, of each session among the rows.
        gaps: Those of these sessions of which later records are stored too.
    """

    new: int
    stored: dict[Key, int]
    gaps: set[Key]


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What is stored of one session.

    Attributes:
        site: Name of the site.
        pen: Name of the pen.
        session: Name of the session.
        records: How many there are.
        stored: The highest sequence number up to which none is missing.
        first_wall: Wall time of the first record there is, as the pen's host had it.
        last_wall: Wall time of the last.
        gaps: First and last number of each run of records that are missing before the last one stored.
    """

    site: str
    pen: str
    session: str
    records: int
    stored: int
    first_wall: str
    last_wall: str
    gaps: list[tuple[int, int]]


class Store:
    """The open database; made by `Store.open`. It may be used from any thread, by one thread at a time.

    Attributes:
        name: Of the database, given to it when it was made; all who write it acknowledge under this name.
    """

    def __init__(self, engine: sql.Engine, name: str) -> None:
        self.name = name
        self._engine = engine
        postgres = engine.dialect.name == "postgresql"
        self._insert: Any = postgresql.insert if postgres else sqlite.insert

    @classmethod
    @contextlib.contextmanager
    def open(cls, url: str, *, create: bool = True) -> Iterator[Self]:
        """Open the database at `url`, to write it or, with `create` False, to read what is there.

        Args:
            url: `sqlite:///FILE` or `postgresql://[USER@]HOST[:PORT]/NAME`.
            create: Make the file and the tables where there are none.

        Raises:
            ValueError: The URL is no such thing, or it holds a password: a command line is read by others.
            ImportError: The driver for PostgreSQL is not installed.
            StoreError: It cannot be opened, or it is a database of something else or of another version.
        """
        with opened(url, create=create) as (engine, name):
            yield cls(engine, name)

    def commit(self, rows: Sequence[Row]) -> Committed:
        """Store the rows that are not stored yet, all in one transaction.

        Raises:
            StoreError: It could not be written; none of the rows is stored by this call.
        """
        done = Committed(0, {}, set())
        with saying(self._engine), self._engine.begin() as db:
            # In order, so that two recorders never wait for one another crosswise.
            for key, group in groupby(sorted(rows), key=lambda row: row.key):
                of_session = list(group)
                session_id, before = self._session(db, key)
                done = done._replace(new=done.new + self._add(db, session_id, of_session))
                stored = before
                if any(row.seq == before + 1 for row in of_session):
                    stored = _end_of_run(db, session_id, before)
                    db.execute(sql.update(SESSION).where(SESSION.c.id == session_id).values(stored=stored))
                done.stored[key] = stored
                if _highest(db, session_id) > stored:
                    done.gaps.add(key)
        return done

    def unsettled(self) -> dict[Key, int]:
        """Return how far those sessions are stored that have gaps, and the latest session of each pen.

        Raises:
            StoreError: It could not be read.
        """
        highest = sql.select(sql.func.max(RECORD.c.seq)).where(RECORD.c.session_id == SESSION.c.id).scalar_subquery()
        latest = sql.select(sql.func.max(SESSION.c.id)).group_by(SESSION.c.site, SESSION.c.pen)
        wanted = sql.or_(SESSION.c.stored < highest, SESSION.c.id.in_(latest))
        columns = (SESSION.c.site, SESSION.c.pen, SESSION.c.session, SESSION.c.stored)
        with saying(self._engine), self._engine.connect() as db:
            return {Key(*names): stored for *names, stored in db.execute(sql.select(*columns).where(wanted))}

    def sessions(self, *, site: str | None = None, pen: str | None = None) -> list[SessionInfo]:
        """Return what is stored of each session, or of each of a site or a pen, in the order they were first heard of.

        Raises:
            StoreError: It could not be read.
        """
        wanted = [column == name for column, name in ((SESSION.c.site, site), (SESSION.c.pen, pen)) if name is not None]
        count, first, last = (f(RECORD.c.seq) for f in (sql.func.count, sql.func.min, sql.func.max))
        extent = sql.select(RECORD.c.session_id, count.label("records"), first.label("first"), last.label("last"))
        of = extent.group_by(RECORD.c.session_id).subquery()
        joined = sql.select(SESSION, of.c.records, of.c.first, of.c.last).join(of, of.c.session_id == SESSION.c.id)
        query = joined.where(*wanted)
        with saying(self._engine), self._engine.connect() as db:
            return [
                SessionInfo(
                    each.site,
                    each.pen,
                    each.session,
                    each.records,
                    each.stored,
                    _wall(db, each.id, each.first),
                    _wall(db, each.id, each.last),
                    _gaps(db, each.id, each.stored) if each.stored < each.last else [],
                )
                for each in db.execute(query.order_by(SESSION.c.id)).all()
            ]

    def find(self, session: str) -> Key:
        """Return the session called `SESSION` or, where several pens have one of that name, `SITE/PEN/SESSION`.

        Raises:
            ValueError: There is none, or more than one.
            StoreError: It could not be read.
        """
        *where, name = session.split("/")
        query = sql.select(SESSION.c.site, SESSION.c.pen, SESSION.c.session).where(SESSION.c.session == name)
        with saying(self._engine), self._engine.connect() as db:
            found = [Key(*each) for each in db.execute(query) if not where or list(each[:2]) == where]
        if len(found) != 1:
            several = f"say which: {', '.join(map(str, found))}" if found else "see: pen sessions"
            raise ValueError(f"session {session!r}: there are {len(found)} of that name: {several}")
        return found[0]

    def count(self, key: Key) -> int:
        """Return how many records there are of a session.

        Raises:
            StoreError: It could not be read.
        """
        query = sql.select(sql.func.count()).select_from(RECORD).where(RECORD.c.session_id == _id_of(key))
        with saying(self._engine), self._engine.connect() as db:
            counted: int = db.execute(query).scalar_one()
            return counted

    def records(self, key: Key) -> Iterator[Row]:
        """Yield a session's records in order, a page in memory at a time.

        Raises:
            StoreError: It could not be read.
        """
        query = sql.select(RECORD.c.seq, RECORD.c.topic, RECORD.c.payload).where(RECORD.c.session_id == _id_of(key))
        seq = 0
        while True:
            with saying(self._engine), self._engine.connect() as db:
                page = db.execute(query.where(RECORD.c.seq > seq).order_by(RECORD.c.seq).limit(PAGE_RECORDS)).all()
            if not page:
                return
            for each in page:
                yield Row(key, *each)
            seq = page[-1].seq

    def _session(self, db: sql.Connection, key: Key) -> tuple[int, int]:
        """Return the session's id and how far it is stored; nobody else writes it until the transaction ends."""
        query = sql.select(SESSION.c.id, SESSION.c.stored).filter_by(**key._asdict()).with_for_update()
        found = db.execute(query).one_or_none()
        if found is None:
            db.execute(self._insert(SESSION).on_conflict_do_nothing(), key._asdict())
            found = db.execute(query).one()
        return found.id, found.stored

    def _add(self, db: sql.Connection, session_id: int, rows: Iterable[Row]) -> int:
        """Insert what is not there yet; return how many that were."""
        values = [
            {"session_id": session_id, "seq": row.seq, "topic": row.topic, "payload": row.payload} for row in rows
        ]
        statement = self._insert(RECORD).on_conflict_do_nothing()
        return db.execute(statement, values, execution_options={"preserve_rowcount": True}).rowcount


def _id_of(key: Key) -> sql.ScalarSelect[int]:
    return sql.select(SESSION.c.id).filter_by(**key._asdict()).scalar_subquery()


def _end_of_run(db: sql.Connection, session_id: int, after: int) -> int:
    """Return the last number of the run of records that begins right after `after`."""
    following = RECORD.alias()
    followed = sql.exists().where(following.c.session_id == session_id, following.c.seq == RECORD.c.seq + 1)
    query = sql.select(RECORD.c.seq).where(RECORD.c.session_id == session_id, RECORD.c.seq > after, ~followed)
    end: int = db.execute(query.order_by(RECORD.c.seq).limit(1)).scalar_one()
    return end


def _highest(db: sql.Connection, session_id: int) -> int:
    query = sql.select(sql.func.max(RECORD.c.seq)).where(RECORD.c.session_id == session_id)
    highest: int = db.execute(query).scalar_one()
    return highest


def _gaps(db: sql.Connection, session_id: int, stored: int) -> list[tuple[int, int]]:
    before = sql.func.lag(RECORD.c.seq, 1, stored).over(order_by=RECORD.c.seq).label("before")
    beyond = sql.select(RECORD.c.seq, before).where(RECORD.c.session_id == session_id, RECORD.c.seq > stored).subquery()
    query = sql.select(beyond.c.before + 1, beyond.c.seq - 1).where(beyond.c.seq > beyond.c.before + 1)
    return [(first, last) for first, last in db.execute(query.order_by(beyond.c.seq))]


def _wall(db: sql.Connection, session_id: int, seq: int) -> str:
    query = sql.select(RECORD.c.payload).where(RECORD.c.session_id == session_id, RECORD.c.seq == seq)
    wall: str = json.loads(db.execute(query).scalar_one())["wall"]
    return wall
