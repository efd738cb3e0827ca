"""The lines on which the host is tested: to a pen in this process, in virtual time, and to `pen-sim` on real lines.

`@on_every_line` runs a test on all of them; a new kind of line joins by one more entry in `LINES`.
"""

import asyncio
import contextlib
import functools
import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol

import pytest

from pen_controller import config, limits
from pen_controller.errors import LinkError
from pen_controller.limits import Delivered, Grant, Request
from pen_controller.pen import Pen, reported
from pen_controller.pen.link import Link
from pen_controller.transports import Lost, Receive, Transport, transport_for
from pen_controller.transports.inprocess import InProcessTransport
from pen_controller.transports.serial import SerialTransport
from protocols.framing import Decoder
from protocols.messages import Answer, AnyMessage, Event, decode
from protocols.words import EventKind
from simulator.pen import SimulatedPen
from simulator.ports import Endpoint
from tests.running import Test, run

TODAY = date(2026, 1, 1)
CONFIG = config.load()

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="this system has no pseudo-terminals")


def on_every_line(test: Test) -> Callable[..., None]:
    """Make a coroutine with an argument `line` a test that runs on every line."""
    assert "line" in inspect.signature(test).parameters

    @functools.wraps(test)
    def synchronous(*args: Any, line: Line, **kwargs: Any) -> None:
        run(test(*args, line=line, **kwargs), virtual=line.virtual)

    on_lines: Callable[..., None] = pytest.mark.parametrize("line", LINES)(synchronous)
    return on_lines


# --- what every line can do ------------------------------------------------------------------------------------------


class Plugged(Protocol):
    """A pen on a line, and what can happen to both."""

    def transport(self) -> Transport:
        """A new, unopened transport for one host."""

    async def unplug(self, seconds: float) -> None:
        """Pull the line out, and put it back in after so long."""

    async def reboot(self) -> None:
        """Take the pen's power away, and give it back."""

    async def button(self) -> None:
        """Press the pen's own button."""


@dataclass(frozen=True)
class Line:
    """One kind of line."""

    virtual: bool
    plug: Callable[[], AbstractAsyncContextManager[Plugged]]


async def grant_for(pen: Pen, area: str = "cheek", rate_hz: float = 100.0, size_cm2: float = 6.0) -> Grant:
    """Leave to treat an area at 1 mm with the pen as it is."""
    cartridge, own = reported.tag(await pen.cartridge()), pen.identity
    assert cartridge is not None
    verdict = limits.authorize(
        Request(area, "fine_lines", 2, 1.0, rate_hz, 2, size_cm2),
        config=CONFIG,
        envelope=reported.envelope(own),
        pen_profile=own.model,
        cartridge=replace(cartridge, used_by=None),
        treatment=7,
        today=TODAY,
        delivered=Delivered(),
    )
    assert isinstance(verdict, Grant), verdict
    return verdict


async def run_needles(pen: Pen, depth_mm: float = 1.0, rate_hz: float = 100.0) -> None:
    """Arm the pen for the cheek and start it."""
    await pen.arm(await grant_for(pen), today=TODAY)
    await pen.start(depth_mm, rate_hz)


# --- in this process, in virtual time --------------------------------------------------------------------------------

Pieces = Iterable[tuple[float, bytes]]
Fault = Callable[[int, bytes], Pieces]
"""What the line makes of frame number n: pieces, each with its delay in seconds. None for a lost frame."""


def silence(*_: object) -> Pieces:
    """A line on which all is lost."""
    return []


def whole(_: int, frame: bytes) -> Pieces:
    """A line without fault."""
    return [(0.0, frame)]


def message_in(frame: bytes) -> AnyMessage:
    """The message of one frame's bytes."""
    (only,) = Decoder().feed(frame)
    return decode(only)


def lose(kind: type[AnyMessage], most: int = 1_000_000) -> Fault:
    """Lose the first so many frames that hold such a message."""
    seen = 0

    def fault(n: int, frame: bytes) -> Pieces:
        nonlocal seen
        seen += isinstance(message_in(frame), kind)
        return [] if isinstance(message_in(frame), kind) and seen <= most else whole(n, frame)

    return fault


