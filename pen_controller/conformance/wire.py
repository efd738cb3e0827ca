"""The kit's end of a line: all bytes both ways with their times, and waiting for what the pen says."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pen_controller.errors import LinkError
from pen_controller.transports import Transport
from protocols.capture import Piece
from protocols.framing import Decoder, Frame, WireError
from protocols.messages import AnyMessage, Event, State, decode, is_newer, message_types
from protocols.samples import Samples

ANSWER_S = 1.0
"""Longer than any answer takes, over Bluetooth LE at a long interval too."""
KNOWN_TYPES = {*message_types(), Samples.TYPE}

M = TypeVar("M")


class BrokenRuleError(Exception):
    """The pen does not do what the specification asks; the text says what was seen and what was wanted."""


class NotApplicableError(Exception):
    """The requirement does not concern this pen as it is; the text says why."""


def must(holds: object, what: str) -> None:
    """Fail the check, saying `what` the pen did, unless this holds."""
    if not holds:
        raise BrokenRuleError(what)


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of the pen, in its frame, with the host's time of its arrival."""

    at_s: float
    frame: Frame
    message: AnyMessage


class Wire:
    """A line to a pen, without the forgiveness of a `Link`. `begin` forgets what was said, before each check."""

    def __init__(self, transport: Transport) -> None:
        self.name = transport.name
        self.decoder = Decoder()
        self.unreadable: list[str] = []
        """Frames of the pen that no host could read, since the line was opened."""
        self.epoch = 0
        """Of the pen's newest frame."""
        self.seen_t_us: int | None = None
        """Newest pen time heard."""
        self.heard: list[Heard] = []
        self.traffic: list[Piece] = []
        """All that went over the line, and what it was, with times since the check began."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self.lost: str | None = None
        """Why the line is over; None while it stands."""
        self._began_s = self._loop.time()

    async def open(self) -> None:
        """Open the line. Raises `LinkError`."""
        self.lost = None
        await self._transport.open(self._receive, self._lose)

    async def close(self) -> None:
        """Close the line."""
        await self._transport.close()

    def begin(self) -> None:
        """Forget what was said, and count time from here."""
        self.heard.clear()
        self.traffic.clear()
        self._began_s = self._loop.time()

    def put(self, data: bytes, what: str, *, latest: bool = False) -> None:
        """Put bytes on the line, whatever they are; see `Transport.write`."""
        self._note(self._loop.time(), True, data, what)
        self._transport.write(data, latest=latest)

    def since(self, mark: int, kind: type[M]) -> list[M]:
        """The messages of this kind from number `mark` of `heard` on."""
        return [one.message for one in self.heard[mark:] if isinstance(one.message, kind)]

    async def until(self, seen: Callable[[], M | None], wanted: str, within_s: float = ANSWER_S) -> M:
        """Wait until `seen()` finds something, and return it.

        Raises:
            BrokenRuleError: it does not come in time.
            LinkError: the line is lost.
        """
        try:
            async with asyncio.timeout(within_s):
                while (found := seen()) is None:
                    if self.lost is not None:
                        raise LinkError(f"{self.name}: {self.lost}")
                    self._news.clear()
                    await self._news.wait()
                return found
        except TimeoutError:
            raise BrokenRuleError(f"no {wanted} within {within_s:g} s") from None

    async def first(
        self, kind: type[M], mark: int, so: Callable[[M], bool] = lambda _: True, *, within_s: float = ANSWER_S
    ) -> M:
        """Wait for the first message of this kind, from number `mark` on, for which it is so."""
        return await self.until(
            lambda: next((message for message in self.since(mark, kind) if so(message)), None), kind.__name__, within_s
        )

    def _note(self, at_s: float, to_pen: bool, data: bytes, what: str) -> None:
        self.traffic.append(Piece(round((at_s - self._began_s) * 1e6), to_pen, data, what))

    def _lose(self, why: str) -> None:
        self.lost = why
        self._news.set()

    def _receive(self, data: bytes) -> None:
        now_s = self._loop.time()
        mark = len(self.heard)
        for frame in self.decoder.feed(data):
            self._take(now_s, frame)
        what = ", ".join(type(one.message).__name__ for one in self.heard[mark:])
        self._note(now_s, False, data, what)
        self._news.set()

    def _take(self, now_s: float, frame: Frame) -> None:
        self.epoch = frame.epoch
        try:
            message = decode(frame)
        except WireError as error:
            if frame.type in KNOWN_TYPES:  # a pen may say what a later version has added
                self.unreadable.append(str(error))
            return
        self.heard.append(Heard(now_s, frame, message))
        if isinstance(message, State | Event) and (self.seen_t_us is None or is_newer(message.t_us, self.seen_t_us)):
            self.seen_t_us = message.t_us
