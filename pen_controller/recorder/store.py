"""The recorder's database: every record of every session, once, in SQLite or PostgreSQL.

A record is known by (site, pen, session, seq). What `Store.commit` has returned for is on the disk.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from pen_controller import files
from pen_controller.journal_file import ADVICE, BUSY_TIMEOUT_S
from pen_controller.recorder import StoreError

SCHEMA_VERSION = 1
PAGE_RECORDS = 1000
SETTLE_S = 0.3

metadata = sql.MetaData()
VERSION = sql.Table("pen_recorder", metadata, sql.Column("schema_version", sql.Integer, primary_key=True))
SESSION = sql.Table(
    "session",
    metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("site", sql.String(64), nullable=False),
    sql.Column("pen", sql.String(64), nullable=False),
    sql.Column("session", sql.String(64), nullable=False),
    sql.Column("stored", sql.BigInteger, nullable=False, default=0),
    sql.UniqueConstraint("site", "pen", "session"),
)
RECORD = sql.Table(
    "record",
    metadata,
    sql.Column("session_id", sql.ForeignKey(SESSION.c.id), primary_key=True),
    sql.Column("seq", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("topic", sql.String(16), nullable=False),
    sql.Column("payload", sql.Text, nullable=False),
    sqlite_with_rowid=False,
)


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
    """The open database; made by `Store.open`. It may be used from any thread, by one thread at a time."""

    def __init__(self, engine: sql.Engine) -> None:
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
        address = _address(url)
        if address.get_backend_name() == "sqlite":
            _find_file(Path(address.database or ""), address, create=create)
        engine = _engine(address, writes=create)
        try:
            with _saying(engine):
                try:
                    _prepare(engine, create=create)
                except (sql.exc.SQLAlchemyError, sqlite3.Error):  # another recorder may just be making the tables
                    time.sleep(SETTLE_S)
                    _prepare(engine, create=create)
            yield cls(engine)
        finally:
            engine.dispose()

    def commit(self, rows: Sequence[Row]) -> Committed:
        """Store the rows that are not stored yet, all in one transaction.

        Raises:
            StoreError: It could not be written; none of the rows is stored by this call.
        """
        done = Committed(0, {}, set())
        with _saying(self._engine), self._engine.begin() as db:
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
        with _saying(self._engine), self._engine.connect() as db:
            return {Key(*names): stored for *names, stored in db.execute(sql.select(*columns).where(wanted))}

    def sessions(self) -> list[SessionInfo]:
        """Return what is stored of each session, in the order in which they were first heard of.

        Raises:
            StoreError: It could not be read.
        """
        count, first, last = (f(RECORD.c.seq) for f in (sql.func.count, sql.func.min, sql.func.max))
        extent = sql.select(RECORD.c.session_id, count.label("records"), first.label("first"), last.label("last"))
        of = extent.group_by(RECORD.c.session_id).subquery()
        query = sql.select(SESSION, of.c.records, of.c.first, of.c.last).join(of, of.c.session_id == SESSION.c.id)
        with _saying(self._engine), self._engine.connect() as db:
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
        with _saying(self._engine), self._engine.connect() as db:
            found = [Key(*each) for each in db.execute(query) if not where or list(each[:2]) == where]
        if len(found) != 1:
            several = f"say which: {', '.join(map(str, found))}" if found else "see: pen sessions"
            raise ValueError(f"session {session!r}: there are {len(found)} of that name: {several}")
        return found[0]

    def records(self, key: Key) -> Iterator[Row]:
        """Yield a session's records in order, a page in memory at a time.

        Raises:
            StoreError: It could not be read.
        """
        of_session = sql.select(SESSION.c.id).filter_by(**key._asdict()).scalar_subquery()
        query = sql.select(RECORD.c.seq, RECORD.c.topic, RECORD.c.payload).where(RECORD.c.session_id == of_session)
        seq = 0
        while True:
            with _saying(self._engine), self._engine.connect() as db:
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


def _address(text: str) -> sql.URL:
    expected = "expected sqlite:///FILE or postgresql://[USER@]HOST[:PORT]/NAME"
    try:
        url = sql.make_url(text)
    except (sql.exc.ArgumentError, ValueError) as error:
        raise ValueError(f"database: {expected}") from error  # the text may hold a password
    if url.password is not None:
        raise ValueError("database: a URL must not hold a password: PostgreSQL's client reads it from ~/.pgpass")
    of_file = url.get_backend_name() == "sqlite"
    if (
        url.database in (None, "", ":memory:")
        or url.drivername not in ("sqlite", "postgresql")
        or (of_file and (url.query or url.host))
    ):
        raise ValueError(f"database {text!r}: {expected}")
    return url.set(drivername="sqlite" if of_file else "postgresql+psycopg")


def _find_file(path: Path, address: sql.URL, *, create: bool) -> None:
    try:
        if create:
            files.create(path)
        elif not path.is_file():
            raise StoreError(f"database {address}: there is no such file")
    except OSError as error:
        raise StoreError(f"database {address}: {ADVICE[sqlite3.SQLITE_CANTOPEN]}") from error


def _engine(address: sql.URL, *, writes: bool) -> sql.Engine:
    try:
        if address.get_backend_name() == "postgresql":
            return sql.create_engine(address)
        engine = sql.create_engine(address, connect_args={"timeout": BUSY_TIMEOUT_S})
    except ModuleNotFoundError as error:
        raise ImportError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from error

    def on_connect(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # we begin: Python's own way begins too late
        for pragma in ("synchronous = FULL", "fullfsync = ON", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        if not writes:
            connection.execute("PRAGMA query_only = ON")

    def on_begin(connection: sql.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sql.event.listen(engine, "connect", on_connect)
    sql.event.listen(engine, "begin", on_begin)
    return engine


def _prepare(engine: sql.Engine, *, create: bool) -> None:
    """Make an empty database ours, or see that it is ours and of this version."""
    tables = sql.inspect(engine).get_table_names()
    if VERSION.name not in tables and (tables or not create):
        raise StoreError(f"database {engine.url}: it is not a recorder's: give the recorder one of its own")
    if create and engine.dialect.name == "sqlite":
        _use_wal(engine)
    with engine.begin() as db:
        if create:
            metadata.create_all(db)
        version = db.execute(sql.select(VERSION.c.schema_version)).scalar_one_or_none()
        if version is None and create:
            db.execute(sql.insert(VERSION), {"schema_version": SCHEMA_VERSION})
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"database {engine.url}: its schema is {version}, this program's is {SCHEMA_VERSION}: "
                "use the program that wrote it, or give the recorder a new one"
            )


def _use_wal(engine: sql.Engine) -> None:
    """Let readers read while the recorder writes."""
    with contextlib.closing(engine.raw_connection()) as connection:
        (mode,) = connection.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"database {engine.url}: its file system cannot keep it: use a local disk")


@contextlib.contextmanager
def _saying(engine: sql.Engine) -> Iterator[None]:
    """Turn the database's errors into one line for a person."""
    try:
        yield
    except (sql.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
        advice = "it is no database: choose another file" if code == sqlite3.SQLITE_NOTADB else ADVICE.get(code)
        first_line = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise StoreError(f"database {engine.url}: {advice or first_line}") from error


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
