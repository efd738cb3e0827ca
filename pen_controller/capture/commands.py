"""`pen record` and `pen decode`; they load what they need when they run."""
# ruff: noqa: PLC0415 - so that help comes at once

import asyncio
import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pen_controller.status import Status, fail, failing

if TYPE_CHECKING:
    from rich.table import Table

    from pen_controller.capture.offers import Offer
    from pen_controller.transports import Transport
    from protocols.capture import Damage, Listener, Note, Piece, Said

    Tell = Callable[[Piece | Note | Damage], bool]

REFRESH_HZ = 4

AsJson = Annotated[bool, typer.Option("--json", help="Print each message as a line of JSON.")]
Bytes = Annotated[bool, typer.Option("--bytes", help="Print the bytes too, as they came.")]


def register(app: typer.Typer) -> None:
    """Add `record` and `decode`."""
    for command in (record, decode):
        app.command()(command)


def record(
    url: Annotated[
        str, typer.Argument(help="The pen: serial:///dev/ttyUSB0, serial:COM3, socket://HOST:PORT or ble:NAME")
    ],
    file: Annotated[Path, typer.Argument(help="The capture, to be made.")],
    listen: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port at which a host connects instead; 0 finds a free one.")
    ] = 0,
    as_pty: Annotated[
        bool, typer.Option("--pty", help="Offer the host a pseudo-terminal, and no port: for one that knows no TCP.")
    ] = False,
    show: Annotated[bool, typer.Option("--decode", help="Print each message as it goes by.")] = False,
    as_bytes: Bytes = False,
    as_json: AsJson = False,
) -> None:
    """Record what a host and a pen say to each other, standing between them. Ctrl-C ends it.

    It opens the pen's line and prints the URL of a line of its own: have your program connect there. Bytes go both
    ways at once and untouched, STOP and renewals too; without a host the pen's heartbeats are recorded. To end it
    breaks the line, so a pen that runs then stops by its lease. What was recorded by then is in the file, whatever
    ended it; no file is overwritten. Exit status 3 if the pen's line ends.

    Try it, in three terminals: 'pen-sim tcp --port 9000', 'pen record socket://127.0.0.1:9000 a.pencap --listen 9001',
    'pen info socket://127.0.0.1:9001'. Then: 'pen decode a.pencap', 'pen-sim replay a.pencap'.
    """
    from pen_controller.capture.offers import PtyOffer, TcpOffer
    from pen_controller.transports import transport_for
    from protocols.capture import Listener

    if as_pty and sys.platform == "win32":
        fail(Status.BAD_USAGE, "this system has no pseudo-terminals: leave out --pty")
    if file.exists():
        fail(Status.BAD_USAGE, f"{file}: there is such a file already, and it is not overwritten: name another")
    listener = Listener()
    tell = _teller(listener, as_bytes=as_bytes, as_json=as_json) if show or as_bytes or as_json else None
    try:
        with _failing(), contextlib.suppress(KeyboardInterrupt):
            offer = PtyOffer() if as_pty else TcpOffer(listen)
            kind = url.partition(":")[0]
            asyncio.run(_record(transport_for(url), offer, file, kind, listener, tell, as_json=as_json))
    finally:
        if listener.heard_bytes:
            print(f"{file}: {_summary(listener)}", file=sys.stderr)


async def _record(
    pen: "Transport",
    offer: "Offer",
    file: Path,
    kind: str,
    listener: "Listener",
    tell: "Tell | None",
    *,
    as_json: bool,
) -> None:
    """Record until the pen's line ends, and raise `LinkError` then."""
    from rich.console import Console
    from rich.live import Live

    from pen_controller.capture.behind import Behind
    from pen_controller.capture.recording import recording
    from pen_controller.errors import LinkError

    listening = Behind(tell or _counter(listener), "listening")
    async with recording(pen, offer, file, kind, listening.put) as tap:
        print(json.dumps({"url": offer.url}) if as_json else offer.url, flush=True)
        print(f"A host connects there: pen info {shlex.quote(offer.url)}  Ctrl-C ends it.", file=sys.stderr)
        live: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if tell is None and sys.stderr.isatty():
            table = partial(_table, listener)
            live = Live(get_renderable=table, console=Console(stderr=True), refresh_per_second=REFRESH_HZ)
        with live, listening:
            raise LinkError(f"{pen.name}: {await tap.ended()}")


