"""No needle is armed before a person has answered everything, and what was answered outlives the program."""

import asyncio
from typing import Any

import pytest

from pen_controller.config import PlanArea
from pen_controller.preparation import Preparation
from pen_controller.preparation.answers import Answer, AnswerError, Note, read_answer
from pen_controller.treatment.outcomes import RefusedError, StoppedError
from tests.lines import CONFIG
from tests.prepared import BY, CASE, LABEL, checked, everything, fitted, screened
from tests.running import in_virtual_time
from tests.safety_case.figures import measured
from tests.virtual_treatment import FOREHEAD, MemoryJournal, Treating, bench_of, resume, treat_and_die, treating

REAL = "rejuvapen_nxt"
"""A profile of pen that is not for practice; its simulation has 12 needles and 40 to 80 Hz."""
AREA = FOREHEAD.model_copy(update={"rate_hz": 80.0})
LONG = AREA.model_copy(update={"passes": 4})
ITEMS = [answer.item for answer in everything()]


async def enter(now: Treating, *, but: str = "") -> None:
    """Answer everything but one item."""
    for answer in everything():
        if answer.item != but:
            await now.treatment.intake.enter(answer)


async def refused(now: Treating, area: PlanArea = AREA) -> RefusedError:
    with pytest.raises(RefusedError) as error:
        await now.treatment.treat(area)
    if area is AREA:
        measured("arms", len(now.journal.bodies("intent")))
    assert now.truth() == (0, 0)
    assert not now.journal.bodies("intent"), "the pen was not even asked"
    return error.value


# --- nothing is armed ------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H16")
@in_virtual_time
async def test_no_pen_but_a_simulated_one_is_armed_without_a_preparation() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench, treating(bench, journal) as now:
        limit = (await refused(now)).refusal.limit
        assert (limit.name, limit.layer, limit.value) == ("preparation", "preparation", 0.0)
        assert [one.key for one in now.treatment.intake.missing()] == ITEMS
    assert journal.bodies("treatment_begun")[0]["practice"] is False


@in_virtual_time
async def test_a_simulated_pen_may_do_without_and_the_record_calls_it_practice() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal) as now:
        assert now.treatment.intake.missing() == []
        await now.treatment.treat(FOREHEAD)
    assert journal.bodies("treatment_begun")[0]["practice"] is True


@pytest.mark.hazard("H16")
@in_virtual_time
async def test_whatever_one_item_is_missing_nothing_is_armed_and_it_is_named() -> None:
    for item in ITEMS:
        journal = MemoryJournal()
        async with bench_of(model=REAL) as bench, treating(bench, journal, preparation=Preparation()) as now:
            await enter(now, but=item)
            (left,) = now.treatment.intake.missing()
            error = await refused(now)
            assert left.key == item
            assert error.refusal.limit.source == left.source
            assert left.text in str(error)


@in_virtual_time
async def test_with_everything_answered_the_limits_have_the_word() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench, treating(bench, journal, preparation=Preparation()) as now:
        await enter(now)
        assert (await refused(now, AREA.model_copy(update={"depth_mm": 2.4}))).refusal.limit.name == "depth"
        await now.treatment.treat(AREA)
        assert now.truth()[0] > 0


@pytest.mark.hazard("H15", "H16")
@in_virtual_time
async def test_another_cartridge_than_the_one_entered_is_not_armed() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench, treating(bench, journal, preparation=Preparation()) as now:
        await enter(now)
        (entered,) = journal.bodies("cartridge")
        bench.pen.change_cartridge()
        assert "is not the one that was entered" in str(await refused(now))
        await now.treatment.intake.enter(fitted("cartridge", LABEL))
        assert journal.bodies("cartridge")[1]["tag"] != entered["tag"]
        await now.treatment.check(AREA)


@in_virtual_time
async def test_an_area_may_have_an_indication_of_its_own_if_the_case_has_it() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench, treating(bench, journal, preparation=Preparation()) as now:
        await enter(now)
        cheek = PlanArea(area="cheek", depth_mm=1.4, rate_hz=80.0, passes=1, size_cm2=3.0)
        fine = await now.treatment.check(cheek.model_copy(update={"indication": "fine_lines"}))
        scars = await now.treatment.check(cheek.model_copy(update={"indication": "acne_scars"}))
        assert (fine.depth_cap_mm, scars.depth_cap_mm) == (1.5, 2.0)
        error = await refused(now, cheek.model_copy(update={"indication": "wrinkles"}))
        assert "wrinkles is not an indication of this case" in str(error)


@in_virtual_time
async def test_the_skin_type_of_the_case_goes_before_that_of_the_plan() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, preparation=Preparation()) as now:
        await enter(now)
        await now.treatment.intake.enter(fitted("case", CASE | {"fitzpatrick": 6}))
        deep = PlanArea(area="cheek", depth_mm=1.6, rate_hz=80.0, passes=1, size_cm2=3.0, indication="acne_scars")
        assert (await refused(now, deep)).refusal.limit.layer == "skin"


# --- the record ------------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H16")
@in_virtual_time
async def test_nothing_that_was_answered_is_published() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench, treating(bench, journal, preparation=Preparation()) as now:
        await enter(now)
        await now.treatment.plan([AREA])
        await now.treatment.intake.enter(screened("pregnant", "yes"))
        await refused(now)
        await now.treatment.intake.enter(Note(area="forehead", endpoint="even_redness", reactions=(), by=BY))
    kinds = {record.kind for record in journal.records}
    assert {"case", "screening", "checked", "cartridge", "note", "plan", "refusal"} <= kinds
    kept, published = (
        "".join(f"{record.kind} {record.body_json}" for record in journal.records if bool(record.topic) is out).lower()
        for out in (False, True)
    )
    for word in ("c-0042", "30_39", "pregnant", "keloid", "lidocaine", "redness", BY, "contraindicat"):
        assert word in kept
        assert word not in published


