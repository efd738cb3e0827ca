"""What a dashboard test needs: Chromium, a broker that takes pages, and somebody who speaks."""

import asyncio
import contextlib
import hashlib
import importlib.resources
import os
import re
import shutil
import socket
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from pen_controller.meanwhile import meanwhile
from pen_controller.telemetry import mqtt
from pen_controller.telemetry.broker import LOOPBACK, EmbeddedBroker
from pen_controller.telemetry.messages import LivePayload, Payload, StatePayload, encode
from tests.brokers import BOUND_S, free_port, mosquitto_path, until

expect.set_options(timeout=BOUND_S * 1000)

DASH = "–"
LIVE = LivePayload(
    pen="p1", session="s1", area="cheek", depth_um=1012, rate_dhz=1003, force_mn=412, passes=2, coverage=None,
    punctures=5400, density_per_cm2=1801.4, battery_pct=87, advice="Move on", how={},
)  # fmt: skip
RUNNING = StatePayload(pen="p1", state="running", area="cheek")


def chromium_path() -> str:
    """Return the path of Chromium; without it skip, or fail where PEN_REQUIRE_SYSTEM=1 asks for it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and os.environ.get("PEN_REQUIRE_SYSTEM") == "1":
        pytest.fail("chromium is not installed, and PEN_REQUIRE_SYSTEM=1")
    if found is None:
        pytest.skip("chromium is not installed")
    return found


@dataclass
class Screen:
    """A page in Chromium, what it complained of, whom it asked, and the WebSockets it opened."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    sockets: list[str] = field(default_factory=list)

    def card(self, name: str) -> Locator:
        return self.page.locator("article", has=self.page.get_by_role("heading", name=re.compile(f"^{name}")))

    async def shows(self, name: str, **texts: str) -> None:
        """Wait until a pen's card shows these texts, each in the element of that class."""
        for part, text in texts.items():
            found = self.card(name).locator(f".{part.replace('_', '-')}")
            await expect(found).to_have_text(text)

    async def connected(self, count: int = 1) -> None:
        await expect(self.page.locator(".broker:not(.gone)")).to_have_count(count)


@contextlib.asynccontextmanager
async def screen(url: str, *, trusted: str = "", **options: Any) -> AsyncIterator[Screen]:
    """Open an address in Chromium, which trusts the certificate of this SPKI digest too."""
    path = chromium_path()
    async with async_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", f"--ignore-certificate-errors-spki-list={trusted}"]
        browser = await driver.chromium.launch(executable_path=path, args=arguments)
        context = await browser.new_context(**options)
        page = await context.new_page()
        opened = Screen(page)
        page.on("websocket", lambda socket: opened.sockets.append(socket.url))
        page.on("console", lambda said: opened.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("request", lambda request: opened.asked.add(request.url.split("/")[2]))
        await page.goto(url)
        try:
            yield opened
        finally:
            await browser.close()


async def broken_rules(page: Page) -> list[str]:
    """Return the rules of axe-core that the page breaks, each with the first element that does."""
    axe = importlib.resources.files("axe_playwright_python") / "axe.min.js"
    await page.evaluate(axe.read_text("utf-8"))
    found = await page.evaluate("async () => (await axe.run()).violations")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary']}" for one in found]


@dataclass(frozen=True)
class Address:
    """A broker for pens and for pages."""

    mqtt: mqtt.BrokerUrl
    websocket: str


@contextlib.asynccontextmanager
async def process(*command: str, log: Path) -> AsyncIterator[None]:
    with log.open("ab") as out, subprocess.Popen(command, stdout=out, stderr=out) as running:  # noqa: ASYNC220
        try:
            yield
        finally:
            running.terminate()


@contextlib.asynccontextmanager
async def mosquitto(
    directory: Path, port: int, websocket_port: int, *, websocket: str = "allow_anonymous true", scheme: str = "ws"
) -> AsyncIterator[Address]:
    """Run Mosquitto with a listener for pens and one for pages, which has settings of its own."""
    file = directory / "mosquitto.conf"
    pens = f"listener {port} {LOOPBACK}\nallow_anonymous true\n"
    pages = f"listener {websocket_port} {LOOPBACK}\nprotocol websockets\n{websocket}\n"
    file.write_text(f"per_listener_settings true\nuser root\n{pens}{pages}")
    async with process(mosquitto_path(), "-c", str(file), log=directory / "log"):
        await until(lambda: accepts(port) and accepts(websocket_port), "Mosquitto")
        yield Address(mqtt.BrokerUrl(LOOPBACK, port), f"{scheme}://{LOOPBACK}:{websocket_port}/mqtt")


def password_file(directory: Path, **passwords: str) -> str:
    """Return the settings of a Mosquitto listener that lets in these users only."""
    file = directory / "passwords"
    lines = []
    for user, password in passwords.items():
        salt = os.urandom(12)
        digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
        lines.append(f"{user}:$7$101${b64encode(salt).decode()}${b64encode(digest).decode()}\n")
    file.write_text("".join(lines))
    return f"allow_anonymous false\npassword_file {file}"


@contextlib.asynccontextmanager
async def broker(name: str, directory: Path, page_port: int) -> AsyncIterator[Address]:
    if name == "mosquitto":
        async with mosquitto(directory, free_port(), free_port()) as address:
            yield address
    else:
        async with EmbeddedBroker(directory, page=f"http://{LOOPBACK}:{page_port}") as embedded:
            yield Address(mqtt.BrokerUrl.parse(embedded.url), embedded.websocket_url)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


async def publish(address: Address, *messages: tuple[str, Payload | bytes], retain: bool = False) -> None:
    async with mqtt.client(address.mqtt) as client:
        for topic, payload in messages:
            raw = payload if isinstance(payload, bytes) else encode(payload)
            await client.publish(f"pen/v1/{topic}", raw, qos=1, retain=retain)


@contextlib.asynccontextmanager
async def speaking(address: Address, *messages: tuple[str, Payload]) -> AsyncIterator[None]:
    """Publish messages ten times a second, over restarts of the broker too."""

    async def speak() -> None:
        while True:
            with contextlib.suppress(mqtt.library().MqttError):
                async with mqtt.client(address.mqtt) as client:
                    while True:
                        for topic, payload in messages:
                            await client.publish(f"pen/v1/{topic}", encode(payload), qos=0)
                        await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)

    async with meanwhile(speak(), "speak"):
        yield
