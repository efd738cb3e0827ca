"""A long outage: `python -m tests.benchmarks.outage [--records 500000] [--live 20000] [--json]`.

In one run, one pen publishes to an embedded broker, and a subscriber in another process looks on:
- live: records are published while they are written, before the outage and once more after it;
- outage: the broker is killed; records are written, in 16 sessions one after the other, as in 8 hours of treatments;
- drain: the broker is back, and the backlog goes out.
Exit status 0 only if every record arrived, in order within its session, at no less than half of the live rate, and
the memory of journal and publisher grew by less than 16 MB. Linux and macOS.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiomqtt

from pen_controller.journal import Journal
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.mqtt import BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from tests.benchmarks.telemetry import BODY, PEN, SITE
from tests.brokers import free_port, kill_embedded

BAR_RATIO, BAR_GROWTH_MB = 0.5, 16.0
SESSIONS = 16
GATHERED = 1000  # so many are posted before the journal is waited for: what waits for the disk is no backlog
PATIENCE_S = 900.0
SILENCE_S = 60.0
TICK_S = 0.05


@dataclass
class Seen:
    """What a subscriber saw; `skipped` counts the records that came before one that precedes them."""

    records: int = 0
    repeated: int = 0
    skipped: int = 0
    reached: dict[str, int] = field(default_factory=dict)

    def take(self, session: str, seq: int) -> None:
        reached = self.reached.get(session, 0)
        self.reached[session] = max(reached, seq)
        self.repeated += seq <= reached
        self.skipped += max(0, seq - reached - 1)
        self.records += seq > reached


@dataclass
class Outcome:
    """What a run came to; rates are in records a second."""

    records: int
    lost: int
    repeated: int
    skipped: int
    live_hz: float
    drain_hz: float
    written_hz: float
    drain_to_live: float
    growth_mb: float

    @property
    def complete(self) -> bool:
        return not self.lost and not self.skipped

    @property
    def good(self) -> bool:
        return self.complete and self.drain_to_live >= BAR_RATIO and self.growth_mb < BAR_GROWTH_MB


async def look_on(url: BrokerUrl, records: int, before: int) -> Seen:
    """Subscribe until so many records came, over broken connections too, or none has for a minute.

    It says when it is there, and when it has seen those before the outage: what a broker has acknowledged and not yet
    passed on is lost with it, and no publisher can help that.
    """
    seen = Seen()
    while seen.records < records:
        with contextlib.suppress(aiomqtt.MqttError):
            async with aiomqtt.Client(url.host, url.port, identifier="onlooker", clean_session=False) as client:
                await client.subscribe(f"pen/v1/{SITE}/{PEN}/event/+", qos=1)
                print("here", flush=True)
                while seen.records < records:
                    try:
                        message = await asyncio.wait_for(anext(client.messages), SILENCE_S)
                    except TimeoutError:
                        return seen
                    payload = json.loads(bytes(message.payload))
                    seen.take(payload["session"], payload["seq"])
                    if seen.records == before:
                        print("seen those before", flush=True)
        await asyncio.sleep(TICK_S)
    return seen


def peak_mb() -> float:
    """Return the most memory this process ever had resident."""
    import resource  # noqa: PLC0415 - there is none on Windows, where the rest can be imported

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


async def write(journal: Journal, session: str, records: int) -> None:
    for number in range(1, records + 1):
        journal.post(session, "advice", BODY, pen=PEN)
        if number % GATHERED == 0:
            await journal.flush()
    await journal.flush()


async def publish(journal: Journal, publisher: Publisher, session: str, records: int) -> float:
    """Write and publish; return the rate."""
    began_s = time.perf_counter()
    await write(journal, session, records)
    assert await publisher.drained(PATIENCE_S)
    return records / (time.perf_counter() - began_s)


async def connected(publisher: Publisher, wanted: bool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while publisher.status.connected is not wanted:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(TICK_S)


async def run(records: int, live: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="outage-") as name:
        folder, url = Path(name), BrokerUrl("127.0.0.1", free_port())
        (folder / "broker").mkdir()
        command = [sys.executable, "-m", "tests.benchmarks.outage", "--look-on", str(url)]
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(EmbeddedBroker(folder / "broker", port=url.port))
            onlooker = await asyncio.create_subprocess_exec(
                *command, "--records", str(records + 2 * live), "--live", str(live), stdout=asyncio.subprocess.PIPE
            )
            assert onlooker.stdout is not None
            await onlooker.stdout.readline()
            journal = await stack.enter_async_context(Journal.open(folder / "journal.sqlite"))
            publisher = await stack.enter_async_context(Publisher(journal, url, SITE, PEN))
            await connected(publisher, True)
            before_hz = await publish(journal, publisher, "before", live)
            await onlooker.stdout.readline()
            peak_before_mb = peak_mb()

            kill_embedded(folder / "broker")
            await connected(publisher, False)
            began_s = time.perf_counter()
            for number in range(SESSIONS):
                await write(journal, f"outage-{number}", records // SESSIONS + (number < records % SESSIONS))
            written_hz = records / (time.perf_counter() - began_s)

            await stack.enter_async_context(EmbeddedBroker(folder / "broker", port=url.port))
            await connected(publisher, True)
            began_s = time.perf_counter()
            assert await publisher.drained(PATIENCE_S)
            drain_hz = records / (time.perf_counter() - began_s)
            growth_mb = peak_mb() - peak_before_mb

            live_hz = (before_hz + await publish(journal, publisher, "after", live)) / 2
            said = (await onlooker.communicate())[0].splitlines()[-1]
    seen = Seen(**json.loads(said))
    lost = records + 2 * live - seen.records
    ratio = round(drain_hz / live_hz, 2)
    rates = (round(live_hz), round(drain_hz), round(written_hz), ratio)
    return Outcome(records, lost, seen.repeated, seen.skipped, *rates, growth_mb=round(growth_mb, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--live", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--look-on", type=BrokerUrl.parse, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.look_on:
        print(json.dumps(asdict(asyncio.run(look_on(wanted.look_on, wanted.records, wanted.live)))))
        return 0
    outcome = asyncio.run(run(wanted.records, wanted.live))
    figures = asdict(outcome) | {"good": outcome.good}
    print(json.dumps(figures) if wanted.json else "\n".join(f"{name}: {value}" for name, value in figures.items()))
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
