"""Kills broker, publisher and recorder at random moments: `python -m tests.benchmarks.kill_loop`.

Options: `[--rounds 20] [--records 20000] [--broker mosquitto|mosquitto-persistent|nats] [--idle-s 10] [--seed N]
[--json]`. Each is a process of its own; in each round one of them, or all, ends by SIGKILL and is started again.
What counts is what the journal holds at the end: every published record of it must lie in the recorder's database,
once and as it was written, and what the recorder acknowledges must be what it has. Exit status 0 only if that is so.
"""

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pen_controller.journal import Journal
from pen_controller.recorder.store import Key, Store
from pen_controller.telemetry import acks
from pen_controller.telemetry.broker import server_program
from pen_controller.telemetry.messages import encode_record
from pen_controller.telemetry.mqtt import BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from tests.brokers import free_port, mosquitto_path

BROKERS = ("mosquitto", "mosquitto-persistent", "nats")
SITE, PEN = "clinic", "p1"
ROUND_S = (0.3, 1.5)
TICK_S = 0.05
PATIENCE_S = 300.0
RECORDER = "import typer; from pen_controller.recorder import commands; typer.run(commands.recorder)"


@dataclass
class Outcome:
    """What a run came to; `good` if nothing was lost, doubled or overlooked.

    `repeated` counts what came to the recorder more than once, as far as it lived to tell.
    """

    broker: str
    rounds: int
    records: int = 0
    sessions: int = 0
    lost: int = 0
    altered: int = 0
    duplicates: int = 0
    undetected_gaps: int = 0
    repeated: int = 0
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not (self.lost or self.altered or self.duplicates or self.undetected_gaps) and self.records > 0


class Process:
    """A program that can be killed and started again; each life writes into a file of its own."""

    def __init__(self, folder: Path, name: str, command: list[str]) -> None:
        self.folder, self.name, self._command = folder, name, command
        self.lives = 0
        self.start()

    def start(self) -> None:
        self.lives += 1
        with (self.folder / f"{self.name}.{self.lives}").open("w") as said:
            self.running = subprocess.Popen(self._command, stdout=said, stderr=said)

    def kill(self) -> None:
        self.running.kill()
        self.running.wait()

    def said(self) -> list[str]:
        """Return what each life wrote."""
        return [(self.folder / f"{self.name}.{life}").read_text() for life in range(1, self.lives + 1)]

    def check(self) -> None:
        """Raise if it has ended by itself, and not because its work was done."""
        if self.running.poll():
            raise RuntimeError(f"{self.name} ended with {self.running.returncode}: {self.said()[-1]}")


def broker_command(name: str, folder: Path, port: int) -> list[str]:
    """Configure a broker; return what starts it."""
    store = folder / "broker"
    store.mkdir()
    config = folder / "broker.conf"
    if name == "nats":
        listen = {"host": "127.0.0.1", "port": port}
        jetstream = {"store_dir": str(store)}
        own = {"server_name": "kill-loop", "host": "127.0.0.1", "port": free_port()}
        config.write_text(json.dumps(own | {"jetstream": jetstream, "mqtt": listen}))
        return [server_program(), "-c", str(config)]
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "user root"]
    if name == "mosquitto-persistent":
        lines += ["persistence true", f"persistence_location {store}/", "autosave_interval 1"]
    config.write_text("\n".join(lines) + "\n")
    return [mosquitto_path(), "-c", str(config)]


@contextlib.contextmanager
def processes(broker: str, folder: Path, records: int, per_tick: int, idle_s: float) -> Iterator[dict[str, Process]]:
    """Run the three; they are killed at the end."""
    url = BrokerUrl("127.0.0.1", free_port())
    publisher = [sys.executable, "-m", __spec__.name, "--publish", str(folder / "journal.sqlite"), "--to", str(url)]
    publisher += ["--records", str(records), "--per-tick", str(per_tick), "--idle-s", str(idle_s)]
    recorder = [sys.executable, "-c", RECORDER, "--db", database(folder), "--broker", str(url), "--json"]
    commands = {
        "broker": broker_command(broker, folder, url.port),
        "publisher": publisher,
        "recorder": recorder,
    }
    started: dict[str, Process] = {}
    try:
        for name, command in commands.items():
            started[name] = Process(folder, name, command)
        yield started
    finally:
        for each in started.values():
            each.kill()


