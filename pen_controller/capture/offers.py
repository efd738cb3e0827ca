"""Lines that a host program opens in place of the pen's: a TCP port of this machine, or a pseudo-terminal."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Protocol, cast

from pen_controller.transports import Receive

READ_BYTES = 65_536
MAX_UNREAD_BYTES = 1 << 20
"""A host that leaves more than this unread has stopped reading; more falls off the line."""
LOOK_S = 0.02
"""How soon a host is seen that has opened a pseudo-terminal."""
LAST_WORD_S = 0.2
"""How long a host may take to read what was said last."""

Note = Callable[[str], None]


class Offer(Protocol):
    """A line for one host at a time, which may leave and come again."""

    @property
    def url(self) -> str:
        """How a host opens it, once it is open."""

    async def open(self, receive: Receive, note: Note) -> None:
        """Offer the line: a host's bytes come by `receive`, its coming and going by `note`, on the event loop.

        Raises:
            OSError: it cannot be had.
        """

    def send(self, data: bytes) -> None:
        """Say this to the host, without waiting; dropped where there is none."""

    async def close(self) -> None:
        """Take the line away; quiet if it was not open."""


class TcpOffer:
    """A TCP port on the loopback interface; 0 finds a free one. A second host is turned away."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._host: asyncio.Transport | None = None
        self._alone = asyncio.Event()
        self._alone.set()

    @property
    def url(self) -> str:
        """See `Offer.url`."""
        return f"socket://127.0.0.1:{self._port}"

    async def open(self, receive: Receive, note: Note) -> None:
        """See `Offer.open`."""
        self._receive, self._note = receive, note
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Host(self), "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def send(self, data: bytes) -> None:
        """See `Offer.send`."""
        if self._host is not None and self._host.get_write_buffer_size() < MAX_UNREAD_BYTES:
            self._host.write(data)

    async def close(self) -> None:
        """See `Offer.close`."""
        if self._server is None:
            return
        self._server.close()
        if self._host is not None:
            self._host.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    await self._alone.wait()
            if self._host is not None:
                self._host.abort()
        await self._alone.wait()
        await self._server.wait_closed()
        self._server = None

    def come(self, host: asyncio.Transport) -> None:
        """A host has connected."""
        if self._host is not None:
            self._note("a second host was turned away")
            host.abort()
            return
        self._host = host
        self._alone.clear()
        self._note("a host came")

    def hear(self, host: asyncio.Transport, data: bytes) -> None:
        """Bytes of a host."""
        if host is self._host:
            self._receive(data)

    def leave(self, host: asyncio.Transport) -> None:
        """A host has gone."""
        if host is self._host:
            self._host = None
            self._alone.set()
            self._note("the host left")


class _Host(asyncio.Protocol):
    """One connection, which tells its offer."""

    def __init__(self, offer: TcpOffer) -> None:
        self._offer = offer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._offer.come(self._transport)

    def data_received(self, data: bytes) -> None:
        self._offer.hear(self._transport, data)

    def connection_lost(self, _: Exception | None) -> None:
        self._offer.leave(self._transport)


class PtyOffer:
    """A pseudo-terminal, for a program that knows serial ports only. POSIX only."""

    def __init__(self) -> None:
        self._path = ""
        self._master = -1
        self._has_host = False
        self._unread = b""

    @property
    def url(self) -> str:
        """See `Offer.url`."""
        return f"serial://{self._path}"

    async def open(self, receive: Receive, note: Note) -> None:
        """See `Offer.open`."""
        import pty  # noqa: PLC0415  # Windows, where the rest is imported, has none
        import tty  # noqa: PLC0415  # as above

        self._receive, self._note = receive, note
        self._loop = asyncio.get_running_loop()
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self._path = os.ttyname(slave)
        os.close(slave)  # so that a host's coming and going shows
        os.set_blocking(self._master, False)
        self._look()

    def send(self, data: bytes) -> None:
        """See `Offer.send`."""
        if self._has_host and len(self._unread) < MAX_UNREAD_BYTES:
            self._unread += data
            self._drain()

    async def close(self) -> None:
        """See `Offer.close`."""
        if self._path:
            self._leave()
            self._looking.cancel()
            os.close(self._master)
            self._path = ""

    def _look(self) -> None:
        """Read what a host says, if one has opened the terminal; else look again soon, for nothing tells of it."""
        data = self._read()
        if data is None:
            self._leave()
            self._looking = self._loop.call_later(LOOK_S, self._look)
            return
        if not self._has_host:
            self._has_host = True
            self._note("a host came")
            self._loop.add_reader(self._master, self._look)
        if data:
            self._receive(data)

    def _read(self) -> bytes | None:
        """What there is to read; None while nobody has the terminal open."""
        try:
            return os.read(self._master, READ_BYTES) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def _leave(self) -> None:
        if self._has_host:
            self._has_host, self._unread = False, b""
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            self._note("the host left")

    def _drain(self) -> None:
        """Write what the terminal takes; the rest goes when it can."""
        try:
            while self._unread:
                self._unread = self._unread[os.write(self._master, self._unread) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unread = b""  # the host has left
        if self._unread:
            self._loop.add_writer(self._master, self._drain)
        else:
            self._loop.remove_writer(self._master)
