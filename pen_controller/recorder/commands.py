"""The recorder's commands; `register` adds them to `pen`. Each loads what it needs when it runs."""
# ruff: noqa: PLC0415 - so that help comes at once, and the rest of `pen` needs no database

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pen_controller.output import print_line
from pen_controller.recorder import StoreError
from pen_controller.report.commands import JournalFile, export_fhir
from pen_controller.status import Status, failing
from pen_controller.telemetry.refusals import AccessError

if TYPE_CHECKING:
    from pen_controller.recorder.recorder import Tally
    from pen_controller.recorder.store import SessionInfo, Store
    from pen_controller.telemetry.topics import AckTopic

BROKER_FORMS = "mqtt://[USER@]HOST[:PORT], mqtts://..., or a broker file, NAME.toml: see configs/brokers."
DEFAULT_BROKER = "mqtt://127.0.0.1:1883"
STATUS_S = 1.0
SHOWN_GAPS = 3

Broker = Annotated[str, typer.Option(help=BROKER_FORMS)]
DATABASE_FORMS = "sqlite:///FILE or postgresql://[USER@]HOST[:PORT]/NAME"
Database = Annotated[str, typer.Option(help=DATABASE_FORMS)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


def register(app: typer.Typer) -> None:
    """Add `recorder`, `recorders`, `sessions` and `export`."""
    for command in (recorder, recorders, sessions, export):
        app.command()(command)


def recorder(
    db: Database,
    broker: Broker = DEFAULT_BROKER,
    site: Annotated[str, typer.Option(help="Record the pens of this site only.")] = "all",
    name: Annotated[
        str | None,
        typer.Option(help="Let the broker keep records for the recorder of this name while it is away."),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="Have the broker divide the records among all that name this group; they must share one database.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each change of status as a line of JSON.")] = False,
) -> None:
    """Store what the pens of a broker publish, and tell the pens how far. Ctrl-C ends it.

    Recorders with a database each get everything each, and the pens wait for all: see 'pen recorders'. On one
    PostgreSQL database it does not matter who stores a record. A database that is full, locked or away is waited
    for; exit status 5 if it fails otherwise, or if the broker does not let us in.
    """
    with _failing(), _open(db, create=True) as store:
        from pen_controller.recorder.recorder import Tally, record

        tally = Tally()
        status = _Status(store.name, tally, as_json=as_json)

        async def work() -> None:
            telling = asyncio.create_task(status.tell())
            try:
                await record(store, broker, tally, site="+" if site == "all" else site, name=name, group=share)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

        try:
            with contextlib.suppress(KeyboardInterrupt):
                _run(work())
        finally:
            status.tell_now()


