"""The dashboard in a real Chromium, on real brokers: what it shows is what was said, and no older than it looks."""

import asyncio
import contextlib
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import expect

from pen_controller import config
from pen_controller.config import PlanArea
from pen_controller.dashboard import server
from pen_controller.service import treatment_service
from pen_controller.telemetry.broker import server_program
from pen_controller.telemetry.messages import (
    EventPayload,
    StatePayload,
    StatusPayload,
    encode,
)
from tests.brokers import free_port, kill_embedded
from tests.screens import DASH, LIVE, RUNNING, broker, mosquitto, process, publish, screen, speaking


@pytest.fixture
def page_port() -> int:
    """Where the page will be: the embedded broker has to know its origin."""
    return free_port()


# --- what is served ---------------------------------------------------------------------------------------------------


async def get(url: str, path: str = "/", *, host: str | None = None, method: str = "GET") -> tuple[int, str, str]:
    """Return status, head (lower case) and body of an answer."""
    address = url.split("/")[2]
    reader, writer = await asyncio.open_connection(*address.rsplit(":", 1))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host or address}\r\nOrigin: http://evil\r\n".encode())
    writer.write(b"Connection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), head.decode().lower(), body.decode(errors="replace")


async def test_it_is_served_with_a_strict_policy_to_this_machine_only() -> None:
    brokers = ["ws://a.example:9001", "wss://b.example/x", "wss://[fd00::1]:8884"]
    async with server.serving(brokers, sites=["north"]) as url:
        status, head, body = await get(url)
        assert (status, "<title>pens</title>" in body.lower()) == (200, True)
        policy = re.search(r"content-security-policy: (.*)\r", head)
        assert policy is not None
        rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
        assert rules["default-src"] == rules["base-uri"] == "'none'"
        assert rules["script-src"] == "'self'"
        assert rules["connect-src"] == "ws://a.example:9001/mqtt wss://b.example/x wss://*:8884/mqtt"
        assert "access-control" not in head
        assert "nosniff" in head
        _, _, settings = await get(url, "/settings.js")
        given = json.loads(settings.removeprefix("export const settings = ").rstrip(";\n"))
        assert given["sites"] == ["north"]
        assert given["areas"]["cheek"] == "Cheek"
        assert (await get(url, host="evil.example"))[0] == 400
        assert (await get(url, host="localhost:1"))[0] == 200
        assert (await get(url, host="[::1]:1"))[0] == 200
        assert (await get(url, "/settings.js", method="POST"))[0] == 405
        assert (await get(url, "/..%2fserver.py"))[0] == 404
        port = int(url.split(":")[2].strip("/"))
        with pytest.raises(OSError, match="--port"):
            async with server.serving(port=port, brokers=brokers):
                pass


NO_BROKERS = "mqtt://h:1", "ws://h; script-src *", "ws://h/a b", "ws://[::1::]", "ws://h:0", "ws://h:65536", "ws://"


@pytest.mark.parametrize("broker", ["ws://nurse:s3cret@h", *NO_BROKERS])
async def test_a_broker_that_is_none_is_refused(broker: str) -> None:
    with pytest.raises(ValueError, match="expected ws://") as refused:
        async with server.serving([broker]):
            pass
    assert "s3cret" not in str(refused.value)


def test_the_command_teaches() -> None:
    command = [sys.executable, "-m", "pen_controller", "dashboard", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "ws://HOST" in done.stdout) == (0, True)


async def test_a_site_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="site"):
        async with server.serving(["ws://h"], sites=["a/b"]):
            pass


