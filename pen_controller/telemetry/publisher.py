"""Publishes a pen's records from the journal, and what the pen does now.

The journal is the outbox: what the broker has not acknowledged is still there. The publisher lives in a thread
with an event loop of its own, so that a broker that is slow, silent or gone is nothing to the loop that
holds the pen's lease.
"""

import asyncio
import contextlib
import functools
import math
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from pen_controller.journal import Journal, JournalError, Record
from pen_controller.meanwhile import call_off
from pen_controller.telemetry import mqtt
from pen_controller.telemetry.acks import Place
from pen_controller.telemetry.messages import (
    LivePayload,
    MetaPayload,
    Payload,
    StatePayload,
    StatusPayload,
    encode,
    encode_record,
    parse,
)
from pen_controller.telemetry.topics import DELIVERY, AckTopic, Kind, Topic, ack_subscription, check_name

if TYPE_CHECKING:
    from aiomqtt import Client

IN_FLIGHT = 20  # measured: 13.8k messages/s with 20 pending, 1.9k/s with 10,000
PAGE_RECORDS = 500
POLL_S = 0.5  # should a wake-up be missed
TICK_S = 0.1  # of the latest values: 10 Hz at most
ACK_TIMEOUT_S = 20.0
LEAVE_S = 8.0  # connecting to a dead address takes up to 5 s and cannot be called off


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """What the screen shows of a publisher.

    Attributes:
        connected: Whether the broker has accepted us.
        last_error: Why the last connection or record failed; None if nothing has.
        backlog: Records in the journal that the one it follows has not acknowledged.
        follows: Whose acknowledgement counts: the broker's, or, since one was heard, a recorder's.
        ignored_acks: Acknowledgements of recorders that cannot be true.
    """

    connected: bool
    last_error: str | None
    backlog: int
    follows: Literal["broker", "recorder"] = "broker"
    ignored_acks: int = 0


