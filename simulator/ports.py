"""Serves simulated pens: the pen's end of a line, and real pseudo-terminals and TCP ports to reach it by."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from protocols.messages import WRAP, AnyMessage, encode
from simulator.pen import SimulatedPen

TICK_S = 0.005
"""Longest a due moment waits for its turn; the pen backdates what it does, so its own times stay exact."""

STARVED_US = 50_000
"""Ten ticks: a longer pause between two looks at the clock was not the pen's."""


class Endpoint:
    """The pen's end of one line: bytes in, bytes out. No I/O and no clock."""

    def __init__(self, pen: SimulatedPen) -> None:
        self._pen = pen
        self._decoder = pen.new_decoder()
        self._counter = 0

    def receive(self, data: bytes, clock_us: int) -> bytes:
        """Take bytes off the line; return the pen's answers as bytes."""
        frames = self._decoder.feed(data)
        return self.encode(message for frame in frames for message in self._pen.handle(frame, clock_us))

    def encode(self, messages: Iterable[AnyMessage]) -> bytes:
        """Frame what the pen says for this line."""
        return b"".join(map(self._frame, messages))

    def _frame(self, message: AnyMessage) -> bytes:
        self._counter = (self._counter + 1) % WRAP
        return encode(message, epoch=self._pen.firmware.epoch, counter=self._counter)


class Line(Protocol):
    """What a pen is plugged into."""

    @property
    def urls(self) -> list[str]:
        """How a host opens this line now; empty while it is unplugged."""

    def send(self, messages: list[AnyMessage]) -> None:
        """Say this to whoever is connected."""

    async def unplug(self) -> None:
        """Pull the cable."""

    async def plug(self) -> None:
        """Put the cable (back) in."""

    async def restart(self) -> None:
        """The pen has rebooted; do what that does to the line."""


def new_terminal() -> tuple[int, int, str]:
    """Open a raw pseudo-terminal, whose near end does not block; return both ends and its path. POSIX only."""
    import pty  # noqa: PLC0415  # Windows, where the rest is imported, has none
    import tty  # noqa: PLC0415  # as above

    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave, os.ttyname(slave)


class PtyLine:
    """A pen behind a real pseudo-terminal. POSIX only.

    Args:
        pen: which pen.
        clock: time in microseconds.
        link: a symbolic link that always leads to the present terminal, as /dev/serial/by-id does.
    """

    def __init__(self, pen: SimulatedPen, clock: Callable[[], int], link: Path | None = None) -> None:
        self._pen, self._clock, self._link = pen, clock, link
        self._path: str | None = None
        self._master = self._slave = -1

    @property
    def urls(self) -> list[str]:
        """One `serial://` URL."""
        return [f"serial://{self._link or self._path}"] if self._path else []

    async def plug(self) -> None:
        """Open a new terminal."""
        self._endpoint = Endpoint(self._pen)
        self._master, self._slave, self._path = new_terminal()
        if self._link:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self._path)
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    async def unplug(self) -> None:
        """Close both ends: the host reads an end of file or an I/O error, as from a pulled USB cable."""
        if self._path is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._path = None
        if self._link:
            self._link.unlink(missing_ok=True)

    async def restart(self) -> None:
        """Nothing: a cable, and the chip at its end, outlast the pen's reboot."""

    def send(self, messages: list[AnyMessage]) -> None:
        """Write to the terminal."""
        if self._path is not None:
            self._write(self._endpoint.encode(messages))

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._write(self._endpoint.receive(os.read(self._master, 65536), self._clock()))

    def _write(self, data: bytes) -> None:
        # Nobody reads: the bytes fall off the line, as they do from a wire.
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)


class TcpLine:
    """A pen behind a TCP port on the loopback interface; several hosts may connect at once."""

    def __init__(self, pen: SimulatedPen, clock: Callable[[], int], port: int = 0) -> None:
        self._pen, self._clock, self._port = pen, clock, port
        self._server: asyncio.Server | None = None
        self._hosts: dict[asyncio.StreamWriter, Endpoint] = {}
        self._alone = asyncio.Event()
        self._alone.set()

    @property
    def urls(self) -> list[str]:
        """One `socket://` URL."""
        return [f"socket://127.0.0.1:{self._port}"] if self._server else []

    async def plug(self) -> None:
        """Listen; the port found free the first time is kept."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        """Drop every connection and stop listening."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._hosts:
            writer.transport.abort()
        await self._server.wait_closed()
        await self._alone.wait()  # Python 3.11 does not wait until the last host has been served
        self._server = None

    async def restart(self) -> None:
        """Nothing: a cable, and the chip at its end, outlast the pen's reboot."""

    def send(self, messages: list[AnyMessage]) -> None:
        """Write to every host."""
        for writer, endpoint in self._hosts.items():
            self._write(writer, endpoint.encode(messages))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoint = self._hosts[writer] = Endpoint(self._pen)
        self._alone.clear()
        try:
            while data := await reader.read(65536):
                now_us = self._clock()
                self.send(self._pen.step(now_us))  # what fell due meanwhile is for every host, not for the one who asks
                self._write(writer, endpoint.receive(data, now_us))
        except ConnectionError:
            pass
        finally:
            del self._hosts[writer]
            writer.close()
            if not self._hosts:
                self._alone.set()

    @staticmethod
    def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
        # A host that does not read must not fill this process's memory.
        if writer.transport.get_write_buffer_size() < 1 << 20:
            writer.write(data)


class Bench:
    """Some pens on their lines, run in real time.

    Their time stands still while this process is not given the processor: a real pen would not have been starved, and
    would not have missed the renewals that wait in its line.
    """

    def __init__(self) -> None:
        self._read_us = time.monotonic_ns() // 1000
        self._clock_us = 0
        self.pens: list[tuple[SimulatedPen, Line]] = []

    def clock_us(self) -> int:
        """Time since the bench was set up, less what it was starved of."""
        now_us = time.monotonic_ns() // 1000
        self._clock_us += min(now_us - self._read_us, STARVED_US)
        self._read_us = now_us
        return self._clock_us

    async def run(self) -> None:
        """Let time pass for all pens until cancelled; then unplug them."""
        try:
            while True:
                now_us = self.clock_us()
                for pen, line in self.pens:
                    if pen.next_due_us <= now_us:
                        line.send(pen.step(now_us))
                await asyncio.sleep(TICK_S)
        finally:
            for _, line in self.pens:
                await line.unplug()


def has_pseudo_terminals() -> bool:
    """Whether this system has pseudo-terminals."""
    return sys.platform != "win32"
