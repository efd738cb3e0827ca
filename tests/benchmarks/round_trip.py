"""How long a command takes to the pen and back, over real pseudo-terminals to other processes.

Ours is `Link.command` with a Disarm that an idle pen answers, against `pen-sim serial`: framed, checked, executed once,
answered. It is held against

- the bare echo of the same bytes by a process that does nothing else, host and echo both `add_reader` and `os.write`;
- pymodbus's asynchronous serial client reading one register from pymodbus's own server. Server and client each open a
  terminal by name, so a relay process joins two of them; for this comparison the pen is reached through the same relay.

All lines stay open and take turns, so that a slow moment hits all; the pens go on sending their telemetry meanwhile.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from pymodbus.client import AsyncModbusSerialClient

from pen_controller.pen.link import Link
from pen_controller.transports import transport_for
from protocols.messages import Disarm, encode
from tests.benchmarks.far_end import MODBUS_BAUD
from tests.lines import PenSim

ROUNDS = 15
TRIPS = 100
ECHO_BAR = 6.0
"""Our median over the bare echo's."""
MODBUS_BAR = 1.0
"""Our median over pymodbus's, both through the relay."""

Trip = Callable[[], Awaitable[object]]


@contextlib.contextmanager
def far_end(*arguments: str) -> Iterator[list[str]]:
    """Run a far end; yields the words it says when it is ready."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.far_end", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().split()
        finally:
            process.stdin.close()


@contextlib.asynccontextmanager
async def pen_trip(url: str) -> AsyncIterator[Trip]:
    """A command to the pen at this URL."""
    link = Link(transport_for(url), 1, lambda _: None, lambda why: print(why, file=sys.stderr))
    await link.open()
    try:
        await link.claim()
        renewing = asyncio.create_task(renew(link))
        try:
            yield lambda: link.command("disarm", Disarm)
        finally:
            renewing.cancel()
    finally:
        link.release()
        await link.close()


async def renew(link: Link) -> None:
    """Keep the claim."""
    while True:
        link.renew()
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def echo_trip(path: str) -> AsyncIterator[Trip]:
    """The bytes of that command, there and back."""
    loop = asyncio.get_running_loop()
    frame = encode(Disarm(1), epoch=1, counter=1)
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(fd)
    waiting: asyncio.Future[bytes] = loop.create_future()
    loop.add_reader(fd, lambda: waiting.set_result(os.read(fd, 65_536)))

    async def trip() -> None:
        nonlocal waiting
        waiting = loop.create_future()
        os.write(fd, frame)
        if await waiting != frame:
            raise RuntimeError("the echo is not what was sent")

    try:
        yield trip
    finally:
        loop.remove_reader(fd)
        os.close(fd)


@contextlib.asynccontextmanager
async def modbus_trip(path: str) -> AsyncIterator[Trip]:
    """One register, read by pymodbus."""
    client = AsyncModbusSerialClient(path, baudrate=MODBUS_BAUD)
    if not await client.connect():
        raise RuntimeError("pymodbus does not connect")

    async def trip() -> None:
        if (await client.read_holding_registers(0)).registers != [17]:
            raise RuntimeError("the register is not what the server holds")

    try:
        yield trip
    finally:
        client.close()


@contextlib.asynccontextmanager
async def all_trips() -> AsyncIterator[dict[str, Trip]]:
    """Every line, open."""
    async with AsyncExitStack() as stack:
        direct, relayed = PenSim("serial"), PenSim("serial", "--seed", "1")
        stack.callback(direct.end)
        stack.callback(relayed.end)
        (echo_path,) = stack.enter_context(far_end("echo"))
        (pen_path,) = stack.enter_context(far_end("relay", relayed.device))
        client_path, server_path = stack.enter_context(far_end("relay"))
        stack.enter_context(far_end("modbus", server_path))
        yield {
            "pen": await stack.enter_async_context(pen_trip(direct.url)),
            "echo": await stack.enter_async_context(echo_trip(echo_path)),
            "pen_relayed": await stack.enter_async_context(pen_trip(f"serial://{pen_path}")),
            "pymodbus_relayed": await stack.enter_async_context(modbus_trip(client_path)),
        }


async def measure(trip: Trip) -> list[float]:
    """Seconds of each of many trips, one after the other."""
    seconds = []
    for _ in range(TRIPS):
        start_s = perf_counter()
        await trip()
        seconds.append(perf_counter() - start_s)
    return seconds


async def rounds() -> dict[str, list[list[float]]]:
    """For each line the seconds of each trip of each round; the lines take turns."""
    async with all_trips() as trips:
        for trip in trips.values():
            await measure(trip)
        seconds: dict[str, list[list[float]]] = {name: [] for name in trips}
        for _ in range(ROUNDS):
            for name, trip in trips.items():
                seconds[name].append(await measure(trip))
        return seconds


def round_trip() -> list[dict[str, Any]]:
    """The two comparisons as sections of the report."""
    seconds = asyncio.run(rounds())
    return [
        _section("Command round trip, against the bare echo", seconds, "pen", "echo", ECHO_BAR),
        _section(
            "Command round trip through a relay, against pymodbus",
            seconds,
            "pen_relayed",
            "pymodbus_relayed",
            MODBUS_BAR,
        ),
    ]


def _section(title: str, seconds: dict[str, list[list[float]]], ours: str, theirs: str, bar: float) -> dict[str, Any]:
    pairs = zip(seconds[ours], seconds[theirs], strict=True)
    ratio = median(median(our_s) / median(their_s) for our_s, their_s in pairs)
    return {
        "title": title,
        **_percentiles(ours, seconds[ours]),
        **_percentiles(theirs, seconds[theirs]),
        "ratio": round(ratio, 2),
        "bar": f"ratio <= {bar:g}",
        "passed": ratio <= bar,
    }


def _percentiles(name: str, rounds_s: list[list[float]]) -> dict[str, int]:
    percent = quantiles((second for one in rounds_s for second in one), n=100)
    return {f"{name}_p50_us": round(percent[49] * 1e6), f"{name}_p99_us": round(percent[98] * 1e6)}