class Publisher:
    """Publishes one pen's telemetry while its context is entered.

    The place in the journal follows the broker's acknowledgement until a recorder is heard, and from then on what
    recorders say they have stored: see `acks`. A broker may lose what it has acknowledged; a recorder has it. Any
    record may come twice: a consumer tells by (pen, session, seq).

    Args:
        journal: The open journal; it must outlive the publisher.
        broker: See `mqtt.broker_url`.
        site: Name of the site in the topics.
        pen: Name of the pen in the topics and in its records.

    Raises:
        ValueError: The address or a name is none.
        ImportError: aiomqtt is not installed.
    """

    def __init__(self, journal: Journal, broker: mqtt.BrokerUrl | str, site: str, pen: str) -> None:
        mqtt.library()
        self._journal = journal
        self._url = mqtt.broker_url(broker)
        self._site, self._pen = check_name("site", site), check_name("pen", pen)
        self._place = Place(journal, site, pen)
        self._page: Iterator[Record] = iter(())
        self._latest: dict[Kind, Payload] = {}
        self._announced: dict[str, bytes] = {}
        self._connected = False
        self._last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"publisher {pen}", daemon=True)
        self._leaving = asyncio.Event()
        self._news = asyncio.Event()  # there may be new records, or words of a recorder
        self._all_out = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.SelectorEventLoop()  # on Windows too: the client needs one
        self._thread.start()
        self._end_listening = self._journal.listen(self._on_commit)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_listening()
        self._call(self._leaving.set)
        await asyncio.to_thread(self._thread.join, LEAVE_S)

    def live(self, payload: LivePayload) -> None:
        """Offer what the pen does now; the latest is sent at most 10 times a second, and never late."""
        self._latest["live"] = payload

    def state(self, payload: StatePayload) -> None:
        """Set the retained state; the latest is sent within 0.1 s, and again at each connection."""
        self._latest["state"] = payload

    def meta(self, payload: MetaPayload) -> None:
        """Set the retained description of the pen; sent within 0.1 s, and again at each connection."""
        self._latest["meta"] = payload

    def announce(self, topic: str, message: bytes) -> None:
        """Set a retained message that is not of our topics; sent within 0.1 s, and again at each connection.

        An empty message takes an earlier one back.
        """
        self._announced[topic] = message

    async def drained(self, timeout_s: float) -> bool:
        """Wait until all records are acknowledged by the one we follow; return whether they were in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._journal.flush()  # what was posted counts too
                waiting = asyncio.run_coroutine_threadsafe(self._all_out.wait(), self._loop)
                await asyncio.wrap_future(waiting)
                await self._journal.flush()  # the cursor
                return True
        except (TimeoutError, JournalError):
            return False

    @property
    def status(self) -> PublisherStatus:
        """What the screen shows.

        Raises:
            JournalError: The journal cannot be read.
        """
        place = self._place
        return PublisherStatus(self._connected, self._last_error, place.backlog, place.follows, place.ignored)

    @property
    def trouble(self) -> str | None:
        """Why nothing goes out now, in one line; None while the broker has us, and until a connection has failed."""
        return None if self._connected else self._last_error

    def _on_commit(self) -> None:
        self._call(self._hear_news)

    def _call(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(callback)

    # What follows runs in the publisher's thread.

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop.set_exception_handler(self._note)
        pauses = mqtt.pauses()
        while not self._leaving.is_set():
            try:
                await self._connection()
            except mqtt.AccessError as error:  # it may be put right at the broker, while the pen is at work
                self._last_error = str(error)
            except Exception as error:  # noqa: BLE001 - telemetry never ends for a fault of its own
                self._last_error = f"{self._url}: {str(error) or type(error).__name__}"
            if self._connected:
                self._connected, pauses = False, mqtt.pauses()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(pauses)):
                    await self._leaving.wait()

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what the client's callbacks raise on a dying socket off the screen."""
        self._last_error = f"{self._url}: {context.get('exception') or context['message']}"

    async def _connection(self) -> None:
        """Connect, publish until the connection breaks or we leave, say goodbye."""
        identifier = f"pen-{self._site}-{self._pen}"  # the same each time: the broker ends a forgotten connection
        lost = self._status("offline", "connection lost")
        will = (str(Topic(self._site, self._pen, "status")), encode(lost))
        async with mqtt.client(self._url, identifier=identifier, will=will) as client:
            self._connected = True
            await self._publish(client, "status", self._status("online", "connected"))
            await _first_of(
                self._listen(client),
                self._send_latest(client),
                self._send_records(client),
                self._watch_progress(),
                self._leaving.wait(),
            )
            await self._publish(client, "status", self._status("offline", "closed"))

    async def _listen(self, client: "Client") -> None:
        """Raise when the connection breaks; hear recorders; contradict an earlier connection's will that comes late."""
        status = str(Topic(self._site, self._pen, "status"))
        await client.subscribe(status, qos=1)
        await client.subscribe(ack_subscription(self._site, self._pen), qos=1)
        async for message in client.messages:
            topic, payload = str(message.topic), bytes(message.payload)
            if topic != status:
                self._hear(topic, payload, retained=message.retain)
            elif _says_offline(topic, payload):
                await self._publish(client, "status", self._status("online", "connected"))

    def _hear(self, topic: str, word: bytes, *, retained: bool) -> None:
        """Take a recorder's word."""
        try:
            said = AckTopic.parse(topic)
        except ValueError:
            self._place.ignored += 1
        else:
            self._place.hear(said.recorder, said.session, word, retained=retained)
            self._news.set()

    async def _send_latest(self, client: "Client") -> None:
        """Send each latest value that is new, by a tick: to offer one costs the caller an assignment."""
        sent = {"live": self._latest.get("live")}  # what happened before this connection is no longer live
        announced: dict[str, bytes] = {}
        while True:
            for topic, message in list(self._announced.items()):
                if announced.get(topic) is not message:
                    await client.publish(topic, message, qos=1, retain=True, timeout=ACK_TIMEOUT_S)
                    announced[topic] = message
            for kind, payload in list(self._latest.items()):
                if sent.get(kind) is not payload:
                    await self._publish(client, kind, payload)
                    sent[kind] = payload
            await asyncio.sleep(TICK_S)

    async def _send_records(self, client: "Client") -> None:
        """Send the journal's records from our place in it on, and then as they come, so many at a time."""
        self._place.begin()
        self._page = iter(())
        turn = asyncio.Lock()
        senders = [asyncio.create_task(self._send(client, turn)) for _ in range(IN_FLIGHT)]
        try:
            await asyncio.gather(*senders)
        finally:
            await call_off(*senders)
            self._place.save()

    async def _send(self, client: "Client", turn: asyncio.Lock) -> None:
        """Take turns with the other senders: each sends a record, waits for the broker's word, takes the next."""
        while True:
            async with turn:
                record = await self._next()
            kind, payload = encode_record(record)
            if kind != record.topic:
                self._last_error = f"record {record.id} does not fit its topic {record.topic}"
            topic = _topic(self._site, self._pen, kind, record.session)
            await client.publish(topic, payload, qos=DELIVERY[kind].qos, timeout=math.inf)  # see `_watch_progress`
            self._place.acknowledged(record)
            if self._place.all_acked:
                self._news.set()

    async def _next(self) -> Record:
        """Return the next record that is to be sent; wait until there is one."""
        while True:
            for record in self._page:
                if self._place.take(record):
                    return record
            self._news.clear()
            self._place.save()
            self._place.rewind_if_due()
            ahead = self._place.far_ahead
            page = [] if ahead else self._journal.published_after(self._place.sent_id, PAGE_RECORDS, pen=self._pen)
            self._page = iter(page)
            if not page:
                await self._rest()

    async def _watch_progress(self) -> None:
        """Raise when the broker no longer acknowledges; one clock for all costs less than one for each record."""
        while True:
            before_id = self._place.acked_id
            await asyncio.sleep(ACK_TIMEOUT_S)
            if before_id == self._place.acked_id != self._place.sent_id:
                raise TimeoutError(f"it has acknowledged nothing for {ACK_TIMEOUT_S:.0f} s")

    async def _rest(self) -> None:
        """Say whether all is out, and wait for something to do."""
        if self._place.settled and self._place.all_acked:
            self._all_out.set()
        else:
            self._all_out.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._news.wait()

    async def _publish(self, client: "Client", kind: Kind, payload: Payload) -> None:
        how = DELIVERY[kind]
        topic = _topic(self._site, self._pen, kind, payload.session if how.by_session else None)
        await client.publish(topic, encode(payload), qos=how.qos, retain=how.retain, timeout=ACK_TIMEOUT_S)

    def _hear_news(self) -> None:
        self._all_out.clear()
        self._news.set()

    def _status(self, status: Literal["online", "offline"], reason: str) -> StatusPayload:
        return StatusPayload(pen=self._pen, status=status, reason=reason)


@functools.lru_cache
def _topic(site: str, pen: str, kind: Kind, session: str | None) -> str:
    return str(Topic(site, pen, kind, session))


def _says_offline(topic: str, payload: bytes) -> bool:
    try:
        heard = parse(Topic.parse(topic), payload)
    except ValueError:
        return False
    return isinstance(heard, StatusPayload) and heard.status == "offline"


async def _first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run all until the first ends; raise what it raised."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await call_off(*tasks)
    for task in done:
        task.result()
