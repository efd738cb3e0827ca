"""What durability costs: `python -m tests.benchmarks.telemetry [--records 10000] [--rounds 7] [--json]`.

In one run, against one embedded broker, in turn, the median of the rounds:
- direct: aiomqtt alone publishes payloads that are ready, the same bytes, at QoS 1, 20 in flight;
- durable: the same records are written into a journal, and the publisher publishes them from there;
- recorder: one recorder stores in SQLite, and acknowledges, what another process publishes as fast as it can.
CPU is of this process: the client; journal and publisher; the recorder. Exit status 0 only if durable publishing comes
to at least 0.8 of direct publishing, by the median of what the rounds came to, and the recorder stores at least 5,000
records/s.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import aiomqtt
from pydantic import JsonValue

from pen_controller.journal import Journal
from pen_controller.recorder.recorder import Tally, record
from pen_controller.recorder.store import Store
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.messages import EventPayload, encode, encode_record
from pen_controller.telemetry.mqtt import BrokerUrl
from pen_controller.telemetry.publisher import IN_FLIGHT, Publisher
from pen_controller.telemetry.topics import Topic

BAR_DURABLE, BAR_STORED_HZ = 0.8, 5000.0
SITE, PEN = "clinic", "p1"
BODY: dict[str, JsonValue] = {"area": "cheek", "depth_um": 990, "rate_dhz": 900, "force_mn": 700, "advice": "slower"}
PATIENCE_S = 120.0
TICK_S = 0.01


@dataclass(frozen=True)
class Speed:
    """Records per second, and CPU time of this process for each."""

    rate_hz: float
    cpu_us: float


async def timed(records: int, work: Awaitable[None]) -> Speed:
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    async with asyncio.timeout(PATIENCE_S):
        await work
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_began_s
    return Speed(round(records / took_s), round(cpu_s / records * 1e6, 1))


def messages(session: str, records: int) -> Iterator[tuple[str, bytes]]:
    topic = str(Topic(SITE, PEN, "event", session))
    for seq in range(1, records + 1):
        yield topic, encode(EventPayload(pen=PEN, session=session, seq=seq, kind="advice", body=BODY))


async def publish_directly(url: BrokerUrl, ready: list[tuple[str, bytes]]) -> None:
    async with aiomqtt.Client(url.host, url.port, max_inflight_messages=IN_FLIGHT) as client:
        client.pending_calls_threshold = IN_FLIGHT + 1
        flying: list[asyncio.Task[None]] = []
        for topic, payload in ready:
            if len(flying) == IN_FLIGHT:
                await flying.pop(0)
            flying.append(asyncio.create_task(client.publish(topic, payload, qos=1)))
        await asyncio.gather(*flying)


async def direct(url: BrokerUrl, records: int, session: str) -> Speed:
    ready = list(messages(session, records))
    return await timed(records, publish_directly(url, ready))


async def durable(url: BrokerUrl, records: int, session: str) -> Speed:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Journal.open(Path(folder) / "journal.sqlite") as journal,
            Publisher(journal, url, SITE, PEN) as publisher,
        ):
            while not publisher.status.connected:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(TICK_S)

            async def work() -> None:
                for _ in range(records):
                    journal.post(session, "advice", BODY, pen=PEN)
                assert await publisher.drained(PATIENCE_S)

            speed = await timed(records, work())
            check_bytes(journal, session)
            return speed


def check_bytes(journal: Journal, session: str) -> None:
    """See that what went out has the size of what is published directly."""
    (first,) = journal.read(session, limit=1)
    _, payload = next(messages(session, 1))
    assert len(encode_record(first)[1]) == len(payload)


async def recorder(url: BrokerUrl, records: int, session: str) -> Speed:
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/telemetry.sqlite") as store:
        tally = Tally()
        recording = asyncio.create_task(record(store, url, tally))

        async def stored(count: int) -> None:
            while tally.stored < count and not recording.done():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(TICK_S)

        command = [sys.executable, "-m", __spec__.name, "--feed", str(url), "--records", str(records)]
        feeder = await asyncio.create_subprocess_exec(*command, "--session", session)
        await stored(1)
        already = tally.stored
        speed = await timed(records - already, stored(records))
        await feeder.wait()
        recording.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await recording
        return speed


async def measure(records: int, rounds: int) -> dict[str, list[Speed]]:
    kinds: dict[str, Callable[[BrokerUrl, int, str], Awaitable[Speed]]] = {
        "direct": direct,
        "durable": durable,
        "recorder": recorder,
    }
    speeds: dict[str, list[Speed]] = {name: [] for name in kinds}
    async with EmbeddedBroker() as broker:
        for number in range(rounds):
            for name, kind in kinds.items():
                speeds[name].append(await kind(BrokerUrl.parse(broker.url), records, f"{name}-{number}"))
    return speeds


def median(speeds: list[Speed]) -> Speed:
    return Speed(*(statistics.median(figures) for figures in zip(*map(astuple, speeds), strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--feed", help=argparse.SUPPRESS)
    parser.add_argument("--session", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.feed:
        asyncio.run(publish_directly(BrokerUrl.parse(wanted.feed), list(messages(wanted.session, wanted.records))))
        return 0
    rounds = asyncio.run(measure(wanted.records, wanted.rounds))
    speeds = {name: median(each) for name, each in rounds.items()}
    pairs = zip(rounds["durable"], rounds["direct"], strict=True)
    ratio = statistics.median(durable.rate_hz / direct.rate_hz for durable, direct in pairs)
    good = ratio >= BAR_DURABLE and speeds["recorder"].rate_hz >= BAR_STORED_HZ
    if wanted.json:
        figures = {name: asdict(speed) for name, speed in speeds.items()}
        print(json.dumps(figures | {"durable_to_direct": round(ratio, 2), "good": good}))
    else:
        for name, speed in speeds.items():
            print(f"{name:9} {speed.rate_hz:7.0f} records/s {speed.cpu_us:7.1f} us CPU for each")
        print(f"durable publishing comes to {ratio:.2f} of direct publishing (bar {BAR_DURABLE})")
        print(f"the recorder's bar is {BAR_STORED_HZ:.0f} records/s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
