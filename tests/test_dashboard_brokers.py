"""The dashboard and brokers that let in not everybody, or not now: what the page asks, what it says, how it heals."""

import base64
import contextlib
import hashlib
import re
import socket
from functools import partial
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.async_api import Locator, expect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from pen_controller.dashboard import server
from pen_controller.telemetry.broker import LOOPBACK, LOOPBACK_IPV6
from pen_controller.telemetry.messages import LivePayload, StatePayload
from tests.brokers import free_port, until
from tests.screens import Screen, broker, mosquitto, password_file, screen, speaking

LIVE = LivePayload(
    pen="p1", session="s1", area="cheek", depth_um=1012, rate_dhz=1003, force_mn=412, passes=2, coverage=None,
    punctures=5400, density_per_cm2=1801.4, battery_pct=87, advice=None, how={},
)  # fmt: skip
RUNNING = StatePayload(pen="p1", state="running", area="cheek")
DOUBT = "Does it run, does this browser trust its certificate, does it let this page in?"
AN_HOUR_LATER = "() => { const before = Date.now; Date.now = () => before() + 3_600_000; }"
DASH = "–"
SUBSCRIBE = 0x82  # type and flags of the packet
UNAVAILABLE, ACCEPTED = bytes([0x20, 2, 0, 3]), bytes([0x20, 2, 0, 0])  # CONNACK


def form(shown: Screen) -> Locator:
    return shown.page.locator("form.sign-in")


async def sign_in(shown: Screen, user: str, password: str, *, keep: bool = False) -> None:
    await form(shown).get_by_label("User").fill(user)
    await form(shown).get_by_label("Password").fill(password)
    await form(shown).get_by_label("Stay signed in").set_checked(keep)
    await form(shown).get_by_role("button").click()


# --- who are you? -----------------------------------------------------------------------------------------------------


async def test_a_broker_over_tls_asks_for_user_and_password(tmp_path: Path) -> None:
    listener, digest = tls(tmp_path)
    settings = f"{listener}\n{password_file(tmp_path, nurse='s3cret')}"
    ports = free_port(), free_port()
    name = f"127.0.0.1:{ports[1]}"
    async with (
        mosquitto(tmp_path, *ports, websocket=settings, scheme="wss") as address,
        server.serving([address.websocket]) as url,
        screen(url, trusted=digest) as shown,
        speaking(address, ("clinic/p1/live", LIVE)),
    ):
        refusal = form(shown).get_by_role("alert")
        await expect(refusal).to_have_text(f"{name}: asks who you are")
        await expect(shown.page.locator(".broker")).to_have_count(0)
        await sign_in(shown, "nurse", "guessed", keep=True)
        await expect(refusal).to_have_text(f"{name}: does not let in nurse with this password")
        await expect(form(shown).get_by_label("User")).to_have_value("nurse")
        await expect(form(shown).get_by_label("Password")).to_have_value("")
        await shown.page.wait_for_timeout(1500)  # longer than it waits before it tries again where that may help
        assert len(shown.sockets) == 2  # one without a user, one with a wrong password: no loop
        assert await shown.page.evaluate("sessionStorage.length") == 0
        await sign_in(shown, "nurse", "s3cret")
        await shown.shows("p1", depth="1.01")
        await expect(form(shown)).to_have_count(0)
        assert await shown.page.evaluate("sessionStorage.length + localStorage.length") == 0
        assert shown.page.url == url
        assert shown.complaints == []


async def test_a_tab_stays_signed_in_if_asked_to_and_over_a_restart(tmp_path: Path) -> None:
    ports, settings = (free_port(), free_port()), password_file(tmp_path, nurse="s3cret")
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(contextlib.AsyncExitStack())
        address = await first.enter_async_context(mosquitto(tmp_path, *ports, websocket=settings))
        url = await stack.enter_async_context(server.serving([address.websocket]))
        shown = await stack.enter_async_context(screen(url))
        await sign_in(shown, "nurse", "s3cret", keep=True)
        await shown.connected()
        await shown.page.reload()
        await shown.connected()
        await first.aclose()
        await expect(shown.page.locator(".broker.gone")).to_contain_text("no connection for")
        await stack.enter_async_context(mosquitto(tmp_path, *ports, websocket=settings))
        await shown.connected()
        await expect(form(shown)).to_have_count(0)


@pytest.mark.parametrize(("broker", "warned"), [("ws://h.example", 1), ("wss://h.example", 0), ("ws://[::1]", 0)])
async def test_who_would_send_a_password_in_the_clear_is_told(broker: str, warned: int) -> None:
    async with server.serving([broker]) as url, screen(f"{url}icon.svg") as shown:
        made = """async (url) => (await import("/signin.js")).signInForm({ url, name: "h" }).textContent"""
        assert (await shown.page.evaluate(made, broker)).count("Not encrypted") == warned


# --- no way in --------------------------------------------------------------------------------------------------------


