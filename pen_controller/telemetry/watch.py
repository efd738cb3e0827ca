"""Listens to pens over MQTT alone, and shows them."""

import asyncio
import contextlib
import json
import math
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pen_controller.meanwhile import meanwhile
from pen_controller.output import print_line
from pen_controller.telemetry import mqtt
from pen_controller.telemetry.messages import (
    LivePayload,
    Payload,
    StatePayload,
    StatusPayload,
    parse,
)
from pen_controller.telemetry.topics import PREFIX, Topic, subscription

RETRY_S = 1.0
REFRESH_S = 0.25
STALE_S = 3.0  # while needles move, live values come at 5 Hz or more
STATE_HOLDS_S = 15.0  # a pen at rest says its state every 5 s, as the dashboard takes it
MOVING = frozenset({"running", "stopping"})
DASH = "-"


LISTENING = "listening"
"""What `report` is told once nothing more can be missed."""


@dataclass(slots=True)
class Reception:
    """How a subscriber fares; given to `messages`, which keeps it up to date.

    Attributes:
        subscribed: Set while the broker sends us what we asked for.
        skipped: Messages that were no telemetry of ours.
        trouble: Why we are not subscribed, in one line for a person; empty while we are.
        report: Called with that line when it changes, and with `LISTENING` when we are subscribed.
    """

    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    skipped: int = 0
    trouble: str = "connecting"
    report: Callable[[str], None] = lambda _: None

    def begin(self) -> None:
        """Note that the broker has taken the subscription."""
        self.trouble = ""
        self.subscribed.set()
        self.report(LISTENING)

    def fail(self, trouble: str) -> None:
        """Note that there is no connection."""
        self.subscribed.clear()
        if trouble != self.trouble:
            self.trouble = trouble
            self.report(trouble)


async def messages(
    broker: mqtt.BrokerUrl | str,
    site: str = "+",
    pen: str = "+",
    *,
    identifier: str | None = None,
    reception: Reception | None = None,
) -> AsyncGenerator[tuple[Topic, Payload], None]:
    """Yield what pens publish, for ever; connect again whenever the connection is lost.

    It runs on the calling loop, which on Windows must be a selector loop.

    Args:
        broker: See `mqtt.broker_url`.
        site: One site, or `+` for all.
        pen: One pen, or `+` for all.
        identifier: With a name the broker keeps QoS 1 messages for us while we are away.
        reception: Told how it goes.

    Raises:
        ValueError: The address or a name is none.
        AccessError: The broker lets us not in, or is not whom we expect.
        ImportError: aiomqtt is not installed.
    """
    heard = _hear(broker, [subscription(site, pen)], identifier, reception or Reception())
    async with contextlib.aclosing(heard):
        async for topic, payload, _ in heard:
            yield topic, payload


async def _hear(
    broker: mqtt.BrokerUrl | str,
    wanted: Sequence[str],
    identifier: str | None,
    reception: Reception,
) -> AsyncGenerator[tuple[Topic, Payload, bool], None]:
    """Yield topic, payload, and whether it was said before we listened (retained)."""
    url = mqtt.broker_url(broker)
    lost = mqtt.library().MqttError
    while True:
        try:
            async with mqtt.client(url, identifier=identifier, keep_session=identifier is not None) as client:
                for topics in wanted:
                    await mqtt.subscribe(client, url, topics)
                mqtt.heed_cancellation()
                reception.begin()
                async for message in client.messages:
                    try:
                        topic = Topic.parse(str(message.topic))
                        payload = parse(topic, bytes(message.payload))
                    except ValueError:
                        reception.skipped += 1
                    else:
                        yield topic, payload, message.retain
        except lost as error:
            reception.fail(f"no broker at {url}: retrying ({error})")
        mqtt.heed_cancellation()
        await asyncio.sleep(RETRY_S)


