"""Where the broker is, and a connection to it."""

import asyncio
import importlib
import logging
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from aiomqtt import Client

DEFAULT_PORT = 1883
TIMEOUT_S = 5.0  # of connecting, subscribing and leaving
KEEPALIVE_S = 10  # a silent broker is noticed in 10 to 20 s
MAX_IN_FLIGHT = 100  # beyond it aiomqtt slows down: it looks through all that is pending at each message
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 10.0

EXPECTED = "expected mqtt://[USER@]HOST[:PORT]"


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """A broker's address.

    Attributes:
        version: Of MQTT. NATS speaks 3.1.1 only, and every broker does.
    """

    host: str
    port: int = DEFAULT_PORT
    user: str | None = None
    version: Literal["3.1.1", "5"] = "3.1.1"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt://{f'{self.user}@' if self.user else ''}{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take `mqtt://[USER@]HOST[:PORT]` apart.

        Raises:
            ValueError: It is not of this form, or it holds a password: a command line is read by others.
        """
        if re.search(r"//[^/]*:[^/]*@", text):
            raise ValueError(f"broker: an address must not hold a password: {EXPECTED}")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"broker {text!r}: {error}: {EXPECTED}") from error
        rest = parts.path.rstrip("/") or parts.query or parts.fragment
        if parts.scheme != "mqtt" or not host or port == 0 or rest:
            raise ValueError(f"broker {text!r}: {EXPECTED}")
        return cls(host, port or DEFAULT_PORT, parts.username)


def broker_url(broker: BrokerUrl | str) -> BrokerUrl:
    """Return the address, parsed if it is text.

    Raises:
        ValueError: It is no address of a broker.
    """
    return BrokerUrl.parse(broker) if isinstance(broker, str) else broker


def library() -> ModuleType:
    """Return the module aiomqtt, imported only by those who publish or subscribe.

    Raises:
        ImportError: It is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module("aiomqtt")
    except ImportError as error:
        raise ImportError("MQTT needs aiomqtt: pip install 'pen-controller[mqtt]'") from error


def client(
    url: BrokerUrl,
    *,
    identifier: str | None = None,
    will: tuple[str, bytes] | None = None,
    keep_session: bool = False,
    max_waiting: int = 0,
) -> "Client":
    """Return a client for one connection, to be entered once; a selector event loop must be running.

    Args:
        url: The broker.
        identifier: Name of the client; None lets one be made up.
        will: Topic and payload that the broker publishes, retained, when the connection is lost.
        keep_session: Whether the broker keeps subscriptions and messages for `identifier`
            while it is away; MQTT 3.1.1 only.
        max_waiting: Messages that may wait for the reader of `messages`; those beyond are dropped. 0: no bound.

    Raises:
        ImportError: aiomqtt is not installed.
    """
    aiomqtt = library()
    logger = logging.getLogger(__name__)
    logger.addHandler(logging.NullHandler())  # what matters comes as an exception
    made: Client = aiomqtt.Client(
        url.host,
        url.port,
        username=url.user,
        identifier=identifier,
        will=aiomqtt.Will(*will, qos=1, retain=True) if will else None,
        clean_session=None if url.version == "5" else not keep_session,
        protocol=aiomqtt.ProtocolVersion.V5 if url.version == "5" else aiomqtt.ProtocolVersion.V311,
        keepalive=KEEPALIVE_S,
        timeout=TIMEOUT_S,
        max_inflight_messages=MAX_IN_FLIGHT,
        max_queued_incoming_messages=max_waiting,
        logger=logger,
    )
    made.pending_calls_threshold = MAX_IN_FLIGHT
    made._disconnected.add_done_callback(_see)  # noqa: SLF001 - there is no public way
    return made


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
