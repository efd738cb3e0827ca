"""A treatment in which everything happens that a report tells of, in virtual time; its records in a journal file."""

import asyncio
import contextlib
from functools import cache
from pathlib import Path
from typing import Any

from pen_controller.config import PlanArea
from pen_controller.config.questions import Step
from pen_controller.journal import Journal, Record
from pen_controller.pen import Pen, reported
from pen_controller.preparation import Preparation
from pen_controller.preparation.answers import Answer, read_answer
from pen_controller.treatment import Treatment
from pen_controller.treatment.outcomes import RefusedError
from tests.lines import CONFIG
from tests.running import run, until
from tests.virtual_treatment import CHEEK, FOREHEAD, ROOMY, MemoryJournal, bench_of, treating, truth

BY = "clinician-1"
CASE = {
    "code": "K-1024",
    "age_band": "30_39",
    "fitzpatrick": 3,
    "indications": ["fine_lines", "acne_scars"],
    "concerns": ["cheek"],
    "previous_treatment": "2026-09-30",
}
NECK = PlanArea(area="neck", depth_mm=0.5, rate_hz=90.0, passes=3, size_cm2=30.0)


def entered(kind: str, **body: Any) -> Answer:
    return read_answer(kind, body)


async def answers(pen: Pen) -> list[Answer]:
    """All that is asked before needles are armed; herpes is overridden, and the lot is misread."""
    tag = reported.tag(await pen.cartridge())
    assert tag is not None
    given = [entered("case", **CASE)]
    for question in CONFIG.screening:
        override = {"by": BY, "reason": "none for two years"} if question == "herpes" else None
        given.append(entered("screening", question=question, answer="yes" if override else "no", override=override))
    given += [entered("checked", step=name, by=BY, value=_agent(step)) for name, step in CONFIG.checklist.items()]
    label = {"lot": "L2401", "expiry": f"{tag.expires}", "needles": tag.needles, "by": BY}
    return [*given, entered("cartridge", **label)]


def _agent(step: Step) -> dict[str, Any] | None:
    return {"agent": "lidocaine 4 %", "minutes": 30 if step.minutes else None} if step.agent else None


async def _prepare(treatment: Treatment, pen: Pen) -> None:
    """Answer everything, then see that the label says another lot, and that the UDI says so too."""
    for answer in await answers(pen):
        seq = await treatment.intake.enter(answer)
    label = treatment.intake.preparation.cartridge
    assert label is not None
    udi = f"(01)09506000134352(17){label.expiry:%y%m%d}(10)L2407"
    right = label.model_dump(mode="json") | {"lot": "L2407", "udi": udi}
    await treatment.intake.enter(entered("correction", of_seq=seq, reason="misread", body=right, by=BY))


async def _until_killed(journal: MemoryJournal, bench: Any) -> str:
    """Prepare and begin; the program dies in the midst of the cheek."""
    async with (
        Pen.open(bench.transport()) as pen,
        Treatment(pen, journal, ROOMY, preparation=Preparation()) as treatment,
    ):
        await _prepare(treatment, pen)
        await treatment.plan([CHEEK, FOREHEAD, NECK])
        task = asyncio.create_task(treatment.treat(CHEEK))
        await until(lambda: truth(bench)[0] > 300 or task.done())
        journal.alive = False
        for cable in bench.cables:
            cable.disconnect()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    journal.alive = True
    return treatment.session


async def _treatment() -> list[Record]:
    journal = MemoryJournal()
    async with bench_of(seed=3) as bench:
        session = await _until_killed(journal, bench)
        async with treating(bench, journal, config=ROOMY, resume=session) as now:
            await now.treatment.resume(BY, now.pen.state.latch_id)
            await now.treatment.treat(CHEEK)
            with contextlib.suppress(RefusedError):
                await now.treatment.treat(FOREHEAD.model_copy(update={"depth_mm": 1.5}))
            await now.treatment.treat(FOREHEAD)
            enter = now.treatment.intake.enter
            await enter(entered("note", area="cheek", endpoint="even_redness", reactions=["mild swelling"], by=BY))
            await enter(entered("aftercare", given=True, by=BY))
    return journal.records


@cache
def whole_treatment() -> tuple[Record, ...]:
    """Return the records of a treatment: prepared, corrected, killed, taken up, refused, done, noted."""
    records: list[Record] = []

    async def made() -> None:
        records.extend(await _treatment())

    run(made(), virtual=True)
    return tuple(records)


async def journal_of(path: Path, records: tuple[Record, ...]) -> None:
    """Write records into a journal file; their wall time is that of now."""
    async with Journal.open(path) as journal:
        for record in records:
            journal.post(
                record.session, record.kind, record.body, pen=record.pen, pen_t_us=record.pen_t_us, topic=record.topic
            )
