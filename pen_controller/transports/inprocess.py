"""A line inside this process, to whatever plays the pen there: a simulation, a replay, a test."""

import asyncio
from typing import Protocol

from pen_controller.transports import Lost, Receive


class PenEnd(Protocol):
    """The pen's end of the line. All its methods are called on the event loop."""

    def connect(self, receive: Receive, lost: Lost) -> None:
        """A host plugs in: bytes of the pen go to `receive`, and a broken line is told to `lost`, once.

        Raises:
            LinkError: there is no pen to be had.
        """

    def take(self, data: bytes) -> None:
        """Bytes from the host."""

    def disconnect(self) -> None:
        """The host has unplugged."""


class InProcessTransport:
    """A line without a wire.

    Args:
        pen_end: what plays the pen.
        name: the line as a person would name it.
    """

    def __init__(self, pen_end: PenEnd, name: str = "in-process pen") -> None:
        self.name = name
        self._end = pen_end
        self._receive: Receive | None = None

    async def open(self, receive: Receive, lost: Lost) -> None:
        """See `Transport.open`."""
        loop = asyncio.get_running_loop()

        def soon(data: bytes) -> None:  # the pen's word never comes while its host is still speaking
            loop.call_soon(self._deliver, receive, data)

        self._end.connect(soon, lost)
        self._receive = receive

    def write(
        self,
        data: bytes,
        *,
        urgent: bool = False,  # noqa: ARG002  # nothing ever waits here
        latest: bool = False,  # noqa: ARG002  # so nothing is overtaken
    ) -> None:
        """See `Transport.write`."""
        if self._receive is not None:
            self._end.take(data)

    async def close(self) -> None:
        """See `Transport.close`."""
        if self._receive is not None:
            self._receive = None
            self._end.disconnect()

    def _deliver(self, receive: Receive, data: bytes) -> None:
        if self._receive is receive:
            receive(data)
