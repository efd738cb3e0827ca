"""Simulated pens in processes of their own, for demonstrations and to practise."""

import asyncio
import contextlib
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

from pen_controller.errors import LinkError

READY_S = 20.0


class SimulatedLine:
    """A `pen-sim` on a line: `url` is where the pen is."""

    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        self._process = process

    def tell(self, command: str) -> None:
        """Have something happen to the pen: one command of `pen-sim --control`."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{command}\n".encode())


@contextlib.asynccontextmanager
async def python(*arguments: str, stderr: int | None = None) -> AsyncIterator[Process]:
    """A Python module as its own process, ended when the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdin=PIPE, stdout=PIPE, stderr=stderr
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


@contextlib.asynccontextmanager
async def simulated(seed: int, *, zone_cm2: float | None = None, ble: bool = False) -> AsyncIterator[SimulatedLine]:
    """One simulated pen and the hand that holds it: on a pseudo-terminal, on TCP where there is none, or in the air.

    Args:
        seed: of pen and hand.
        zone_cm2: that the hand treats; else the simulator's own.
        ble: reach it over Bluetooth LE, without a radio.

    Raises:
        LinkError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="pen-sim-") as folder:
        line = ["tcp"] if sys.platform == "win32" else ["serial", "--link", folder]
        line = ["ble", "--hci", "tcp-server:127.0.0.1:0"] if ble else line
        zone = [] if zone_cm2 is None else ["--zone-cm2", str(zone_cm2)]
        async with python("simulator", *line, "--json", "--control", "--seed", str(seed), *zone) as process:
            announced = b""
            if process.stdout is None:
                raise LinkError("the simulator has no output")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_S):
                    announced = await process.stdout.readline()
            if not announced:
                raise LinkError("the simulator did not start")
            drain = asyncio.create_task(_drain(process.stdout), name="what the simulator says")
            try:
                yield SimulatedLine(process, json.loads(announced)["url"])
            finally:
                drain.cancel()
                await asyncio.gather(drain, return_exceptions=True)


async def _drain(said: asyncio.StreamReader) -> None:
    """Read what nobody needs, or the pipe would fill."""
    while await said.readline():
        pass
