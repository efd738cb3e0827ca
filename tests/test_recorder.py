"""The recorder against real brokers: nothing is acknowledged that is not stored, nothing is lost on the way."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from pen_controller.journal import Journal
from pen_controller.recorder import StoreError, recorder
from pen_controller.recorder.recorder import Tally, parse_record, record
from pen_controller.recorder.store import Committed, Key, Row, Store
from pen_controller.telemetry import acks, publisher
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.mqtt import AccessError, BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from tests.brokers import broker, free_port, kill_embedded, subscriber, until
from tests.postgres import Cluster

TIMEOUT_S = 30.0
KEY = Key("clinic", "p1", "s1")
TOPIC = "pen/v1/clinic/p1/event/s1"


@pytest.fixture(params=["nats", "mosquitto"])
def server(request: pytest.FixtureRequest) -> str:
    """What stands beside the pen: one laptop with NATS and SQLite in it, or Mosquitto and PostgreSQL of a clinic."""
    name: str = request.param
    return name


@pytest.fixture
async def url(server: str, tmp_path: Path) -> AsyncIterator[BrokerUrl]:
    directory = tmp_path / "broker"
    directory.mkdir()
    async with broker(server, directory) as running:
        yield running


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'telemetry.sqlite'}") as opened:
        yield opened


@pytest.fixture
def store(server: str, request: pytest.FixtureRequest) -> Iterator[Store]:
    if server == "nats":
        yield request.getfixturevalue("in_file")
    else:
        running: Cluster = request.getfixturevalue("cluster")
        with Store.open(running.database()) as opened:
            yield opened


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(tmp_path / "journal.sqlite") as opened:
        yield opened


@contextlib.asynccontextmanager
async def recording(store: Store, url: BrokerUrl, **how: Any) -> AsyncIterator[Tally]:
    """Run a recorder, subscribed when this yields."""
    tally = Tally()
    task = asyncio.create_task(record(store, url, tally, **how))
    try:
        await until(lambda: tally.connected or task.done(), "the recorder")
        yield tally
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def event(seq: int | None, **changes: Any) -> bytes:
    body = {"schema": 1, "pen": "p1", "session": "s1", "seq": seq, "wall": "w", "kind": "x", "body": {}}
    return json.dumps(body | changes).encode()


async def say(url: BrokerUrl, *messages: tuple[str, bytes], retain: bool = False) -> None:
    async with aiomqtt.Client(url.host, url.port) as client:
        for topic, payload in messages:
            await client.publish(topic, payload, qos=1, retain=retain)


def post(journal: Journal, count: int, session: str = "s1") -> None:
    for number in range(count):
        journal.post(session, "tick", {"number": number}, pen="p1")


def stored(store: Store, key: Key = KEY) -> list[int]:
    return [row.seq for row in store.records(key)]


def words(received: Any, topic: str = f"ack/v1/{'/'.join(KEY)}") -> list[Any]:
    """Return what recorders have said of a session."""
    return [payload for heard, payload, _ in received.messages if heard.startswith(f"{topic}/")]


async def test_records_are_stored_and_the_publisher_follows_the_recorder(
    url: BrokerUrl, store: Store, journal: Journal
) -> None:
    async with recording(store, url) as tally, Publisher(journal, url, "clinic", "p1") as sender:
        post(journal, 300)
        post(journal, 20, "s2")
        await until(lambda: sender.status.follows == "recorder")
        assert await sender.drained(TIMEOUT_S)
        assert (sender.status.backlog, sender.status.ignored_acks) == (0, 0)
        assert stored(store) == list(range(1, 301))
        assert stored(store, KEY._replace(session="s2")) == list(range(1, 21))
        assert (tally.stored, tally.refused, tally.behind) == (320, 0, {})


async def test_a_gap_is_asked_for_until_it_is_filled(url: BrokerUrl, store: Store) -> None:
    async with subscriber(url, "ack/v1/#") as received, recording(store, url) as tally:
        await say(url, *((TOPIC, event(seq)) for seq in (1, 2, 4)))
        await until(lambda: tally.stored == 3)
        assert tally.behind == {KEY: 2}
        await say(url, (TOPIC, event(3)))
        await until(lambda: words(received)[-1:] == [4])
        assert tally.behind == {}
    assert words(received) == sorted(words(received))
    async with subscriber(url, "ack/v1/#") as late:
        await until(lambda: late.messages)
    assert [retained for _, _, retained in late.messages] == [True]
    assert words(late) == [4]


async def test_what_was_lost_before_a_recorder_came_is_sent_again(
    url: BrokerUrl, store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "IDLE_S", 0.3)
    post(journal, 50)
    async with Publisher(journal, url, "clinic", "p1") as sender:
        assert await sender.drained(TIMEOUT_S)
        assert sender.status.follows == "broker"
        async with recording(store, url):
            post(journal, 1)
            await until(lambda: stored(store) == list(range(1, 52)))
            await until(lambda: sender.status.backlog == 0)


async def test_a_recorder_that_drops_records_gets_them_when_the_time_is_up(
    url: BrokerUrl, store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "IDLE_S", 0.3)
    dropped = iter(range(10))
    real = recorder._row
    monkeypatch.setattr(recorder, "_row", lambda *args: None if next(dropped, None) is not None else real(*args))
    async with recording(store, url), Publisher(journal, url, "clinic", "p1") as sender:
        post(journal, 30)
        await until(lambda: sender.status.follows == "recorder")
        assert await sender.drained(TIMEOUT_S)
    assert stored(store) == list(range(1, 31))


async def test_a_recorder_that_was_away_gets_what_it_missed(
    url: BrokerUrl, store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "IDLE_S", 0.3)
    async with Publisher(journal, url, "clinic", "p1") as sender:
        async with recording(store, url):
            post(journal, 5)
            await until(lambda: sender.status.follows == "recorder")
            assert await sender.drained(TIMEOUT_S)
        post(journal, 50)
        assert not await sender.drained(0.2), "the broker's word no longer counts"
        async with recording(store, url):
            assert await sender.drained(TIMEOUT_S)
    assert stored(store) == list(range(1, 56))


async def test_a_killed_broker_costs_no_record_even_if_it_forgets_everything(
    tmp_path: Path, in_file: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL, and an empty store: sessions, queues and retained messages are gone."""
    monkeypatch.setattr(acks, "IDLE_S", 0.5)
    port = free_port()
    url = BrokerUrl("127.0.0.1", port)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(EmbeddedBroker(tmp_path / "first", port=port))
        tally = await stack.enter_async_context(recording(in_file, url))
        sender = await stack.enter_async_context(Publisher(journal, url, "clinic", "p1"))
        post(journal, 2000)
        await until(lambda: tally.stored > 300)
        kill_embedded(tmp_path / "first")
        await until(lambda: not sender.status.connected and not tally.connected)
        assert sender.status.backlog > 0
        await stack.enter_async_context(EmbeddedBroker(tmp_path / "second", port=port))
        assert await sender.drained(60.0)
    assert stored(in_file) == list(range(1, 2001))


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (TOPIC, b"\xff\xfe"),
        (TOPIC, b"{"),
        (TOPIC, b"[" * 100_000),
        (TOPIC, event(1, pen="p2")),
        (TOPIC, event(1, session="s2")),
        (TOPIC, event(0)),
        (TOPIC, event(2**63)),
        (TOPIC, event(None)),
        (TOPIC, event(1, schema=2)),
        (TOPIC, event(1, kind=None)),
        (TOPIC, event(1, body={"x": "y" * recorder.MAX_PAYLOAD_BYTES})),
        ("pen/v1/clinic/p1/event/s1.x", event(1)),
        ("pen/v1/clinic/../event/s1", event(1, pen="..")),
        ("pen/v1/clinic//event/s1", event(1, pen="")),
        ("pen/v1/clinic/p1/live", event(1)),
        ("ack/v1/clinic/p1/s1/r1", b"1"),
    ],
)
def test_what_is_no_record_is_refused(topic: str, payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"topic|clinic|letters"):
        parse_record(topic, payload)


