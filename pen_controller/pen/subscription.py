"""Hands each thing that happens to everyone who listens, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from pen_controller.errors import PenError

T = TypeVar("T")

MOST_WAITING = 200
"""Ten seconds of sample batches."""


class Subscription(Generic[T]):
    """One source, any number of listeners, each with a bounded queue of its own.

    Args:
        keep: hold what comes while nobody listens, for the first who does.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._queues: set[asyncio.Queue[T | PenError | None]] = set()
        self._early: deque[T] = deque(maxlen=MOST_WAITING if keep else 0)

    def put(self, item: T) -> bool:
        """Hand an item to all. False if one has fallen behind: it gets what still waits, then a `PenError`."""
        if not self._queues:
            self._early.append(item)
        behind = {queue for queue in self._queues if queue.qsize() >= MOST_WAITING}
        self._queues -= behind
        for queue in behind:
            queue.put_nowait(PenError("whoever listened to the pen did not keep up"))
        for queue in self._queues:
            queue.put_nowait(item)
        return not behind

    def fail(self, error: PenError) -> None:
        """Raise this in all listeners, after what they still have to hear."""
        self._close(error)

    def end(self) -> None:
        """End the iteration of all listeners."""
        self._close(None)

    def follow(self) -> AsyncIterator[T]:
        """Listen from now on (not only from the first `anext` on)."""
        queue: asyncio.Queue[T | PenError | None] = asyncio.Queue(MOST_WAITING + 1)
        while self._early:
            queue.put_nowait(self._early.popleft())
        self._queues.add(queue)
        return self._listen(queue)

    def _close(self, last: PenError | None) -> None:
        queues, self._queues = self._queues, set()
        for queue in queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(last)

    async def _listen(self, queue: asyncio.Queue[T | PenError | None]) -> AsyncIterator[T]:
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, PenError):
                    raise item
                yield item
        finally:
            self._queues.discard(queue)
