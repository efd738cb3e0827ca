"""Serves the page on loopback: its files, the settings it starts from, and a strict content policy."""

import asyncio
import contextlib
import json
import mimetypes
import re
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from pen_controller import config
from pen_controller.telemetry.broker import LOOPBACK, WEBSOCKET_PORT
from pen_controller.telemetry.topics import check_name

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.datastructures import MutableHeaders
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise ImportError("the dashboard needs: pip install 'pen-controller[web]'") from error

DEFAULT_BROKER = f"ws://{LOOPBACK}:{WEBSOCKET_PORT}/mqtt"
LEAVE_S = 2  # for a browser that reads slowly when we end
STATIC = Path(__file__).parent / "static"

_BROKER = re.compile(r"(?P<server>wss?://[A-Za-z0-9.-]+(:[1-9][0-9]{0,4})?)(?P<path>/[A-Za-z0-9._~/-]*)?")


async def show(
    brokers: Sequence[str], *, sites: Sequence[str], port: int, browser: bool, say: Callable[[str], None]
) -> None:
    """Serve the page until cancelled.

    Args:
        brokers: See `serving`.
        sites: See `serving`.
        port: See `serving`.
        browser: Open it in this machine's browser.
        say: Told the address in a line for a person.

    Raises:
        ValueError: A broker's address or a site's name is none.
        OSError: The port cannot be had; the message says what to do.
    """
    async with serving(brokers, sites=sites, port=port) as url:
        say(f"Dashboard: {url} (Ctrl-C ends it)")
        if browser:
            await asyncio.to_thread(webbrowser.open, url)
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def serving(brokers: Sequence[str], *, sites: Sequence[str] = (), port: int = 0) -> AsyncIterator[str]:
    """Serve the page to this machine while entered; yield its address.

    Args:
        brokers: `ws://HOST[:PORT][/PATH]` or `wss://...` each; without a path it is `/mqtt`.
        sites: Those to show; none: all. `?site=A&site=B` in the page's address goes before it.
        port: Where to listen; 0: a free port.

    Raises:
        ValueError: A broker's address or a site's name is none.
        OSError: The port cannot be had; the message says what to do.
    """
    app = application([broker_url(broker) for broker in brokers], [check_name("site", site) for site in sites])
    with _listener(port) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=LEAVE_S,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]), name="serve the dashboard")
        try:
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            await task


def broker_url(text: str) -> str:
    """Return a broker's WebSocket address with its path.

    Raises:
        ValueError: It is none, or cannot stand in a content policy, as an IPv6 address cannot.
    """
    match = _BROKER.fullmatch(text)
    if match is None:
        raise ValueError(f"broker {text!r}: expected ws://HOST[:PORT][/PATH] or wss://..., without user or password")
    return match["server"] + (match["path"] or "/mqtt")


def application(brokers: Sequence[str], sites: Sequence[str]) -> Starlette:
    """Return what serves the page for brokers and sites that were checked; it answers to names of this machine only."""
    mimetypes.add_type("text/javascript", ".js")  # some Windows machines call it text/plain, which browsers refuse
    areas = {name: area.label for name, area in config.load().areas.items()}
    settings = json.dumps({"brokers": brokers, "sites": sites, "areas": areas})
    module = Response(f"export const settings = {settings};\n", media_type="text/javascript")
    return Starlette(
        routes=[Route("/settings.js", module, methods=["GET"]), Mount("/", StaticFiles(directory=STATIC, html=True))],
        middleware=[
            Middleware(_Headers, policy=_policy(brokers)),
            Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"]),
        ],
    )


def _policy(brokers: Sequence[str]) -> str:
    """The content policy: files of ours, sockets to the brokers, and nothing that text could turn into code."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src {' '.join(brokers)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


class _Headers:
    """Adds the headers that every answer carries."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-cache",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave Ctrl-C to the caller."""
        yield


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise OSError(f"port {port} of {LOOPBACK}: {error.strerror}: choose another with --port") from error
