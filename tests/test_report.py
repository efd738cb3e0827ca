"""The report as it is printed: one safe HTML file, a tagged PDF, and the command that makes them."""

import asyncio
import io
import json
import re
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject
from typer.testing import CliRunner

from pen_controller.cli import app
from pen_controller.config import load
from pen_controller.config.texts import languages, texts
from pen_controller.journal import Journal
from pen_controller.report import contents, drawings
from pen_controller.report.aftercare import sheet
from pen_controller.report.blocks import Document
from pen_controller.report.html import html
from pen_controller.report.pdf import pdf
from pen_controller.report.story import Story, told
from pen_controller.report.words import Words
from tests.screens import screen
from tests.stories import journal_of, whole_treatment
from tests.test_dashboard_view import violations
from tests.test_report_story import story_of, texts_of

MADE = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>&amp;\'"#let x = read("/etc/passwd")'


def document(story: Story, language: str = "en") -> Document:
    return contents.report(story, Words(texts(language), UTC), language, sheet=sheet(load().aftercare, language))


def hostile_story() -> Story:
    note = {"area": HOSTILE, "endpoint": HOSTILE, "reactions": [HOSTILE], "by": HOSTILE}
    case = {"code": HOSTILE, "age_band": HOSTILE, "fitzpatrick": 9, "indications": [HOSTILE], "concerns": [HOSTILE]}
    limit = {"name": HOSTILE, "value": 1, "unit": HOSTILE, "source": HOSTILE, "layer": HOSTILE}
    armed = {"command": "arm", "area": HOSTILE, "size_cm2": 1, "needles": 12, "depth_cap_um": 1}
    started = {"command": "start", "area": HOSTILE, "depth_um": 1000, "rate_dhz": 900}
    alert = {"area": HOSTILE, "fault": HOSTILE, "severity": "advice", "value": 1.0, "limit": limit, "raised_us": 0}
    refusal = {"limit": limit, "asked": HOSTILE, "message": HOSTILE, "request": {"area": HOSTILE}}
    return story_of(
        ("case", case), ("intent", armed), ("intent", started), ("note", note), ("stop", {"reason": HOSTILE}),
        ("alert", alert | {"ended_us": None}), ("refusal", refusal), (f"kind{len(HOSTILE)}", {HOSTILE: HOSTILE}),
    )  # fmt: skip


@pytest.fixture
def story() -> Story:
    return told(whole_treatment())


# --- HTML ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", languages())
async def test_the_page_is_whole_runs_nothing_and_asks_nobody(story: Story, language: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html(document(story, language)), "utf-8")
    async with screen(page.as_uri()) as opened:
        assert await opened.page.title() == f"{texts(language)['report.title']} K-1024"
        assert await opened.page.locator("svg text", has_text="3128").count() == 2
        assert await opened.page.evaluate("getComputedStyle(document.querySelector('.quiet')).fontSize") == "14px"
        assert await opened.page.evaluate("document.scripts.length") == 0
        for width in (375, 1280):
            await opened.page.set_viewport_size({"width": width, "height": 800})
            assert await opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.asked == {""}  # the file itself
        assert not opened.complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_read_the_page(story: Story, scheme: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html(document(story)), "utf-8")
    async with screen(page.as_uri(), color_scheme=scheme) as opened:
        assert await violations(opened.page) == []


async def test_what_a_record_says_is_text_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html(document(hostile_story())), "utf-8")
    async with screen(page.as_uri()) as opened:
        assert await opened.page.evaluate("document.querySelectorAll('script, img').length") == 0
        assert await opened.page.locator("bdi", has_text=HOSTILE).count() > 8
        assert await opened.page.locator(f'svg[aria-label*="{HOSTILE[:8]}"]').count() > 0
        assert opened.asked == {""}
        assert not opened.complaints


def test_the_policy_lets_in_one_style_and_nothing_else(story: Story) -> None:
    made = html(document(story))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", policy[1]
    )
    assert " style=" not in made
    assert "http://" not in made.replace('xmlns="http://www.w3.org/2000/svg"', "")


# --- PDF -------------------------------------------------------------------------------------------------------------


def structure(reader: PdfReader) -> list[Any]:
    """All elements of the tree of tags, each before those within it."""

    def walk(node: Any) -> Iterator[DictionaryObject]:
        node = node.get_object()
        if isinstance(node, ArrayObject):
            for each in node:
                yield from walk(each)
        elif isinstance(node, DictionaryObject):
            if "/S" in node:
                yield node
            if "/K" in node:
                yield from walk(node["/K"])

    root = reader.trailer["/Root"]
    return list(walk(root["/StructTreeRoot"]["/K"]))  # type: ignore[index]  # pypdf types no dictionary


@pytest.mark.parametrize("language", languages())
def test_the_pdf_is_tagged_for_who_cannot_see_it_and_made_for_the_archive(story: Story, language: str) -> None:
    reader = PdfReader(io.BytesIO(pdf(document(story, language), made=MADE)))
    tags = [element["/S"] for element in structure(reader)]
    assert tags.count("/H1") == 1
    assert tags.count("/H2") == len([b for b in document(story, language).blocks if _is_section(b)]) + 1
    assert {"/Table", "/TH", "/TD", "/L", "/LI", "/P"} <= set(tags)
    figures = [element for element in structure(reader) if element["/S"] == "/Figure"]
    assert len(figures) == 2
    assert "3128" in figures[0]["/Alt"]
    assert texts(language)["area.cheek"] in figures[1]["/Alt"]
    root: Any = reader.trailer["/Root"]
    assert root["/Lang"] == language
    metadata = root["/Metadata"].get_data().decode()
    assert "<pdfuaid:part>1<" in metadata
    assert "<pdfaid:part>2<" in metadata
    assert "<pdfaid:conformance>A<" in metadata
    assert "2026-11-22T12:00:00" in metadata


