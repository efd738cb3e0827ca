"""Who may speak to the service: a page of ours, on this machine, that holds a key handed out once.

Every request passes here before anything else reads it. The launch token is printed by the program, works once, and
buys a cookie; the cookie shows the page, and an account that logs in with it shows what it may do. What writes must
come from our own page (`Origin`), say that it is JSON, and be small.
"""

import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import chain

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pen_controller.clinic.accounts import Role

COOKIE = "pen_session"
LAUNCH_S = 600.0
"""A launch token that nobody uses is void after ten minutes."""
IDLE_S = 12 * 3600.0
"""A page that is silent for a working day has to be launched anew."""
MOST_HEAD_BYTES = MOST_BODY_BYTES = 16_384
MOST_SCREENS = 50
SAFE = frozenset({"GET", "HEAD"})
OPEN_PATHS = frozenset({"/launch"})
"""What is answered without a cookie."""


@dataclass(slots=True)
class Screen:
    """A browser that was let in."""

    key: str
    heard_s: float
    account: str | None = None
    role: Role | None = None


class Keys:
    """The launch tokens and cookies that are good now. Only their hashes are kept.

    Args:
        now_s: A clock that does not jump.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._launches: dict[str, float] = {}
        self._screens: dict[str, Screen] = {}

    def launch(self) -> str:
        """Make a token that lets one browser in, once."""
        token = secrets.token_urlsafe(32)
        self._launches[_digest(token)] = self._now_s() + LAUNCH_S
        return token

    def let_in(self, token: str) -> str | None:
        """Take a launch token for a cookie; None if it is not good, or not any more."""
        until_s = self._launches.pop(_digest(token), 0.0)
        return self._hand_out(Screen("", self._now_s())) if self._now_s() <= until_s else None

    def screen(self, cookie: str) -> Screen | None:
        """The browser that shows this cookie."""
        found = self._screens.get(_digest(cookie))
        if found is None:
            return None
        if self._now_s() - found.heard_s > IDLE_S:
            self.forget(found)
            return None
        found.heard_s = self._now_s()
        return found

    def log_in(self, screen: Screen, account: str, role: Role) -> str:
        """Bind an account to a browser; return its new cookie, for the old one may have been planted."""
        self.forget(screen)
        return self._hand_out(Screen("", self._now_s(), account, role))

    def log_out(self, screen: Screen) -> str:
        """Take the account from a browser; return its new cookie."""
        self.forget(screen)
        return self._hand_out(Screen("", self._now_s()))

    def put_out(self, account: str, *, but: Screen) -> None:
        """Log an account out at every browser but one: each keeps its cookie, and its pages have to connect anew."""
        for screen in [one for one in self._screens.values() if one.account == account and one is not but]:
            self._screens[screen.key] = Screen(screen.key, screen.heard_s)

    def forget(self, screen: Screen) -> None:
        """Let this browser in no more."""
        self._screens.pop(screen.key, None)

    def knows(self, screen: Screen) -> bool:
        """Whether this browser is still let in: a connection outlives its cookie."""
        return self._screens.get(screen.key) is screen

    def _hand_out(self, screen: Screen) -> str:
        if len(self._screens) >= MOST_SCREENS:
            self.forget(min(self._screens.values(), key=lambda one: one.heard_s))
        cookie = secrets.token_urlsafe(32)
        screen.key = _digest(cookie)
        self._screens[screen.key] = screen
        return cookie


class Access:
    """The gate before the routes: puts the `Screen` into the request's state, or answers why not.

    Args:
        app: What lies behind.
        keys: Who is let in.
        origins: Our own addresses, as `http://127.0.0.1:8431`. A request must name one of them as its host.
    """

    def __init__(self, app: ASGIApp, keys: Keys, origins: Collection[str]) -> None:
        self._app, self._keys = app, keys
        self._origins = frozenset(origins)
        self._hosts = frozenset(origin.removeprefix("http://") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        headers = Headers(scope=scope)
        refused = self._refuse(scope, headers)
        if refused is not None:
            await _answer(*refused, scope, receive, send)
            return
        if scope["path"] not in OPEN_PATHS:
            # Cookies of other servers on this machine come along, and some are not well made: this reader skips them.
            screen = self._keys.screen(HTTPConnection(scope).cookies.get(COOKIE, ""))
            if screen is None:
                await _answer(401, "open the address that the program printed; it works once", scope, receive, send)
                return
            scope.setdefault("state", {})["screen"] = screen
        if scope["type"] == "http" and scope["method"] not in SAFE:
            body = await _body(receive)
            if body is None:
                return
            if len(body) > MOST_BODY_BYTES:
                await _answer(413, f"at most {MOST_BODY_BYTES} bytes are taken", scope, receive, send)
                return
            receive = _replay(body, receive)
        await self._app(scope, receive, send)

    def _refuse(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Why not, by the headers alone."""
        if len(scope["path"]) + len(scope["query_string"]) + sum(map(len, chain(*headers.raw))) > MOST_HEAD_BYTES:
            return 431, f"at most {MOST_HEAD_BYTES} bytes are taken before the body"
        if any(len(headers.getlist(name)) > 1 for name in ("host", "origin", "content-type", "content-length")):
            return 400, "a header is there twice"
        if "content-length" in headers and "transfer-encoding" in headers:
            return 400, "the length of the body is said in two ways"
        if headers.get("host") not in self._hosts:
            return 403, "this service answers to its own address only"
        writes = scope["type"] == "websocket" or scope["method"] not in SAFE
        if not writes:
            return None
        if headers.get("origin") not in self._origins or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return 403, "only the page of this service may do that"
        if scope["type"] == "http" and headers.get("content-type") != "application/json":
            return 415, "send JSON: Content-Type: application/json"
        return None


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or as much as shows that it is too large; None if whoever sends it goes before its end."""
    body = bytearray()
    while len(body) <= MOST_BODY_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body once more, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def _answer(status: int, text: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4000 + status, "reason": text})
        return
    error = {"text": text, "limit": None, "field": None}
    await JSONResponse({"error": error}, status)(scope, receive, send)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
