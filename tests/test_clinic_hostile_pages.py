"""Hostile pages in a real Chromium that holds a clinician's cookie: what they try changes nothing, and learns nothing.

One page is of another server on this machine, so that the browser takes it for the same site and sends the cookie
along; the others are of a stranger's name, one of which leads to our own port (DNS rebinding).
"""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from starlette.datastructures import Headers
from starlette.types import Scope

from pen_controller.clinic.access import Access
from tests.clinic_target import BOUND_S, Target, attacked
from tests.screens import chromium_path

STRANGER = "evil.example"
FORM = """
async (at) => {
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: `${at}/api/stop`, enctype: "text/plain", target: "into" });
  const field = document.createElement("input");
  Object.assign(field, { name: '{"x": "', value: '"}' });
  const frame = document.createElement("iframe");
  frame.name = "into";
  form.append(field);
  document.body.append(frame, form);
  const done = new Promise((resolve) => frame.addEventListener("load", resolve));
  form.submit();
  await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 5000))]);
}
"""
NO_CORS = """
async (at) => {
  const options = { method: "POST", mode: "no-cors", credentials: "include", body: "{}" };
  await fetch(`${at}/api/stop`, options).catch(() => {});
}
"""
JSON_AS_OUR_PAGE = """
async (at) => {
  const headers = { "Content-Type": "application/json" };
  await fetch(`${at}/api/stop`, { method: "POST", credentials: "include", headers, body: "{}" }).catch(() => {});
}
"""
BEACON = """
(at) => {
  navigator.sendBeacon(`${at}/api/stop`, new Blob(["{}"], { type: "text/plain" }));
}
"""
WEBSOCKET = """
(at) => new Promise((resolve) => {
  const socket = new WebSocket(`${at.replace("http", "ws")}/live`);
  socket.onopen = () => socket.send('{"stop": 1}');
  socket.onmessage = ({ data }) => { window.learned = data; if (data.includes("phase")) resolve(); };
  socket.onclose = resolve;
})
"""
READ = """
async (at) => {
  const answer = await fetch(`${at}/api/state`, { credentials: "include" }).catch(() => null);
  window.learned = answer && (await answer.text());
}
"""
WRITES = {
    "form": FORM,
    "fetch, no-cors": NO_CORS,
    "fetch, JSON": JSON_AS_OUR_PAGE,
    "beacon": BEACON,
    "WebSocket": WEBSOCKET,
}
FROM_ABROAD = ("another port", STRANGER)


class _Blank(BaseHTTPRequestHandler):
    """A page with nothing in it, on which a test runs its script."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title><body>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def hostile_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for which a stranger's name leads to this machine."""
    rules = f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", rules])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked(tmp_path_factory.mktemp("laptop")) as target:
        yield target


@pytest.fixture
def context(browser: Browser, target: Target) -> Iterator[BrowserContext]:
    with logged_in(browser, target) as context:
        yield context


@contextlib.contextmanager
def logged_in(browser: Browser, target: Target) -> Iterator[BrowserContext]:
    """A browser at which a clinician is logged in."""
    value = target.words["clinician"]
    with contextlib.closing(browser.new_context()) as context:
        context.set_default_timeout(BOUND_S * 1000)
        context.add_cookies(
            [{"name": "pen_session", "value": value, "url": target.origin, "httpOnly": True, "sameSite": "Strict"}]
        )
        yield context


def hostile(context: BrowserContext, place: str, port: int) -> Page:
    page = context.new_page()
    page.goto(f"http://{STRANGER if place == STRANGER else '127.0.0.1'}:{port}/")
    return page


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Why the gate let each of the requests pass, or not, that came to it: None, or a status with its reason."""
    answers: list[object] = []
    refuse = Access._refuse

    def noted(self: Access, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        answer = refuse(self, scope, headers)
        answers.append(answer)
        return answer

    monkeypatch.setattr(Access, "_refuse", noted)
    return answers


@pytest.mark.parametrize("place", FROM_ABROAD)
@pytest.mark.parametrize("way", WRITES)
def test_a_hostile_page_changes_nothing(
    context: BrowserContext, target: Target, hostile_port: int, refused: list[object], way: str, place: str
) -> None:
    page, before = hostile(context, place, hostile_port), target.state()
    page.evaluate(WRITES[way], target.origin)
    target.until(lambda: refused, "the attack at the gate: the browser lets it pass")
    assert None not in refused
    assert target.state() == before
    assert "treatment" not in str(page.evaluate("window.learned"))


@pytest.mark.parametrize("place", FROM_ABROAD)
def test_a_hostile_page_reads_and_frames_nothing(
    context: BrowserContext, target: Target, hostile_port: int, place: str
) -> None:
    page = hostile(context, place, hostile_port)
    page.evaluate(READ, target.origin)
    assert page.evaluate("window.learned") is None
    with page.expect_response(lambda answer: answer.url == f"{target.origin}/") as framed:
        page.evaluate("(at) => { document.body.innerHTML = `<iframe src='${at}/'></iframe>`; }", target.origin)
    assert "frame-ancestors 'none'" in (framed.value.header_value("content-security-policy") or "")
    page.wait_for_function("frames.length === 1")
    assert all("STOP" not in frame.content() for frame in page.frames[1:])


def test_a_name_that_leads_to_our_port_is_no_address_of_ours(context: BrowserContext, target: Target) -> None:
    before = target.state()
    page, rebound = context.new_page(), f"http://{STRANGER}:{target.words['port']}"
    answer = page.goto(f"{rebound}/")
    assert answer is not None
    assert answer.status == 403
    for script in (NO_CORS, JSON_AS_OUR_PAGE, WEBSOCKET, READ):
        page.goto(f"{rebound}/")
        page.evaluate(script, rebound)
        assert "C-0042" not in page.content() + str(page.evaluate("window.learned"))
    assert target.state() == before


def test_without_the_gate_they_get_through(
    browser: Browser, hostile_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is the gate that holds them off; what needs a preflight is held off by the browser as well."""
    monkeypatch.setattr(Access, "_refuse", lambda *_: None)
    with attacked(tmp_path) as target, logged_in(browser, target) as context:
        page = hostile(context, "another port", hostile_port)
        desk = target.laptop.desk

        def stops(way: str) -> None:
            before = desk.changes
            page.evaluate(WRITES[way], target.origin)
            target.until(lambda: desk.changes > before, f"STOP by {way}")

        for way in WRITES.keys() - {"fetch, JSON"}:
            stops(way)
