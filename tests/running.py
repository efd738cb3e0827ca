"""Runs tests: in virtual time or real, leaving no task behind, waiting for conditions and not for the clock."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

BOUND_S = 20.0
"""Longest wait for what must happen; nothing is asserted about how fast it does."""


class _Jump(selectors.DefaultSelector):
    """Waits for nothing: time jumps to the next thing that is due."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is due, and nothing will ever happen"
            self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0 and costs nothing."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


async def leaving_no_task(test: Coroutine[Any, Any, None]) -> None:
    """Run a test; fail if a task that it began is not finished when it ends."""
    before = asyncio.all_tasks()
    await test
    unfinished = asyncio.all_tasks() - before
    assert not unfinished, f"unfinished tasks: {unfinished}"


def run(test: Coroutine[Any, Any, None], *, virtual: bool) -> None:
    """Run a test on a loop of its own, in virtual or in real time."""
    with asyncio.Runner(loop_factory=VirtualLoop if virtual else None) as runner:
        runner.run(leaving_no_task(test))


Test = Callable[..., Coroutine[Any, Any, None]]


def in_virtual_time(test: Test) -> Callable[..., None]:
    """Make a coroutine a test that runs in virtual time."""

    @functools.wraps(test)
    def synchronous(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs), virtual=True)

    return synchronous


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait until `condition()` holds, and fail if it never does."""
    try:
        async with asyncio.timeout(BOUND_S):
            while not condition():  # noqa: ASYNC110  # any condition at all, so there is no event for it
                await asyncio.sleep(0.002)
    except TimeoutError:
        pytest.fail(f"waited {BOUND_S} s for {what}")
