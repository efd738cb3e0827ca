"""Hours of treatments in virtual time: one pen, one program that never ends, a line that loses frames both ways."""

import asyncio
import contextlib
import random
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

from pen_controller.pen import Pen
from pen_controller.transports import Lost, Receive
from pen_controller.transports.inprocess import InProcessTransport
from pen_controller.treatment import Treatment
from simulator.pen import SimulatedPen
from simulator.ports import Endpoint
from tests.simulation.clock import Clock, WorldLoop
from tests.simulation.disk import Disk, VirtualJournal
from tests.simulation.seams import BEGINS
from tests.soak.clinician import CONFIG, FITZPATRICK, INDICATION, ZONE_CM2, Tally, treat
from tests.soak.vitals import Watch

HOUR_S = 3600.0
BETWEEN_S = 20.0
"""From one person to the next."""


class LossyEnd:
    """The pen's end of a line (a `PenEnd`) that loses a share of all frames, each by itself, in both directions."""

    def __init__(self, clock: Clock, pen: SimulatedPen, lost_share: float, chance: random.Random) -> None:
        self.frames = self.lost = 0
        self._clock, self._pen, self._lost_share, self._chance = clock, pen, lost_share, chance
        self._endpoint = Endpoint(pen)
        self._receive: Receive | None = None
        self._pass_time()

    def connect(self, receive: Receive, _lost: Lost) -> None:
        self._receive, self._endpoint = receive, Endpoint(self._pen)

    def take(self, data: bytes) -> None:
        if not self._loses():
            self._say(self._endpoint.receive(data, self._clock.now_us))

    def disconnect(self) -> None:
        self._receive = None

    def _pass_time(self) -> None:
        self._say(self._endpoint.encode(self._pen.step(self._clock.now_us)))
        self._clock.at(max(self._pen.next_due_us, self._clock.now_us + 1), self._pass_time)

    def _say(self, data: bytes) -> None:
        for piece in filter(None, data.split(b"\0")):
            if self._receive is not None and not self._loses():
                self._receive(b"\0" + piece + b"\0")

    def _loses(self) -> bool:
        self.frames += 1
        lost = self._chance.random() < self._lost_share
        self.lost += lost
        return lost


class FileDisk(Disk):
    """The journal's database in a file, as the product has it: what grows there is no memory."""

    def __init__(self, chance: random.Random, path: Path) -> None:
        super().__init__(chance, used=BEGINS)
        with contextlib.closing(self.db):
            in_file = sqlite3.connect(path, isolation_level=None)
            self.db.backup(in_file)
        self.db = in_file
        self.db.execute("PRAGMA journal_mode = WAL")

    @property
    def size_mb(self) -> float:
        """Of the database."""
        (size,) = self.db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
        return float(size / 1e6)


class Soak:
    """One soak, done when it is made, and what came of it.

    Args:
        hours: of virtual time.
        lost_share: of all frames, each way.
        seed: of pen, hand and line.
        tell: hears which share of it is over.
    """

    def __init__(
        self, hours: float, lost_share: float, seed: int, tell: Callable[[float], None] = lambda _: None
    ) -> None:
        self.tally, self.watch = Tally(), Watch(hours * HOUR_S, tell=tell)
        self._clock, chance = Clock(), random.Random(seed)  # noqa: S311  # a simulation, not a secret
        self._pen = SimulatedPen(seed=seed, zone_cm2=ZONE_CM2)
        self.end = LossyEnd(self._clock, self._pen, lost_share, chance)
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            disk = FileDisk(chance, Path(folder) / "journal.db")
            with contextlib.closing(disk.db), asyncio.Runner(loop_factory=lambda: WorldLoop(self._clock)) as runner:
                began_s = process_time()
                runner.run(self._treat(disk))
                self.cpu_s = process_time() - began_s

    async def _treat(self, disk: FileDisk) -> None:
        """Treat one person after the other until the time is over, each with a new cartridge."""
        journal = VirtualJournal(disk, lambda _: None)
        async with Pen.open(InProcessTransport(self.end)) as pen:
            while not self.watch.is_over:
                self._pen.change_cartridge()
                async with Treatment(pen, journal, CONFIG, INDICATION, FITZPATRICK) as treatment:
                    await treat(treatment, pen, self.tally)
                await asyncio.sleep(BETWEEN_S)
                if self.watch.is_due(self._clock.now_us / 1e6):
                    self.watch.take(self._clock.now_us / 1e6, disk.size_mb, journal.head().record_id)
