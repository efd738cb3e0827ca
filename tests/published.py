"""Everything that is published of one short treatment: pen, controller and recorder as processes of their own.

`python -m tests.published FOLDER` keeps one message of each channel as FOLDER/NAME.json: this is how
`protocols/telemetry/examples` was made.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiomqtt

from pen_controller.meanwhile import call_off
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.mqtt import BrokerUrl
from tests.brokers import until

BOUND_S = 60.0
PLAN = """
title = "One short pass"
indication = "fine_lines"
fitzpatrick = 2
areas = [{ area = "cheek", depth_mm = 1.0, rate_hz = 100, passes = 1, size_cm2 = 1.0 }]
"""


@dataclass(frozen=True)
class Message:
    """What a subscriber got; `retained` if it was said before it asked."""

    topic: str
    payload: bytes
    qos: int
    retained: bool

    @property
    def channel(self) -> str:
        """Name of its channel in the AsyncAPI document; `homeassistant` for what is not in there."""
        levels = self.topic.split("/")
        return levels[4] if levels[0] == "pen" else levels[0]


@contextlib.asynccontextmanager
async def hearing(url: BrokerUrl, *topics: str) -> AsyncIterator[list[Message]]:
    """Collect what is published, from the moment this yields."""
    heard: list[Message] = []

    async with aiomqtt.Client(url.host, url.port) as client:
        for each in topics:
            await client.subscribe(each, qos=1)

        async def listen() -> None:
            async for message in client.messages:
                payload = bytes(message.payload)
                heard.append(Message(str(message.topic), payload, message.qos, message.retain))

        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            await call_off(task)


@contextlib.asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module of ours until the block ends."""
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, stdin=PIPE, stdout=PIPE)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.terminate()
        await running.communicate()


async def treatment(folder: Path, *options: str) -> tuple[list[Message], list[Message]]:
    """Treat one area; return what was published meanwhile, and what the broker keeps for those who come late.

    Args:
        folder: For the record, the database and the plan.
        options: More of `pen run`.
    """
    plan = folder / "plan.toml"
    plan.write_text(PLAN)
    everything = ("pen/v1/#", "ack/v1/#", "homeassistant/#")
    async with contextlib.AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker())
        url = BrokerUrl.parse(broker.url)
        heard = await stack.enter_async_context(hearing(url, *everything))
        database = f"sqlite:///{folder / 'recorder.sqlite'}"
        recorder = process("pen_controller", "recorder", "--db", database, "--broker", broker.url)
        await stack.enter_async_context(recorder)
        simulator = await stack.enter_async_context(process("simulator", "tcp", "--json", "--zone-cm2", "1"))
        assert simulator.stdout is not None
        pen = json.loads(await simulator.stdout.readline())["url"]
        command = ["run", str(plan), "--pen", pen, "--yes", "--json", "--broker", broker.url]
        journal = ["--journal", str(folder / "journal.sqlite")]
        run = await stack.enter_async_context(process("pen_controller", *command, *journal, *options))
        async with asyncio.timeout(BOUND_S):
            figures, _ = await run.communicate()
        assert run.returncode == 0, figures.decode()
        assert json.loads(figures)["complete"]
        async with hearing(url, *everything) as kept:
            await until(lambda: {"status", "meta", "state", "ack"} <= {each.channel for each in kept}, "what is kept")
        return heard, kept


def main(folder: Path) -> None:
    """Keep one message of each channel: of the middle, where most is going on."""
    with tempfile.TemporaryDirectory() as scratch:
        heard, _ = asyncio.run(treatment(Path(scratch)))
    folder.mkdir(parents=True, exist_ok=True)
    for channel in {message.channel for message in heard}:
        payloads = [json.loads(message.payload) for message in heard if message.channel == channel]
        text = json.dumps(payloads[(len(payloads) - 1) // 2], indent=2, ensure_ascii=False)
        (folder / f"{channel}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
