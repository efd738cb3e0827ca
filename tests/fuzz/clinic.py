"""Targets: what a page, or who plays one, sends to the clinic's laptop. No pen is picked: the server itself is asked.

With a pen and a treatment under way, and over real sockets, see `test_clinic_api_fuzz` and `test_clinic_attacks`.
"""

import asyncio
import contextlib
import json
import tempfile
from collections import deque
from collections.abc import Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Scope

from pen_controller.clinic.accounts import Role
from pen_controller.clinic.laptop import Laptop
from pen_controller.clinic.server import application, serving
from tests.fuzz.taking import Taking
from tests.lines import CONFIG

ORIGIN = "http://127.0.0.1:8431"
HOST = ORIGIN.removeprefix("http://")
WHO = (None, "clinician-1", "viewer-1")
METHODS = ("GET", "POST", "HEAD", "PUT", "OPTIONS")
TURNS = 4
"""Of the loop, in which what was heard is handled."""
T = TypeVar("T")

_open = contextlib.AsyncExitStack()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _done(work: Coroutine[Any, Any, T]) -> T:
    return _loop().run_until_complete(work)


class _Laptop:
    """The server, asked without a socket. `stops` counts how often the pen would have been stopped."""

    def __init__(self, served: Laptop) -> None:
        self.app = application(served, [ORIGIN])
        self.stops = 0
        self._keys = served.keys
        served.desk.stop = self._stop  # type: ignore[method-assign, assignment]  # a spy
        served.desk.look = lambda: None  # type: ignore[method-assign]  # it would look through this machine's ports

    def cookie(self, who: str | None) -> str:
        """A new cookie of who is logged in, or of nobody: the last one may have been logged out."""
        cookie = self._keys.let_in(self._keys.launch()) or ""
        screen = self._keys.screen(cookie)
        if who is None or screen is None:
            return cookie
        return self._keys.log_in(screen, who, Role(who.partition("-")[0]))

    def _stop(self, _by: str, _why: str = "") -> None:
        self.stops += 1


@cache
def _laptop() -> _Laptop:
    """The one laptop, made when it is first asked."""
    folder = Path(_open.enter_context(tempfile.TemporaryDirectory()))
    return _Laptop(_done(_open.enter_async_context(serving(folder / "journal.sqlite", CONFIG))).laptop)


def close() -> None:
    """Close what the targets have opened."""
    if _laptop.cache_info().currsize:
        _done(_open.aclose())
        _loop().close()
        _laptop.cache_clear()
        _loop.cache_clear()


# --- requests --------------------------------------------------------------------------------------------------------


def request(data: bytes) -> None:
    """Any request is answered once, under our headers, and never with an error of the server's own."""
    taking, laptop = Taking(data), _laptop()
    how, method, path = taking.number(), taking.number(), "/" + taking.sized().decode("utf-8", "replace")
    headers = _headers(how, taking, laptop)
    scope = _scope("http", path, headers, method=METHODS[method % len(METHODS)], scheme="http")
    body = taking.rest()
    half = len(body) // 2
    said = deque[Message]([
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
    ])  # fmt: skip
    heard = _done(_asked(laptop.app, scope, said))
    starts = [one for one in heard if one["type"] == "http.response.start"]
    assert len(starts) == 1
    assert b"content-security-policy" in dict(starts[0]["headers"])
    status = starts[0]["status"]
    assert 200 <= status < 500, status
    answer = b"".join(one.get("body", b"") for one in heard if one["type"] == "http.response.body")
    if status >= 400 and answer:
        assert set(json.loads(answer)["error"]) == {"text", "limit", "field"}


def page(data: bytes) -> None:
    """A page may say anything: whoever says STOP is heard, and nothing else stops, and nothing fails."""
    taking, laptop = Taking(data), _laptop()
    headers = _headers(taking.number(), taking, laptop)
    scope = _scope("websocket", "/live", headers, scheme="ws", subprotocols=[])
    said, stops = deque[Message]([{"type": "websocket.connect"}]), 0
    while taking:
        kind, text = taking.number(), taking.sized()
        if kind % 8 == 7:
            said.append({"type": "websocket.receive", "bytes": text})
        else:
            said.append({"type": "websocket.receive", "text": text.decode("utf-8", "replace")})
            stops += _says_stop(said[-1]["text"])
    said.append({"type": "websocket.disconnect", "code": 1001})
    before = laptop.stops
    heard = _done(_asked(laptop.app, scope, said))
    accepted = any(one["type"] == "websocket.accept" for one in heard)
    assert laptop.stops - before == (stops if accepted else 0)
    assert all(json.loads(one["text"]) for one in heard if one["type"] == "websocket.send")


def _says_stop(text: str) -> bool:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and "stop" in said


async def _asked(app: ASGIApp, scope: Scope, said: deque[Message]) -> list[Message]:
    """Have the app take all that is said; what it answers."""
    heard: list[Message] = []

    async def receive() -> Message:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return said.popleft() if said else {"type": f"{scope['type']}.disconnect", "code": 1001}

    async def send(message: Message) -> None:
        heard.append(message)

    await app(scope, receive, send)
    return heard


def _scope(kind: str, path: str, headers: list[tuple[bytes, bytes]], **more: Any) -> Scope:
    plain, _, query = path.partition("?")
    return more | {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "root_path": "",
        "path": plain,
        "raw_path": plain.encode(),
        "query_string": query.encode("latin-1", "replace"),
        "headers": headers,
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8431),
        "state": {},
    }


def _headers(how: int, taking: Taking, laptop: _Laptop) -> list[tuple[bytes, bytes]]:
    """Those of our own page, but for what `how` changes: who asks, and one header that is another, or one more."""
    own = {
        b"host": HOST.encode(),
        b"origin": ORIGIN.encode(),
        b"content-type": b"application/json",
        b"cookie": b"pen_session=" + laptop.cookie(WHO[how % 3]).encode(),
    }
    return list(_changed(how // 4, own, taking))


def _changed(how: int, own: dict[bytes, bytes], taking: Taking) -> Iterator[tuple[bytes, bytes]]:
    for index, (name, value) in enumerate(own.items()):
        yield name, taking.sized() if how % 8 == 4 + index else value
    if how % 8 == 3:
        yield taking.sized().lower(), taking.sized()
