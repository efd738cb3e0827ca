"""The clinic's page in a real Chromium, on a real `pen app`, with a pen behind a pseudo-terminal."""

import asyncio
import hashlib
import re
import sys
from collections.abc import Awaitable
from pathlib import Path

import pytest
from playwright.async_api import expect

from pen_controller.clinic.routes import texts_of_page
from pen_controller.clinic.server import STATIC
from pen_controller.practice import simulated
from tests.clinic_page import ACCOUNT, Clinician, clinician, pen_app

ZONE_CM2 = 4
MOST_BYTES = 150_000
WEIGHTS = """
() => Object.fromEntries(performance.getEntriesByType("resource").map(({ name, decodedBodySize }) =>
  [new URL(name).pathname, decodedBodySize]))
"""


@pytest.mark.parametrize("line", ["cable", "Bluetooth"])
async def test_a_whole_treatment(line: str, tmp_path: Path) -> None:
    judged = line == "cable"
    async with (
        simulated(1, zone_cm2=ZONE_CM2, ble=not judged) as pen,
        pen_app(tmp_path, "--pen", pen.url) as app,
        clinician(app, tmp_path, judged=judged) as works,
    ):
        page = works.page
        await (
            prepared_step_by_step(works) if judged else works.prepare("cheek", "forehead", "nose", size_cm2=ZONE_CM2)
        )
        await works.button("Done: Plan").click()
        await looked_at(works, works.heading("Plan"), "plan")

        # One refusal: deeper than the nose may be.
        await page.get_by_label("Nose: Depth, mm").fill("1.2")
        await works.keep_plan()
        await works.pick(3, "Nose")
        await works.page.locator(".start").click()
        await looked_at(works, expect(page.get_by_role("alert")).to_contain_text("0.8"), "refused")
        await works.button("Done: Plan").click()
        await page.get_by_label("Nose: Depth, mm").fill("0.3")
        await works.keep_plan()

        # One STOP by key, confirmed by the pen; a person resumes.
        await works.pick(1, "Cheek")
        await works.start()
        await looked_at(works, works.state("running"), "running")
        await page.keyboard.press("Escape")
        await works.stop("confirmed")
        await works.state("stopped")
        await looked_at(works, expect(page.locator("#stop-said")).to_contain_text("confirmed by pen"), "stopped")
        await works.resume()
        await works.give("Cheek")

        # One cable pulled.
        await works.pick(2, "Forehead")
        await works.start()
        pen.tell("unplug 2")
        await works.state("lost")
        await looked_at(works, expect(page.get_by_text("The line to the pen is lost.")).to_be_visible(), "lost")
        await works.reconnect()
        await works.resume()
        await works.give("Forehead")
        await works.pick(3, "Nose")
        await works.give("Nose")
        await works.picture("treated")

        await works.button("To notes and report").click()
        await looked_at(works, works.heading("Notes, aftercare and report"), "notes")
        for left in (3, 2, 1):
            note = page.locator(".note").first
            await expect(page.locator(".note")).to_have_count(left)
            await note.get_by_label("Even redness").check()
            await note.get_by_label("Reactions").fill("warmth, itching")
            await note.get_by_role("button").click()
        await expect(page.get_by_text("Nothing is left to note.")).to_be_visible()
        await works.button("It was handed over").click()
        await works.button("End the treatment").click()
        await expect(page.get_by_text("The treatment is ended.")).to_be_visible()
        await works.button("Make the report").click()
        link = page.get_by_role("link", name="Report to read")
        await looked_at(works, expect(link).to_be_visible(), "report-made")
        async with page.context.expect_page() as opened:
            await link.click()
        report = await opened.value
        await expect(report.get_by_role("heading", name="Treatment report")).to_be_visible()
        await report.screenshot(path=tmp_path / "report.png", full_page=True)
        assert [note["area"] for note in app.records("note")] == ["cheek", "forehead", "nose"]
        assert [note["by"] for note in app.records("note")] == [ACCOUNT] * 3
        assert [said for said in works.shown.complaints if "Failed to load resource" not in said] == []  # refusals
        assert works.shown.asked == {app.launch_url.split("/")[2]}
        session = str((await page.locator("a[href$='.html']").get_attribute("href")) or "").split("/")[-1][:-5]
        assert await run("verify", session, "--journal", str(app.journal)) == 0


async def test_the_page_is_small_and_asks_nobody_else(tmp_path: Path) -> None:
    async with pen_app(tmp_path) as app, clinician(app, tmp_path) as works:
        await works.set_up()
        loaded: dict[str, int] = await works.page.evaluate(WEIGHTS)
        files = sum(
            file.stat().st_size for file in STATIC.rglob("*") if file.suffix in (".html", ".css", ".js", ".svg")
        )
        answers = sum(weight for path, weight in loaded.items() if path.startswith("/api/"))
        assert {f"/{file.name}" for file in STATIC.glob("*.js")} <= loaded.keys()
        assert files + answers < MOST_BYTES
        assert works.shown.asked == {app.launch_url.split("/")[2]}
        assert works.shown.complaints == []


def test_what_is_vendored_is_what_its_readme_says() -> None:
    named = re.findall(r"\| `(\S+)` .* `([0-9a-f]{64})` \|", (STATIC / "vendor" / "README.md").read_text())
    assert {name for name, _ in named} == {file.name for file in (STATIC / "vendor").glob("*.js")}
    for name, digest in named:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_every_text_of_the_page_is_in_the_catalogue_and_none_is_for_nobody() -> None:
    code = "\n".join(file.read_text() for file in STATIC.glob("*.js"))
    asked = set(re.findall(r'"((?:page|report|screening_kind|aftercare_sheet)\.[a-z0-9_.]+)"', code))
    families = set(re.findall(r"`([a-z_.]+\.)\$\{", code))
    known = texts_of_page("en").keys()
    assert asked <= known
    assert all(any(key.startswith(family) for key in known) for family in families)
    page = {key for key in known if key.startswith("page.")}
    assert {key for key in page - asked if not key.startswith(tuple(families))} == set()


async def prepared_step_by_step(works: Clinician) -> None:
    """All of it as a person enters it, each screen held against the rules."""
    await looked_at(works, works.heading("Set up this laptop"), "set-up")
    await works.set_up()
    await looked_at(works, works.heading("Pick the pen"), "pick")
    await works.pick_pen()
    await looked_at(works, works.heading("Case"), "case")
    await works.enter_case()
    await looked_at(works, works.heading("Screening"), "screening")
    await works.screen(overridden="Rosacea")
    await works.picture("screened")
    await works.button("Continue").click()
    await looked_at(works, works.heading("Checklist and cartridge"), "checklist")
    await works.check()
    await works.page.get_by_role("textbox", name="Lot", exact=True).focus()
    await works.scan()
    await works.picture("cartridge")
    await works.plan("Cheek", "Forehead", "Nose")


async def looked_at(works: Clinician, there: Awaitable[None], name: str) -> None:
    """Wait for a screen, keep a picture of it, and hold it against the rules, but where needles run meanwhile."""
    await there
    await works.picture(name)
    if works.judged and name != "running":
        await works.is_accessible()


async def run(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "pen_controller", *arguments)
    return await process.wait()
