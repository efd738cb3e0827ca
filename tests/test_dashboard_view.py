"""How the dashboard looks and reads: who needs someone comes first, for every eye, size and hand."""

import contextlib
import importlib.resources
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pen_controller.dashboard import server
from pen_controller.telemetry.messages import AreaSoFar, LivePayload, StatePayload
from tests.brokers import free_port
from tests.screens import Screen, mosquitto, password_file, screen, speaking

AREAS = [
    AreaSoFar(area="cheek", passes=2, density_per_cm2=900.4),
    AreaSoFar(area="nose", passes=1, density_per_cm2=1803.0, closed="density"),
    AreaSoFar(area="neck", passes=3, density_per_cm2=700.0),
]


def state(pen: str, word: str, **more: Any) -> tuple[str, StatePayload]:
    return f"clinic/{pen}/state", StatePayload(pen=pen, state=word, session="s1", areas=AREAS, **more)


def live(pen: str, **more: Any) -> tuple[str, LivePayload]:
    told = LivePayload(
        pen=pen, session="s1", area="cheek", depth_um=1012, rate_dhz=1003, force_mn=412, passes=2, coverage=None,
        punctures=5400, density_per_cm2=1801.4, battery_pct=87, advice=None, how={},
    )  # fmt: skip
    return f"clinic/{pen}/live", told.model_copy(update=more)


SITE = (
    state("p1", "running", area="cheek"), live("p1"),
    state("p2", "latched", latch="lease_expired"),
    state("p3", "running", area="cheek"), live("p3", advice="Move on"),
    state("p4", "latched", latch="over_force"),
    state("p5", "idle"),
    state("p6", "armed", area="nose"),
)  # fmt: skip


@contextlib.asynccontextmanager
async def site(directory: Path, **options: Any) -> AsyncIterator[Screen]:
    """Show six pens, and a broker that asks who we are."""
    (directory / "closed").mkdir()
    async with (
        mosquitto(directory, free_port(), free_port()) as address,
        mosquitto(
            directory / "closed", free_port(), free_port(), websocket=password_file(directory, nurse="s3cret")
        ) as closed,
        server.serving([address.websocket, closed.websocket]) as url,
        screen(url, **options) as shown,
        speaking(address, *SITE),
    ):
        await expect(shown.page.locator("article")).to_have_count(6)
        await expect(shown.page.locator("form")).to_have_count(1)
        await expect(shown.page.locator(".call")).to_have_count(3)
        yield shown


async def test_who_needs_someone_comes_first_and_a_key_leads_there(tmp_path: Path) -> None:
    async with site(tmp_path, viewport={"width": 800, "height": 600}) as shown:
        page = shown.page
        calls = ["▲p4 FAULT: over force", "■p2 STOPPED: lease expired", "!p3 Move on"]
        await expect(page.locator(".call")).to_have_text(calls)
        await expect(page.locator("#summary")).to_have_text("3 of 6 pens need someone:")
        assert await page.title() == "(3) Pens"
        reached = []
        for _ in range(7):
            await page.keyboard.press("Tab")
            reached.append(await page.evaluate("document.activeElement.innerText || document.activeElement.type"))
        assert [text.replace("\n", "") for text in reached] == ["text", "password", "checkbox", "Sign in", *calls]
        await page.keyboard.press("Enter")
        await expect(shown.card("p3")).to_be_focused()
        await expect(shown.card("p3").locator(".state")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_rule_of_accessibility_is_broken(theme: str, tmp_path: Path) -> None:
    async with site(tmp_path, viewport={"width": 1280, "height": 800}, color_scheme=theme) as shown:
        await expect(shown.page.locator(".refusal")).to_contain_text("asks who you are")
        assert await violations(shown.page) == []
        await shown.page.set_viewport_size({"width": 375, "height": 812})
        assert await violations(shown.page) == []


@pytest.mark.parametrize(("width", "scale"), [(375, 3.0), (640, 2.0), (1920, 1.0)])  # 640: 1280 at a zoom of 200 %
async def test_nothing_is_cut_off(width: int, scale: float, tmp_path: Path) -> None:
    viewport = {"width": width, "height": 812}
    async with site(tmp_path, viewport=viewport, device_scale_factor=scale) as shown:
        assert await shown.page.evaluate("document.documentElement.scrollWidth") == width
        cut = "(all) => all.filter((e) => e.clientWidth && e.scrollWidth > e.clientWidth + 1).map((e) => e.outerHTML)"
        assert await shown.page.locator("article *").evaluate_all(cut) == []


async def test_passes_are_told_by_text_and_by_shape_too(tmp_path: Path) -> None:
    async with site(tmp_path) as shown:
        card = shown.card("p1")
        counts = await card.locator(".counts text").all_text_contents()
        assert sorted(filter(None, counts)) == ["1", "2", "2"]  # the nose and both cheeks; the neck is in the list
        rows = ["Cheek2900", "Nose (closed)11803", "Neck3700"]
        await expect(shown.card("p2").locator("tbody tr")).to_have_text(rows)
        dashes = "(zone) => getComputedStyle(zone).strokeDasharray"
        assert await card.locator('.zone[data-closed="true"]').first.evaluate(dashes) != "none"
        assert await card.locator('.zone[data-closed="false"]').first.evaluate(dashes) == "none"


async def violations(page: Page) -> list[str]:
    """Return the rules of axe-core that the page breaks, each with its first element."""
    axe = importlib.resources.files("axe_playwright_python") / "axe.min.js"
    await page.evaluate(axe.read_text("utf-8"))
    found = await page.evaluate("async () => (await axe.run()).violations")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