def test_what_is_vendored_is_what_its_readme_says() -> None:
    readme = (server.STATIC / "vendor" / "README.md").read_text()
    named = re.findall(r"\| `(\S+)` .* `([0-9a-f]{64})` \|", readme)
    assert named
    for name, digest in named:
        assert hashlib.sha256((server.STATIC / "vendor" / name).read_bytes()).hexdigest() == digest
    assert {name for name, _ in named} == {file.name for file in (server.STATIC / "vendor").glob("*.js")}


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nats", "mosquitto"])
async def test_a_treatment_is_shown_as_it_is_recorded(name: str, tmp_path: Path, page_port: int) -> None:
    wanted = PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=2, size_cm2=3.0)
    simulator = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", "tcp", "--json", "--control", "--seed", "1", "--zone-cm2", "3",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert simulator.stdout is not None
    pen_url = json.loads(await simulator.stdout.readline())["url"]
    try:
        async with (
            broker(name, tmp_path, page_port) as address,
            server.serving([address.websocket], port=page_port) as url,
            screen(url) as shown,
        ):
            await shown.connected()
            async with treatment_service(
                pen_url, tmp_path / "journal.sqlite", config.load(),
                broker=str(address.mqtt), indication="fine_lines", fitzpatrick=2,
            ) as service:  # fmt: skip
                pen = service.pen.identity.serial
                treating = asyncio.create_task(service.treatment.treat(wanted))
                await shown.shows(pen, state_word="RUNNING", area="Cheek", word="heard now")
                await expect(shown.card(pen).locator(".rate")).to_have_text(re.compile(r"^(9[5-9]|10[0-5])$"))
                await expect(shown.card(pen).locator(".depth")).to_have_text(re.compile(r"^(0\.9|1\.0)\d$"))
                await expect(shown.card(pen).locator(".zone[data-active=true]")).to_have_count(2)
                count = await treating
                given = f"Cheek{count.passes}{count.density_per_cm2:.0f}"
                await expect(shown.card(pen).locator("tbody tr")).to_have_text(given)
                zones = shown.card(pen).locator(".counts text", has_text=str(count.passes))
                await expect(zones).to_have_count(2)
                assert count.passes == 2
                await shown.page.reload()  # who comes late knows it too
                await expect(shown.card(pen).locator("tbody tr")).to_have_text(given)
                await shown.shows(pen, partial="")
            await shown.shows(pen, state_word="OFFLINE", depth=DASH, density=DASH)
            assert shown.complaints == []
            assert await shown.page.locator("#skipped").is_hidden()
            assert shown.asked <= {url.split("/")[2]}
    finally:
        simulator.terminate()
        await simulator.communicate()


