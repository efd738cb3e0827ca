"""Serves a page to this machine and to nobody else: its address, its server, and the headers of every answer."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

try:
    import uvicorn
    from starlette.datastructures import MutableHeaders
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    raise ImportError("a page needs: pip install 'pen-controller[web]'") from error

LOOPBACK, LOOPBACK_IPV6 = "127.0.0.1", "::1"
LEAVE_S = 2  # for a browser that reads slowly when we end
_NO_IPV4 = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def listeners(port: int) -> list[socket.socket]:
    """Listen on the loopback addresses that this machine has, all at one port; 0 finds a free one.

    Raises:
        OSError: The port cannot be had; the message says what to do.
    """
    found: list[socket.socket] = []
    for host, family in ((LOOPBACK, socket.AF_INET), (LOOPBACK_IPV6, socket.AF_INET6)):
        try:
            found.append(socket.create_server((host, port), family=family))
        except OSError as error:
            if found or (family == socket.AF_INET and error.errno in _NO_IPV4):
                continue
            why = os.strerror(error.errno or 0)
            raise OSError(f"port {port} of {host}: {why}: choose another with --port") from error
        port = found[0].getsockname()[1]
    return found


def origin(listener: socket.socket) -> str:
    """The address of what is served there, as a browser names it: `http://127.0.0.1:8420`."""
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, sockets: Sequence[socket.socket], *, most_message_bytes: int = 65536
) -> AsyncIterator[None]:
    """Serve while entered. Ctrl-C is left to the caller.

    Args:
        app: What is served.
        sockets: See `listeners`.
        most_message_bytes: Of a WebSocket; who sends more is disconnected.
    """
    server = _Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody stands between: who says so may be anybody on this machine
            lifespan="off",
            ws_max_size=most_message_bytes,
            ws_per_message_deflate=False,  # within a machine it costs more than it saves
            timeout_graceful_shutdown=LEAVE_S,
        )
    )
    task = asyncio.create_task(server.serve(sockets=list(sockets)), name="serve a page")
    try:
        yield
    finally:
        server.should_exit = True
        await task


def content_policy(connect: Sequence[str] = ("'self'",)) -> str:
    """Files of ours, sockets to the addresses named, and nothing that text could turn into code."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src {' '.join(connect)}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


class Headers:
    """Adds the headers that every answer carries; one that the answer has already stays."""

    def __init__(self, app: ASGIApp, policy: str, more: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-cache",
            **(more or {}),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave Ctrl-C to the caller."""
        yield
