"""Serves the page on loopback: its files, the settings it starts from, and a strict content policy."""

import asyncio
import contextlib
import ipaddress
import json
import mimetypes
import re
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pen_controller import config, loopback
from pen_controller.loopback import LOOPBACK, LOOPBACK_IPV6
from pen_controller.telemetry.broker import WEBSOCKET_PORT
from pen_controller.telemetry.topics import check_name

DEFAULT_BROKER = f"ws://{LOOPBACK}:{WEBSOCKET_PORT}/mqtt"
MOST_PORT = 65535
STATIC = Path(__file__).parent / "static"

_BROKER = re.compile(
    r"(?P<scheme>wss?://)(?P<host>[A-Za-z0-9.-]+|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(:(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[A-Za-z0-9._~/-]*)?"
)


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
    """Serve the page to this machine while entered, on both its loopback addresses; yield the page's address.

    Args:
        brokers: `ws://HOST[:PORT][/PATH]` or `wss://...` each; without a path it is `/mqtt`.
        sites: Those to show; none: all. `?site=A&site=B` in the page's address goes before it.
        port: Where to listen; 0: a free port.

    Raises:
        ValueError: A broker's address or a site's name is none.
        OSError: The port cannot be had; the message says what to do.
    """
    app = application([broker_url(broker) for broker in brokers], [check_name("site", site) for site in sites])
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in loopback.listeners(port)]
        async with loopback.serving(app, listeners):
            yield f"{loopback.origin(listeners[0])}/"


def broker_url(text: str) -> str:
    """Return a broker's WebSocket address with its path.

    Raises:
        ValueError: It is none. A user or a password has no place in it: the page asks for them.
    """
    match = _BROKER.fullmatch(text)
    if match is None or int(match["port"] or 0) > MOST_PORT or not _is_ipv6(match["ipv6"] or "::"):
        named = "with an @" if "@" in text else repr(text)  # there may be a password in it
        raise ValueError(
            f"broker {named}: expected ws://HOST[:PORT][/PATH] or wss://...; the page asks for user and password"
        )
    return text if match["path"] else f"{text}/mqtt"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def application(brokers: Sequence[str], sites: Sequence[str]) -> Starlette:
    """Return what serves the page for brokers and sites that were checked; it answers to names of this machine only."""
    mimetypes.add_type("text/javascript", ".js")  # some Windows machines call it text/plain, which browsers refuse
    areas = {name: area.label for name, area in config.load().areas.items()}
    face = json.loads((STATIC / "face.json").read_text())
    settings = json.dumps({"brokers": brokers, "sites": sites, "areas": areas, "face": face})
    module = Response(f"export const settings = {settings};\n", media_type="text/javascript")
    policy = loopback.content_policy([_source(broker) for broker in brokers])
    return Starlette(
        routes=[Route("/settings.js", module, methods=["GET"]), Mount("/", StaticFiles(directory=STATIC, html=True))],
        middleware=[
            Middleware(loopback.Headers, policy=policy),
            Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, f"[{LOOPBACK_IPV6}]", "localhost"]),
        ],
    )


def _source(broker: str) -> str:
    """What a content policy calls a broker. It has no word for an IPv6 address, only for any host at that port."""
    return re.sub(r"\[.*\]", "*", broker)
