"""The recorder's commands; `register` adds them to `pen`. Each loads what it needs when it runs."""
# ruff: noqa: PLC0415 - so that help comes at once, and the rest of `pen` needs no database

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pen_controller.recorder import StoreError

if TYPE_CHECKING:
    from pen_controller.recorder.recorder import Tally
    from pen_controller.recorder.store import SessionInfo, Store

BAD_USAGE, NO_TELEMETRY = 2, 5  # as of every command of `pen`
STATUS_S = 1.0
SHOWN_GAPS = 3

Database = Annotated[str, typer.Option(help="sqlite:///FILE or postgresql://[USER@]HOST[:PORT]/NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


def register(app: typer.Typer) -> None:
    """Add `recorder`, `sessions` and `export`."""
    for command in (recorder, sessions, export):
        app.command()(command)


def recorder(
    db: Database,
    broker: Annotated[str, typer.Option(help="mqtt://[USER@]HOST[:PORT]")] = "mqtt://127.0.0.1:1883",
    site: Annotated[str, typer.Option(help="Record the pens of this site only.")] = "all",
    name: Annotated[
        str | None,
        typer.Option(help="Let the broker keep records for the recorder of this name while it is away."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each change of status as a line of JSON.")] = False,
) -> None:
    """Store what the pens of a broker publish, and tell the pens how far. Ctrl-C ends it.

    A site has one database; several recorders may share it. Exit status 5 if the database fails.
    """
    with _failing(), _open(db, create=True) as store:
        from pen_controller.recorder.recorder import Tally, record

        tally = Tally()
        status = _Status(tally, as_json=as_json)

        async def work() -> None:
            telling = asyncio.create_task(status.tell())
            try:
                await record(store, broker, tally, site="+" if site == "all" else site, name=name)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

        try:
            with (
                contextlib.suppress(KeyboardInterrupt),
                asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
            ):
                runner.run(work())
        finally:
            status.tell_now()


def sessions(db: Database, as_json: AsJson = False) -> None:
    """Show which sessions a recorder has stored, and what is missing of them."""
    with _failing(), _open(db, create=False) as store:
        found = store.sessions()
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        _show(found)


def export(
    db: Database,
    session: Annotated[str, typer.Option(help="SESSION; SITE/PEN/SESSION where several pens have one of that name.")],
    to: Annotated[Path, typer.Option(help="FILE.csv or FILE.parquet, to be made.")],
) -> None:
    """Write the records of a session as a table, a line for each, for a spreadsheet or a notebook."""
    with _failing(), _open(db, create=False) as store:
        from pen_controller.recorder import tables

        count = tables.write(to, store, store.find(session))
    print(f"{to}: {count} records")


class _Status:
    """Prints how a recorder fares, a line at a time, when it has changed."""

    def __init__(self, tally: "Tally", *, as_json: bool) -> None:
        self._tally = tally
        self._line: Callable[[Tally], str] = _json_line if as_json else _text_line
        self._said = ""

    async def tell(self) -> None:
        while True:
            self.tell_now()
            await asyncio.sleep(STATUS_S)

    def tell_now(self) -> None:
        line = self._line(self._tally)
        if line != self._said:
            self._said = line
            print(line, flush=True)


def _json_line(tally: "Tally") -> str:
    figures: dict[str, Any] = asdict(tally)
    return json.dumps(figures | {"behind": {str(key): stored for key, stored in tally.behind.items()}})


def _text_line(tally: "Tally") -> str:
    parts = [tally.trouble or "recording", f"{tally.stored} stored", f"{tally.repeated} came again"]
    if tally.behind:
        parts.append(f"{len(tally.behind)} sessions with gaps")
    if tally.refused:
        parts.append(f"{tally.refused} refused, the last because {tally.last_refused}")
    return "; ".join(parts)


def _show(found: "list[SessionInfo]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("session", "pen", "site", "records", "first", "last", "gaps"):
        table.add_column(head, no_wrap=head == "session")
    for one in found:
        gaps = [f"{first}-{last}" if first < last else str(first) for first, last in one.gaps]
        more = f" and {len(gaps) - SHOWN_GAPS} more" if len(gaps) > SHOWN_GAPS else ""
        text = ", ".join(gaps[:SHOWN_GAPS]) + more
        first, last = (wall[:16].replace("T", " ") for wall in (one.first_wall, one.last_wall))
        table.add_row(one.session, one.pen, one.site, str(one.records), first, last, text)
    Console().print(table)


@contextlib.contextmanager
def _open(db: str, *, create: bool) -> "Iterator[Store]":
    try:
        from pen_controller.recorder.store import Store
    except ImportError as error:
        raise ImportError("the recorder needs SQLAlchemy: pip install 'pen-controller[recorder]'") from error
    with Store.open(db, create=create) as store:
        yield store


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """End the command with one clear line and its exit status where something fails."""
    try:
        yield
    except (StoreError, ImportError) as error:
        print(f"pen: {error}", file=sys.stderr)
        raise typer.Exit(NO_TELEMETRY) from error
    except (ValueError, OSError) as error:
        print(f"pen: {error}", file=sys.stderr)
        raise typer.Exit(BAD_USAGE) from error