async def test_what_a_browser_does_not_explain_is_asked(tmp_path: Path) -> None:
    """One broker has a certificate that the browser does not trust, the other lets in another page."""
    settings, _ = tls(tmp_path)
    async with (
        mosquitto(tmp_path, free_port(), free_port(), websocket=settings, scheme="wss") as unknown,
        broker("nats", tmp_path / "nats", page_port=free_port()) as closed,
        server.serving([unknown.websocket, closed.websocket]) as url,
        screen(url) as shown,
    ):
        told = re.compile(rf"no connection for \d+ s, trying again\. {re.escape(DOUBT)}")
        await expect(shown.page.locator(".broker.gone")).to_have_text([told, told])
        await expect(form(shown)).to_have_count(0)


async def test_a_broker_that_says_not_now_is_asked_again() -> None:
    async with serve(
        partial(answer, [UNAVAILABLE, ACCEPTED], 1), LOOPBACK, 0, subprotocols=[Subprotocol("mqtt")]
    ) as busy:
        port = busy.sockets[0].getsockname()[1]
        async with server.serving([f"ws://{LOOPBACK}:{port}"]) as url, screen(url) as shown:
            told = f"{LOOPBACK}:{port}: Connection refused: Server unavailable, trying again"
            await expect(shown.page.locator(".broker.gone")).to_have_text(told)
            await shown.connected()


async def test_a_broker_that_lets_us_in_and_read_nothing_asks_who_we_are() -> None:
    async with serve(partial(answer, [ACCEPTED], 0x80), LOOPBACK, 0, subprotocols=[Subprotocol("mqtt")]) as closed:
        port = closed.sockets[0].getsockname()[1]
        async with server.serving([f"ws://{LOOPBACK}:{port}"]) as url, screen(url) as shown:
            told = f"{LOOPBACK}:{port}: does not let you read these pens"
            await expect(form(shown).get_by_role("alert")).to_have_text(told)


async def answer(answers: list[bytes], granted: int, connection: ServerConnection) -> None:
    """Be a broker that answers CONNECT with the next of the answers, and any SUBSCRIBE with what is granted."""
    await connection.recv()
    await connection.send(answers.pop(0))
    async for packet in connection:
        if isinstance(packet, bytes) and packet[0] == SUBSCRIBE:
            await connection.send(bytes([0x90, 3, *packet[2:4], granted]))


# --- elsewhere, and later ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["localhost", "[::1]"])
async def test_the_page_and_the_embedded_broker_go_by_all_names_of_this_machine(name: str, tmp_path: Path) -> None:
    needs_ipv6()
    port = free_port()
    async with (
        broker("nats", tmp_path, port) as address,
        server.serving([address.websocket], port=port) as url,
        screen(url.replace(LOOPBACK, name)) as shown,
    ):
        await shown.connected()


async def test_a_broker_may_be_an_ipv6_address(tmp_path: Path) -> None:
    needs_ipv6()
    port = free_port()
    settings = f"allow_anonymous true\nlistener {port} ::1\nprotocol websockets\nallow_anonymous true"
    async with (
        mosquitto(tmp_path, free_port(), free_port(), websocket=settings) as address,
        server.serving([f"ws://[::1]:{port}"]) as url,
        screen(url.replace(LOOPBACK, "[::1]")) as shown,
        speaking(address, ("clinic/p1/live", LIVE)),
    ):
        await shown.shows("p1", depth="1.01")
        await expect(shown.page.locator(".broker")).to_have_text(f"[::1]:{port}: connected")
        assert shown.complaints == []


async def test_a_laptop_that_slept_shows_nothing_old_and_begins_anew(tmp_path: Path) -> None:
    async with (
        mosquitto(tmp_path, free_port(), free_port()) as address,
        server.serving([address.websocket]) as url,
        screen(url) as shown,
    ):
        async with speaking(address, ("clinic/p1/state", RUNNING), ("clinic/p1/live", LIVE)):
            await shown.shows("p1", state_word="RUNNING", depth="1.01")
            await shown.page.evaluate(AN_HOUR_LATER)
            await until(lambda: len(shown.sockets) == 2, "another connection")
        async with speaking(address, ("clinic/p1/live", LIVE.model_copy(update={"depth_um": 1500}))):
            await shown.shows("p1", depth="1.50", word="heard now")
        await shown.page.evaluate(AN_HOUR_LATER)
        await shown.shows("p1", state_word=DASH, depth=DASH, word="no word for 60 min")
        await shown.connected()
        assert len(shown.sockets) == 3


def needs_ipv6() -> None:
    try:
        socket.create_server((LOOPBACK_IPV6, 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")


def tls(directory: Path) -> tuple[str, str]:
    """Return settings of a Mosquitto listener with TLS, and the digest of its key, by which Chromium can trust it."""
    certificate = trustme.CA().issue_cert(LOOPBACK)
    chain, key = directory / "chain.pem", directory / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    public_key = x509.load_pem_x509_certificate(chain.read_bytes()).public_key()
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    return f"certfile {chain}\nkeyfile {key}", digest
