"""What each role may read and write at the shipped brokers, and who is let in at all."""

import asyncio
import contextlib
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiomqtt
import pytest

from pen_controller.journal import Journal
from pen_controller.recorder.recorder import Tally, record
from pen_controller.recorder.store import Store
from pen_controller.telemetry import mqtt
from pen_controller.telemetry.mqtt import AccessError, BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from pen_controller.telemetry.watch import messages
from tests.brokers import until
from tests.shipped_brokers import AUDITOR, OTHER, PASSWORD, SITE, Shipped, certificates, shipped

HOSTILE = {"+": "plus", "#": "hash", f"{SITE}/p1": "below", f"{SITE}\n": "line", "*": "star", ">": "rest"}
"""Names that a careless CA could sign, and a careless broker could put into a topic; and of their files."""

PENS = [f"pen/v1/{SITE}/p1/{rest}" for rest in ("status", "meta", "state", "live", "pass/s1", "event/s1", "summary/s1")]
RECORDS = [topic for topic in PENS if topic.endswith("/s1")]
ACK, OTHERS_ACK = f"ack/v1/{SITE}/p1/s1/r1", f"ack/v1/{OTHER}/p1/s1/r1"
OTHERS = [f"pen/v1/{OTHER}/p1/status", f"pen/v1/{OTHER}/p1/state", f"pen/v1/{OTHER}/p1/pass/s1"]
STRANGE = [f"pen/v1/{SITE}", f"pen/v2/{SITE}/p1/state", "homeassistant/device/p1/config", "cmd/v1/demo-clinic/p1", "x"]
TOPICS = [*PENS, *OTHERS, ACK, OTHERS_ACK, *STRANGE]

MAY_WRITE = {
    SITE: set(PENS) | {f"pen/v1/{SITE}"},  # which is no topic of ours, and no other site's
    OTHER: set(OTHERS),
    "recorder": {ACK, OTHERS_ACK},
    "viewer": set(),
}
MAY_READ = {
    SITE: {PENS[0], ACK},
    OTHER: {OTHERS[0], OTHERS_ACK},
    "recorder": {*RECORDS, OTHERS[2], ACK, OTHERS_ACK},
    "viewer": {*PENS, *OTHERS, f"pen/v1/{SITE}"},
}
NATS_DIFFERS = {f"pen/v1/{SITE}"}  # `pen.v1.demo-clinic.>` is what lies below


