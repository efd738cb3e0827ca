"""Connect, treat, drop, reconnect, again and again: what that leaves behind, here and in `pen-sim`."""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Any

from pen_controller.errors import LinkError
from pen_controller.pen import Pen
from pen_controller.transports.ble import Sighting, look
from protocols.words import PenState
from tests.lines import PenSim, by_ble, run_needles
from tests.running import until

SETTLED = 0.25
"""Share of the cycles after which memory has found its level: caches are full, pools have grown."""
MOST_GROWTH_KIB = 4096
"""Over all later cycles; about what an allocator moves by itself."""
MOST_GROWTH_OBJECTS = 100
"""Of what Python holds: one object left behind at each of the later 150 cycles of 200 would be more."""
UNPLUGGED_S = 0.05


async def left_open() -> tuple[int, int]:
    """How many tasks and file descriptors this process has."""
    gc.collect()
    await asyncio.sleep(0.01)  # sockets close on the loop's next turn
    return len(asyncio.all_tasks()), open_files()


def open_files() -> int:
    """How many file descriptors this process has; 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0


def memory_kib(process_id: int) -> int:
    """Memory that a process has in use; 0 where the system does not say."""
    status = Path(f"/proc/{process_id}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def address_of(url: str) -> str:
    """The same pen by its address, so that nobody listens for a namesake each time."""
    seen: list[Sighting] = []
    hci = url.partition("?hci=")[2]
    await look(seen.append, hci=hci, seconds=1.0)
    return f"ble:{seen[0].address}?hci={hci}"


async def cycle(sim: PenSim, url: str) -> None:
    """Connect, run the needles, lose the link, come back, put all in order, and leave."""
    async with Pen.open(url) as pen:
        await run_needles(pen)
        strokes = pen.state.strokes
        await until(lambda: pen.state.strokes > strokes + 5)
        await sim.unplug(UNPLUGGED_S)
        await until(lambda: not pen.connected)
        while not pen.connected:
            try:
                await pen.reconnect()
            except LinkError:
                await asyncio.sleep(UNPLUGGED_S)
        await until(lambda: pen.state.state is PenState.LATCHED)
        await pen.clear(pen.state.latch_id)


async def run(count: int, seed: int) -> dict[str, Any]:
    """Run the cycles; the figures of this process and of the pen's."""
    async with by_ble("--seed", str(seed)) as sim:
        url = await address_of(sim.url)
        ours, theirs = os.getpid(), sim.process.pid
        tasks, files = await left_open()
        settled_kib = pen_settled_kib = settled_objects = 0
        for number in range(count):
            await cycle(sim, url)
            if number == round(count * SETTLED):
                gc.collect()
                settled_kib, pen_settled_kib = memory_kib(ours), memory_kib(theirs)
                settled_objects = len(gc.get_objects())
            print(f"\r{number + 1} of {count} cycles", end="", file=sys.stderr)
        print(file=sys.stderr)
        tasks_now, files_now = await left_open()
        leaked_tasks, leaked_files = tasks_now - tasks, files_now - files
        growth_objects = len(gc.get_objects()) - settled_objects
        growth_kib, pen_growth_kib = memory_kib(ours) - settled_kib, memory_kib(theirs) - pen_settled_kib
    return {
        "title": f"{count} cycles of connect, treat, drop, reconnect",
        "leaked_tasks": leaked_tasks,
        "leaked_files": leaked_files,
        "settled_kib": settled_kib,
        "growth_kib": growth_kib,
        "growth_objects": growth_objects,
        "pen_sim_growth_kib": pen_growth_kib,
        "bar": f"no task, no file, growth at most {MOST_GROWTH_OBJECTS} objects and {MOST_GROWTH_KIB} KiB",
        "passed": not leaked_tasks
        and not leaked_files
        and growth_objects <= MOST_GROWTH_OBJECTS
        and growth_kib <= MOST_GROWTH_KIB,
    }


def cycles(count: int, seed: int) -> dict[str, Any]:
    """The figures of so many cycles."""
    return asyncio.run(run(count, seed))
