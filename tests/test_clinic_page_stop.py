"""STOP on the clinic's page, and what stops the needles where the page or the service cannot."""

import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Route, WebSocketRoute, expect

from pen_controller.practice import simulated
from tests.brokers import until
from tests.clinic_page import NARROW, WIDE, ZOOMED, App, Clinician, clinician, pen_app
from tests.screens import broken_rules

LOOKS: list[tuple[Literal["light", "dark"], tuple[int, int]]] = [
    *(("light", size) for size in (WIDE, ZOOMED, NARROW)),
    *(("dark", size) for size in (WIDE, ZOOMED, NARROW)),
]
TRIES = 3
LEAST_TARGET_PX = 44
SMALL_TARGETS = """
(least_px) => [...document.querySelectorAll("button, select, summary, a, input, label:has(input)")]
  .filter((one) => one.checkVisibility() && !(one.matches("input") && one.closest("label")))
  .map((one) => ({ what: one.outerHTML.slice(0, 100), size: one.getBoundingClientRect() }))
  .filter(({ size: { width, height } }) => Math.min(width, height) < least_px)
  .map(({ what, size: { width, height } }) => `${width} x ${height}: ${what}`)
"""
"""A control inside its label is as large as that."""


@contextlib.asynccontextmanager
async def prepared(folder: Path) -> AsyncIterator[tuple[App, Clinician]]:
    """A clinician before the screen that treats, with two large areas planned."""
    async with (
        simulated(1, zone_cm2=60) as pen,
        pen_app(folder, "--pen", pen.url) as app,
        clinician(app, folder) as works,
    ):
        await works.prepare("cheek", "forehead")
        yield app, works


async def stopped(app: App, reason: str) -> None:
    """Wait until the record says that the pen was told to stop, and why."""
    await until(lambda: any(reason in body["reason"] for body in app.records("stop")), reason)


async def test_keys_stop_and_pedals_run(tmp_path: Path) -> None:
    async with prepared(tmp_path) as (app, works):
        page = works.page
        await works.start()
        await page.locator("h2").focus()
        await page.keyboard.press("Space")
        await works.stop("confirmed")
        await works.look("#stop[data-phase=confirmed]", "space")
        await works.resume()
        await works.state("idle")

        await page.evaluate("document.hasFocus = () => false")
        await expect(works.button("Keyboard STOP off: click here")).to_be_visible()
        await page.evaluate("delete document.hasFocus")
        await expect(works.button("Keyboard STOP off: click here")).to_have_count(0)

        # A control with the focus takes Space for itself; the button STOP takes it as STOP.
        await works.button("Settings").click()
        await page.get_by_label("Dark").focus()
        await page.keyboard.press("Space")
        await expect(page.locator("html[data-theme=dark]")).to_be_visible()
        await works.state("idle")
        for place, key in enumerate(("F9", "F8")):
            await works.button("Choose").nth(place).click()
            await page.keyboard.press(key)
            await expect(page.locator("kbd").nth(place)).to_have_text(key)
        await works.is_accessible()
        await page.get_by_label("Deutsch").check()
        await works.heading("Einstellungen")
        assert await page.evaluate("document.documentElement.lang") == "de"
        await works.picture("settings")
        await page.get_by_label("English").check()
        await works.button("Back").click()

        # Held the needles run, whatever the key repeats; let go they come in, and nobody has to resume.
        await expect(page.locator(".start")).to_be_visible()
        for leave in ("keyboard.up", "blur"):
            await page.keyboard.down("F8")
            await works.state("running")
            await page.keyboard.down("F8")
            await works.state("running")
            if leave == "blur":
                await page.evaluate("window.dispatchEvent(new Event('blur'))")
            else:
                await page.keyboard.up("F8")
            await works.state("idle")
            await expect(page.locator(".start")).to_be_visible()
        await page.keyboard.up("F8")
        assert len(app.records("resume")) == 1

        await page.keyboard.down("F8")
        await works.state("running")
        await page.keyboard.press("F9")
        await works.stop("confirmed")
        await works.state("stopped")
        assert works.shown.complaints == []


@pytest.mark.hazard("H04", slow=True)
async def test_the_screen_is_accessible_while_needles_run_and_every_control_is_large(tmp_path: Path) -> None:
    """Looked at in a window of its own: rules take their time, and who operates has to be alive."""
    async with prepared(tmp_path) as (_, works):
        shown = await works.page.context.new_page()
        await shown.goto(works.page.url)

        async def looked_at(theme: Literal["light", "dark"], size: tuple[int, int]) -> None:
            await shown.emulate_media(color_scheme=theme)
            await shown.set_viewport_size({"width": size[0], "height": size[1]})
            await expect(shown.locator(".state[data-look=running]")).to_be_visible()
            assert await broken_rules(shown) == []
            assert await shown.evaluate(SMALL_TARGETS, LEAST_TARGET_PX) == []
            await shown.screenshot(path=works.pictures / f"running-{theme}-{size[0]}.png")

        for theme, size in LOOKS:
            for _ in range(TRIES):
                await works.go_on()
                await looked_at(theme, size)
                if await shown.locator(".state[data-look=running]").count():
                    break
            else:
                pytest.fail("the needles do not run for as long as it takes to look")


