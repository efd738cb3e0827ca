"""Stands between a host and a pen: bytes go on at once and untouched, and each piece is told."""

import asyncio
import re
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pen_controller.capture.offers import Offer
from pen_controller.transports import Transport
from protocols.capture import Note, Piece
from protocols.framing import Decoder
from protocols.messages import Renew, Stop

_FRAMES = re.compile(rb"\0*[^\0]+\0?|\0+")
"""A stream, cut behind the zero that ends each frame."""


class Tap:
    """Passes bytes both ways while entered. What it ends by itself is its own two lines, and the pen hears no word.

    Args:
        pen: an unopened line to the pen.
        offer: an unopened line for a host.
        tell: gets every piece and note after it was passed on, on the event loop; it must not wait.
    """

    def __init__(self, pen: Transport, offer: Offer, tell: Callable[[Piece | Note], None]) -> None:
        self._pen, self._offer, self._tell = pen, offer, tell
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Open both lines.

        Raises:
            LinkError: the pen's line does not open.
            OSError: the line for the host cannot be had.
        """
        self._began_ns = time.perf_counter_ns()
        await self._pen.open(self._from_pen, self._lost.set_result)
        try:
            await self._offer.open(self._from_host, self._note)
        except BaseException:
            await self._pen.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pen.close()
        await self._offer.close()

    async def ended(self) -> str:
        """Wait until the pen's line breaks, and return why; it may never do so."""
        why = await asyncio.shield(self._lost)
        self._note(f"the pen's line ended: {why}")
        return why

    def _now_us(self) -> int:
        return (time.perf_counter_ns() - self._began_ns) // 1000

    def _note(self, text: str) -> None:
        self._tell(Note(self._now_us(), text))

    def _from_pen(self, data: bytes) -> None:
        self._offer.send(data)
        self._tell(Piece(self._now_us(), False, data))

    def _from_host(self, data: bytes) -> None:
        for part in _FRAMES.findall(data):
            # Where the pen's line is slow STOP overtakes what waits, as it does on the host's own line.
            kind = _kind(part)
            self._pen.write(part, urgent=kind == Stop.TYPE, latest=kind == Renew.TYPE)
        self._tell(Piece(self._now_us(), True, data))


def _kind(part: bytes) -> int | None:
    """The type of a whole frame between its two zeros; None for a part of one, which must stay in its place."""
    if part[0] or part[-1]:
        return None
    frames = Decoder().feed(part)
    return frames[0].type if frames else None
