"""The clinic's server under load, for benchmarks: in a process of its own, with pens that stream, one by a relay."""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from pen_controller.clinic.server import Serving, serving
from pen_controller.config import PlanArea
from pen_controller.pen import Pen
from pen_controller.pen.scan import Found
from pen_controller.practice import python
from protocols.framing import Decoder
from protocols.messages import Stop
from tests.clinic_client import ACCOUNT, LONG, PASSWORD, Browser
from tests.lines import CONFIG

ME = "tests.benchmarks.clinic_load"


@dataclass
class Relay:
    """Stands between the server and one pen, and notes when a STOP frame comes by, by the clock on the wall."""

    pen_port: int
    stopped_ns: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self) -> None:
        self.stopped.clear()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pen_reader, pen_writer = await asyncio.open_connection("127.0.0.1", self.pen_port)
        try:
            await asyncio.gather(self._to_pen(reader, pen_writer), _pump(pen_reader, writer), return_exceptions=True)
        finally:
            for one in (writer, pen_writer):
                one.close()
                with contextlib.suppress(OSError):  # the other side was quicker
                    await one.wait_closed()

    async def _to_pen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        while data := await reader.read(65536):
            now_ns = time.time_ns()
            writer.write(data)
            if any(frame.type == Stop.TYPE for frame in decoder.feed(data)) and not self.stopped.is_set():
                self.stopped_ns = now_ns
                self.stopped.set()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


@dataclass
class Load:
    """A server that runs, with a treatment prepared; `works` is a browser that is logged in, without a page."""

    launch_url: str
    relay: Relay
    works: Browser
    server: Process

    async def ask(self, command: str) -> str:
        """Ask the server's process: `run` starts needles that no page operates, `cpu` tells its processor time, s."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{command}\n".encode())
        return (await self.server.stdout.readline()).decode().strip()

    async def report(self, made: list[str]) -> None:
        """Have reports made, one after the other, without an end; note those that are there."""
        session = (await self.works.get("/api/state"))["treatment"]["session"]
        while True:
            job = (await self.works.post("report", session=session))["job"]
            while not any(one["id"] == job and one["url"] for one in (await self.works.get("/api/state"))["jobs"]):  # noqa: ASYNC110  # over HTTP
                await asyncio.sleep(0.2)
            made.append(session)


@contextlib.asynccontextmanager
async def loaded(pens: int) -> AsyncIterator[Load]:
    """Serve while entered, with so many pens that stream; the first is picked, behind the relay."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clinic-load-"))
        simulator = await stack.enter_async_context(
            python("simulator", "tcp", "--json", "--control", "--zone-cm2", "40", "--pens", str(pens))
        )
        assert simulator.stdout is not None
        first, *others = [json.loads(await simulator.stdout.readline())["url"] for _ in range(pens)]
        relay = Relay(int(first.rpartition(":")[2]))
        before = await asyncio.start_server(relay.pass_on, "127.0.0.1", 0)
        stack.push_async_callback(before.wait_closed)
        stack.callback(before.close)
        url = f"socket://127.0.0.1:{before.sockets[0].getsockname()[1]}"
        server = await stack.enter_async_context(python(ME, folder, url, *others))
        assert server.stdout is not None
        launch_url, again_url = json.loads(await server.stdout.readline())
        origin = launch_url.partition("/launch")[0]
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=origin, headers={"Origin": origin}, timeout=30)
        )
        await http.get(launch_url)
        works = Browser(origin, http)
        await works.post("setup", account=ACCOUNT, password=PASSWORD, role="clinician")
        await works.prepare()
        await works.post("plan", areas=[LONG])
        yield Load(again_url, relay, works, server)


# --- the server's process --------------------------------------------------------------------------------------------


async def _serve(folder: Path, url: str, others: list[str]) -> None:
    """The clinic's server, with more pens on its loop, until its standard input ends."""
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(folder / "journal.sqlite", CONFIG))
        served.laptop.desk.places.see(Found(url, "a pen"))
        reading = [asyncio.create_task(_read(await stack.enter_async_context(Pen.open(one)))) for one in others]
        again_url = f"{served.origin}/launch?token={served.laptop.keys.launch()}"
        print(json.dumps([served.launch_url, again_url]), flush=True)
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            print(await _done(served, command), flush=True)
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def _done(served: Serving, command: str) -> float:
    if command == "run":
        await served.laptop.desk.start(PlanArea(**LONG))
    return time.process_time()


async def _read(pen: Pen) -> None:
    async for _ in pen.samples():
        pass


def main() -> None:
    """Be the server's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("others", nargs="*")
    given = parser.parse_args()
    asyncio.run(_serve(given.folder, given.url, given.others))


if __name__ == "__main__":
    main()