@pytest.mark.hazard("H04", slow=True)
async def test_a_page_that_dies_stops_the_pen(tmp_path: Path) -> None:
    async with prepared(tmp_path) as (app, works):
        page = works.page
        await works.start()
        await page.evaluate("setTimeout(() => { for (const t = Date.now(); Date.now() - t < 2000; ); })")  # frozen
        await stopped(app, "the screen does not answer")
        await works.state("stopped")
        await works.resume()

        await works.start()
        other = await page.context.new_page()
        await other.goto(page.url)
        await page.close()
        await stopped(app, "the screen was closed")
        await expect(other.locator(".state[data-look=stopped]")).to_be_visible()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot freeze a process")
async def test_a_service_that_dies_is_noticed_and_stop_is_sent_until_it_is_confirmed(tmp_path: Path) -> None:
    async with prepared(tmp_path) as (app, works):
        page = works.page
        await works.start()
        app.freeze()
        await works.state("unknown")
        await expect(page.get_by_role("alert")).to_contain_text("If the needles move, press its own button.")
        assert await page.locator(".gauge .value strong").all_inner_texts() == ["–"] * 4
        assert await page.locator(".screen").evaluate("(screen) => screen.inert")
        await page.mouse.move(*await middle(works))
        await page.mouse.down()  # it acts on press
        await works.look("#stop[data-phase=sent]", "not-confirmed")
        await page.mouse.up()
        app.thaw()
        await works.reconnect()  # the service may take the pen for silent, as long as it was frozen
        await works.stop("confirmed")
        await expect(page.locator(".state")).to_contain_text(
            "no word from the program"
        )  # the pen's own stop, by its lease
        await works.picture("confirmed-late")


async def test_a_treatment_whose_service_was_killed_is_taken_up(tmp_path: Path) -> None:
    async with simulated(1, zone_cm2=60) as pen:
        async with pen_app(tmp_path, "--pen", pen.url) as app, clinician(app, tmp_path) as works:
            await works.prepare("cheek", "forehead")
            await works.start()
            given = works.page.locator(".given .active td").nth(1)
            await expect(given).to_have_text(re.compile("[1-9]"))
            app.process.kill()
            await works.state("unknown")
        async with pen_app(tmp_path, "--pen", pen.url) as app, clinician(app, tmp_path) as works:
            await works.log_in()
            await works.page.locator(".cards button").first.click()
            await works.heading("A treatment with this pen was never ended")
            await works.is_accessible()
            await works.picture("left")
            await works.button("Take it up").click()
            await works.state("stopped")
            await expect(works.page.locator(".given .active td").nth(1)).to_have_text(re.compile("[1-9]"))
            await works.resume()
            await works.start()


@pytest.mark.hazard("H25", slow=True)
async def test_stop_works_where_the_rest_of_the_page_has_failed(tmp_path: Path) -> None:
    async with prepared(tmp_path) as (_, works):
        page = works.page

        async def broken(route: Route) -> None:
            await route.fulfill(content_type="text/javascript", body="throw new Error('broken');")

        await page.route("**/app.js", broken)
        await page.reload()
        await expect(page.locator("#page")).to_be_empty()
        await page.keyboard.press("Escape")
        await works.stop("confirmed")
        await page.unroute("**/app.js")
        await page.reload()
        await works.state("stopped")
        assert [said for said in works.shown.complaints if "broken" not in said] == []


async def test_a_page_that_cannot_draw_is_not_alive_and_stops_until_it_is_heard(tmp_path: Path) -> None:
    spoil: list[bool] = []
    stops: list[str] = []

    def handle(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            spoiled = str(message).replace('"plan": [', '"plan": null, "was": [') if spoil else message
            route.send(spoiled)

        def pass_on_but_the_first_stops(message: str | bytes) -> None:
            if '"stop"' in str(message):
                stops.append(str(message))
            if not 0 < len(stops) < 3:
                server.send(message)

        server.on_message(pass_on)
        route.on_message(pass_on_but_the_first_stops)

    async with (
        simulated(1, zone_cm2=60) as pen,
        pen_app(tmp_path, "--pen", pen.url) as app,
        clinician(app, tmp_path) as works,
    ):
        await works.page.route_web_socket("**/live", handle)
        await works.prepare("cheek")
        await works.start()
        spoil.append(True)
        await expect(works.page.locator("#fault")).to_contain_text("This window has failed. STOP below still works")
        await stopped(app, "the screen does not answer")
        await works.picture("failed")
        await works.page.keyboard.press("Escape")
        await works.stop("confirmed")


async def middle(works: Clinician) -> tuple[float, float]:
    box: Any = await works.page.locator("#stop").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