@in_virtual_time
async def test_an_answer_is_recorded_with_kind_and_source_and_one_that_does_not_fit_is_not() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, preparation=Preparation()) as now:
        intake = now.treatment.intake
        seq = await intake.enter(read_answer("screening", {"question": "keloid", "answer": "no"}))
        assert journal.records[-1].seq == seq
        (body,) = journal.bodies("screening")
        assert (body["kind"], body["source"]) == ("precaution", CONFIG.screening["keloid"].source)
        with pytest.raises(AnswerError, match="expected one of"):
            await intake.enter(read_answer("screening", {"question": "hay_fever", "answer": "no"}))
        assert len(journal.bodies("screening")) == 1


def correction(seq: int, body: Any) -> Any:
    return read_answer("correction", {"of_seq": seq, "reason": "mistyped", "body": body, "by": BY})


@pytest.mark.hazard("H16")
@in_virtual_time
async def test_a_correction_appends_and_holds_from_then_on() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench, treating(bench, journal, preparation=Preparation()) as now:
        await enter(now)
        intake = now.treatment.intake
        of = {record.body.get("question", record.kind): record.seq for record in journal.records}
        before = journal.records[of["pregnant"] - 1]
        await intake.enter(correction(of["pregnant"], {"question": "pregnant", "answer": "yes"}))
        assert [one.key for one in intake.missing()] == ["screening.pregnant"]
        await refused(now)
        await intake.enter(correction(of["pregnant"], {"question": "pregnant", "answer": "no"}))
        assert intake.missing() == []
        await intake.enter(correction(of["case"], None))
        assert [one.key for one in intake.missing()] == ["case"]
        assert journal.records[of["pregnant"] - 1] == before, "nothing is changed"
    kinds = [(body["kind"], body["corrects"]) for body in journal.bodies("correction")]
    assert kinds == [("screening", "screening.pregnant")] * 2 + [("case", "case")]


@pytest.mark.hazard("H16")
@in_virtual_time
async def test_an_answer_that_forbids_stops_the_needles_that_run() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench, treating(bench, journal, preparation=Preparation()) as now:
        await enter(now)
        treat = asyncio.create_task(now.treatment.treat(LONG))
        await now.strokes(50)
        await now.treatment.intake.enter(screened("herpes", "no"))
        await now.strokes(100)
        await now.treatment.intake.enter(screened("pregnant", "yes"))
        with pytest.raises(StoppedError, match="stands against the treatment"):
            await treat
        await resume(now)
        with pytest.raises(RefusedError, match="Pregnant"):
            await now.treatment.treat(LONG)


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("treatment_begun", None, "is no answer of a person"),
        ("nothing", None, "is no answer of a person"),
        ("checked", {"step": "consent", "by": BY}, "is about checklist.cleansed, not checklist.consent"),
        ("checked", {"step": "cleansed"}, "by"),
    ],
)
@in_virtual_time
async def test_a_correction_of_something_else_is_refused(kind: str, body: Any, why: str) -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, preparation=Preparation()) as now:
        await now.treatment.intake.enter(checked("cleansed"))
        seq = next((record.seq for record in journal.records if record.kind == kind), 999)
        with pytest.raises(AnswerError, match=why):
            await now.treatment.intake.enter(correction(seq, body))
    assert not journal.bodies("correction")


# --- after a crash ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_treatment_taken_up_after_a_crash_has_its_preparation() -> None:
    journal = MemoryJournal()
    async with bench_of(model=REAL) as bench:

        async def prepare(now: Treating) -> None:
            await enter(now)
            await now.treatment.intake.enter(screened("keloid", "yes", {"by": BY, "reason": "old"}))
            seq = journal.records[-1].seq
            await now.treatment.intake.enter(correction(seq, {"question": "keloid", "answer": "no"}))

        session = await treat_and_die(
            bench, journal, AREA, lambda now: now.truth()[0] > 50, preparation=Preparation(), before=prepare
        )
        await asyncio.sleep(1)
        async with treating(bench, journal, resume=session) as now:
            assert now.treatment.intake.asks
            assert now.treatment.intake.missing() == []
            assert now.treatment.intake.preparation.screened("keloid") == screened("keloid", "no")
            assert now.treatment.intake.fitzpatrick == CASE["fitzpatrick"]
            await resume(now)
            await now.treatment.treat(AREA)
    assert len(journal.bodies("case")) == 1


@pytest.mark.hazard("H16")
@pytest.mark.parametrize("answered", [[], everything()[1:]])
@in_virtual_time
async def test_what_was_not_answered_before_a_crash_is_missing_after_it(answered: list[Answer]) -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        async with treating(bench, journal, preparation=Preparation()) as now:
            for answer in answered:
                await now.treatment.intake.enter(answer)
            left = now.treatment.intake.missing()
            journal.alive = False
        journal.alive = True
        await asyncio.sleep(1)
        async with treating(bench, journal, resume=now.treatment.session) as again:
            assert again.treatment.intake.missing() == left != []
            await resume(again)
            await refused(again)
