"""The file or server that holds the records: its tables, how it is opened, and what its errors mean."""

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sql

from pen_controller import files
from pen_controller.journal.file import ADVICE, BUSY_TIMEOUT_S
from pen_controller.recorder import StoreError

SCHEMA_VERSION = 2
SETTLE_S = 0.3
CONNECT_TIMEOUT_S = 5
SILENT_TIMEOUT_MS = 20_000  # a server that does not answer is lost

EXPECTED = "expected sqlite:///FILE or postgresql://[USER@]HOST[:PORT]/NAME"
SECRETS = {"password", "sslpassword"}

OF_SQLITE = ADVICE | {
    sqlite3.SQLITE_NOTADB: "it is no database: choose another file",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
}
OF_POSTGRESQL = {
    "53100": "its server's disk is full: make room there",
    "25006": "its server lets nobody write: is it a standby, or short of room?",
}
PASSING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
PASSING_STATES = ("08", "25006", "40", "53", "55P03", "57")
"""How PostgreSQL's codes begin for: connection lost, read-only, deadlock, no room, locked, shut down."""

metadata = sql.MetaData()
IDENTITY = sql.Table(
    "pen_recorder",
    metadata,
    sql.Column("id", sql.Integer, sql.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    sql.Column("schema_version", sql.Integer, nullable=False),
    sql.Column("name", sql.String(64), nullable=False),
)
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


@contextlib.contextmanager
def opened(url: str, *, create: bool) -> Iterator[tuple[sql.Engine, str]]:
    """Open the database at `url`, made a recorder's if it is new and `create` says so; yield it, and its name.

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
        with saying(engine):
            try:
                name = _prepare(engine, create=create)
            except (sql.exc.SQLAlchemyError, sqlite3.Error):  # another recorder may just be making the tables
                time.sleep(SETTLE_S)
                name = _prepare(engine, create=create)
        yield engine, name
    finally:
        engine.dispose()


@contextlib.contextmanager
def saying(engine: sql.Engine) -> Iterator[None]:
    """Turn the database's errors into one line for a person."""
    try:
        yield
    except (sql.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise StoreError(f"database {_shown(engine)}: {_advice(cause)}", passing=_passes(cause)) from error


def _advice(cause: BaseException) -> str:
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    known = OF_SQLITE.get(code) or OF_POSTGRESQL.get(getattr(cause, "sqlstate", None) or "")
    return known or (str(cause).splitlines() or [type(cause).__name__])[0]


def _passes(cause: BaseException) -> bool:
    """Tell whether it may work again without anybody doing anything to this program."""
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in PASSING
    if isinstance(cause, sql.exc.TimeoutError | OSError):
        return True
    state = getattr(cause, "sqlstate", None)
    lost = state is None and type(cause).__name__ == "OperationalError"  # psycopg's, which need not be installed
    return lost or str(state).startswith(PASSING_STATES)


def _shown(engine: sql.Engine) -> sql.URL:
    return engine.url.set(drivername=engine.dialect.name)


def _address(text: str) -> sql.URL:
    try:
        url = sql.make_url(text)
    except (sql.exc.ArgumentError, ValueError) as error:
        raise ValueError(f"database: {EXPECTED}") from error  # the text may hold a password
    if url.password is not None or SECRETS & url.query.keys():
        raise ValueError("database: a URL must not hold a password: PostgreSQL's client reads it from ~/.pgpass")
    of_file = url.get_backend_name() == "sqlite"
    if (
        url.database in (None, "", ":memory:")
        or url.drivername not in ("sqlite", "postgresql")
        or (of_file and (url.query or url.host))
    ):
        raise ValueError(f"database {text!r}: {EXPECTED}")
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
            return _server(address)
        engine = sql.create_engine(address, connect_args={"timeout": BUSY_TIMEOUT_S})
    except ModuleNotFoundError as error:
        raise ImportError("PostgreSQL needs psycopg: pip install 'pen-controller[postgresql]'") from error

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


def _server(address: sql.URL) -> sql.Engine:
    """Return a server's database, which must not call committed what is not on its disk."""
    limits = {"connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": SILENT_TIMEOUT_MS}
    return sql.create_engine(address, connect_args={"options": "-c synchronous_commit=on", **limits})


def _prepare(engine: sql.Engine, *, create: bool) -> str:
    """Make an empty database ours, or see that it is ours and of this version; return its name."""
    shown = _shown(engine)
    tables = sql.inspect(engine).get_table_names()
    if IDENTITY.name not in tables and (tables or not create):
        raise StoreError(f"database {shown}: it is not a recorder's: give the recorder one of its own")
    if create and engine.dialect.name == "sqlite":
        _use_wal(engine)
    with engine.begin() as db:
        if IDENTITY.name not in tables:
            metadata.create_all(db)
        version = db.execute(sql.text("SELECT schema_version FROM pen_recorder")).scalar_one_or_none()
        if version is None and create:
            version = SCHEMA_VERSION
            db.execute(sql.insert(IDENTITY), {"id": 1, "schema_version": version, "name": uuid.uuid4().hex[:8]})
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"database {shown}: its schema is {version}, this program's is {SCHEMA_VERSION}: "
                "use the program that wrote it, or give the recorder a new one"
            )
        name: str = db.execute(sql.select(IDENTITY.c.name)).scalar_one()
        return name


def _use_wal(engine: sql.Engine) -> None:
    """Let readers read while the recorder writes."""
    with contextlib.closing(engine.raw_connection()) as connection:
        (mode,) = connection.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"database {_shown(engine)}: its file system cannot keep it: use a local disk")