@pytest.mark.parametrize("name", ["nats", "mosquitto"])
async def test_a_broker_that_dies_is_told_and_heals_by_itself(name: str, tmp_path: Path, page_port: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(contextlib.AsyncExitStack())
        address = await first.enter_async_context(broker(name, tmp_path, page_port))
        url = await stack.enter_async_context(server.serving([address.websocket], port=page_port))
        shown = await stack.enter_async_context(screen(url))
        await stack.enter_async_context(speaking(address, ("clinic/p1/state", RUNNING), ("clinic/p1/live", LIVE)))
        await shown.shows("p1", state_word="RUNNING", depth="1.01", rate="100", density="1801", advice="Move on")
        if name == "nats":
            kill_embedded(tmp_path)
        else:
            await first.aclose()
        await shown.shows("p1", state_word=DASH, depth=DASH, rate=DASH, passes=DASH, density=DASH, advice="")
        await expect(shown.card("p1").locator(".word")).to_have_text(re.compile(r"no word for \d+ s"))
        await expect(shown.page.locator(".broker.gone")).to_have_text(re.compile(r"no connection for \d+ s"))
        if name == "nats":
            again = process(server_program(), "-c", str(tmp_path / "nats.conf"), log=tmp_path / "again.log")
            await stack.enter_async_context(again)
        else:
            ports = address.mqtt.port, int(address.websocket.split(":")[2].split("/")[0])
            await stack.enter_async_context(mosquitto(tmp_path, *ports))
        await shown.shows("p1", state_word="RUNNING", word="heard now", depth="1.01", density="1801")
        await shown.connected()


async def test_what_is_no_telemetry_is_counted_and_breaks_nothing(tmp_path: Path, page_port: int) -> None:
    markup = '<img src=x onerror="document.title=`owned`">'
    shouted = LIVE.model_copy(update={"pen": "p2", "advice": markup, "area": markup[:40]})
    event = EventPayload(pen="p2", session="s1", seq=1, kind="warning", body={"area": "cheek", "text": markup})
    strange = StatePayload(pen="p2", state="<b>bold", area=None)
    plain = json.loads(encode(LIVE))
    bad: list[tuple[str, bytes]] = [
        ("clinic/p1/state", json.dumps(json.loads(encode(RUNNING)) | {"areas": [{"area": "cheek"}]}).encode()),
        ("clinic/p1/live", b"\xff\xfe"),
        ("clinic/p1/live", b"[" * 20_000),
        ("clinic/p1/live", b"null"),
        ("clinic/p1/live", json.dumps(plain | {"depth_um": "deep"}).encode()),
        ("clinic/p1/live", json.dumps(plain | {"density_per_cm2": -1}).encode()),
        ("clinic/p1/live", json.dumps(plain | {"coverage": []}).encode()),
        ("clinic/p1/live", json.dumps(plain | {"pen": "p9"}).encode()),
        ("clinic/p1/live", json.dumps(plain | {"advice": "x" * 70_000}).encode()),
        ("clinic/p1/live/s1", encode(LIVE)),
        ("clinic/p1/__proto__", encode(LIVE)),
        ("clinic/p1/event", encode(event)),
        ("clinic/p1/summary/s1", json.dumps(plain | {"seq": 1, "areas": [None]}).encode()),
    ]
    async with (
        broker("nats", tmp_path, page_port) as address,
        server.serving([address.websocket], port=page_port) as url,
        screen(url) as shown,
    ):
        await shown.connected()
        await publish(address, *bad, ("clinic/p1/live", json.dumps(plain | {"schema": 2}).encode()))
        told = f"Messages left out: {len(bad)} not understood, 1 of another version"
        await expect(shown.page.locator("#skipped")).to_have_text(told)
        await expect(shown.page.locator("article")).to_have_count(0)
        said = ("clinic/p2/state", strange), ("clinic/p2/live", shouted)
        async with speaking(address, *said, ("clinic/p1/live", LIVE)):
            await publish(address, ("clinic/p2/event/s1", event))
            await shown.shows("p2", state_word="<B>BOLD", advice=markup, area=markup[:40])
            await shown.shows("p1", depth="1.01")
            await expect(shown.card("p2").locator(".notes li")).to_contain_text(markup)
        assert await shown.page.locator("img, b").count() == 0
        assert await shown.page.title() in ("(1) Pens", "(2) Pens")  # both have advice
        assert shown.complaints == []
        blocked = "() => { try { document.body.innerHTML = '<b>x</b>' } catch (error) { return error.name } }"
        assert await shown.page.evaluate(blocked) == "TypeError"


async def test_two_sites_and_two_brokers_side_by_side(tmp_path: Path, page_port: int) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        broker("nats", tmp_path / "one", page_port) as one,
        broker("nats", tmp_path / "two", page_port) as two,
        server.serving([one.websocket, two.websocket], port=page_port) as url,
        screen(f"{url}?site=north&site=south") as shown,
        speaking(one, ("north/p1/live", LIVE), ("west/p1/live", LIVE)),
        speaking(two, ("south/p1/live", LIVE.model_copy(update={"depth_um": 500}))),
    ):
        await shown.connected(2)
        await expect(shown.page.locator("article")).to_have_count(2)
        where = shown.page.locator("h2 small")
        brokers = [address.websocket.split("/")[2] for address in (one, two)]
        await expect(where).to_have_text([f"north · {brokers[0]}", f"south · {brokers[1]}"])
        await expect(shown.page.locator(".depth")).to_have_text(["1.01", "0.50"])
        await expect(shown.page.locator("#listening")).to_have_text("north, south")
        await shown.page.goto(f"{url}?site=a/%23")
        await expect(shown.page.locator("#listening")).to_contain_text("No site can be called a/#")


async def test_a_page_that_comes_late_knows_what_was_retained_and_says_how_old_it_may_be(
    tmp_path: Path, page_port: int
) -> None:
    idle = StatePayload(pen="p1", state="idle")
    gone = StatusPayload(pen="p2", status="offline", reason="connection lost")
    async with (
        broker("nats", tmp_path, page_port) as address,
        server.serving([address.websocket], port=page_port) as url,
    ):
        await publish(address, ("clinic/p1/state", idle), ("clinic/p2/status", gone), retain=True)
        async with screen(url) as shown:
            await shown.shows("p1", state_word=DASH, state_detail="last said IDLE")
            await shown.shows("p2", state_word="OFFLINE", state_detail="connection lost")
            await publish(address, ("clinic/p1/state", idle))
            await shown.shows("p1", state_word="IDLE", word="heard now")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_a_narrow_screen_is_enough(theme: str, tmp_path: Path, page_port: int) -> None:
    long_name = "p" * 64
    live = LIVE.model_copy(update={"pen": long_name, "advice": "x" * 300})
    async with (
        broker("nats", tmp_path, page_port) as address,
        server.serving([address.websocket], port=page_port) as url,
        screen(url, viewport={"width": 375, "height": 812}, color_scheme=theme) as shown,
        speaking(address, (f"clinic/{long_name}/live", live)),
    ):
        await shown.shows(long_name, depth="1.01")
        assert await shown.page.evaluate("document.documentElement.scrollWidth") == 375
        ground = await shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = [int(part) > 128 for part in re.findall(r"\d+", ground)]
        assert light == [theme == "light"] * 3