async def test_hostile_messages_are_counted_and_cost_nothing_else(url: BrokerUrl, store: Store) -> None:
    hostile = [
        (TOPIC, b"{"),
        ("pen/v1/clinic/p\u202e/event/s1", event(1)),
        ("pen/v1/cli..nic/p1/pass/s1", event(1)),
        ("pen/v1/clinic/p1/summary/s1", event(1)),
        ("pen/v1/clinic/p1/summary/s1", event(1, areas=[], totals={"\x1b[2J\nforged line": "x"})),
    ]
    async with subscriber(url, "ack/v1/#") as received, recording(store, url) as tally:
        await say(url, *hostile)
        await until(lambda: tally.refused == len(hostile))
        assert "forged line" in tally.last_refused
        assert tally.last_refused.isprintable()
        assert (stored(store), received.messages) == ([], [])
        await say(url, (TOPIC, event(1)))
        await until(lambda: words(received) == [1])
    assert stored(store) == [1]


async def test_one_site_can_be_recorded_alone(url: BrokerUrl, store: Store) -> None:
    async with recording(store, url, site="clinic") as tally:
        await say(url, ("pen/v1/other/p1/event/s1", event(1)), (TOPIC, event(1)))
        await until(lambda: tally.stored)
    assert [one.site for one in store.sessions()] == ["clinic"]


