"""One virtual clock for all: pen, line, person, and the event loop of the host's program.

The world's own things wait in a heap. The loop of the host, when it has nothing to do, lets the world run on, until it
is woken. While it is blocked or its machine sleeps, the world runs on all the same.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class Clock:
    """World time in integer microseconds, and what is due when."""

    def __init__(self) -> None:
        self.now_us = 0
        self._due: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0
        self._until_us = 0

    def at(self, t_us: int, call: Callable[..., object], *what: Any) -> None:
        """Call at this time, after what was asked for earlier at the same time; what is past is due now."""
        self._number += 1
        heapq.heappush(self._due, (max(t_us, self.now_us), self._number, call, what))

    def after(self, ms: float, call: Callable[..., object], *what: Any) -> None:
        """Call so many milliseconds from now."""
        self.at(self.now_us + round(ms * 1000), call, *what)

    def run(self, until_us: int, enough: Callable[[], object] = lambda: False) -> None:
        """Let time pass, at most up to `until_us`; it ends with the first thing after which it is enough."""
        due, outer_us = self._due, self._until_us
        self._until_us = until_us
        try:
            while due and due[0][0] <= until_us:
                self.now_us, _, call, what = heapq.heappop(due)
                call(*what)
                if enough():
                    return
            self.now_us = max(self.now_us, until_us)
        finally:
            self._until_us = outer_us

    def skip_to(self, t_us: int) -> bool:
        """Go on to this time at once if nothing is due until then; say whether it was done.

        For one who is called by `run` and has nothing to tell anybody: that is quicker than being called again.
        """
        if t_us > self._until_us or (self._due and self._due[0][0] <= t_us):
            return False
        self.now_us = t_us
        return True


class WorldLoop(asyncio.BaseEventLoop):
    """The event loop of the host's machine, in world time. It needs no selector: what comes, comes from the world."""

    _ready: deque[asyncio.Handle]
    """asyncio's own: what is to be called at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self._selector = self  # what asyncio asks to wait
        self._slept_us = 0

    def time(self) -> float:
        """The machine's monotonic clock, in seconds, which stands still while the machine sleeps."""
        return (self.clock.now_us - self._slept_us) / 1e6

    def select(self, timeout: float | None) -> list[Any]:
        """Wait: let the world run until this loop has something to do."""
        if timeout is None or timeout > 0:
            until_us = self.clock.now_us + (10**12 if timeout is None else max(1, round(timeout * 1e6)))
            self.clock.run(until_us, lambda: self._ready)
        return []

    def block(self, for_us: int) -> None:
        """Do nothing for so long, though the clock runs, as a program that is busy elsewhere."""
        self.clock.run(self.clock.now_us + for_us)

    def sleep(self, for_us: int) -> None:
        """Have the machine sleep for so long: its clock stands still."""
        self.block(for_us)
        self._slept_us += for_us

    def run_in_executor(  # type: ignore[override]  # a thread would live outside of time
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Do at once what should be done in a thread."""
        assert executor is None
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # whatever it is, who waits must hear of it
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nothing waits that would have to be woken."""
