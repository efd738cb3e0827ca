"""What a test of the clinic's page needs: `pen app` as a process, and a clinician who works at it in Chromium."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, expect
from playwright.async_api import TimeoutError as TooLate

from tests.brokers import BOUND_S
from tests.screens import Screen, broken_rules, screen

ACCOUNT, PASSWORD = "clinician-1", "needles need no haste"
LABEL = "010950600013435217291231" + "10A1"
"""A cartridge's code, as a scanner types it: device, expiry 2029-12-31, lot A1."""
WIDE, ZOOMED, NARROW = (1280, 800), (640, 400), (375, 812)
"""A laptop; the same at 200 %; a telephone."""
READY_S = 20.0


@dataclass
class App:
    """A `pen app` that runs; `launch_url` lets one browser in."""

    process: Process
    launch_url: str
    journal: Path

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def records(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of a kind of record, oldest first."""
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as base:
            rows = base.execute("SELECT body FROM record WHERE kind = ? ORDER BY id", (kind,))
            return [json.loads(body) for (body,) in rows]


@contextlib.asynccontextmanager
async def pen_app(folder: Path, *arguments: str) -> AsyncIterator[App]:
    """Run `pen app` with its data in a folder."""
    journal = folder / "journal.sqlite"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pen_controller", "app", "--port", "0", "--no-browser", "--journal", str(journal),
        *arguments, stdout=PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_S)
        yield App(process, line.decode().strip(), journal)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        await process.communicate()


class Clinician:
    """Works at the page as a person does: by names and words that stand there."""

    def __init__(self, shown: Screen, pictures: Path, *, judged: bool) -> None:
        self.shown, self.page, self.judged, self.pictures = shown, shown.page, judged, pictures
        self._taken = 0

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def heading(self, name: str) -> None:
        await expect(self.page.get_by_role("heading", name=name, exact=True)).to_be_visible()

    async def pick(self, number: int, name: str) -> None:
        """Press the figure of an area, again if need be: a page that has just not heard from its service takes none."""
        async with asyncio.timeout(BOUND_S):
            while not await self.page.get_by_role("heading", name=name, exact=True).is_visible():
                await self.page.keyboard.press(str(number))
                await asyncio.sleep(0.2)

    async def state(self, look: str) -> None:
        await expect(self.page.locator(f".state[data-look={look}]")).to_be_visible()

    async def look(self, part: str, name: str) -> None:
        """Wait until something is on the page, and keep a picture of it."""
        await expect(self.page.locator(part)).to_be_visible()
        await self.picture(name)

    async def stop(self, phase: str) -> None:
        await expect(self.page.locator(f"#stop[data-phase={phase}]")).to_be_visible()

    async def picture(self, name: str) -> None:
        self._taken += 1
        await self.page.screenshot(path=self.pictures / f"{self._taken:02}-{name}.png")

    async def is_accessible(self) -> None:
        """No rule of WCAG AA fails, light at 200 % and dark on a telephone; nothing is cut off, STOP is in reach."""
        for theme, (width, height) in (("light", ZOOMED), ("dark", NARROW)):
            await self.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # a Literal
            await self.page.set_viewport_size({"width": width, "height": height})
            broken = await broken_rules(self.page)
            assert not broken, f"{theme}, {width} px: {broken}"
            needed = await self.page.evaluate("document.documentElement.scrollWidth")
            assert needed <= width, f"{needed} px wide on a screen of {width}"
            reached = "document.elementFromPoint(innerWidth / 2, innerHeight - 20).closest('#stop') !== null"
            assert await self.page.evaluate(reached)
        await self.page.emulate_media(color_scheme="light")
        await self.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    # --- the steps of the work ---------------------------------------------------------------------------------------

    async def set_up(self) -> None:
        await self.heading("Set up this laptop")
        await self.page.get_by_label("Account").fill(ACCOUNT)
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.button("Make the account").click()
        await self.heading("Pick the pen")

    async def log_in(self) -> None:
        await self.heading("Log in")
        await self.page.get_by_label("Account").fill(ACCOUNT)
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.button("Log in").click()
        await self.heading("Pick the pen")

    async def pick_pen(self) -> None:
        await self.page.locator(".cards button").first.click()
        await self.heading("Case")

    async def enter_case(self) -> None:
        await self.page.get_by_label("Case code").fill("C-0042")
        for label in ("Never treated with needles before", "30 to 39", "II: burns easily", "Fine lines"):
            await self.page.get_by_label(label, exact=True).check()
        await self.page.get_by_role("group", name="Areas of concern").get_by_label("Cheek", exact=True).check()
        await self.button("Keep, and go on to the screening").click()
        await self.heading("Screening")

    async def screen(self, overridden: str = "") -> None:
        """Answer no to all, but for a precaution that is let pass with a reason."""
        questions = self.page.locator(".question")
        for place in range(await questions.count()):
            question = questions.nth(place)
            yes = overridden != "" and overridden in await question.inner_text()
            await question.get_by_label("Yes" if yes else "No", exact=True).check()
            if yes:
                await question.get_by_label("Why it is let pass").fill("mild, far from the area")
                await question.get_by_role("button").click()
        await expect(self.page.get_by_text("All answered; nothing stands against")).to_be_visible()

    async def check(self) -> None:
        """Do all steps of the checklist."""
        steps = self.page.locator(".steps > li")
        while left := await steps.count():
            step = steps.first
            agent = step.get_by_label("What was used")
            if await agent.count():
                await agent.fill("as usual")
                minutes = step.get_by_label("Minutes it acted")
                if await minutes.count():
                    await minutes.fill("30")
            await step.get_by_role("button", name="Done").click()
            await expect(steps).to_have_count(left - 1)

    async def scan(self) -> None:
        """Scan the cartridge, wherever the focus is, and type its needles."""
        await self.page.evaluate(SCANNER, LABEL)
        await expect(self.page.get_by_text("Scanned. Type the number")).to_be_visible()
        await self.page.get_by_label("Needles").fill("12")
        await self.button("Enter the cartridge").click()
        await expect(self.page.locator(".cartridge dd").first).to_have_text("A1")

    async def plan(self, *areas: str, passes: int = 1, size_cm2: float = 4) -> None:
        """Have a plan offered, and keep these areas of it."""
        await self.button("Plan").or_(self.button("Done: Plan")).click()
        await self.button("Offer a plan").click()
        rows = self.page.locator("table.plan tbody tr")
        await expect(rows.first).to_be_visible()
        for place in reversed(range(await rows.count())):
            name = await rows.nth(place).locator("th").inner_text()
            if name not in areas:
                await self.button(f"Remove {name}").click()
        await expect(rows).to_have_count(len(areas))
        for area in areas:
            await self.page.get_by_label(f"{area}: Passes").fill(str(passes))
            await self.page.get_by_label(f"{area}: Size, cm²").fill(str(size_cm2))
        await self.keep_plan()

    async def keep_plan(self) -> None:
        await self.button("Keep the plan, and treat").click()
        await expect(self.page.locator(".gauges")).to_be_visible()

    async def prepare(self, *areas: str, size_cm2: float = 60) -> None:
        """All of it, up to the first needle, by the shortest way: what is answered is asked of the service directly."""
        await self.set_up()
        await self.pick_pen()
        await self.page.evaluate(PREPARE, [list(areas), size_cm2, LABEL])
        await expect(self.page.locator(".gauges")).to_be_visible()

    async def start(self) -> None:
        await self.page.locator(".start").click()
        await self.state("running")

    async def go_on(self) -> None:
        """Have the needles run; where a slow machine had the pen stop, resume first, as a person would."""
        if await self.page.locator(".resume").count():
            await self.resume()
        if not await self.page.locator(".state[data-look=running]").count():
            await self.start()

    async def reconnect(self) -> None:
        """Ask for the pen until its line is there again."""
        again = self.button("Connect the pen again")
        stopped = self.page.locator(".state[data-look=stopped]")
        await expect(again.or_(stopped).first).to_be_visible()
        while not await stopped.count():
            with contextlib.suppress(TooLate):  # it goes when the pen is there
                await again.click(timeout=1000)

    async def give(self, area: str) -> None:
        """Treat an area until it is done; if a slow machine has the pen stop meanwhile, go on as a person would."""
        done = self.page.get_by_text(f"{area} is done.")
        while not await done.count():
            await self.page.locator(".start").click()
            await expect(done.or_(self.page.locator(".resume"))).to_be_visible()
            if await self.page.locator(".resume").count():
                await self.resume()

    async def resume(self) -> None:
        """Hold R for a second, once the page asks for it."""
        await expect(self.page.locator(".resume")).to_be_visible()
        await self.page.keyboard.down("r")
        await expect(self.page.locator(".resume")).to_have_count(0)
        await self.page.keyboard.up("r")


PREPARE = """
async ([areas, size_cm2, udi]) => {
  const post = async (path, body) => {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`/api/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  };
  const { screening, checklist } = await (await fetch("/api/config")).json();
  const indications = ["fine_lines"];
  const code = "C-0042";
  await post("case", { code, age_band: "30_39", fitzpatrick: 2, indications, concerns: [], previous_treatment: null });
  for (const question of Object.keys(screening)) await post("screening", { question, answer: "no" });
  for (const [step, { agent, minutes }] of Object.entries(checklist)) {
    const used = { agent: "as usual", ...(minutes && { minutes: 30 }) };
    await post("checked", { step, value: agent ? used : null });
  }
  await post("cartridge", { needles: 12, udi });
  const figures = { depth_mm: 0.3, rate_hz: 60, passes: 1, size_cm2 };
  await post("plan", { areas: areas.map((area) => ({ area, ...figures })) });
}
"""

SCANNER = """
(text) => {
  const type = (key) => {
    const target = document.activeElement;
    target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    if (key.length === 1 && "value" in target) target.value += key;
  };
  for (const key of text) type(key);
  type("Enter");
}
"""
"""A scanner types faster than a test can through the browser's own keyboard."""


@contextlib.asynccontextmanager
async def clinician(app: App, folder: Path, *, judged: bool = False) -> AsyncIterator[Clinician]:
    """A clinician before the page in Chromium; pictures go to $PEN_ARTEFACTS, if it is set, else to the folder."""
    pictures = Path(os.environ.get("PEN_ARTEFACTS", folder)) / folder.name
    pictures.mkdir(parents=True, exist_ok=True)
    viewport = {"width": WIDE[0], "height": WIDE[1]}
    async with screen(app.launch_url, viewport=viewport, locale="en-GB") as shown:
        yield Clinician(shown, pictures, judged=judged)