async def test_with_a_name_the_broker_keeps_records_meanwhile(url: BrokerUrl, store: Store) -> None:
    async with recording(store, url, name="recorder-1"):
        pass
    await say(url, (TOPIC, event(1)))
    async with recording(store, url, name="recorder-1") as tally:
        await until(lambda: tally.stored == 1)


async def test_a_database_that_fails_ends_it_with_nothing_acknowledged(url: BrokerUrl, in_file: Store) -> None:
    tally = Tally()
    async with subscriber(url, "ack/v1/#") as received:
        task = asyncio.create_task(record(in_file, url, tally))
        await until(lambda: tally.connected)
        await say(url, (TOPIC, event(1)))
        await until(lambda: words(received) == [1])
        with in_file._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        await say(url, (TOPIC, event(2)))
        with pytest.raises(StoreError, match="read-only"):
            await task
        await say(url, ("ack/v1/clinic/p1/end/x", b"0"))
        await until(lambda: words(received, "ack/v1/clinic/p1/end"))
    assert words(received) == [1]
    assert tally.stored == 1


async def test_on_connecting_it_says_what_is_lacking(url: BrokerUrl, store: Store) -> None:
    """For a broker that has forgotten the retained words, and publishers that have nothing new to say."""
    store.commit([Row(KEY, seq, "event", event(seq).decode()) for seq in (1, 3)])
    async with subscriber(url, "ack/v1/#") as received, recording(store, url):
        await until(lambda: words(received) == [1])


async def test_leaving_waits_for_the_commit_under_way(
    url: BrokerUrl, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing, go_on = threading.Event(), threading.Event()
    real: Callable[[list[Row]], Committed] = store.commit

    def slow(rows: list[Row]) -> Committed:
        committing.set()
        assert go_on.wait(TIMEOUT_S)
        return real(rows)

    monkeypatch.setattr(store, "commit", slow)
    task = asyncio.create_task(record(store, url, tally := Tally()))
    await until(lambda: tally.connected)
    await say(url, (TOPIC, event(1)))
    await until(committing.is_set)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(store) == [1]


@contextlib.asynccontextmanager
async def fake_broker(*, granted: int, acknowledges: int) -> AsyncIterator[BrokerUrl]:
    """Answer with this code to subscriptions, and acknowledge so many messages of each connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = acknowledges
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, length, shift = (await reader.readexactly(1))[0] >> 4, 0, 0
                while True:
                    (byte,) = await reader.readexactly(1)
                    length, shift = length | (byte & 0x7F) << shift, shift + 7
                    if byte < 0x80:
                        break
                packet = await reader.readexactly(length)
                if kind == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind == 8:
                    writer.write(b"\x90\x03" + packet[:2] + bytes([granted]))
                elif kind == 3 and left:
                    left -= 1
                    named = 2 + int.from_bytes(packet[:2])
                    writer.write(b"\x40\x02" + packet[named : named + 2])

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield BrokerUrl("127.0.0.1", server.sockets[0].getsockname()[1])


async def test_a_broker_that_does_not_let_us_read_is_an_error_and_not_silence(in_file: Store) -> None:
    """Mosquitto grants what it then does not send; NATS and others refuse, as this one does, with code 0x80."""
    async with fake_broker(granted=0x80, acknowledges=0) as url:
        with pytest.raises(AccessError, match="does not let us read"):
            await asyncio.wait_for(record(in_file, url, Tally()), 20)


async def test_a_broker_that_no_longer_acknowledges_is_left(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "ACK_TIMEOUT_S", 0.2)
    async with fake_broker(granted=1, acknowledges=3) as url, Publisher(journal, url, "clinic", "p1") as sender:
        post(journal, 5)
        await until(lambda: "acknowledged nothing" in str(sender.status.last_error))
        await until(lambda: sender.status.backlog <= 1)  # it goes on where it was
        assert sender.status.follows == "broker"


async def test_no_broker_is_waited_for(tmp_path: Path, in_file: Store) -> None:
    port = free_port()
    url = BrokerUrl("127.0.0.1", port)
    tally = Tally()
    task = asyncio.create_task(record(in_file, url, tally))
    await until(lambda: str(port) in tally.trouble)
    async with EmbeddedBroker(tmp_path / "broker", port=port):
        await until(lambda: tally.connected)
        await say(url, (TOPIC, event(1)))
        await until(lambda: tally.stored)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