@pytest.fixture(scope="module", params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    folder = tmp_path_factory.mktemp(request.param)
    certificates(folder, HOSTILE)
    with shipped(request.param, folder) as running:
        yield running


of_mosquitto = pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
of_nats = pytest.mark.parametrize("broker", ["nats"], indirect=True)


class Heard:
    """What a subscriber has got: topic and payload."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.messages: list[tuple[str, bytes]] = []

    async def listen(self) -> None:
        async for message in self._client.messages:
            self.messages.append((str(message.topic), bytes(message.payload)))

    def topics(self, payload: bytes) -> set[str]:
        return {topic for topic, heard in self.messages if heard == payload}


@contextlib.asynccontextmanager
async def listening(url: BrokerUrl, *filters: str) -> AsyncIterator[tuple[Heard, set[str]]]:
    """Subscribe; yield what comes, and which filters were granted."""
    async with mqtt.client(url) as client:
        granted = set()
        for topic in filters:
            (code,) = await client.subscribe(topic, qos=1)
            if getattr(code, "value", code) < mqtt.REFUSED:
                granted.add(topic)
        heard = Heard(client)
        task = asyncio.create_task(heard.listen())
        try:
            yield heard, granted
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def new() -> bytes:
    return uuid.uuid4().hex.encode()


@pytest.mark.parametrize("user", MAY_WRITE)
async def test_a_user_writes_what_they_may_and_nothing_else(broker: Shipped, user: str) -> None:
    """Also retained: what a stranger said is not there for those who come later."""
    word, end = new(), new()
    async with listening(broker.to(AUDITOR), "#") as (heard, _), mqtt.client(broker.to(user)) as client:
        for topic in TOPICS:
            await client.publish(topic, word, qos=1, retain=True)
        async with mqtt.client(broker.to(AUDITOR)) as last:
            await last.publish("end", end, qos=1, retain=True)
        await until(lambda: heard.topics(end))
    expected = MAY_WRITE[user] - (NATS_DIFFERS if broker.name == "nats" else set())
    assert heard.topics(word) == expected
    async with listening(broker.to(AUDITOR), "#") as (retained, _):
        await until(lambda: retained.topics(end) and expected <= retained.topics(word))
        assert retained.topics(word) == expected


@pytest.mark.parametrize("wildcard", [False, True])
@pytest.mark.parametrize("user", MAY_READ)
async def test_a_user_reads_what_they_may_and_nothing_else(broker: Shipped, user: str, *, wildcard: bool) -> None:
    """Mosquitto lets subscribe to anything, and sends in order; NATS refuses to let subscribe."""
    filters = ["#", "$share/g/#", "$SYS/#", "$MQTT/#", "$JS/#"] if wildcard else TOPICS
    first, second = new(), new()
    async with listening(broker.to(user), *filters) as (heard, granted), mqtt.client(broker.to(AUDITOR)) as auditor:
        for word in (first, second):
            for topic in TOPICS:
                await auditor.publish(topic, word, qos=1)
        if broker.name == "nats":
            assert granted == (set() if wildcard else MAY_READ[user])
        expected = granted if broker.name == "nats" else MAY_READ[user]
        await until(lambda: heard.topics(second) >= expected)
    assert heard.topics(first) == expected
    assert {topic for topic, _ in heard.messages} <= MAY_READ[user]  # retained by the tests before this one


@of_mosquitto
@pytest.mark.parametrize("port", [8884, 1883])
async def test_who_comes_with_a_password_has_no_more_than_their_role(broker: Shipped, port: int) -> None:
    async with mqtt.client(broker.by_password("viewer", port=port)) as client:
        await _reads_and_writes_nothing(broker, client)


async def test_a_web_page_reads_and_writes_nothing(broker: Shipped) -> None:
    async with web_page(broker, known=True) as client:
        await _reads_and_writes_nothing(broker, client)
    await asyncio.sleep(0)  # its own task ends one turn later


@of_mosquitto
async def test_a_web_page_without_a_password_is_refused(broker: Shipped) -> None:
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with web_page(broker, known=False):
            pass
    await asyncio.sleep(0)


@of_nats
async def test_a_web_page_without_a_certificate_is_refused(broker: Shipped) -> None:
    tls = broker.to(None).credentials.tls_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.ports[9001], ssl=tls)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 20)
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()


def web_page(broker: Shipped, *, known: bool) -> aiomqtt.Client:
    """A client that speaks WebSocket, as the dashboard does: with a password to Mosquitto, a certificate to NATS."""
    by_password = known and broker.name == "mosquitto"
    return aiomqtt.Client(
        "127.0.0.1",
        broker.ports[9001],
        username="viewer" if by_password else None,
        password=PASSWORD if by_password else None,
        transport="websockets",
        websocket_path="/mqtt",
        websocket_headers={"Origin": "http://127.0.0.1:8420"},
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=broker.to("viewer" if known and not by_password else None).credentials.tls_context(),
        timeout=2,
    )


async def _reads_and_writes_nothing(broker: Shipped, client: aiomqtt.Client) -> None:
    """Check that a client hears of a pen, and that nobody hears what it says."""
    word, end = new(), new()
    seen = Heard(client)
    await client.subscribe("pen/v1/#", qos=1)
    reading = asyncio.create_task(seen.listen())
    async with listening(broker.to(AUDITOR), "#") as (heard, _), mqtt.client(broker.to(AUDITOR)) as auditor:
        for topic in TOPICS:
            await client.publish(topic, word, qos=1)
            await auditor.publish(topic, end, qos=1)
        await until(lambda: heard.topics(end) == set(TOPICS))
        await until(lambda: seen.topics(end) == MAY_READ["viewer"])
    assert not heard.topics(word)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("topic", [OTHERS[0], "x"])
async def test_a_last_will_goes_where_its_owner_may_write_and_nowhere_else(broker: Shipped, topic: str) -> None:
    word = new()
    async with listening(broker.to(AUDITOR), "#") as (heard, _):
        for wish in (topic, PENS[0]):
            with contextlib.suppress(aiomqtt.MqttError, AccessError):  # such a will may be refused at once
                async with mqtt.client(broker.to(SITE), will=(wish, word)) as client:
                    line = client._client.socket()
                    assert isinstance(line, socket.socket)
                    line.shutdown(socket.SHUT_RDWR)
        await until(lambda: PENS[0] in heard.topics(word))
    assert heard.topics(word) == {PENS[0]}


async def test_another_sites_client_of_the_same_name_gets_nothing_that_was_kept(broker: Shipped) -> None:
    """It costs whom it pushes off what was kept; pens send it again."""
    word, end = new(), new()
    async with mqtt.client(broker.to("recorder"), identifier="r1", keep_session=True) as client:
        await client.subscribe(f"pen/v1/{SITE}/+/pass/+", qos=1)
    async with mqtt.client(broker.to(SITE)) as pen:
        await pen.publish(f"pen/v1/{SITE}/p1/pass/s1", word, qos=1)
    async with mqtt.client(broker.to(OTHER), identifier="r1", keep_session=True) as thief:
        heard = Heard(thief)
        listens = asyncio.create_task(heard.listen())
        await thief.subscribe(OTHERS_ACK, qos=1)
        async with mqtt.client(broker.to("recorder")) as recorder, mqtt.client(broker.to(SITE)) as pen:
            await pen.publish(f"pen/v1/{SITE}/p1/pass/s1", word, qos=1)
            await recorder.publish(OTHERS_ACK, end, qos=1)
        await until(lambda: heard.topics(end))
        assert not heard.topics(word)
        listens.cancel()
        await asyncio.gather(listens, return_exceptions=True)


async def test_a_recorder_that_is_away_gets_what_was_kept(broker: Shipped) -> None:
    word = new()
    for _ in range(2):
        async with mqtt.client(broker.to("recorder"), identifier="r2", keep_session=True) as client:
            await client.subscribe(f"pen/v1/{SITE}/+/pass/+", qos=1)
    async with mqtt.client(broker.to(SITE)) as pen:
        await pen.publish(f"pen/v1/{SITE}/p1/pass/s1", word, qos=1)
    async with mqtt.client(broker.to("recorder"), identifier="r2", keep_session=True) as client:
        async with asyncio.timeout(20):
            while bytes((await anext(aiter(client.messages))).payload) != word:
                pass  # retained by the tests before this one


async def test_with_these_rights_records_are_published_stored_and_acknowledged(broker: Shipped, tmp_path: Path) -> None:
    """What a site, a recorder and a viewer need is allowed: all of it."""
    session = new().decode()
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(f"sqlite:///{tmp_path}/telemetry.sqlite", create=True))
        journal = await stack.enter_async_context(Journal.open(tmp_path / "journal.sqlite"))
        tally = Tally()
        seen: list[str] = []

        async def watch() -> None:
            async for topic, _ in messages(broker.to("viewer"), site=SITE):
                seen.append(str(topic))

        tasks = [asyncio.create_task(record(store, broker.to("recorder"), tally)), asyncio.create_task(watch())]
        try:
            await until(lambda: tally.connected or tasks[0].done(), "the recorder")
            async with Publisher(journal, broker.to(SITE), SITE, "p9") as publisher:
                for number in range(3):
                    await journal.append(session, "tick", {"number": number}, pen="p9")
                await until(lambda: publisher.status.follows == "recorder", "the recorder's word")
                assert await publisher.drained(20)
                await until(lambda: f"pen/v1/{SITE}/p9/status" in seen, "the viewer")
            assert tally.stored == 3
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("who", [None, "forged", "expired"])
async def test_without_a_certificate_of_the_clinics_ca_nobody_is_let_in(
    broker: Shipped, who: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 1.0)
    with pytest.raises((AccessError, aiomqtt.MqttError)):
        async with mqtt.client(broker.to(who)):
            pass


@pytest.mark.hazard("H21")
@pytest.mark.parametrize("who", ["nobody", *HOSTILE.values()])
async def test_whom_nobody_has_named_may_do_nothing(broker: Shipped, who: str) -> None:
    word, end = new(), new()
    async with listening(broker.to(AUDITOR), "#") as (heard, _):
        with contextlib.suppress(AccessError):  # NATS does not even let them in
            async with listening(broker.to(who), "#", *TOPICS) as (seen, _):
                async with mqtt.client(broker.to(who)) as client, mqtt.client(broker.to(AUDITOR)) as auditor:
                    for topic in TOPICS:
                        await client.publish(topic, word, qos=1)
                        await auditor.publish(topic, end, qos=1)
                await until(lambda: heard.topics(end) == set(TOPICS))
                assert not seen.messages
        assert not heard.topics(word)
