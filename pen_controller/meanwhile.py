"""Work that goes on while other work is done, and ends with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

AGAIN_S = 0.1


async def call_off(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until all have ended, however they end; what they raise is for who asks them.

    Again and again: up to Python 3.11, `asyncio.wait_for` swallows a cancellation that comes with what it waits for,
    and the MQTT client waits by it. Who is cancelled while calling off is so once all have ended.
    """
    pending, cancelled = set(tasks), None
    while pending:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
        except asyncio.CancelledError as error:
            cancelled = error
    await asyncio.gather(*tasks, return_exceptions=True)
    if cancelled is not None:
        raise cancelled


@contextlib.asynccontextmanager
async def meanwhile(work: Coroutine[None, None, None], name: str) -> AsyncIterator[asyncio.Task[None]]:
    """Do work that has no end of its own until the context is left; the task ends earlier only if it fails.

    Its error is raised when the context is left, but not in place of a cancellation: who is called off ends.

    Args:
        work: What to do.
        name: Of the task, for who looks at a program that hangs.
    """
    task = asyncio.create_task(work, name=name)
    called_off = False
    try:
        yield task
    except asyncio.CancelledError:
        called_off = True
        raise
    finally:
        await call_off(task)
        if not called_off and not task.cancelled():
            task.result()