def database(folder: Path) -> str:
    return f"sqlite:///{folder / 'telemetry.sqlite'}"


def run(broker: str, *, rounds: int, records: int, idle_s: float = acks.IDLE_S, seed: int | None = None) -> Outcome:
    """Kill for so many rounds, let the rest drain, and compare the database with the journal."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    outcome = Outcome(broker, rounds)
    per_tick = max(1, int(records / rounds / sum(ROUND_S) * 2 * TICK_S))
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-loop-") as name:
        folder = Path(name)
        with processes(broker, folder, records, per_tick, idle_s) as running:
            for _ in range(rounds):
                time.sleep(chance.uniform(*ROUND_S))
                victims = chance.choice([["broker"], ["publisher"], ["recorder"], list(running)])
                for each in running.values():
                    each.check()
                for victim in victims:
                    running[victim].kill()
                    outcome.kills[victim] = outcome.kills.get(victim, 0) + 1
                for victim in victims:
                    running[victim].start()
            with contextlib.suppress(subprocess.TimeoutExpired):  # what is not stored by then counts as lost
                running["publisher"].running.wait(PATIENCE_S)
            for each in running.values():
                each.check()
            outcome.repeated = _repeated(running["recorder"])
        asyncio.run(compare(folder, outcome, records))
    outcome.seconds = round(time.monotonic() - began_s, 1)
    return outcome


def _repeated(recorder: Process) -> int:
    """Add up what each life of the recorder last told; a line may be torn."""
    total = 0
    for said in recorder.said():
        with contextlib.suppress(IndexError, ValueError):
            total += json.loads(said.splitlines()[-1])["repeated"]
    return total


async def compare(folder: Path, outcome: Outcome, records: int) -> None:
    """Count what of the journal is not in the database, and what the database says wrongly."""
    wrote: dict[str, list[str]] = {}
    async with Journal.open(folder / "journal.sqlite") as journal:
        for record in journal.published_after(0, records + 1, pen=PEN):
            wrote.setdefault(record.session, []).append(encode_record(record)[1].decode())
    with Store.open(database(folder), create=False) as store:
        stored = {one.session: one.stored for one in store.sessions()}
        for session, texts in wrote.items():
            rows = list(store.records(Key(SITE, PEN, session)))
            kept = {row.seq: row.payload for row in rows}
            head = next(seq for seq in range(len(texts) + 2) if seq + 1 not in kept)
            outcome.sessions += 1
            outcome.records += len(texts)
            outcome.lost += len(set(range(1, len(texts) + 1)) - set(kept))
            outcome.altered += sum(kept.get(seq, text) != text for seq, text in enumerate(texts, 1))
            outcome.duplicates += len(rows) - len(kept)
            outcome.undetected_gaps += stored.get(session, 0) != head


async def publish(journal_path: Path, url: str, records: int, per_tick: int) -> None:
    """Write what is still to be written, publish it, and return when a recorder has it all."""
    async with Journal.open(journal_path) as journal, Publisher(journal, url, SITE, PEN) as sender:
        before = journal.sessions()
        session = f"s{len(before) + 1}"
        for number in range(sum(one.published for one in before), records):
            journal.post(session, "tick", {"number": number}, pen=PEN)
            if number % per_tick == 0:
                await asyncio.sleep(TICK_S)
        await journal.flush()
        while sender.status.follows != "recorder" or sender.status.backlog:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(TICK_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--broker", choices=BROKERS, default="nats")
    parser.add_argument("--idle-s", type=float, default=acks.IDLE_S)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--to", help=argparse.SUPPRESS)
    parser.add_argument("--per-tick", type=int, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.publish:
        acks.IDLE_S = wanted.idle_s
        asyncio.run(publish(wanted.publish, wanted.to, wanted.records, wanted.per_tick))
        return 0
    outcome = run(wanted.broker, rounds=wanted.rounds, records=wanted.records, idle_s=wanted.idle_s, seed=wanted.seed)
    figures = asdict(outcome) | {"good": outcome.good}
    print(json.dumps(figures) if wanted.json else "\n".join(f"{name}: {value}" for name, value in figures.items()))
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