async def watch(
    broker: mqtt.BrokerUrl | str, *, as_json: bool, console: Console, wanted: Sequence[str] = (f"{PREFIX}/+/+/#",)
) -> None:
    """Show the pens of a broker until cancelled.

    Args:
        broker: See `mqtt.broker_url`.
        as_json: Print each message as one line `{"topic": ..., "payload": ...}` on standard output instead
            of a live table on `console`; end when nobody reads them any more.
        wanted: What to subscribe to: see `topics.subscriptions`.
        console: For the table; with `as_json` for the trouble with the broker, so it should be standard error.

    Raises:
        ValueError: The address is none.
        AccessError: The broker lets us not in, or is not whom we expect.
        ImportError: aiomqtt is not installed.
    """
    url = mqtt.broker_url(broker)
    mqtt.library()
    if as_json:
        await _print_lines(url, wanted, console)
    else:
        await _show_table(url, wanted, console)


async def _print_lines(broker: mqtt.BrokerUrl, wanted: Sequence[str], console: Console) -> None:
    reception = Reception(report=lambda line: console.print(line, style="yellow", markup=False))
    async with contextlib.aclosing(_hear(broker, wanted, None, reception)) as heard:
        async for topic, payload, _ in heard:
            if not print_line(json.dumps({"topic": str(topic), "payload": payload.model_dump(mode="json")})):
                return


@dataclass(slots=True)
class _Row:
    """What is known of one pen, and when it last spoke (monotonic seconds)."""

    status: str = ""
    state: StatePayload | None = None
    live: LivePayload | None = None
    live_s: float = -math.inf
    word_s: float | None = None

    def take(self, payload: Payload, now_s: float, *, retained: bool) -> None:
        if not retained:
            self.word_s = now_s
        if isinstance(payload, StatusPayload):
            self.status = payload.status
        elif isinstance(payload, StatePayload):
            self.state = payload
        elif isinstance(payload, LivePayload):
            self.live, self.live_s = payload, now_s

    def cells(self, now_s: float) -> list[str]:
        """Return the row's text; what is too old is no longer true, and becomes a dash."""
        holds_s = STALE_S if self.state and self.state.state in MOVING else STATE_HOLDS_S
        heard = self.word_s is not None and now_s - self.word_s <= holds_s
        state = self.state.state if self.state and heard else DASH
        if self.state and self.state.latch and heard:
            state = f"{state} ({self.state.latch})"
        if self.status == "offline":
            state = "offline"
        age = DASH if self.word_s is None else f"{now_s - self.word_s:.0f}"
        live = self.live if self.live and now_s - self.live_s <= STALE_S else None
        return [state, *_live_cells(live), age]


def _live_cells(live: LivePayload | None) -> list[str]:
    if live is None:
        return [DASH] * 9
    return [
        live.area or DASH,
        _scaled(live.depth_um, 1000, "{:.2f}"),
        _scaled(live.rate_dhz, 10, "{:.0f}"),
        _scaled(live.force_mn, 1000, "{:.1f}"),
        _scaled(live.passes, 1, "{:.0f}"),
        str(live.punctures),
        f"{live.density_per_cm2:.0f}",
        _scaled(live.battery_pct, 1, "{:.0f}"),
        live.advice or DASH,
    ]


def _scaled(value: int | None, divisor: int, form: str) -> str:
    return DASH if value is None else form.format(value / divisor)


COLUMNS = (
    "site", "pen", "state", "area", "depth mm", "rate Hz", "force N",
    "passes", "punctures", "per cm2", "battery %", "advice", "age s",
)  # fmt: skip


def _table(rows: dict[tuple[str, str], _Row], now_s: float, trouble: str) -> Table:
    table = Table(caption=Text(trouble, style="yellow"))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in COLUMNS[:4] else "right")
    for (site, pen), row in sorted(rows.items()):
        table.add_row(site, pen, *row.cells(now_s))
    return table


async def _show_table(broker: mqtt.BrokerUrl, wanted: Sequence[str], console: Console) -> None:
    rows: dict[tuple[str, str], _Row] = defaultdict(_Row)
    reception = Reception()

    async def listen() -> None:
        async for topic, payload, retained in _hear(broker, wanted, None, reception):
            rows[topic.site, topic.pen].take(payload, time.monotonic(), retained=retained)

    async with meanwhile(listen(), "listen to the broker") as listening:
        with Live(console=console, auto_refresh=False) as screen:
            while not listening.done():
                table = _table(rows, time.monotonic(), reception.trouble)
                screen.update(table, refresh=True)
                await asyncio.wait([listening], timeout=REFRESH_S)
