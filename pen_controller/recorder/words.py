"""What recorders have said, as a broker keeps it: who is behind, and how one that is gone for good is dismissed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pen_controller.telemetry import mqtt
from pen_controller.telemetry.acks import DISMISSED, WORD
from pen_controller.telemetry.topics import AckTopic, ack_subscription, check_name

if TYPE_CHECKING:
    from aiomqtt import Client

QUIET_S = 1.0  # the broker does not say when it has told all it keeps


async def known(broker: mqtt.BrokerUrl | str) -> dict[AckTopic, int]:
    """Return how far each recorder says it has stored each session.

    It takes a second or two, and runs on the calling loop, which on Windows must be a selector loop.

    Args:
        broker: See `mqtt.broker_url`.

    Raises:
        ValueError: The address is none.
        AccessError: The broker does not let us in, or read.
        ConnectionError: There is no connection.
        ImportError: aiomqtt is not installed.
    """
    async with _asked(broker) as (_, words):
        return words


async def dismiss(broker: mqtt.BrokerUrl | str, recorder: str) -> None:
    """Have no publisher wait for a recorder any more.

    Its words are replaced on the broker, so that publishers that are away learn of it too. Should it come back, then
    from its next word on it is waited for again, and gets all there is.

    Args:
        broker: See `mqtt.broker_url`.
        recorder: Its name.

    Raises:
        ValueError: The address is none, or the broker knows no recorder of this name.
        AccessError: The broker does not let us in, or read.
        ConnectionError: There is no connection.
        ImportError: aiomqtt is not installed.
    """
    check_name("recorder", recorder)
    async with _asked(broker) as (client, words):
        topics = [topic for topic in words if topic.recorder == recorder]
        if not topics:
            raise ValueError(f"recorder {recorder!r}: the broker knows none of that name: see pen recorders")
        for topic in topics:
            await client.publish(str(topic), DISMISSED, qos=1, retain=True)


@contextlib.asynccontextmanager
async def _asked(broker: mqtt.BrokerUrl | str) -> "AsyncIterator[tuple[Client, dict[AckTopic, int]]]":
    """Connect, and gather what the broker keeps."""
    url = mqtt.broker_url(broker)
    words: dict[AckTopic, int] = {}
    try:
        async with mqtt.client(url) as client:
            await mqtt.subscribe(client, url, ack_subscription())
            with contextlib.suppress(TimeoutError):
                while True:
                    message = await asyncio.wait_for(anext(client.messages), QUIET_S)
                    word = bytes(message.payload)
                    with contextlib.suppress(ValueError):  # a stranger's topic
                        topic = AckTopic.parse(str(message.topic))
                        if WORD.fullmatch(word):
                            words[topic] = int(word)
            yield client, words
    except mqtt.library().MqttError as error:
        raise ConnectionError(f"no broker at {url}: {error}") from error
