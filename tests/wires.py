"""A bare host end of a real line: says messages, and waits for one of a kind, with a bound. No claim, no renewals."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from pen_controller.transports import transport_for
from protocols.framing import Decoder
from protocols.messages import AnyMessage, Message, decode, encode

BOUND_S = 10.0
M = TypeVar("M")


class Wire:
    """One connection. `epoch` and `counter` are those of the newest frame heard."""

    def __init__(self, reader: asyncio.StreamReader, write: Callable[[bytes], object]) -> None:
        self.epoch = self.counter = 0
        self.lost_frames = 0
        self._reader, self._write = reader, write
        self._decoder = Decoder()
        self._waiting: list[AnyMessage] = []

    def say(self, message: Message, *, epoch: int = 0, counter: int = 0) -> None:
        self._write(encode(message, epoch=epoch, counter=counter))

    async def hear(self, kind: type[M], so: Callable[[M], bool] = lambda _: True) -> M:
        """The next message of this kind for which it is so; what comes before it is dropped."""
        async with asyncio.timeout(BOUND_S):
            while True:
                while self._waiting:
                    message = self._waiting.pop(0)
                    if isinstance(message, kind) and so(message):
                        return message
                data = await self._reader.read(65_536)
                if not data:
                    raise EOFError("the line has ended")
                for frame in self._decoder.feed(data):
                    if self.counter:
                        self.lost_frames += frame.counter - self.counter - 1
                    self.epoch, self.counter = frame.epoch, frame.counter
                    self._waiting.append(decode(frame))

    async def ended(self) -> None:
        """Wait for the end of the line, as a host sees it when a cable is pulled."""
        with contextlib.suppress(EOFError, OSError):
            await self.hear(type(None))
            raise AssertionError("the line has not ended")


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    """Open a `serial://`, `socket://` or `ble:` URL."""
    if url.startswith("ble:"):
        reader, line = asyncio.StreamReader(), transport_for(url)
        await line.open(reader.feed_data, lambda _: reader.feed_eof())
        try:
            yield Wire(reader, line.write)
        finally:
            await line.close()
        return
    scheme, _, rest = url.partition("://")
    if scheme == "socket":
        host, _, port = rest.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield Wire(reader, writer.write)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return
    fd = os.open(rest, os.O_RDWR | os.O_NOCTTY)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    try:
        yield Wire(reader, lambda data: os.write(fd, data))
    finally:
        transport.close()
