"""Treatments in virtual time: a simulated pen in this process, a journal in memory, a program that can be killed."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pen_controller.config import Config, PlanArea
from pen_controller.journal import Journal, Outlet, Record, SessionInfo
from pen_controller.journal.chain import HASH_BYTES, Head
from pen_controller.journal.record import utc_now
from pen_controller.pen import Pen
from pen_controller.preparation import Preparation
from pen_controller.treatment import Treatment
from protocols.words import Capability
from simulator.hand import Style
from simulator.pen import SimulatedPen
from tests.lines import CONFIG, Fault, VirtualPen, whole
from tests.running import until

CHEEK = PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=2, size_cm2=3.0)
FOREHEAD = PlanArea(area="forehead", depth_mm=0.5, rate_hz=90.0, passes=1, size_cm2=3.0)
"""On a hand's zone that is as small, to be quick."""
NEEDLES = 12
ALL_SENSORS = Capability(sum(Capability))


class MemoryJournal(Journal):
    """A journal of records that are kept at once; when its program is dead it takes no more."""

    def __init__(self) -> None:
        self.path, self.failed = Path("memory"), None
        self.records: list[Record] = []
        self.alive = True
        self.on_post: Callable[[str], None] = lambda _: None

    async def append(self, *what: Any, **how: Any) -> Record:  # as `post` takes it
        self.post(*what, **how)
        return self.records[-1]

    def post(
        self,
        session: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        pen: str,
        pen_t_us: int | None = None,
        topic: Outlet | None = "event",
    ) -> None:
        self.on_post(kind)
        if self.alive:
            out_seq = sum(record.topic is not None for record in self.records) + 1 if topic else None
            text = json.dumps(body, allow_nan=False)
            number = len(self.records) + 1
            self.records.append(Record(number, session, number, topic, out_seq, kind, pen, pen_t_us, utc_now(), text))

    def today(self) -> date:
        return datetime.now(UTC).date()

    def read(self, session: str, after_seq: int = 0, limit: int = 1000) -> list[Record]:
        return [record for record in self.records if record.session == session and record.seq > after_seq][:limit]

    def head(self) -> Head:
        return Head(len(self.records), bytes(HASH_BYTES))

    def sessions(self) -> list[SessionInfo]:
        pens = {record.session: record.pen for record in self.records}
        return [SessionInfo(session, pen, 0, 0, "", "") for session, pen in pens.items()]

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        return [record.body for record in self.records if record.kind == kind]


@dataclass
class Treating:
    """A treatment under way, and what it is made of."""

    treatment: Treatment
    pen: Pen
    journal: MemoryJournal
    bench: VirtualPen

    def truth(self) -> tuple[int, int]:
        """Strokes, and those in contact, as the pen's body has made them since it was switched on."""
        return truth(self.bench)

    async def strokes(self, least: int) -> None:
        """Wait until so many are made."""
        await until(lambda: self.truth()[0] >= least, f"{least} strokes")


def truth(bench: VirtualPen) -> tuple[int, int]:
    readings = bench.pen.read()
    return readings.strokes, readings.contact_strokes


@contextlib.asynccontextmanager
async def bench_of(
    *,
    model: str = "simulated",
    seed: int = 1,
    zone_cm2: float = 3.0,
    sensors: Capability = ALL_SENSORS,
    **style: Any,
) -> AsyncIterator[VirtualPen]:
    """A simulated pen of this profile with these sensors, led by a hand of this style."""
    pen = SimulatedPen(model, seed=seed, zone_cm2=zone_cm2, style=Style(**style))
    pen._identity = replace(pen._identity, capabilities=sensors)
    pen.reboot(0)
    bench = VirtualPen(pen)
    try:
        yield bench
    finally:
        bench.end()


@contextlib.asynccontextmanager
async def treating(
    bench: VirtualPen,
    journal: MemoryJournal,
    *,
    config: Config = CONFIG,
    preparation: Preparation | None = None,
    resume: str | None = None,
    to_pen: Fault = whole,
    to_host: Fault = whole,
) -> AsyncIterator[Treating]:
    """A treatment, or one that is taken up."""
    async with Pen.open(bench.transport(to_pen, to_host)) as pen:
        if resume is None:
            treatment = Treatment(pen, journal, config, "fine_lines", 2, preparation=preparation)
        else:
            treatment = Treatment.restore(pen, journal, config, resume)
        async with treatment:
            yield Treating(treatment, pen, journal, bench)


async def resume(now: Treating) -> None:
    """What a person does who was shown why the pen stopped."""
    await now.treatment.resume("clinician", now.pen.state.latch_id)


async def treat_and_die(
    bench: VirtualPen,
    journal: MemoryJournal,
    wanted: PlanArea,
    when: Callable[[Treating], object],
    *,
    before: Callable[[Treating], Awaitable[None]] | None = None,
    **options: Any,
) -> str:
    """Treat until a moment has come, and then be killed: nothing more is written, nor reaches the pen.

    Returns:
        The session.
    """
    async with treating(bench, journal, **options) as now:
        if before is not None:
            await before(now)
        if now.treatment.interrupted:
            await resume(now)
        task = asyncio.create_task(now.treatment.treat(wanted))
        await until(lambda: when(now) or task.done())
        assert not task.done(), task
        journal.alive = False
        for cable in bench.cables:
            cable.disconnect()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    journal.alive = True
    return now.treatment.session


def narrowed(area: str = "cheek", **groups: dict[str, Any]) -> Config:
    """The configuration with other figures in one area: `density_per_cm2={"warn": 5, "hard": 9}`."""
    own = CONFIG.areas[area]
    changed = {name: getattr(own, name).model_copy(update=figures) for name, figures in groups.items()}
    return CONFIG.model_copy(update={"areas": {**CONFIG.areas, area: own.model_copy(update=changed)}})


ROOMY = narrowed(density_per_cm2={"hard": 20_000.0})
"""Room for passes that were broken off and have to be given anew."""
