"""From STOP on a page's socket to the STOP frame on the pen's wire: `python -m tests.benchmarks.stop_latency`.

Options: `[--stops 100] [--pens 16] [--pages 5] [--json]`. The clinic's server runs in a process of its own, which holds
16 pens that stream on TCP (a third process), feeds 5 pages with snapshots, and has one report made after the other. The
needles of one pen run; a page sends STOP, and a relay before that pen says when the frame came by. An echo of a bare
WebSocket, in a fourth process, gives the round trip of the same moments. Exit status 0 only if the 99th percentile is
within 25 ms and two bare round trips (their median).
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from pen_controller.clinic.server import serving
from pen_controller.pen import Pen
from pen_controller.pen.scan import Found
from pen_controller.practice import python
from protocols.framing import Decoder
from protocols.messages import Stop
from tests.clinic_client import ACCOUNT, LONG, PASSWORD, Browser
from tests.lines import CONFIG

BAR_MS, BARE_ROUND_TRIPS = 25.0, 2
ME = "tests.benchmarks.stop_latency"


@dataclass
class Relay:
    """Stands between the server and one pen, and notes when a STOP frame comes by."""

    port: int
    pen_port: int
    stopped_ns: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self) -> None:
        self.stopped_ns = 0
        self.stopped.clear()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pen_reader, pen_writer = await asyncio.open_connection("127.0.0.1", self.pen_port)
        try:
            await asyncio.gather(self._to_pen(reader, pen_writer), _pump(pen_reader, writer), return_exceptions=True)
        finally:
            for one in (writer, pen_writer):
                one.close()

    async def _to_pen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        while data := await reader.read(65536):
            now_ns = time.monotonic_ns()
            writer.write(data)
            if any(frame.type == Stop.TYPE for frame in decoder.feed(data)) and not self.stopped.is_set():
                self.stopped_ns = now_ns
                self.stopped.set()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


# --- the other processes ---------------------------------------------------------------------------------------------


async def _serve(folder: Path, url: str, others: list[str]) -> None:
    """The clinic's server, with more pens on its loop."""
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(folder / "journal.sqlite", CONFIG))
        served.laptop.desk.see(Found(url, "a pen"))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for other in others:
            pen = await stack.enter_async_context(Pen.open(other))
            group.create_task(_read(pen))
        print(served.launch_url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        raise asyncio.CancelledError


async def _read(pen: Pen) -> None:
    async for _ in pen.samples():
        pass


async def _echo() -> None:
    async def again(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(again, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.readline)


@contextlib.asynccontextmanager
async def _said(*arguments: str) -> AsyncIterator[list[str]]:
    """A module as a process; yields the first lines that it says, one for each that is asked for."""
    async with python(*arguments) as process:
        assert process.stdout is not None
        lines = int(arguments[arguments.index("--pens") + 1]) if "--pens" in arguments else 1
        yield [(await process.stdout.readline()).decode().strip() for _ in range(lines)]


# --- the measurement -------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """Milliseconds, one of each for every STOP."""

    stop_ms: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    reports: int = 0
    worst_lag_ms: float = 0.0
    """Of the server's loop, by its own account."""

    def figures(self) -> dict[str, float | int | bool]:
        bar_ms = BAR_MS + BARE_ROUND_TRIPS * statistics.median(self.bare_ms)
        worst = sorted(self.stop_ms)[max(0, round(0.99 * len(self.stop_ms)) - 1)]
        return {
            "stops": len(self.stop_ms),
            "stop_p50_ms": round(statistics.median(self.stop_ms), 2),
            "stop_p99_ms": round(worst, 2),
            "stop_worst_ms": round(max(self.stop_ms), 2),
            "bare_round_trip_p50_ms": round(statistics.median(self.bare_ms), 2),
            "bare_round_trip_worst_ms": round(max(self.bare_ms), 2),
            "server_worst_lag_ms": self.worst_lag_ms,
            "bar_ms": round(bar_ms, 2),
            "reports_made": self.reports,
            "good": worst <= bar_ms,
        }


async def _measure(stops: int, pens: int, pages: int) -> Measured:
    measured = Measured()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stop-latency-")))
        announced = await stack.enter_async_context(
            _said("simulator", "tcp", "--json", "--control", "--zone-cm2", "40", "--pens", str(pens))
        )
        first, *others = [json.loads(line)["url"] for line in announced]
        relay = Relay(0, int(first.rpartition(":")[2]))
        server = await asyncio.start_server(relay.pass_on, "127.0.0.1", 0)
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        url = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        (launch_url,) = await stack.enter_async_context(_said(ME, "--serve", str(folder), url, *others))
        (echo_port,) = await stack.enter_async_context(_said(ME, "--echo"))
        echo = await stack.enter_async_context(connect(f"ws://127.0.0.1:{echo_port}", compression=None))
        origin = launch_url.partition("/launch")[0]
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=origin, headers={"Origin": origin}, timeout=30)
        )
        await http.get(launch_url)
        page = Browser(origin, http)
        await page.post("setup", account=ACCOUNT, password=PASSWORD, role="clinician")
        await stack.enter_async_context(page.connected())
        for _ in range(pages - 1):
            await stack.enter_async_context(_second(origin, http).connected())
        await page.prepare()
        reporting = asyncio.create_task(_report(page, measured))
        try:
            for _ in range(stops):
                await _stop(page, relay, echo, measured)
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
    return measured


def _second(origin: str, http: httpx.AsyncClient) -> Browser:
    page = Browser(origin, http)
    page.alive = False
    return page


async def _stop(page: Browser, relay: Relay, echo: ClientConnection, measured: Measured) -> None:
    await page.start(**LONG)
    await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311  # at any moment
    began_ns = time.monotonic_ns()
    await echo.send("x")
    await echo.recv()
    measured.bare_ms.append((time.monotonic_ns() - began_ns) / 1e6)
    relay.expect()
    began_ns = time.monotonic_ns()
    await page.send(stop=len(measured.stop_ms))
    await relay.stopped.wait()
    measured.stop_ms.append((relay.stopped_ns - began_ns) / 1e6)
    measured.worst_lag_ms = max(measured.worst_lag_ms, page.shown["service"]["worst_lag_ms"])
    await page.resume()
    await page.state("idle")


async def _report(page: Browser, measured: Measured) -> None:
    """Have reports made, one after the other."""
    session = page.shown["treatment"]["session"]
    while True:
        job = (await page.post("report", session=session))["job"]
        await page.shows("a report", lambda shown: any(one["id"] == job and one["done"] for one in shown["jobs"]))  # noqa: B023
        measured.reports += 1


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--pens", type=int, default=16)
    parser.add_argument("--pages", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_serve(Path(given.serve[0]), given.serve[1], given.serve[2:]))
        return
    if given.echo:
        asyncio.run(_echo())
        return
    figures = asyncio.run(_measure(given.stops, given.pens, given.pages)).figures()
    print(json.dumps(figures) if given.json else "\n".join(f"{name:<24}{value}" for name, value in figures.items()))
    sys.exit(0 if figures["good"] else 1)


if __name__ == "__main__":
    main()
