"""The publisher against real brokers: nothing is lost, nobody is kept waiting."""

import asyncio
import contextlib
import socket
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import aiomqtt
import pytest

from pen_controller.journal import Journal
from pen_controller.telemetry import mqtt, publisher
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.messages import LivePayload, StatePayload, StatusPayload, encode
from pen_controller.telemetry.mqtt import BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from tests.brokers import broker, free_port, kill_embedded, subscriber, until
from tests.safety_case.figures import measured

PASS = {
    "area": "cheek", "pass_index": 1, "strokes": 900, "punctures": 10800, "density_per_cm2": 812.5,
    "deepest_um": 990, "duration_s": 9.5, "coverage": {"low": 0.82, "high": 1.0}, "family": "straight",
    "direction_deg": 91.5, "how": "area equivalent across lifts",
}  # fmt: skip
TIMEOUT_S = 30.0


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(tmp_path / "journal.db") as opened:
        yield opened


@pytest.fixture(params=["nats", "mosquitto"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BrokerUrl]:
    directory = tmp_path / "broker"
    directory.mkdir()
    async with broker(request.param, directory) as running:
        yield running


def post(journal: Journal, count: int, session: str = "s1", pen: str = "p1") -> None:
    for number in range(count):
        journal.post(session, "tick", {"number": number}, pen=pen)


def live(depth_um: int) -> LivePayload:
    return LivePayload(
        pen="p1", session="s1", area="cheek", depth_um=depth_um, rate_dhz=900, force_mn=700, passes=1,
        coverage=None, punctures=5, density_per_cm2=1.5, battery_pct=90, advice=None, how={},
    )  # fmt: skip


async def test_records_arrive_in_order_on_the_topic_of_their_kind(url: BrokerUrl, journal: Journal) -> None:
    await journal.append("s1", "before", {}, pen="p1")
    async with subscriber(url) as received, Publisher(journal, url, "clinic", "p1") as sender:
        await journal.append("s1", "private", {}, pen="p1", topic=None)
        await journal.append("s1", "pass", PASS, pen="p1", pen_t_us=5, topic="pass")
        await journal.append("s1", "summary", {"areas": [], "totals": {"passes": 1}}, pen="p1", topic="summary")
        await journal.append("s9", "alien", {}, pen="p9")
        post(journal, 200)
        assert await sender.drained(TIMEOUT_S)
        assert sender.status == publisher.PublisherStatus(True, None, 0)
        await until(lambda: len(received.sequences("s1")) == 203)
    assert received.sequences("s1") == list(range(1, 204))
    assert {payload["pen"] for _, payload, _ in received.messages} == {"p1"}
    topics = [topic for topic, payload, _ in received.messages if payload["seq"] in (1, 2, 3)]
    assert topics == [f"pen/v1/clinic/p1/{kind}/s1" for kind in ("event", "pass", "summary")]
    assert received.on("pass")[0] | {"wall": ""} == PASS | {
        "schema": 1, "pen": "p1", "session": "s1", "seq": 2, "pen_t_us": 5, "wall": "", "valid": True,
    }  # fmt: skip


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_mosquitto_is_spoken_to_in_both_versions(
    tmp_path: Path, journal: Journal, version: Literal["3.1.1", "5"]
) -> None:
    async with broker("mosquitto", tmp_path) as url, subscriber(url) as received:
        async with Publisher(journal, replace(url, version=version), "clinic", "p1") as sender:
            post(journal, 3)
            assert await sender.drained(TIMEOUT_S)
        await until(lambda: received.sequences("s1") == [1, 2, 3])


async def test_status_meta_and_state_are_retained(url: BrokerUrl, journal: Journal) -> None:
    # Who subscribes while NATS takes a retained message in may get it neither live nor as retained.
    async with subscriber(url) as received, Publisher(journal, url, "clinic", "p1") as sender:
        sender.state(StatePayload(pen="p1", state="armed", area="cheek"))
        await until(lambda: received.on("state"))
        sender.state(StatePayload(pen="p1", state="running", area="cheek"))
        await until(lambda: received.on("state")[-1]["state"] == "running")
        await until(lambda: received.on("status") and received.on("status")[-1]["status"] == "online")
    async with subscriber(url, "pen/v1/clinic/p1/+") as late:
        await until(lambda: late.on("state"))
        await until(lambda: late.on("status") and late.on("status")[-1]["status"] == "offline")
    assert late.on("state")[-1]["state"] == "running"
    assert late.on("status")[-1]["reason"] == "closed"
    assert {topic.split("/")[4]: retained for topic, _, retained in late.messages} == {"state": True, "status": True}


async def test_a_second_run_goes_on_where_the_first_ended(url: BrokerUrl, journal: Journal) -> None:
    async with subscriber(url) as received:
        for expected in ([1, 2, 3], [1, 2, 3, 4, 5, 6]):
            post(journal, 3)
            async with Publisher(journal, url, "clinic", "p1") as sender:
                assert await sender.drained(TIMEOUT_S)
            await until(lambda: len(received.sequences("s1")) >= len(expected))  # noqa: B023 - awaited at once
            assert received.sequences("s1") == expected


async def test_live_values_are_the_latest_and_never_more_than_ten_a_second(url: BrokerUrl, journal: Journal) -> None:
    async with subscriber(url) as received, Publisher(journal, url, "clinic", "p1") as sender:
        await until(lambda: sender.status.connected)
        began_s = time.monotonic()
        for depth_um in range(400):
            sender.live(live(depth_um))
            await asyncio.sleep(0.001)
        await until(lambda: received.on("live") and received.on("live")[-1]["depth_um"] == 399)
        took_s = time.monotonic() - began_s
    depths = [payload["depth_um"] for payload in received.on("live")]
    assert depths == sorted(set(depths))
    assert 2 <= len(depths) <= took_s / publisher.TICK_S + 2


@pytest.mark.hazard("H17", "H18")
async def test_a_killed_broker_costs_no_record(tmp_path: Path, journal: Journal) -> None:
    """SIGKILL in the middle of publishing, twice; the store is kept, the port is the same."""
    store, port = tmp_path / "store", free_port()
    url = BrokerUrl("127.0.0.1", port)
    total = 3000
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(EmbeddedBroker(store, port=port))
        received = await stack.enter_async_context(subscriber(url))
        sender = await stack.enter_async_context(Publisher(journal, url, "clinic", "p1"))
        post(journal, total)
        for part in (1, 2):
            await until(lambda: len(received.messages) > part * total // 4)  # noqa: B023 - awaited at once
            kill_embedded(store)
            await until(lambda: not sender.status.connected)
            assert sender.status.backlog > 0
            await stack.enter_async_context(EmbeddedBroker(store, port=port))
        assert await sender.drained(60.0)
        await until(lambda: len(set(received.sequences("s1"))) == total)
    measured("lost", total - len(set(received.sequences("s1"))), of=total)
    assert set(received.sequences("s1")) == set(range(1, total + 1))


async def test_leaving_in_the_middle_repeats_records_at_most(tmp_path: Path, url: BrokerUrl) -> None:
    path = tmp_path / "journal.db"
    async with subscriber(url) as received:
        for _ in range(4):
            async with Journal.open(path) as journal, Publisher(journal, url, "clinic", "p1"):
                post(journal, 150)
                before = len(received.messages)
                await until(lambda: len(received.messages) > before + 20)  # noqa: B023 - awaited at once
        async with Journal.open(path) as journal, Publisher(journal, url, "clinic", "p1") as sender:
            assert await sender.drained(TIMEOUT_S)
        await until(lambda: len(set(received.sequences("s1"))) == 600)
    first_seen = list(dict.fromkeys(received.sequences("s1")))
    assert first_seen == list(range(1, 601))


@pytest.mark.hazard("H18")
async def test_a_broker_that_is_down_changes_nothing_for_the_callers(journal: Journal) -> None:
    async with Publisher(journal, f"mqtt://127.0.0.1:{free_port()}", "clinic", "p1") as sender:
        sender.live(live(1))
        sender.state(StatePayload(pen="p1", state="idle"))
        post(journal, 10)
        assert not await sender.drained(0.05)
        await until(lambda: sender.status.last_error)
        status = sender.status
        assert (status.connected, status.backlog) == (False, 10)
        assert "127.0.0.1" in str(status.last_error)


@pytest.mark.hazard("H18")
async def test_it_connects_when_the_broker_comes_up_later(tmp_path: Path, journal: Journal) -> None:
    port = free_port()
    async with Publisher(journal, BrokerUrl("127.0.0.1", port), "clinic", "p1") as sender:
        post(journal, 10)
        await until(lambda: sender.status.last_error)
        sender.live(live(1))  # old news by the time there is a broker
        async with EmbeddedBroker(tmp_path, port=port) as late, subscriber(BrokerUrl.parse(late.url)) as received:
            assert await sender.drained(TIMEOUT_S)
            sender.live(live(2))
            await until(lambda: received.on("live"))
        assert [payload["depth_um"] for payload in received.on("live")] == [2]


async def test_a_broker_that_accepts_and_says_nothing_holds_nobody_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with Publisher(journal, f"mqtt://127.0.0.1:{silent.getsockname()[1]}", "clinic", "p1") as sender:
            post(journal, 1)
            await until(lambda: sender.status.last_error)
            assert "timed out" in str(sender.status.last_error)
    assert not sender._thread.is_alive()


async def test_a_record_that_does_not_fit_blocks_nothing(url: BrokerUrl, journal: Journal) -> None:
    async with subscriber(url) as received, Publisher(journal, url, "clinic", "p1") as sender:
        await journal.append("s1", "pass", {"area": "cheek"}, pen="p1", topic="pass")
        post(journal, 1)
        assert await sender.drained(TIMEOUT_S)
        await until(lambda: received.sequences("s1") == [1, 2])
        assert sender.status.last_error == "record 1 does not fit its topic pass"
    assert received.on("event")[0]["kind"] == "unpublishable"


async def test_an_offline_that_is_not_true_is_contradicted(url: BrokerUrl, journal: Journal) -> None:
    """The will of a connection that the broker had not yet given up comes after our own greeting."""
    async with Publisher(journal, url, "clinic", "p1") as sender:
        await until(lambda: sender.status.connected)
        async with subscriber(url, "pen/v1/clinic/p1/status") as received:
            await until(lambda: received.messages)
            stale = StatusPayload(pen="p1", status="offline", reason="connection lost")
            async with aiomqtt.Client(url.host, url.port) as client:
                await client.publish("pen/v1/clinic/p1/status", encode(stale), qos=1, retain=True)
            words = received.messages
            await until(lambda: any(payload["status"] == "offline" for _, payload, _ in words))
            await until(lambda: words[-1][1]["status"] == "online")


SENDER = """
    import asyncio, sys
    from pen_controller.journal import Journal
    from pen_controller.telemetry.publisher import Publisher
    async def main():
        async with Journal.open(sys.argv[1]) as journal, Publisher(journal, sys.argv[2], "clinic", "p1"):
            await asyncio.sleep(60)
    asyncio.run(main())
"""


async def test_a_publisher_that_is_killed_is_said_to_be_offline(url: BrokerUrl, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SENDER), str(tmp_path / "j.db"), str(url)]
    async with subscriber(url, "pen/v1/clinic/p1/status") as received:
        sender = await asyncio.create_subprocess_exec(*command)
        await until(lambda: received.on("status"))
        assert received.on("status")[-1]["status"] == "online"
        sender.kill()
        await sender.wait()
        await until(lambda: received.on("status")[-1]["reason"] == "connection lost")
        assert received.on("status")[-1]["status"] == "offline"


async def test_the_journal_failing_is_no_exception_for_the_caller(url: BrokerUrl, journal: Journal) -> None:
    async with Publisher(journal, url, "clinic", "p1") as sender:
        await until(lambda: sender.status.connected)
        journal._reader.close()
        journal.post("s1", "x", {}, pen="p1")
        await until(lambda: sender._last_error)
        assert "journal" in str(sender._last_error)


async def test_leaving_ends_the_thread(url: BrokerUrl, journal: Journal) -> None:
    before = threading.active_count()
    async with Publisher(journal, url, "clinic", "p1") as sender:
        await until(lambda: sender.status.connected)
        assert sender._thread.is_alive()
    assert not sender._thread.is_alive()
    assert threading.active_count() <= before + 1  # asyncio keeps a worker that ran the waiting
    assert journal._listeners == ()


@pytest.mark.parametrize(
    ("broker_url", "site", "pen"), [("broker", "a", "b"), ("mqtt://x", "a/b", "c"), ("mqtt://x", "a", "")]
)
def test_a_bad_address_or_name_is_refused_at_once(journal: Journal, broker_url: str, site: str, pen: str) -> None:
    with pytest.raises(ValueError, match=r"expected|letters"):
        Publisher(journal, broker_url, site, pen)