def recorders(
    broker: Broker = DEFAULT_BROKER,
    dismiss: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Wait no longer for this recorder: its database is gone for good."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the recorders that a broker knows of, and how much each has: the pens wait for all of them.

    A recorder is named by its database: 'pen recorder' prints the name. A dismissed one that comes back gets all, so
    dismiss one also after its database was restored from a backup.
    """
    from pen_controller.recorder import words

    with _failing():
        if dismiss is not None:
            _run(words.dismiss(broker, dismiss))
        found = _by_recorder(_run(words.known(broker)))
    if as_json:
        print(json.dumps(found))
    else:
        _table(
            ("recorder", "site", "pens", "sessions", "records"),
            [
                [each["recorder"], *(str(each[key]) for key in ("site", "pens", "sessions", "records"))]
                for each in found
            ],
        )


def sessions(
    db: Database,
    site: Annotated[str | None, typer.Option(help="Those of this site only.")] = None,
    pen: Annotated[str | None, typer.Option(help="Those of this pen only.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Those with a record of that day or later.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show which sessions a recorder has stored, and what is missing of them."""
    with _failing():
        since_day = "" if since is None else _day(since)
        with _open(db, create=False) as store:
            found = store.sessions(site=site, pen=pen)
    found = [one for one in found if one.last_wall >= since_day]
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        _show(found)


def export(
    session: Annotated[str, typer.Argument(help="SESSION; SITE/PEN/SESSION where several pens have one of that name.")],
    db: Annotated[str | None, typer.Option(help=DATABASE_FORMS)] = None,
    to: Annotated[
        Path | None, typer.Option(help="FILE.csv or FILE.parquet, to be made; FILE.json with --fhir.")
    ] = None,
    fhir: Annotated[
        bool, typer.Option("--fhir", help="An HL7 FHIR R4 bundle, from the record of this computer and no database.")
    ] = False,
    journal: JournalFile = None,
) -> None:
    """Write the records of a session as a table, a line for each, for a spreadsheet or a notebook; or as FHIR."""
    if fhir:
        export_fhir(session, journal, to)
        return
    with _failing():
        if db is None or to is None:
            raise ValueError("export needs --db and --to, or --fhir")
        with _open(db, create=False) as store:
            from pen_controller.recorder import tables

            key = store.find(session)
            with _progress(store.count(key)) as step:
                count = tables.write(to, store, key, step)
    print(f"{to}: {count} records")


class _Status:
    """Prints how a recorder fares, a line at a time, when it has changed."""

    def __init__(self, name: str, tally: "Tally", *, as_json: bool) -> None:
        self._name, self._tally = name, tally
        self._line: Callable[[str, Tally], str] = _json_line if as_json else _text_line
        self._said = ""

    async def tell(self) -> None:
        while True:
            self.tell_now()
            await asyncio.sleep(STATUS_S)

    def tell_now(self) -> None:
        line = self._line(self._name, self._tally)
        if line != self._said:
            self._said = line
            with contextlib.suppress(OSError):  # whether or not it can be read, the recorder goes on
                print_line(line)


def _json_line(name: str, tally: "Tally") -> str:
    figures: dict[str, Any] = {"recorder": name} | asdict(tally)
    return json.dumps(figures | {"behind": {str(key): stored for key, stored in tally.behind.items()}})


def _text_line(name: str, tally: "Tally") -> str:
    parts = [f"{name}: {tally.trouble or 'recording'}", f"{tally.stored} stored", f"{tally.repeated} came again"]
    if tally.behind:
        parts.append(f"{len(tally.behind)} sessions with gaps")
    if tally.refused:
        parts.append(f"{tally.refused} refused, the last because {tally.last_refused}")
    return "; ".join(parts)


def _by_recorder(words: "dict[AckTopic, int]") -> list[dict[str, Any]]:
    """Return what each recorder has of each site."""
    found: dict[tuple[str, str], list[tuple[AckTopic, int]]] = defaultdict(list)
    for topic, stored in words.items():
        found[topic.recorder, topic.site].append((topic, stored))
    return [
        {
            "recorder": recorder,
            "site": site,
            "pens": len({topic.pen for topic, _ in said}),
            "sessions": len(said),
            "records": sum(stored for _, stored in said),
        }
        for (recorder, site), said in sorted(found.items())
    ]


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ValueError(f"--since {text}: use a date: 2026-11-22") from error


def _show(found: "list[SessionInfo]") -> None:
    rows: list[list[str]] = []
    for one in found:
        gaps = [f"{first}-{last}" if first < last else str(first) for first, last in one.gaps]
        more = f" and {len(gaps) - SHOWN_GAPS} more" if len(gaps) > SHOWN_GAPS else ""
        text = ", ".join(gaps[:SHOWN_GAPS]) + more
        first, last = (wall[:16].replace("T", " ") for wall in (one.first_wall, one.last_wall))
        rows.append([one.session, one.pen, one.site, str(one.records), first, last, text])
    _table(("session", "pen", "site", "records", "first", "last", "gaps"), rows)


def _table(heads: tuple[str, ...], rows: list[list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=head == heads[0])
    for row in rows:
        table.add_row(*row)
    Console().print(table)


@contextlib.contextmanager
def _progress(records: int) -> "Iterator[Callable[[], None]]":
    """Show on a terminal, for work that takes a while, how far it is; yield what is called for each record."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("exporting", total=records)
        yield lambda: progress.advance(task)


def _run(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  # as the work returns
    """Run on the loop that MQTT needs, on Windows too."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(work)


@contextlib.contextmanager
def _open(db: str, *, create: bool) -> "Iterator[Store]":
    try:
        from pen_controller.recorder.store import Store
    except ImportError as error:
        raise ImportError("the recorder needs SQLAlchemy: pip install 'pen-controller[recorder]'") from error
    with Store.open(db, create=create) as store:
        yield store


def _failing() -> AbstractContextManager[None]:
    telemetry = (StoreError, AccessError, ConnectionError, ImportError)
    return failing((Status.NO_TELEMETRY, telemetry), (Status.BAD_USAGE, (ValueError, OSError)))
