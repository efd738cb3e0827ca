"""Work that goes on while other work is done, and ends with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine


@contextlib.asynccontextmanager
async def meanwhile(work: Coroutine[None, None, None], name: str) -> AsyncIterator[asyncio.Task[None]]:
    """Do work that has no end of its own until the context is left; the task ends earlier only if it fails.

    Args:
        work: What to do.
        name: Of the task, for who looks at a program that hangs.
    """
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