class VirtualPen:
    """A simulated pen in this process, stepped by the running loop's own clock."""

    def __init__(self, pen: SimulatedPen) -> None:
        self.pen = pen
        self.frozen = False
        """A pen that hears nothing and says nothing, and whose time stands still."""
        self.unplugged = False
        self.executed: list[Answer] = []
        """Every command that the firmware decided, each as often as it did."""
        self.events: list[Event] = []
        """Every event of the pen's own, whether or not anyone heard of it."""
        self.cables: list[Cable] = []
        self._loop = asyncio.get_running_loop()
        self._zero_s = self._loop.time()
        self._timer: asyncio.Handle | None = None
        self._spy()

    def clock_us(self) -> int:
        return round((self._loop.time() - self._zero_s) * 1e6)

    def transport(self, to_pen: Fault = whole, to_host: Fault = whole) -> InProcessTransport:
        cable = Cable(self, to_pen, to_host)
        self.cables.append(cable)
        return InProcessTransport(cable)

    async def unplug(self, seconds: float) -> None:
        self.unplugged = True
        for cable in self.cables:
            cable.pull()
        self._loop.call_later(seconds, setattr, self, "unplugged", False)

    async def reboot(self) -> None:
        self.pen.reboot(self.clock_us())
        self._spy()

    async def button(self) -> None:
        self.pen.firmware.button()

    def let_time_pass(self) -> None:
        """Step the pen up to now, and again when it is next due."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.frozen:
            messages = self.pen.step(self.clock_us())
            for cable in self.cables:
                cable.say(messages)
        due_s = self._zero_s + self.pen.next_due_us / 1e6
        self._timer = self._loop.call_at(max(due_s, self._loop.time() + 0.001), self.let_time_pass)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _spy(self) -> None:
        firmware = self.pen.firmware
        remember, add = firmware._commands.remember, firmware._events.add

        def note_answer(answer: Answer) -> None:
            self.executed.append(answer)
            remember(answer)

        def note_event(t_us: int, kind: EventKind, a: int, b: int) -> Event:
            self.events.append(add(t_us, kind, a, b))
            return self.events[-1]

        firmware._commands.remember = note_answer  # type: ignore[method-assign]  # a spy
        firmware._events.add = note_event  # type: ignore[method-assign]  # a spy


class Cable:
    """One host's line to a pen in this process (a `PenEnd`), with what goes wrong on it.

    Args:
        bench: where the pen is.
        to_pen: what becomes of the host's frames.
        to_host: what becomes of the pen's frames.
    """

    def __init__(self, bench: VirtualPen, to_pen: Fault, to_host: Fault) -> None:
        self.bench, self.to_pen, self.to_host = bench, to_pen, to_host
        self.asked: list[AnyMessage] = []
        """What the host has sent, before the line's faults."""
        self.said: list[AnyMessage] = []
        """What the pen has sent, before the line's faults."""
        self._endpoint: Endpoint | None = None

    def connect(self, receive: Receive, lost: Lost) -> None:
        if self.bench.unplugged:
            raise LinkError("in-process pen: the cable is pulled; plug it in")
        self._receive, self._lost = receive, lost
        self._endpoint = Endpoint(self.bench.pen)
        self.bench.let_time_pass()

    def take(self, data: bytes) -> None:
        self.asked.append(message_in(data))
        self._pass_on(self.to_pen(len(self.asked), data), self._arrive)

    def disconnect(self) -> None:
        self._endpoint = None

    def say(self, messages: Iterable[AnyMessage]) -> None:
        if self._endpoint is not None:
            self._send(self._endpoint.encode(messages))

    def pull(self) -> None:
        if self._endpoint is not None:
            self._endpoint = None
            self._lost("the cable was pulled")

    def _arrive(self, data: bytes) -> None:
        self.bench.let_time_pass()
        if self._endpoint is not None and not self.bench.frozen:
            self._send(self._endpoint.receive(data, self.bench.clock_us()))
            self.bench.let_time_pass()

    def _send(self, data: bytes) -> None:
        for piece in filter(None, data.split(b"\0")):
            frame = b"\0" + piece + b"\0"
            self.said.append(message_in(frame))
            self._pass_on(self.to_host(len(self.said), frame), self._hear)

    def _hear(self, data: bytes) -> None:
        if self._endpoint is not None:
            self._receive(data)

    @staticmethod
    def _pass_on(pieces: Iterable[tuple[float, bytes]], to: Receive) -> None:
        for delay_s, piece in pieces:
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, to, piece)
            else:
                to(piece)


