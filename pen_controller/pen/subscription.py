"""Hands each thing that happens to everyone who listens, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

from pen_controller.errors import PenError

T = TypeVar("T")

MOST_WAITING = 200
"""Ten seconds of sample batches."""


class Listener(AsyncIterator[T], Generic[T]):
    """Iterates over what one listener hears. Made by `Subscription.follow`.

    Close it when you listen no more: what waits in it would count as not kept up with. One that is dropped is closed.

    Args:
        queues: of all listeners.
    """

    def __init__(self, queues: "set[asyncio.Queue[T | PenError | None]]") -> None:
        self._queues, self._queue = queues, asyncio.Queue[T | PenError | None]()
        self._open = True

    def begin(self, early: deque[T]) -> Self:
        """Listen from now on, and take what came before."""
        while early:
            self._queue.put_nowait(early.popleft())
        self._queues.add(self._queue)
        return self

    def close(self) -> None:
        """Listen no more; who waits for the next item hears that there is none."""
        if self._open:
            self._queue.put_nowait(None)
        self._open = False
        self._queues.discard(self._queue)

    def __del__(self) -> None:
        self._queues.discard(self._queue)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._open:
            raise StopAsyncIteration
        item = await self._queue.get()
        if item is not None and not isinstance(item, PenError):
            return item
        self.close()
        raise item or StopAsyncIteration


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
        kept_up = True
        for queue in tuple(self._queues):  # a listener may be dropped at any moment
            if queue.qsize() < MOST_WAITING:
                queue.put_nowait(item)
            else:
                kept_up = False
                self._queues.discard(queue)
                queue.put_nowait(PenError("whoever listened to the pen did not keep up"))
        return kept_up

    def fail(self, error: PenError) -> None:
        """Raise this in all listeners, after what they still have to hear."""
        self._last(error)

    def end(self) -> None:
        """End the iteration of all listeners."""
        self._last(None)

    def follow(self) -> Listener[T]:
        """Listen from now on (not only from the first `anext` on)."""
        return Listener(self._queues).begin(self._early)

    def _last(self, last: PenError | None) -> None:
        for queue in tuple(self._queues):
            queue.put_nowait(last)
        self._queues.clear()
