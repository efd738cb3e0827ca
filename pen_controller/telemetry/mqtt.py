"""Where the broker is, and a connection to it."""

import asyncio
import contextlib
import importlib
import logging
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from pen_controller.telemetry.credentials import BrokerFile, Credentials
from pen_controller.telemetry.refusals import AccessError, refusal

if TYPE_CHECKING:
    from aiomqtt import Client

__all__ = ["AccessError"]

DEFAULT_PORT, DEFAULT_TLS_PORT = 1883, 8883
TIMEOUT_S = 5.0  # of connecting, subscribing and leaving
KEEPALIVE_S = 10  # a silent broker is noticed in 10 to 20 s
REFUSED = 128  # return codes of a subscription from here on mean that it was refused
SESSION_S = 60  # what a broker keeps with MQTT 5 for one who is gone for good goes to the others then
PACKET_CONNECT = 1  # to which such a time belongs
MAX_IN_FLIGHT = 100  # beyond it aiomqtt slows down: it looks through all that is pending at each message
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 10.0

EXPECTED = "expected mqtt://[USER@]HOST[:PORT] or mqtts://..., or a broker file, NAME.toml"


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker's address, and how to be let in there. `str()` is the address alone, and safe to show.

    Attributes:
        version: Of MQTT. NATS speaks 3.1.1 only, and every broker does.
        tls: Whether to speak TLS; the broker's certificate and name are then always checked.
        credentials: Who we are, and whom to trust.
    """

    host: str
    port: int = DEFAULT_PORT
    user: str | None = None
    version: Literal["3.1.1", "5"] = "3.1.1"
    tls: bool = False
    credentials: Credentials = field(default_factory=Credentials)

    def __str__(self) -> str:
        scheme, rest = self.place.split("//")
        return f"{scheme}//{f'{self.user}@' if self.user else ''}{rest}"

    @property
    def place(self) -> str:
        """The address without the user, `mqtt://HOST:PORT` or `mqtts://HOST:PORT`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take `mqtt://[USER@]HOST[:PORT]` or `mqtts://...` apart.

        Raises:
            ValueError: It is not of this form, or it holds a password: a command line is read by others.
        """
        if re.search(r":(?!//).*@", text, re.DOTALL):
            raise ValueError(f"broker: an address must not hold a password: {EXPECTED}")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"broker {text!r}: {error}: {EXPECTED}") from error
        rest = parts.path.rstrip("/") or parts.query or parts.fragment
        if parts.scheme not in ("mqtt", "mqtts") or not host or port == 0 or rest:
            raise ValueError(f"broker {text!r}: {EXPECTED}")
        tls = parts.scheme == "mqtts"
        return cls(host, port or (DEFAULT_TLS_PORT if tls else DEFAULT_PORT), parts.username or None, tls=tls)


def broker_url(broker: BrokerUrl | str) -> BrokerUrl:
    """Return a broker as it is; or from text, which is its address or the path of a broker file.

    A broker file is TOML: `url`, the address, and what `Credentials` holds.

    Raises:
        ValueError: It is neither, or a file that it names cannot be used; one line that holds no secret.
        ImportError: The package keyring is needed, and not installed.
    """
    if isinstance(broker, BrokerUrl):
        return broker
    if "://" in broker or not broker.endswith(".toml"):
        return BrokerUrl.parse(broker)
    file = BrokerFile.read(Path(broker))
    try:
        url = replace(BrokerUrl.parse(file.url), credentials=file)
        file.check(url.host, url.user, tls=url.tls)
        _proofs(url)  # what is wrong with them is told now, and not when a treatment has begun
    except ValueError as error:
        raise ValueError(f"{broker}: {error}") from error
    return url


def _proofs(url: BrokerUrl) -> dict[str, Any]:
    """Return what the client needs beside the address; read anew each time. Raises as `broker_url` does."""
    return {
        "username": url.user,
        "password": url.credentials.password(url.place, url.user),
        "tls_context": url.credentials.tls_context() if url.tls else None,
    }


def library() -> ModuleType:
    """Return the module aiomqtt, imported only by those who publish or subscribe.

    Raises:
        ImportError: It is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module("aiomqtt")
    except ImportError as error:
        raise ImportError("MQTT needs aiomqtt: pip install 'pen-controller[mqtt]'") from error


