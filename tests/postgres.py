"""A PostgreSQL of the tests' own, from the programs that the system has; one database for each test."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import free_port

USER = "postgres"
OPTIONS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"  # no power is cut here


class Cluster:
    """A server; made by `running`.

    Attributes:
        port: Where it listens, on loopback only; it lets everyone in.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.port = free_port()
        self._programs, self._folder = programs, folder
        self._run("initdb", "--auth=trust", f"--username={USER}", "--no-sync", "--encoding=UTF8", "--locale=C")
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "--wait", f"--log={self._folder / 'log'}", f"--options=-p {self.port} {OPTIONS}", "start")

    def stop(self, mode: str = "immediate") -> None:
        """End it; `immediate` is as after a crash."""
        self._run("pg_ctl", "--wait", f"--mode={mode}", "stop")

    def database(self, options: str = "") -> str:
        """Make a new database and return its URL."""
        name = f"t{uuid.uuid4().hex}"
        self.say(f"CREATE DATABASE {name} {options}")
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    @contextlib.contextmanager
    def database_in(self, folder: Path) -> Iterator[str]:
        """Make a new database in a folder of its own; yield its URL, and drop it in the end."""
        shutil.chown(folder, USER)
        self.say(f"CREATE TABLESPACE elsewhere LOCATION '{folder}'")
        url = self.database("TABLESPACE elsewhere")
        try:
            yield url
        finally:
            self.say(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
            self.say("DROP TABLESPACE elsewhere")

    def say(self, sql: str, *values: str) -> None:
        import psycopg  # noqa: PLC0415 - where there is no PostgreSQL there need be no driver

        with psycopg.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres", autocommit=True) as db:
            db.execute(sql.encode(), values or None)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self._folder / 'data'}", *arguments]
        done = subprocess.run(
            [*_as_another_user(), *command],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Run a server; skip where PostgreSQL is not installed, or fail where PEN_REQUIRE_SYSTEM=1 asks for it."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="pen-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if _as_another_user():
            shutil.chown(folder, USER)
        cluster = Cluster(programs, folder)
        try:
            yield cluster
        finally:
            cluster.stop()


def _programs() -> Path:
    where = os.pathsep.join([*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))), os.environ.get("PATH", "")])
    found = shutil.which("initdb", path=where)
    if found is None and os.environ.get("PEN_REQUIRE_SYSTEM") == "1":
        pytest.fail("postgresql is not installed, and PEN_REQUIRE_SYSTEM=1")
    if found is None:
        pytest.skip("postgresql is not installed")
    return Path(found).parent


def _as_another_user() -> list[str]:
    """PostgreSQL does not run as root; its package makes a user for it."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
