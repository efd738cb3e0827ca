"""Hands each thing that happens to everyone who listens, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar
from weakref import WeakSet

from pen_controller.errors import PenError

T = TypeVar("T")

MOST_WAITING = 200
"""Ten seconds of sample batches."""


class Listener(AsyncIterator[T], Generic[T]):
    """Iterates over what one listener hears. Made by `Subscription.follow`; hears no more once closed, or let go of."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[T | PenError | None] = asyncio.Queue()
        self._open = True

    @property
    def behind(self) -> bool:
        """Whether it has not kept up."""
        return self._waiting.qsize() >= MOST_WAITING

    @property
    def open(self) -> bool:
        """Whether it still listens."""
        return self._open

    def hear(self, item: T | PenError | None) -> None:
        """Take the next item; an error is raised, and None ends the iteration."""
        self._waiting.put_nowait(item)

    def close(self) -> None:
        """Listen no more. Nothing is waited for, and nobody is told."""
        self._open = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._open:
            raise StopAsyncIteration
        item = await self._waiting.get()
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
        # Weak: a listener that was dropped without a word must not count as one that does not keep up.
        self._listeners: WeakSet[Listener[T]] = WeakSet()
        self._early: deque[T] = deque(maxlen=MOST_WAITING if keep else 0)

    def put(self, item: T) -> bool:
        """Hand an item to all. False if one has fallen behind: it gets what still waits, then a `PenError`."""
        listeners = [listener for listener in self._listeners if listener.open]
        if not listeners:
            self._early.append(item)
        kept_up = True
        for listener in listeners:
            if listener.behind:
                kept_up = False
                self._listeners.discard(listener)
                listener.hear(PenError("whoever listened to the pen did not keep up"))
            else:
                listener.hear(item)
        return kept_up

    def fail(self, error: PenError) -> None:
        """Raise this in all listeners, after what they still have to hear."""
        self._close(error)

    def end(self) -> None:
        """End the iteration of all listeners."""
        self._close(None)

    def follow(self) -> Listener[T]:
        """Listen from now on (not only from the first `anext` on). Close it when done."""
        listener: Listener[T] = Listener()
        while self._early:
            listener.hear(self._early.popleft())
        self._listeners.add(listener)
        return listener

    def _close(self, last: PenError | None) -> None:
        for listener in self._listeners:
            listener.hear(last)
        self._listeners.clear()