@contextlib.asynccontextmanager
async def in_process(pen: SimulatedPen | None = None) -> AsyncIterator[VirtualPen]:
    """A pen in this process."""
    bench = VirtualPen(pen or SimulatedPen())
    try:
        yield bench
    finally:
        bench.end()


# --- `pen-sim` as a process of its own, in real time -----------------------------------------------------------------


class PenSim:
    """A simulated pen in another process, told by its standard input what to do.

    Args:
        kind: command of `pen-sim`: "serial", "tcp" or "ble".
        options: of that command.
        threads: whether the host's end is moved by threads, as on Windows.
    """

    def __init__(self, kind: str, *options: str, threads: bool | None = None) -> None:
        self._threads = threads
        self.process = subprocess.Popen(
            [sys.executable, "-m", "simulator", kind, "--json", "--control", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]
        self.device = self.url.removeprefix("serial://")

    def transport(self) -> Transport:
        if self.url.startswith("ble:"):
            return transport_for(self.url)
        return SerialTransport(self.device, threads=self._threads)

    async def unplug(self, seconds: float) -> None:
        self._tell(f"unplug {seconds}")

    async def reboot(self) -> None:
        self._tell("reboot")

    async def button(self) -> None:
        self._tell("button")

    def _tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.asynccontextmanager
async def by_pty(*, threads: bool = False) -> AsyncIterator[PenSim]:
    """A pen behind a real pseudo-terminal; a link leads to it, also after it was unplugged."""
    with tempfile.TemporaryDirectory() as folder:
        sim = PenSim("serial", "--link", folder, threads=threads)
        try:
            yield sim
        finally:
            sim.end()


@contextlib.asynccontextmanager
async def by_tcp() -> AsyncIterator[PenSim]:
    """A pen behind a real TCP port."""
    sim = PenSim("tcp")
    try:
        yield sim
    finally:
        sim.end()


@contextlib.asynccontextmanager
async def by_ble(*options: str) -> AsyncIterator[PenSim]:
    """A pen that advertises, reached through bleak, HCI, L2CAP and ATT."""
    sim = PenSim("ble", "--hci", "tcp-server:127.0.0.1:0", *options)
    try:
        yield sim
    finally:
        sim.end()


LINES = [
    pytest.param(Line(virtual=True, plug=in_process), id="in-process"),
    pytest.param(Line(virtual=False, plug=by_pty), id="pty", marks=needs_pty),
    pytest.param(Line(virtual=False, plug=functools.partial(by_pty, threads=True)), id="pty-threads", marks=needs_pty),
    pytest.param(Line(virtual=False, plug=by_tcp), id="tcp"),
    pytest.param(Line(virtual=False, plug=by_ble), id="ble"),
]


HOST_ID = 5
"""Of a link by itself."""


@contextlib.asynccontextmanager
async def opened(
    bench: VirtualPen,
    to_pen: Fault = whole,
    to_host: Fault = whole,
    hear: Callable[[object], None] = lambda _: None,
    lost: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Link]:
    """A link by itself: nobody renews but the test."""
    link = Link(bench.transport(to_pen, to_host), HOST_ID, hear, lost)
    await link.open()
    try:
        yield link
    finally:
        await link.close()