def _is_section(block: Any) -> bool:
    return type(block).__name__ == "Heading" and block.level == 2


def pdf_text(made: bytes) -> str:
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(made)).pages)


def test_the_pdf_says_what_the_page_says(story: Story) -> None:
    printed = document(story, "de")
    found = re.sub(r"\s", "", pdf_text(pdf(printed, made=MADE)))
    for line in texts_of(printed).splitlines():
        if "Durchgänge und Dichte" in line or line.startswith("Eingestellte,"):
            continue  # what is said of a drawing stands in its tag
        for cell in line.split(" | "):
            assert re.sub(r"\s", "", cell) in found, cell


def test_the_aftercare_sheet_is_a_page_of_its_own(story: Story) -> None:
    pages = PdfReader(io.BytesIO(pdf(document(story), made=MADE))).pages
    assert pages[-1].extract_text().startswith("After your treatment")
    assert "After your treatment" not in pages[-2].extract_text()


def test_the_pdf_takes_a_record_for_text_and_runs_nothing_of_it() -> None:
    found = re.sub(r"\s", "", pdf_text(pdf(document(hostile_story()), made=MADE)))
    assert found.count(re.sub(r"\s", "", HOSTILE)) > 4


def test_a_letter_that_no_font_has_keeps_nobody_from_the_pdf() -> None:
    story = story_of(("stop", {"reason": "\U000131c3 \U0001f9ff ä"}))
    assert structure(PdfReader(io.BytesIO(pdf(document(story), made=MADE))))


# --- drawings --------------------------------------------------------------------------------------------------------


def test_the_face_has_every_zone_of_the_page_and_says_what_colours_say() -> None:
    marks = {"cheek": drawings.Mark("2", "3128", closed=False), "hands": drawings.Mark("3", "99", closed=True)}
    drawn = drawings.face(marks, sides=("R", "L"))
    assert drawn.count(">2</text>") == drawn.count(">3128</text>") == 2
    assert ">99<" not in drawn  # it is no zone of the face
    assert drawn.count('class="passes-2"') == 2


def test_the_shapes_stand_in_one_file_for_whoever_draws_them() -> None:
    static = Path(drawings.__file__).parents[1] / "dashboard/static"
    zones = json.loads((static / "face.json").read_text("utf-8"))["zones"]
    assert zones.keys() < load().areas.keys()
    for script in static.glob("*.js"):
        assert not any(zone["path"] in script.read_text("utf-8") for zone in zones.values()), script.name


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite"
    asyncio.run(journal_of(path, whole_treatment()))
    return path


def pen(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_the_command_writes_both_for_their_owner_only(journal: Path, tmp_path: Path) -> None:
    session = whole_treatment()[0].session
    told = pen("--journal", journal, "--out", tmp_path / "out", "--language", "de")
    assert told.exit_code == 0, told.output
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"{session}.html", f"{session}.pdf"]
    assert told.stdout.splitlines() == [str(file) for file in files]
    assert "Behandlungsbericht" in files[0].read_text("utf-8")
    if sys.platform != "win32":
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_it_reads_a_journal_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    async with Journal.open(path) as journal:
        await journal.append("s1", "skin", {"indication": "wrinkles", "fitzpatrick": 2}, pen="PEN-0001")
        first = json.loads(pen("--journal", path, "--out", tmp_path, "--json").stdout)
        await journal.append("s2", "skin", {"indication": "wrinkles", "fitzpatrick": 2}, pen="PEN-0001")
        newest = json.loads(pen("--journal", path, "--out", tmp_path, "--json").stdout)
        named = json.loads(pen("s1", "--journal", path, "--out", tmp_path, "--json").stdout)
        listed = json.loads(pen("--journal", path, "--list", "--json").stdout)
        await journal.append("s2", "stop", {"reason": "it goes on"}, pen="PEN-0001")
    assert [told["session"] for told in (first, newest, named)] == ["s1", "s2", "s1"]
    assert [(one["session"], one["records"]) for one in listed] == [("s1", 1), ("s2", 1)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--journal", "nowhere.sqlite"], "it is not there"),
        (["--journal", __file__], "it is not a journal: choose another file"),
        (["s9", "--journal", "JOURNAL"], "no session s9: pen report --list shows those it has"),
        (["--journal", "JOURNAL", "--language", "xx"], "no texts in 'xx': give one of"),
    ],
)
def test_what_cannot_be_reported_is_one_clear_line(journal: Path, tmp_path: Path, words: list[str], said: str) -> None:
    told = pen(*[str(journal) if word == "JOURNAL" else word for word in words], "--out", tmp_path / "out")
    assert told.exit_code == 2
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_report_that_cannot_be_written_leaves_nothing_half_done(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    taken = out / f"{whole_treatment()[0].session}.html"
    taken.mkdir(parents=True)  # nothing can take its place
    told = pen("--journal", journal, "--out", out)
    assert told.exit_code == 2
    assert len(told.stderr.splitlines()) == 1
    assert [*out.iterdir()] == [taken]


async def test_an_empty_journal_has_nothing_to_report(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "j.sqlite"):
        told = pen("--journal", tmp_path / "j.sqlite")
    assert told.exit_code == 2
    assert "it is empty" in told.stderr


def test_the_report_names_no_disclaimer_twice(story: Story) -> None:
    assert texts_of(document(story)).count("not a cleared medical device") == 1
