"""Plays the pen's side of a capture, once, at its own times, to the first host that comes.

A played pen answers nobody: what the host says is read and dropped. It is for who listens and decodes, and for what a
host makes of a pen that says this.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from protocols.capture import MAX_LINE_BYTES, CaptureError, Damage, Piece, parse
from simulator.ports import new_terminal

LEAVE_S = 2.0
"""How long a host may take to read what was played last."""
POLL_S = 0.02
FLUSH_S = 0.2
"""Who opens a line drops what came on it before all was set up; pyserial does, also of a socket."""

Send = Callable[[bytes], Awaitable[None]]
Announce = Callable[[str], None]


def load(file: Path) -> tuple[list[Piece], Damage | None]:
    """What the pen says in a capture, up to the first line that is damaged, and that damage.

    Raises:
        CaptureError: It is no capture, or the pen says nothing in it.
        OSError: It cannot be read.
    """
    said: list[Piece] = []
    damage = None
    with file.open("rb") as lines:
        for entry in parse(iter(partial(lines.readline, MAX_LINE_BYTES), b"")):
            if isinstance(entry, Damage):
                damage = entry
                break
            if isinstance(entry, Piece) and not entry.to_pen:
                said.append(entry)
    if not said:
        raise CaptureError(f"the pen says nothing in it{f', up to {damage}' if damage else ''}")
    return said, damage


async def play(said: Sequence[Piece], send: Send, *, fast: bool = False) -> None:
    """Say all pieces, each at its own time since the first, or with `fast` one after the other.

    Raises:
        ConnectionError: The host has left before the end.
    """
    await asyncio.sleep(FLUSH_S)
    loop = asyncio.get_running_loop()
    began_s = loop.time() - said[0].t_us / 1e6
    for piece in said:
        if not fast:
            await asyncio.sleep(began_s + piece.t_us / 1e6 - loop.time())
        await send(piece.data)


@contextlib.asynccontextmanager
async def tcp_host(announce: Announce, port: int = 0) -> AsyncIterator[Send]:
    """Wait for a host at a TCP port of the loopback interface, 0 for a free one; the line ends with the context.

    Raises:
        OSError: The port cannot be had.
    """
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.setblocking(False)
        announce(f"socket://127.0.0.1:{listener.getsockname()[1]}")
        host, _ = await loop.sock_accept(listener)
    with host:
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield partial(loop.sock_sendall, host)
        with contextlib.suppress(OSError, TimeoutError):
            host.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LEAVE_S):
                while await loop.sock_recv(host, 65_536):
                    pass  # or what was said last would be lost with the connection


@contextlib.asynccontextmanager
async def pty_host(announce: Announce) -> AsyncIterator[Send]:
    """Wait for a host at a new pseudo-terminal; at the end it is silent until the host leaves. POSIX only."""
    master, slave, path = new_terminal()
    os.close(slave)  # so that a host's coming and going shows
    try:
        announce(f"serial://{path}")
        while not _has_host(master):  # noqa: ASYNC110  # no event tells of it
            await asyncio.sleep(POLL_S)
        yield partial(_send_to_terminal, master)
        while _has_host(master):  # noqa: ASYNC110  # as above; to close it would take away what is not read yet
            await asyncio.sleep(POLL_S)
    finally:
        os.close(master)


async def _send_to_terminal(master: int, data: bytes) -> None:
    while data:
        if not _has_host(master):
            raise ConnectionResetError("nobody has the terminal open")
        try:
            data = data[os.write(master, data) :]
        except BlockingIOError:
            await asyncio.sleep(POLL_S)


def _has_host(master: int) -> bool:
    """Whether somebody has the terminal open; what they say is dropped."""
    try:
        return bool(os.read(master, 65_536))
    except BlockingIOError:
        return True
    except OSError:
        return False
