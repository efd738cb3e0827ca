"""Several recorders side by side: none is special, each can die, and nothing is lost."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pen_controller.journal import Journal
from pen_controller.recorder import words
from pen_controller.recorder.recorder import Tally, record
from pen_controller.recorder.store import Store
from pen_controller.telemetry import acks
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.mqtt import AccessError, BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from tests.brokers import broker, mosquitto, until
from tests.postgres import Cluster
from tests.test_recorder import post, recording, say, stored

TIMEOUT_S = 30.0
SHORT_SESSIONS = "from pen_controller.telemetry import mqtt; mqtt.SESSION_S = 1"
RECORDER = "import typer; from pen_controller.recorder import commands; typer.run(commands.recorder)"


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.mark.parametrize("server", ["nats", "mosquitto"])
async def test_each_database_gets_everything_also_what_it_missed(
    server: str, tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "IDLE_S", 0.3)
    directory = tmp_path / "broker"
    directory.mkdir()
    async with broker(server, directory) as url, Publisher(journal, url, "clinic", "p1") as sender:
        with Store.open(f"sqlite:///{tmp_path}/a.sqlite") as a, Store.open(f"sqlite:///{tmp_path}/b.sqlite") as b:
            async with recording(a, url):
                async with recording(b, url):
                    post(journal, 50)
                    await until(lambda: set(sender._place._recorders) == {a.name, b.name}, "both")
                    assert await sender.drained(TIMEOUT_S)
                post(journal, 300)
                post(journal, 20, "s2")
                await until(lambda: len(stored(a)) == 350, "the first")
                assert not await sender.drained(0.2), "the second does not have them"
                async with recording(b, url):
                    assert await sender.drained(TIMEOUT_S)
            for each in (a, b):
                assert stored(each) == list(range(1, 351))
                assert [(one.records, one.stored) for one in each.sessions()] == [(350, 350), (20, 20)]


async def test_a_recorder_that_is_gone_for_good_is_dismissed(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "IDLE_S", 0.5)
    monkeypatch.setattr(words, "QUIET_S", 0.5)
    async with EmbeddedBroker() as broker, Publisher(journal, broker.url, "clinic", "p1") as sender:
        url = BrokerUrl.parse(broker.url)
        with Store.open(f"sqlite:///{tmp_path}/a.sqlite") as a, Store.open(f"sqlite:///{tmp_path}/b.sqlite") as b:
            async with recording(a, url):
                async with recording(b, url):
                    post(journal, 5)
                    await until(lambda: set(sender._place._recorders) == {a.name, b.name}, "both")
                    assert await sender.drained(TIMEOUT_S)
                post(journal, 5)
                await until(lambda: len(stored(a)) == 10)
                assert {topic.recorder: seq for topic, seq in (await words.known(url)).items()} == {
                    a.name: 10,
                    b.name: 5,
                }
                assert sender.status.backlog == 5
                await words.dismiss(url, b.name)
                assert await sender.drained(TIMEOUT_S)
                assert sender.status.backlog == 0
                assert {topic.recorder for topic in await words.known(url)} == {a.name}
                with pytest.raises(ValueError, match="knows none of that name"):
                    await words.dismiss(url, b.name)
                async with recording(b, url):  # it was not gone after all
                    post(journal, 1)
                    await until(lambda: stored(b) == list(range(1, 12)), "what the dismissed one lacked")


async def test_words_of_strangers_are_no_recorders() -> None:
    async with EmbeddedBroker() as broker:
        url = BrokerUrl.parse(broker.url)
        await say(url, ("ack/v1/clinic/p1/s1/r1", b"many"), ("ack/v1/clinic/p1/s.1/r1", b"1"), retain=True)
        assert await words.known(url) == {}
        with pytest.raises(ValueError, match="letters"):
            await words.dismiss(url, "#")
    with pytest.raises(ConnectionError, match="no broker at"):
        await words.known(broker.url)


async def test_nats_cannot_share_and_says_so(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker:
        with (
            Store.open(f"sqlite:///{tmp_path}/a.sqlite") as a,
            pytest.raises(AccessError, match="does not speak MQTT 5"),
        ):
            await asyncio.wait_for(record(a, broker.url, Tally(), group="clinic"), TIMEOUT_S)


@contextlib.asynccontextmanager
async def _process(url: BrokerUrl, db: str, said: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `pen recorder` with sessions that a broker keeps for one second only; it records when this yields."""
    command = [sys.executable, "-c", f"{SHORT_SESSIONS}; {RECORDER}", "--db", db, "--broker", str(url), "--json"]
    with said.open("w") as out:
        running = await asyncio.create_subprocess_exec(*command, *options, stdout=out, stderr=out)
    try:
        await until(lambda: '"connected": true' in said.read_text(), "the recorder")
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


def _came_to(said: Path) -> int:
    figures = json.loads(said.read_text().splitlines()[-1])
    count: int = figures["stored"] + figures["repeated"]
    return count


@pytest.mark.parametrize("named", [True, False], ids=["kept-sessions", "no-sessions"])
async def test_one_of_two_that_share_a_database_is_killed_and_never_comes_back(
    tmp_path: Path, cluster: Cluster, journal: Journal, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    monkeypatch.setattr(acks, "IDLE_S", 0.5)
    db = cluster.database()
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(mosquitto(tmp_path))
        first, _ = [
            await stack.enter_async_context(
                _process(url, db, tmp_path / name, "--share", "clinic", *(["--name", name] if named else []))
            )
            for name in ("first", "second")
        ]
        sender = await stack.enter_async_context(Publisher(journal, url, "clinic", "p1"))
        post(journal, 1000)
        assert await sender.drained(TIMEOUT_S)
        await until(lambda: 0 < _came_to(tmp_path / "first") < 1000, "some to come to the first, and not all")
        post(journal, 2000, "s2")
        with Store.open(db, create=False) as store:
            await until(lambda: any(one.session == "s2" for one in store.sessions()), "some of the second session")
            first.kill()
            post(journal, 500, "s3")
            assert await sender.drained(TIMEOUT_S)
            assert [(one.session, one.records, one.stored, one.gaps) for one in store.sessions()] == [
                ("s1", 1000, 1000, []),
                ("s2", 2000, 2000, []),
                ("s3", 500, 500, []),
            ]
