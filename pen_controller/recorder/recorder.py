"""Subscribes to the records of pens, stores them, and says how far each session is stored.

The broker is trusted with nothing: what was not stored was not acknowledged, and the pens send it again.
"""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from pen_controller.recorder import StoreError
from pen_controller.recorder.store import Key, Row, Store
from pen_controller.telemetry import mqtt
from pen_controller.telemetry.messages import parse
from pen_controller.telemetry.topics import DELIVERY, AckTopic, Topic, record_subscriptions

if TYPE_CHECKING:
    from aiomqtt import Client, Message

LINGER_S = 0.01  # what comes with the first record gathers this long, so that many share one commit
BATCH_RECORDS = 1000
MAX_WAITING = 10_000  # records; those beyond are dropped, are not acknowledged, and so come again
MAX_PAYLOAD_BYTES = 1 << 20
MAX_SEQ = (1 << 63) - 1  # what a database can count
SHOWN = 300  # signs of what a stranger wrote that may come on the screen

Result = TypeVar("Result")


@dataclass(slots=True)
class Tally:
    """How a recorder fares; given to `record`, which keeps it up to date.

    Attributes:
        connected: Whether the broker sends us what we asked for.
        trouble: Why it does not, or why the database does not take it, in one line; empty while all is well.
        stored: Records committed.
        repeated: Records that came again.
        refused: Messages that were no records of ours; neither stored nor acknowledged.
        last_refused: Why the last of them was none, in one line.
        behind: The sessions with a gap that were heard of since the start, and how far each is stored.
    """

    connected: bool = False
    trouble: str = "connecting"
    stored: int = 0
    repeated: int = 0
    refused: int = 0
    last_refused: str = ""
    behind: dict[Key, int] = field(default_factory=dict)


async def record(
    store: Store,
    broker: mqtt.BrokerUrl | str,
    tally: Tally,
    *,
    site: str = "+",
    name: str | None = None,
    group: str | None = None,
) -> None:
    """Store and acknowledge what pens publish until cancelled; go on after a lost connection and a full disk.

    It runs on the calling loop, which on Windows must be a selector loop. Cancelled, it lets a commit under way end.

    Args:
        store: The open database; nothing else may use it meanwhile.
        broker: See `mqtt.broker_url`.
        tally: Told how it goes.
        site: One site, or `+` for all.
        name: With a name, which no other client may have, the broker keeps records for us while we are away.
        group: With a name, the broker gives each record to one only of the recorders that name this group;
            they must share one database. What one that dies was given comes again, from the publisher.

    Raises:
        ValueError: The address or a name is none.
        AccessError: The broker does not let us in, or read, from the start. Later that is `trouble` like any other.
        ImportError: aiomqtt is not installed.
        StoreError: The database failed, and not in passing. What it did not take is not acknowledged.
    """
    url = mqtt.broker_url(broker)
    if group is not None:
        url = replace(url, version="5")
    wanted = record_subscriptions(site, group=group)
    lost = mqtt.library().MqttError
    pauses = mqtt.pauses()
    was_let_in = False  # who was, and is not any more, waits: nobody may be there to start us again
    while True:
        try:
            client = mqtt.client(url, identifier=name, keep_session=name is not None, max_waiting=MAX_WAITING)
            async with client as connected:
                for topics in wanted:
                    await mqtt.subscribe(connected, url, topics)
                tally.connected, tally.trouble, was_let_in = True, "", True
                pauses = mqtt.pauses()
                await _serve(connected, store, tally)
        except (lost, mqtt.AccessError) as error:
            if isinstance(error, mqtt.AccessError) and not was_let_in:
                raise
            tally.connected, tally.trouble = False, f"no records from {url}: retrying ({error})"
        mqtt.heed_cancellation()
        await asyncio.sleep(next(pauses))


async def _serve(client: "Client", store: Store, tally: Tally) -> None:
    """Say what was stored before, then store and acknowledge what comes, until the connection breaks."""
    await _acknowledge(client, store.name, await _persist(store.unsettled, tally))
    while True:
        mqtt.heed_cancellation()
        rows = [row for message in await _batch(client) if (row := _row(message, tally))]
        if not rows:
            continue
        committed = await _persist(functools.partial(store.commit, rows), tally)
        tally.stored += committed.new
        tally.repeated += len(rows) - committed.new
        for key, seq in committed.stored.items():
            tally.behind.pop(key, None)
            if key in committed.gaps:
                tally.behind[key] = seq
        await _acknowledge(client, store.name, committed.stored)


async def _batch(client: "Client") -> list["Message"]:
    """Wait for a message, and take those that come with it."""
    messages = client.messages
    batch = [await anext(messages)]
    await asyncio.sleep(LINGER_S)
    while len(messages) and len(batch) < BATCH_RECORDS:
        batch.append(await anext(messages))
    return batch


def _row(message: "Message", tally: Tally) -> Row | None:
    """Return what a message says; count it as refused if it is no record of ours."""
    try:
        return parse_record(str(message.topic), bytes(message.payload))
    except ValueError as error:
        tally.refused += 1
        tally.last_refused = "".join(sign if sign.isprintable() else "?" for sign in str(error))[:SHOWN]
        return None


def parse_record(topic: str, payload: bytes) -> Row:
    """Return the record that a message carries.

    Raises:
        ValueError: The topic is not of records, or the payload is not what it promises.
    """
    parsed = Topic.parse(topic)
    if not DELIVERY[parsed.kind].by_session or parsed.session is None:
        raise ValueError(f"{parsed}: it is no topic of records")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"{parsed}: {len(payload)} bytes are more than {MAX_PAYLOAD_BYTES}")
    seq = parse(parsed, payload).seq or 0  # there always is one: see `parse`
    if seq > MAX_SEQ:
        raise ValueError(f"{parsed}: seq: is too large")
    return Row(Key(parsed.site, parsed.pen, parsed.session), seq, parsed.kind, payload.decode())


async def _acknowledge(client: "Client", recorder: str, stored: dict[Key, int]) -> None:
    for key, seq in stored.items():
        await client.publish(str(AckTopic(*key, recorder)), str(seq), qos=1, retain=True)


async def _persist(work: Callable[[], Result], tally: Tally) -> Result:
    """Do the database's work; while it is full, locked or away, try again: who stores nothing acknowledges nothing."""
    pauses = mqtt.pauses()
    while True:
        try:
            done = await _to_the_end(work)
        except StoreError as error:
            if not error.passing:
                raise
            tally.trouble = f"{error}; retrying"
            await asyncio.sleep(next(pauses))
        else:
            tally.trouble = ""
            return done


async def _to_the_end(work: Callable[[], Result]) -> Result:
    """Run blocking work in a thread; a cancellation waits for its end, because a thread cannot be called off."""
    running = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
