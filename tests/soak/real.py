"""Minutes of treatments in real time: many pens in a process of their own, one controller, a broker, a recorder.

All pens treat one person each, at once; when all are done the next ones come, each with a new cartridge.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pen_controller.journal import Journal
from pen_controller.pen import Pen
from pen_controller.recorder.store import Store
from pen_controller.service import Service, publishing
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.treatment import Treatment
from tests.benchmarks.kill_loop import RECORDER, database
from tests.running import BOUND_S
from tests.soak.clinician import CONFIG, FITZPATRICK, INDICATION, ZONE_CM2, Tally, treat
from tests.soak.vitals import NOT_STORED, Watch

MINUTE_S = 60.0


class Pens:
    """Simulated pens in a process of their own, and what a person does to one by hand."""

    def __init__(self, process: "subprocess.Popen[str]", count: int) -> None:
        assert process.stdout is not None
        self._process = process
        self.urls: list[str] = [json.loads(process.stdout.readline())["url"] for _ in range(count)]

    async def new_cartridge(self, pen: Pen) -> None:
        """Put a new cartridge in, and wait until the pen says so."""
        before = (await pen.cartridge()).cartridge_id
        assert self._process.stdin is not None
        self._process.stdin.write(f"cartridge {pen.identity.serial}\n")
        self._process.stdin.flush()
        async with asyncio.timeout(BOUND_S):
            while (await pen.cartridge()).cartridge_id == before:  # noqa: ASYNC110  # the pen does not tell by itself
                await asyncio.sleep(0.05)


@contextlib.contextmanager
def pens_of(count: int, seed: int) -> Iterator[Pens]:
    """Serve so many pens behind TCP ports."""
    command = [sys.executable, "-m", "simulator", "tcp", "--json", "--control", "--zone-cm2", str(ZONE_CM2)]
    with subprocess.Popen(
        [*command, "--pens", str(count), "--seed", str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        try:
            yield Pens(process, count)
        finally:
            process.stdin.close()


@contextlib.contextmanager
def recorder(folder: Path, broker: str) -> Iterator[None]:
    """Run `pen recorder` into a database in this folder."""
    command = [sys.executable, "-c", RECORDER, "--db", database(folder), "--broker", broker, "--json"]
    with (folder / "recorder.log").open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            yield
        finally:
            process.terminate()


@dataclass
class Clinic:
    """One controller: its pens, its journal, its broker."""

    pens: list[Pen]
    cartridges: Pens
    journal: Journal
    broker: str
    tally: Tally

    async def treat_all(self) -> None:
        """Treat one person with each pen, all at once."""
        async with asyncio.TaskGroup() as group:
            for pen in self.pens:
                group.create_task(self._treat(pen))

    async def _treat(self, pen: Pen) -> None:
        await self.cartridges.new_cartridge(pen)
        treatment = Treatment(pen, self.journal, CONFIG, INDICATION, FITZPATRICK)
        async with publishing(Service(pen, self.journal, treatment), self.broker, lambda _: None), treatment:
            await treat(treatment, pen, self.tally)


@contextlib.asynccontextmanager
async def clinic(folder: Path, count: int, seed: int) -> AsyncIterator[Clinic]:
    """Open it all."""
    async with contextlib.AsyncExitStack() as stack:
        cartridges = stack.enter_context(pens_of(count, seed))
        broker = await stack.enter_async_context(EmbeddedBroker(folder / "broker"))
        stack.enter_context(recorder(folder, str(broker.url)))
        journal = await stack.enter_async_context(Journal.open(folder / "journal.sqlite"))
        pens = [await stack.enter_async_context(Pen.open(url)) for url in cartridges.urls]
        yield Clinic(pens, cartridges, journal, str(broker.url), Tally())


def journal_mb(folder: Path) -> float:
    """Of the journal and its log."""
    return sum(file.stat().st_size for file in folder.glob("journal.sqlite*")) / 1e6


def not_stored(folder: Path, journal: Journal) -> int:
    """Count the records that were published and that the recorder does not have."""
    published = {info.session: info.published for info in journal.sessions()}
    with Store.open(database(folder), create=False) as store:
        stored = {each.session: each.stored for each in store.sessions()}
    return sum(count - stored.get(session, 0) for session, count in published.items())


async def soak(
    minutes: float, count: int, seed: int, tell: Callable[[float], None]
) -> tuple[Tally, Watch, dict[str, float]]:
    """Treat for so long; return what came of it, and some figures more."""
    watch = Watch(minutes * MINUTE_S, tell=tell)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        async with clinic(Path(name), count, seed) as all_of_it:
            began_s, began_cpu_s = time.monotonic(), time.process_time()
            while not watch.is_over:
                await all_of_it.treat_all()
                if watch.is_due(at_s := time.monotonic() - began_s):
                    watch.take(at_s, journal_mb(Path(name)), all_of_it.journal.head().record_id)
            cpu_share = (time.process_time() - began_cpu_s) / (time.monotonic() - began_s)
            missing = not_stored(Path(name), all_of_it.journal)
            lost_frames = sum(pen.lost_frames for pen in all_of_it.pens)
    figures = {NOT_STORED: missing, "frames lost": lost_frames, "controller, % of a core": 100 * cpu_share}
    return all_of_it.tally, watch, figures
