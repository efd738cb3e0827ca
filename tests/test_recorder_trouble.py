"""A database in trouble: nothing is acknowledged that is not committed, and the recorder goes on when it is over."""

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pen_controller.journal import Journal
from pen_controller.recorder import StoreError, database
from pen_controller.recorder.recorder import Tally, record
from pen_controller.recorder.store import Store
from pen_controller.telemetry import acks
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.mqtt import BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from tests.brokers import Received, subscriber, until
from tests.postgres import Cluster
from tests.test_recorder import TOPIC, event, post, recording, say, stored, words

TIMEOUT_S = 30.0
DISK_KB = 24_000
LARGE = {"text": "x" * 50_000}


@pytest.fixture
async def url() -> AsyncIterator[BrokerUrl]:
    async with EmbeddedBroker() as broker:
        yield BrokerUrl.parse(broker.url)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own that is soon full."""
    with tempfile.TemporaryDirectory(prefix="pen-disk-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        mount, umount = shutil.which("mount") or "", shutil.which("umount") or ""
        mounting = [mount, "-t", "tmpfs", "-o", f"size={DISK_KB}k", "pen-test", name]
        if sys.platform != "linux" or subprocess.run(mounting, capture_output=True, check=False).returncode:
            pytest.skip("only Linux's root can make a small file system")
        try:
            yield folder
        finally:
            subprocess.run([umount, name], check=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def on_small_disk(request: pytest.FixtureRequest, small_disk: Path) -> Iterator[Store]:
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{small_disk}/telemetry.sqlite"
        else:
            cluster: Cluster = request.getfixturevalue("cluster")
            tables = small_disk / "tables"
            tables.mkdir()
            url = stack.enter_context(cluster.database_in(tables))
        yield stack.enter_context(Store.open(url))


def fill(disk: Path) -> Path:
    """Take all the room there is; return the file to delete."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return ballast


def said(received: Received) -> int:
    return max(words(received), default=0)


async def test_a_full_disk_is_waited_for(url: BrokerUrl, small_disk: Path, on_small_disk: Store) -> None:
    store = on_small_disk
    async with subscriber(url, "ack/v1/#") as received, recording(store, url) as tally:
        await say(url, (TOPIC, event(1)))
        await until(lambda: said(received) == 1)
        ballast = fill(small_disk)
        # PostgreSQL has room of its own to begin with: what is stored meanwhile may be acknowledged.
        for seq in range(2, 300):
            await say(url, (TOPIC, event(seq, body=LARGE)))
            if "disk is full" in tally.trouble:
                break
        await until(lambda: "disk is full: make room" in tally.trouble, "the trouble")
        assert tally.trouble.endswith("; retrying")
        assert tally.connected
        full_at = said(received)
        assert full_at == len(stored(store)) < seq
        ballast.unlink()
        await until(lambda: said(received) == seq, "the rest")
        assert (tally.trouble, stored(store)) == ("", list(range(1, seq + 1)))


async def test_a_file_that_another_program_locks_is_waited_for(
    url: BrokerUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "telemetry.sqlite"
    with Store.open(f"sqlite:///{path}") as store:
        async with subscriber(url, "ack/v1/#") as received, recording(store, url) as tally:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await say(url, (TOPIC, event(1)))
                await until(lambda: "another process has it" in tally.trouble, "the trouble")
                assert received.messages == []
            await until(lambda: said(received) == 1)
        assert stored(store) == [1]


async def test_a_postgresql_that_crashes_in_the_middle_costs_nothing(
    url: BrokerUrl, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "IDLE_S", 0.5)
    async with Journal.open(tmp_path / "journal.sqlite") as journal, Publisher(journal, url, "clinic", "p1") as sender:
        with Store.open(cluster.database()) as store:
            async with recording(store, url) as tally:
                post(journal, 3000)
                await until(lambda: tally.stored > 100)
                try:
                    await asyncio.to_thread(cluster.stop)
                    await until(lambda: tally.trouble.endswith("retrying"), "the trouble")
                    assert str(cluster.port) in tally.trouble
                finally:
                    await asyncio.to_thread(cluster.start)
                post(journal, 100)
                assert await sender.drained(TIMEOUT_S)
                assert tally.trouble == ""
            assert stored(store) == list(range(1, 3101))


async def test_a_postgresql_that_lets_nobody_write_is_waited_for(url: BrokerUrl, cluster: Cluster) -> None:
    db = cluster.database()
    name = db.rpartition("/")[2]

    def let_write(allowed: str) -> None:
        cluster.say(f"ALTER DATABASE {name} SET default_transaction_read_only = {allowed}")
        cluster.say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)

    with Store.open(db) as store:
        async with subscriber(url, "ack/v1/#") as received, recording(store, url) as tally:
            let_write("on")
            await say(url, (TOPIC, event(1)))
            await until(lambda: "lets nobody write" in tally.trouble, "the trouble")
            assert received.messages == []
            let_write("off")
            await until(lambda: said(received) == 1)
        assert stored(store) == [1]


async def test_a_postgresql_whose_table_is_gone_ends_it(url: BrokerUrl, cluster: Cluster) -> None:
    with Store.open(cluster.database()) as store:
        recorder = asyncio.create_task(record(store, url, tally := Tally()))
        await until(lambda: tally.connected)
        with store._engine.begin() as db:
            db.exec_driver_sql("DROP TABLE record")
        await say(url, (TOPIC, event(1)))
        with pytest.raises(StoreError, match='relation "record" does not exist'):
            await asyncio.wait_for(recorder, TIMEOUT_S)
    assert tally.stored == 0


def test_a_postgresql_that_is_not_there_says_so() -> None:
    with (
        pytest.raises(StoreError, match=r"^database postgresql://nobody@127\.0\.0\.1:1/clinic: ") as error,
        Store.open("postgresql://nobody@127.0.0.1:1/clinic"),
    ):
        pass
    assert error.value.passing