def decode(
    file: Annotated[Path, typer.Argument(help="A capture that 'pen record' has written.")],
    as_bytes: Bytes = False,
    as_json: AsJson = False,
) -> None:
    """Print what a capture holds, message by message: -> from the host, <- from the pen.

    With --bytes it reads as the failures of 'pen conformance' do. Of a damaged or cut file all that can be read is
    shown; exit status 2 tells of the rest.
    """
    from protocols.capture import Damage, Listener

    listener = Listener()
    tell = _teller(listener, as_bytes=as_bytes, as_json=as_json)
    damage: list[Damage] = []
    with _failing():
        for entry in _entries(file):
            if isinstance(entry, Damage):
                damage.append(entry)
            if not tell(entry):
                return
    print(f"{file}: {_summary(listener)}", file=sys.stderr)
    if damage:
        more = f" (and {len(damage) - 1} more such lines)" if damage[1:] else ""
        fail(Status.BAD_USAGE, f"{file}: {damage[0]}{more}")


def _entries(file: Path) -> "Iterator[Piece | Note | Damage]":
    from protocols.capture import MAX_LINE_BYTES, CaptureError, parse

    with file.open("rb") as lines:
        try:
            yield from parse(iter(partial(lines.readline, MAX_LINE_BYTES), b""))
        except CaptureError as error:
            raise CaptureError(f"{file}: {error}") from None


def _counter(listener: "Listener") -> "Callable[[Piece | Note], object]":
    from protocols.capture import Piece

    return lambda entry: listener.feed(entry) if isinstance(entry, Piece) else None


def _teller(listener: "Listener", *, as_bytes: bool, as_json: bool) -> "Tell":
    """What prints an entry, and the messages that it completes, and returns whether anybody still reads."""
    from pen_controller.output import print_line
    from protocols.capture import Piece

    def tell(entry: "Piece | Note | Damage") -> bool:
        lines: list[Piece | Note | Damage | Said] = [entry]
        if isinstance(entry, Piece):
            said = listener.feed(entry)
            named = replace(entry, what=", ".join(one.name for one in said))
            lines = [*([named] if as_bytes else []), *said]
        return all(print_line(json.dumps(one.figures()) if as_json else str(one)) for one in lines)

    return tell


def _table(listener: "Listener") -> "Table":
    """What was heard so far."""
    from rich.table import Table

    table = Table("", "from the host", "from the pen")
    counts, heard_bytes = dict(listener.counts), dict(listener.heard_bytes)  # another thread goes on counting
    for name in sorted({name for _, name in counts}):
        table.add_row(name, *(f"{counts.get((to_pen, name), 0):,}" for to_pen in (True, False)))
    table.add_row("bytes", *(f"{heard_bytes.get(to_pen, 0):,}" for to_pen in (True, False)))
    return table


def _summary(listener: "Listener") -> str:
    sides = []
    for to_pen, who in ((True, "host"), (False, "pen")):
        counts = {name: count for (side, name), count in listener.counts.items() if side is to_pen}
        bad = f", {counts['unreadable']} unreadable" if "unreadable" in counts else ""
        sides.append(f"{who}: {sum(counts.values()):,} messages{bad} in {listener.heard_bytes[to_pen]:,} bytes")
    return "; ".join(sides)


def _failing() -> contextlib.AbstractContextManager[None]:
    """End the command with one clear line and its exit status where something fails."""
    from pen_controller.errors import PenError

    return failing((Status.NO_PEN, (PenError,)), (Status.BAD_USAGE, (ValueError, OSError)))
