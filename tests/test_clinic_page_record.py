"""On the clinic's page, in a real Chromium: what was entered and corrected, accounts, limits of an area, publishing."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import expect

from pen_controller.practice import simulated
from pen_controller.telemetry.broker import EmbeddedBroker
from tests.brokers import free_port
from tests.clinic_page import PASSWORD, clinician, pen_app

OTHER = "needles need no haste at all"


async def test_what_was_entered_is_corrected_and_stays_to_be_read(tmp_path: Path) -> None:
    async with (
        simulated(1, zone_cm2=4) as pen,
        pen_app(tmp_path, "--pen", pen.url) as app,
        clinician(app, tmp_path) as works,
    ):
        page = works.page
        await works.prepare("cheek", size_cm2=4)

        # An area that is added by hand shows its limits at once, and the slider begins at what is usual there.
        await works.button("Done: Plan").click()
        await page.get_by_label("Add an area").select_option("nose")
        await works.button("Add").click()
        await expect(page.locator("table.plan tbody tr").nth(1)).to_contain_text("at most 0.80")
        await works.is_accessible()
        await works.keep_plan()
        await works.heading("Cheek")
        await works.pick(2, "Nose")
        await expect(page.get_by_role("slider", name="Depth, mm")).to_have_attribute("min", "0.25")

        await works.pick(1, "Cheek")
        await works.give("Cheek")
        await page.locator(".note").get_by_label("Even redness").check()
        await page.locator(".note").get_by_role("button").click()
        await works.button("To notes and report").click()
        await page.get_by_text("What was entered").click()

        note = page.locator(".entries > li").last
        await expect(note).to_contain_text("Even redness")
        await note.get_by_role("button").click()
        await works.is_accessible()
        await note.get_by_label("Pinpoint bleeding").check()
        await note.get_by_label("Why it is corrected").fill("looked again")
        await works.button("Add the correction").click()
        await expect(note.locator(".later")).to_contain_text("looked again")
        await expect(note.locator("s")).to_contain_text("Even redness")
        await expect(note.locator(".later")).to_contain_text("Pinpoint bleeding")
        await works.picture("corrected")

        consent = page.locator(".entries > li", has_text="Consent was given")
        await consent.get_by_role("button").click()
        await consent.get_by_label("Take it back").check()
        await consent.get_by_label("Why it is corrected").fill("it was another's")
        await works.button("Add the correction").click()
        await expect(consent.locator(".later")).to_contain_text("taken back")
        await expect(works.button("Checklist")).to_be_visible()  # not done any more
        assert [one["body"] and one["body"]["endpoint"] for one in app.records("correction")] == [
            "pinpoint_bleeding",
            None,
        ]

        # What was handed over is still said after the end, and after a reload.
        await works.button("It was handed over").click()
        await works.button("End the treatment").click()
        await expect(page.get_by_text("The treatment is ended.")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text("The sheet was handed over.")).to_be_visible()
        await page.get_by_text("What was entered").click()
        await expect(note.locator("s")).to_have_count(0)  # the last is the sheet now
        await expect(page.locator(".entries s")).to_have_count(2)
        await expect(page.locator(".entries").get_by_role("button")).to_have_count(0)
        await works.is_accessible()
        assert works.shown.complaints == []


async def test_accounts_are_added_and_changed(tmp_path: Path) -> None:
    async with pen_app(tmp_path) as app, clinician(app, tmp_path) as works:
        page = works.page
        await works.set_up()
        await works.button("Settings").click()
        await page.get_by_text("Accounts of this laptop").click()
        new = page.locator("form", has_text="no person's name")
        await new.get_by_role("textbox", name="Account").fill("viewer-1")
        await new.get_by_role("textbox", name="Password").fill(OTHER)
        await new.get_by_label("viewer looks on").check()
        await works.button("Add the account").click()
        await expect(page.get_by_text("viewer-1 can log in now.")).to_be_visible()

        card = page.locator(".card", has_text="viewer-1")
        await card.get_by_text("Role and password").click()
        await card.get_by_label("engineer practises").check()
        await works.button("Change the role").click()
        await expect(page.get_by_text("viewer-1 is engineer from now on")).to_be_visible()
        await works.is_accessible()
        await works.picture("accounts")

        await page.get_by_text("Change my password").click()
        own = page.locator("form", has_text="My password now").first
        for typed, said in (("not what it is", "account or password is wrong"), (PASSWORD, "clinician-1 is changed")):
            await own.get_by_label("My password now").fill(typed)
            await own.get_by_label("New password").fill(OTHER)
            await own.get_by_role("button").click()
            await expect(page.get_by_text(said)).to_be_visible()
        await works.button("Log out").click()
        await works.heading("Log in")
        await page.get_by_label("Account").fill("viewer-1")
        await page.get_by_label("Password").fill(OTHER)
        await works.button("Log in").click()
        await works.heading("Pick the pen")
        await works.button("Settings").click()
        await expect(page.get_by_text("Change my password")).to_be_visible()
        await expect(page.get_by_text("Accounts of this laptop")).to_have_count(0)
        kept = json.loads((tmp_path / "accounts.json").read_text())["accounts"]
        assert {one["name"]: one["role"] for one in kept} == {"clinician-1": "clinician", "viewer-1": "engineer"}


async def test_what_is_published_and_what_is_not_is_said_and_the_treatment_goes_on(tmp_path: Path) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(AsyncExitStack())
        await broker.enter_async_context(EmbeddedBroker(tmp_path, port=port))
        pen = await stack.enter_async_context(simulated(1, zone_cm2=60))
        arguments = ("--pen", pen.url, "--broker", f"mqtt://127.0.0.1:{port}")
        app = await stack.enter_async_context(pen_app(tmp_path, *arguments))
        works = await stack.enter_async_context(clinician(app, tmp_path))
        chips = works.page.locator(".chips")
        await works.prepare("cheek")
        await expect(chips).to_contain_text("publishing")
        await works.start()
        await broker.aclose()
        await expect(chips).to_contain_text("not published")
        await works.go_on()
        await works.button("End this area").click()
        await works.state("idle")
        await works.button("To notes and report").click()
        await expect(works.page.get_by_text("Not published now: mqtt://127.0.0.1")).to_be_visible()
        await works.is_accessible()
        await works.picture("not-published")
        await broker.enter_async_context(EmbeddedBroker(tmp_path, port=port))
        await expect(chips).to_contain_text("publishing")
        await works.button("End the treatment").click()
        await expect(works.page.get_by_text("The treatment is ended.")).to_be_visible()
        await expect(chips).not_to_contain_text("publish")
