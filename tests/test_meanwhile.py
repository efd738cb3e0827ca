"""Work in the background ends when it is no longer wanted, even if it does not hear the first time."""

import asyncio
import contextlib

import pytest

from pen_controller.meanwhile import call_off, meanwhile
from tests.running import in_virtual_time


async def deaf(times: int) -> None:
    """Go on for as many cancellations."""
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
    await asyncio.sleep(1000)


@in_virtual_time
async def test_work_ends_though_it_swallows_a_cancellation() -> None:
    async with meanwhile(deaf(3), "deaf") as task:
        await asyncio.sleep(0)
    assert task.cancelled()


@in_virtual_time
async def test_what_failed_meanwhile_is_raised_at_the_end() -> None:
    async def fail() -> None:
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        async with meanwhile(fail(), "fail"):
            await asyncio.sleep(1)


@in_virtual_time
async def test_what_failed_meanwhile_does_not_take_the_place_of_a_cancellation() -> None:
    async def fail() -> None:
        raise ValueError("failed")

    async def work() -> None:
        with contextlib.suppress(ValueError):
            async with meanwhile(fail(), "fail"):
                await asyncio.sleep(1000)
        await asyncio.sleep(1000)

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    assert task.cancelled()


@in_virtual_time
async def test_who_is_cancelled_while_calling_off_is_so_once_all_has_ended() -> None:
    task = asyncio.create_task(deaf(3))
    await asyncio.sleep(0)
    calling = asyncio.create_task(call_off(task))
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert task.cancelled()


@in_virtual_time
async def test_all_that_is_called_off_has_ended() -> None:
    tasks = [asyncio.create_task(deaf(times)) for times in range(4)]
    await asyncio.sleep(0)
    await call_off(*tasks)
    assert all(task.cancelled() for task in tasks)
