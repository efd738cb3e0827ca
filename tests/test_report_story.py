"""What a report tells, from the records of treatments of every kind, at every moment of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date
from typing import Any, get_args

import pytest

from pen_controller.config.texts import languages, texts
from pen_controller.journal.record import Record, utc_now
from pen_controller.limits import Layer
from pen_controller.passes.figures import Family
from pen_controller.report import contents
from pen_controller.report.blocks import Block, Bullets, Document, Facts, Figure, Heading, Pair, Paragraph, Sheet, Table
from pen_controller.report.story import Story, told, visible
from pen_controller.report.words import Words
from pen_controller.treatment import entries
from pen_controller.treatment.technique import Fault
from protocols.words import Cause, PenState
from tests.authorizing import CHEEK as CHEEK_REQUEST
from tests.authorizing import TAG, ask, refused
from tests.lines import CONFIG
from tests.running import in_virtual_time
from tests.stories import BY, whole_treatment
from tests.virtual_treatment import CHEEK, ROOMY, MemoryJournal, bench_of, treat_and_die, treating

ENGLISH = Words(texts("en"), UTC)


def record(kind: str, body: dict[str, Any], seq: int = 1) -> Record:
    return Record(seq, "s1", seq, None, None, kind, "PEN-0001", None, utc_now(), json.dumps(body))


def story_of(*kinds_and_bodies: tuple[str, dict[str, Any]]) -> Story:
    return told([record(kind, body, i) for i, (kind, body) in enumerate(kinds_and_bodies, 1)])


def texts_of(document: Document) -> str:
    """All that a document says, a line a text."""
    return "\n".join(line for block in document.blocks for line in _texts(block))


def _texts(block: Block) -> list[str]:
    match block:
        case Heading(text=text) | Paragraph(text=text):
            return [text]
        case Bullets(items):
            return [*items]
        case Facts(rows) | Table(rows=rows):
            return [" | ".join(row) for row in rows]
        case Figure(description=text, caption=caption):
            return [text, caption]
        case Pair(left, right):
            return [line for each in (*left, *right) for line in _texts(each)]
        case Sheet(blocks):
            return [line for each in blocks for line in _texts(each)]


def said_of(story: Story, language: str = "en") -> str:
    return texts_of(contents.report(story, Words(texts(language), UTC), language))


# --- figures ---------------------------------------------------------------------------------------------------------


def test_a_whole_treatment_is_told_with_the_figures_of_its_record() -> None:
    records = whole_treatment()
    story = told(records)
    summary = records[-1].body
    assert [area.area for area in story.areas] == ["cheek", "forehead", "neck"]
    for area, summed in zip(story.areas, summary["areas"], strict=False):
        for name in ("passes", "glides", "strokes", "punctures", "density_per_cm2", "deepest_um", "depth_cap_um"):
            assert getattr(area, name) == summed[name], name
    cheek, forehead, neck = story.areas
    assert (cheek.depths_um, cheek.rates_dhz, cheek.done) == ((1000,), (1000,), True)
    assert (forehead.depths_um, forehead.depth_cap_um) == ((500,), 750)
    assert [one["pass_index"] for one in cheek.each_pass] == [1, 2]
    assert (neck.strokes, neck.done, neck.planned and neck.planned["passes"]) == (0, False, 3)
    assert story.ended == records[-1].wall


@pytest.mark.parametrize(
    ("begun", "practice"),
    [
        ({"practice": False, "model": "exceed"}, False),
        ({"practice": False, "model": "simulated"}, True),  # prepared as if it were for somebody
        ({"practice": True, "model": "simulated"}, True),
    ],
)
def test_a_treatment_with_a_simulated_pen_says_that_nobody_was_treated(begun: dict[str, Any], practice: bool) -> None:
    story = story_of(("treatment_begun", begun))
    assert story.practice is practice
    assert ("nobody was treated" in said_of(story)) is practice


def test_the_report_tells_all_of_it() -> None:
    said = said_of(told(whole_treatment()))
    for text in (
        "Case | K-1024", "30 to 39", "Fitzpatrick III", "Fine lines, Acne scars", "PEN-0001 (simulated, firmware",
        "Cheek | 2 of 2 | ", "Forehead | 1 of 1 | ", "Neck | 0 of 3 | 0 | 0 | – | – | – | – | 0:00 | Not begun",
        "1.00 | 1.02 | 1.50 | 100", f"Overridden by {BY}: none for two years", "lidocaine 4 %, 30 min",
        "Lot | L2401", "Lot: L2407; UDI: (01)09506000134352", "Taken up again", f"Resumed by {BY}",
        "The pen stopped: no word from the program", "depth 1.5 mm refused; the limit is 0.75 mm (area: Dr. Pen",
        "endpoint: Even redness; reactions: Mild swelling", "Aftercare sheet given", "not a cleared medical device",
    ):  # fmt: skip
        assert text in said, text


def test_a_correction_stands_beside_what_it_corrects_and_what_was_recorded_stays() -> None:
    story = told(whole_treatment())
    (cartridge,) = story.of("cartridge")
    assert cartridge.body["lot"] == "L2401"
    assert cartridge.now is not None
    assert cartridge.now["lot"] == "L2407"
    lines = said_of(story).splitlines()
    assert any(line.startswith(f"Noted | {ENGLISH.time(cartridge.wall)}, by {BY}") for line in lines)
    beneath = lines[lines.index(next(line for line in lines if line.startswith("Noted | "))) + 1]
    assert beneath.startswith("Corrected ")
    assert beneath.endswith("L2407")


def test_what_was_taken_back_does_not_hold_and_is_told() -> None:
    case = {"code": "K-1", "age_band": "30_39", "fitzpatrick": 3, "indications": [], "concerns": []}
    back = {"of_seq": 1, "reason": "wrong patient", "kind": "case", "corrects": "case", "body": None, "by": BY}
    story = story_of(("case", case), ("correction", back))
    assert story.holding("case") is None
    said = said_of(story)
    assert "Case | K-1" not in said
    assert f"by {BY} (wrong patient): taken back; it does not hold" in said


# --- any moment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", languages())
def test_it_can_be_told_after_any_record(language: str) -> None:
    records = whole_treatment()
    before = 0
    for many in range(1, len(records) + 1):
        story = told(records[:many])
        strokes = sum(area.strokes for area in story.areas)
        assert strokes >= before
        before = strokes
        passes = [each.body for each in records[:many] if each.kind == "pass"]
        assert sum(area.passes or 0 for area in story.areas) == len(passes)
        assert (story.ended is None) == (many < len(records))
        assert (texts(language)["report.disclaimer"] in said_of(story, language)) is True


@in_virtual_time
async def test_a_killed_treatment_has_its_counts_and_says_that_it_has_no_end() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench:
        await treat_and_die(bench, journal, CHEEK, lambda now: now.truth()[0] > 400, config=ROOMY)
    story = told(journal.records)
    (cheek,) = story.areas
    given = journal.bodies("progress")[-1]["given"]
    assert (cheek.strokes, cheek.punctures) == (given["strokes"], given["contact_strokes"] * cheek.needles)
    assert cheek.deepest_um == given["deepest_um"] > 900
    assert (story.ended, cheek.done, story.practice) == (None, False, True)
    said = said_of(story)
    assert "was not ended by" in said
    assert "Not finished" in said
    assert "Practice" in said


@in_virtual_time
async def test_a_treatment_without_anything_is_told_too() -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal):
        pass
    assert "Nothing: no needles ran." in said_of(told(journal.records))


def test_no_records_make_no_story() -> None:
    with pytest.raises(ValueError, match="choose a session"):
        told([])


# --- much, strange, hostile ------------------------------------------------------------------------------------------


def alert(fault: str, value: float, ended_us: int | None, raised_us: int = 0) -> tuple[str, dict[str, Any]]:
    limit = {"name": "force", "value": 2.0, "unit": "N", "source": "s", "layer": "area"}
    body = {"area": "cheek", "fault": fault, "severity": "warning", "advice": "", "value": value, "limit": limit}
    return "alert", body | {"raised_us": raised_us, "ended_us": ended_us}


def test_alerts_are_summed_by_area_and_kind_with_the_worst() -> None:
    pressing = [(2.5, 4_294_000_000, 1_032_704), (3.5, 5_000_000, 6_500_000), (2.1, 9_000_000, None)]
    bodies = []
    for value, raised_us, ended_us in pressing:
        bodies.append(alert("pressing", value, None, raised_us))
        if ended_us is not None:
            bodies.append(alert("pressing", value, ended_us, raised_us))
    slow = [alert("dwelling", value, None) for value in (1.5, 0.2, 1.9)]
    first, second = story_of(*bodies, *slow).alerts
    assert (first.fault, first.times, first.worst) == ("pressing", 3, 3.5)
    assert first.seconds == pytest.approx(2.0 + 1.5)  # over the wrap of the pen's clock too
    assert (second.fault, second.times, second.worst, second.seconds) == ("dwelling", 3, 0.2, 0.0)


def test_four_hundred_alerts_make_a_line_for_each_kind() -> None:
    story = story_of(*[alert(fault, 3.0, None) for fault in ("pressing", "air") for _ in range(200)])
    assert len(story.alerts) == 2
    assert len(said_of(story).splitlines()) < 40


def test_an_unknown_record_is_shown_as_it_stands_and_one_of_another_version_too() -> None:
    said = said_of(story_of(("login", {"by": "nurse-2", "how": ["token"]}), ("stop", {"why": "of another version"})))
    assert "login: by nurse-2, how token" in said
    assert "stop: why of another version" in said


def test_texts_show_all_that_they_hold() -> None:
    assert visible({"a": ["x\u202ey\n", 3, None], "b\u0000": "ä \u3000中"}) == {
        "a": ["x[U+202E]y[U+000A]", 3, None],
        "b[U+0000]": "ä \u3000中",
    }


@pytest.mark.parametrize("hostile", ["\u202egnorw", "a\nCorrected 2020 by boss (x): lot L1", "\ud800", "\u200b\u2066"])
def test_no_text_of_a_record_can_pass_for_another(hostile: str) -> None:
    note = {"area": "cheek", "endpoint": "none", "reactions": [hostile], "by": hostile}
    said = said_of(story_of(("note", note), ("stop", {"reason": hostile})))
    assert hostile not in said
    assert "[U+" in said


# --- languages -------------------------------------------------------------------------------------------------------


def shape(blocks: Sequence[Block]) -> list[tuple[str, int]]:
    return [(type(block).__name__, len(_texts(block))) for block in blocks]


def test_every_language_tells_the_same() -> None:
    story = told(whole_treatment())
    shapes = [shape(contents.report(story, Words(texts(each)), each).blocks) for each in languages()]
    assert len(shapes) >= 2
    assert all(each == shapes[0] for each in shapes)


def test_german_has_its_own_figures_and_names() -> None:
    said = said_of(told(whole_treatment()), "de")
    assert "Wange | 2 von 2 | " in said
    assert "1,00 | 1,02 | 1,50" in said
    assert "1.00" not in said


NAMED: dict[str, Iterable[str]] = {
    "area": CONFIG.areas,
    "indication": CONFIG.indications,
    "report.fault": [fault.name.lower() for fault in Fault],
    "report.cause": [cause.name.lower() for cause in Cause],
    "report.state": [state.name.lower() for state in PenState],
    "report.layer": get_args(Layer),
    "report.family": get_args(Family),
    "report.limit": ["depth", "rate", "force", "size", "passes", "density", "strokes", "needles", "preparation"],
}


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("group", NAMED)
def test_everything_that_can_be_named_has_a_name_in_every_language(group: str, language: str) -> None:
    assert {f"{group}.{key}" for key in NAMED[group]} <= texts(language).keys()


def test_the_words_of_figures() -> None:
    german = Words(texts("de"), UTC)
    assert ENGLISH.number(12345.678, 1) == "12\N{NARROW NO-BREAK SPACE}345.7"
    assert german.number(12345.678, 1) == "12\N{NARROW NO-BREAK SPACE}345,7"
    assert german.number(1234.5, 1) == "1234,5"
    assert ENGLISH.moment("2026-11-22T23:30:00.120+00:00") == "2026-11-22 23:30:00+00:00"
    assert german.hertz(905) == "90,5 Hz"


@pytest.mark.parametrize("asked", [{"used_by": 41}, {"expires": date(2026, 2, 28)}, None])
def test_a_refusal_without_a_figure_says_itself_why(asked: dict[str, Any] | None) -> None:
    refusal = refused(ask(cartridge=asked and replace(TAG, **asked)))
    body = json.loads(json.dumps(entries.refused(refusal, CHEEK_REQUEST)))
    assert ENGLISH.said("refusal", body) == refusal.message


def test_a_refusal_with_a_figure_says_what_was_asked_and_the_limit() -> None:
    refusal = refused(ask(replace(CHEEK_REQUEST, depth_mm=2.5)))
    said = ENGLISH.said("refusal", json.loads(json.dumps(entries.refused(refusal, CHEEK_REQUEST)))) or ""
    assert "2.5 mm" in said
    assert "2 mm" in said
