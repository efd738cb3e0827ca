"""Real brokers for the tests, and a subscriber that shares no code with the publisher."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from pen_controller.meanwhile import meanwhile
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.mqtt import BrokerUrl

BOUND_S = 30.0


def mosquitto_path() -> str:
    """Return the path of Mosquitto; without it skip, or fail where PEN_REQUIRE_SYSTEM=1 asks for it."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None and os.environ.get("PEN_REQUIRE_SYSTEM") == "1":
        pytest.fail("mosquitto is not installed, and PEN_REQUIRE_SYSTEM=1")
    if found is None:
        pytest.skip("mosquitto is not installed")
    return found


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until `condition()` holds; fail after 30 s."""
    try:
        async with asyncio.timeout(BOUND_S):
            while not condition():  # noqa: ASYNC110 - any condition at all, so there is no event for it
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited {BOUND_S} s for {what}")


def free_port() -> int:
    """Return a port that stays free while its broker is down.

    It lies below those that systems give to outgoing connections, or a client that looks for the broker could get it.
    """
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@contextlib.asynccontextmanager
async def mosquitto(directory: Path, port: int | None = None) -> AsyncIterator[BrokerUrl]:
    """Run Mosquitto on loopback."""
    url = BrokerUrl("127.0.0.1", port or free_port())
    with _mosquitto_process(directory, url.port):
        await until(lambda: _accepts(url), "Mosquitto")
        yield url


@contextlib.contextmanager
def _mosquitto_process(directory: Path, port: int) -> Iterator[None]:
    config = directory / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    command = [mosquitto_path(), "-c", str(config)]
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):
        try:
            yield
        finally:
            server.terminate()


def _accepts(url: BrokerUrl) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((url.host, url.port)) == 0


@contextlib.asynccontextmanager
async def broker(name: str, directory: Path) -> AsyncIterator[BrokerUrl]:
    """Run the broker called `nats` or `mosquitto`."""
    if name == "mosquitto":
        async with mosquitto(directory) as url:
            yield url
    else:
        async with EmbeddedBroker(directory) as embedded:
            yield BrokerUrl.parse(embedded.url)


def kill_embedded(directory: Path) -> None:
    """End the embedded broker that runs in `directory` as a crash would."""
    os.kill(int((directory / "pid").read_text()), getattr(signal, "SIGKILL", signal.SIGTERM))


@dataclass
class Received:
    """What an independent subscriber has got: (topic, payload, retained)."""

    messages: list[tuple[str, dict[str, Any], bool]] = field(default_factory=list)

    def on(self, kind: str) -> list[dict[str, Any]]:
        return [payload for topic, payload, _ in self.messages if topic.split("/")[4] == kind]

    def sequences(self, session: str) -> list[int]:
        """Return the sequence numbers of a session's records, as they came."""
        return [payload["seq"] for _, payload, _ in self.messages if payload["session"] == session and payload["seq"]]


@contextlib.asynccontextmanager
async def subscriber(url: BrokerUrl, topics: str = "pen/v1/#") -> AsyncIterator[Received]:
    """Receive, over broken connections too: the broker keeps what comes while we are away."""
    received = Received()
    subscribed = asyncio.Event()
    identifier = f"test-{uuid.uuid4().hex}"

    async def receive() -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with aiomqtt.Client(
                    url.host, url.port, identifier=identifier, clean_session=False, timeout=3
                ) as client:
                    await client.subscribe(topics, qos=1)
                    subscribed.set()
                    async for message in client.messages:
                        payload = json.loads(bytes(message.payload))
                        received.messages.append((str(message.topic), payload, message.retain))
            await asyncio.sleep(0.05)

    async with meanwhile(receive(), "receive"):
        await asyncio.wait_for(subscribed.wait(), BOUND_S)
        yield received