@contextlib.asynccontextmanager
async def client(
    url: BrokerUrl,
    *,
    identifier: str | None = None,
    will: tuple[str, bytes] | None = None,
    keep_session: bool = False,
    max_waiting: int = 0,
) -> "AsyncIterator[Client]":
    """Connect, and yield the client; a selector event loop must be running.

    Args:
        url: The broker.
        identifier: Name of the client; None lets one be made up.
        will: Topic and payload that the broker publishes, retained, when the connection is lost.
        keep_session: Whether the broker keeps subscriptions and messages for `identifier` while it is away:
            with MQTT 5 for `SESSION_S`, with 3.1.1 as long as it likes.
        max_waiting: Messages that may wait for the reader of `messages`; those beyond are dropped. 0: no bound.

    Raises:
        AccessError: The broker lets us not in, or is not whom we expect, or what proves who we are cannot be read.
        aiomqtt.MqttError: There is no connection, or it broke.
        ImportError: aiomqtt is not installed.
    """
    aiomqtt = library()
    log, heard = logging.Logger(__name__, logging.WARNING), _Heard()
    log.addHandler(heard)
    try:
        proofs = _proofs(url)
    except ValueError as error:
        raise AccessError(f"{url}: {error}") from error
    made: Client = aiomqtt.Client(
        url.host,
        url.port,
        **proofs,
        **_session(url.version, keep=keep_session),
        identifier=identifier,
        will=aiomqtt.Will(*will, qos=1, retain=True) if will else None,
        protocol=aiomqtt.ProtocolVersion.V5 if url.version == "5" else aiomqtt.ProtocolVersion.V311,
        keepalive=KEEPALIVE_S,
        timeout=TIMEOUT_S,
        max_inflight_messages=MAX_IN_FLIGHT,
        max_queued_incoming_messages=max_waiting,
        logger=log,
    )
    made.pending_calls_threshold = MAX_IN_FLIGHT
    made._disconnected.add_done_callback(_see)  # noqa: SLF001 - there is no public way
    try:
        async with _let_in(made, url, heard) as let_in:
            yield let_in
    finally:
        await asyncio.sleep(0)  # it has asked its own task to end, and not waited


@contextlib.asynccontextmanager
async def _let_in(made: "Client", url: BrokerUrl, heard: "_Heard") -> "AsyncIterator[Client]":
    """Enter a client, and say why if the broker refuses it."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(made)
        except library().MqttError as error:
            has_certificate = url.credentials.cert_file is not None
            if why := refusal(error, heard.last, user=url.user, has_certificate=has_certificate):
                raise AccessError(f"{url}: {why}") from error
            raise
        yield made


async def subscribe(client: "Client", url: BrokerUrl, topics: str) -> None:
    """Subscribe with QoS 1.

    Raises:
        AccessError: The broker refuses. Mosquitto never does: it grants what it then does not send.
        aiomqtt.MqttError: The connection broke.
    """
    granted = await client.subscribe(topics, qos=1)
    if any(getattr(code, "value", code) >= REFUSED for code in granted):
        raise AccessError(f"{url}: it does not let us read {topics}: have it allowed there, or log in as another")


def _session(version: Literal["3.1.1", "5"], *, keep: bool) -> dict[str, Any]:
    if version == "3.1.1":
        return {"clean_session": not keep}
    if not keep:
        return {"clean_start": True}
    properties = importlib.import_module("paho.mqtt.properties").Properties(PACKET_CONNECT)
    properties.SessionExpiryInterval = SESSION_S
    return {"clean_start": False, "properties": properties}


class _Heard(logging.Handler):
    """Keeps the last of the client's complaints; what else matters comes as an exception."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def pauses() -> Iterator[float]:
    """Yield, for ever, how many seconds to wait before connecting again: longer each time, at random, at most 10 s."""
    longest_s = FIRST_RETRY_S
    while True:
        yield longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret
        longest_s = min(2 * longest_s, LAST_RETRY_S)


def _see(lost: asyncio.Future[None]) -> None:
    """Keep asyncio from reporting a connection that broke while nobody waited for a message."""
    if not lost.cancelled():
        lost.exception()


def heed_cancellation() -> None:
    """Raise if we were cancelled: the client's `asyncio.wait_for` swallows that now and then (Python 3.11)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
