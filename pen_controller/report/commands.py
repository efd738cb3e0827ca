"""`pen report`, `pen verify`, and what `pen export --fhir` does; each loads what it needs when it runs."""
# ruff: noqa: PLC0415 - so that help comes at once, and the rest of `pen` needs no typesetting

import json
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pen_controller.status import Status, failing

if TYPE_CHECKING:
    from collections.abc import Collection

    from pen_controller.journal import SessionInfo
    from pen_controller.journal.chain import Head
    from pen_controller.report.story import Story
    from pen_controller.report.verifying import Row, Verdict


JournalFile = Annotated[Path | None, typer.Option(help="SQLite file of the record; by default in your data folder.")]


def register(app: typer.Typer) -> None:
    """Add `report` and `verify`."""
    for command in (report, verify):
        app.command()(command)


def report(
    session: Annotated[str | None, typer.Argument(help="Which treatment; the newest if left out.")] = None,
    journal: JournalFile = None,
    out: Annotated[
        Path, typer.Option(help="Folder for SESSION.html and SESSION.pdf; older ones are replaced.")
    ] = Path(),
    language: Annotated[str, typer.Option(help="en or de.")] = "en",
    config: Annotated[Path | None, typer.Option(help="Folder of configuration files; default: shipped.")] = None,
    which: Annotated[
        bool, typer.Option("--list", help="List the treatments of the journal, and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")] = False,
) -> None:
    """Write the report of a treatment from its record: one HTML file and one PDF, with the aftercare sheet.

    It may be under way, or its program may have been killed: the report tells what is recorded by now.
    """
    with _failing():
        path = _journal(journal)
        if which:
            _list(path, as_json=as_json)
            return
        story = _story(path, session)
        verdict = _verdict(path, story.session)
        written = _write(story, verdict, out, language, config)
    if as_json:
        figures = {"session": story.session, "pen": story.pen, "begun": story.begun, "ended": story.ended}
        areas = [asdict(area) for area in story.areas]
        files = [str(file) for file in written]
        print(json.dumps(figures | {"areas": areas, "files": files, "record": _figures(verdict)}))
    else:
        for file in written:
            print(file)


def verify(
    session: Annotated[str | None, typer.Argument(help="Which treatment; the whole journal if left out.")] = None,
    journal: JournalFile = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Public key that may sign: 64 hexadecimal digits as a report prints them, or a PEM file; more than "
            "once for several. By default that of JOURNAL.key.",
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="ID:HASH", help="Newest record that somebody else knows of, as a report prints it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")] = False,
) -> None:
    """Check that no record was changed, left out, put in or moved since it was written.

    Works on a copy, and while a program writes the journal. Exit status 6 if it does not hold; the first record that
    does not is named.

    A chain of hashes shows every change, and checkpoints sign it. Two things it cannot show by itself: that the end was
    cut off together with its checkpoints, and that who holds the key has made it all anew. For these give --head, of a
    report, or of the event 'checkpoint' that a recorder stored.
    """
    with _failing():
        from pen_controller.journal.chain import Head
        from pen_controller.journal.key import public_key

        path = _journal(journal)
        witness = Head.read(head) if head else None
        trusted = {public_key(each) for each in key or ()}
        verdict = _verdict(path, session, trusted=trusted, witness=witness)
    if as_json:
        print(json.dumps(_figures(verdict)))
    elif verdict.broken is None:
        _say(verdict)
    if verdict.broken is not None:
        print(f"pen: does not hold: {verdict.broken}", file=sys.stderr)
        raise typer.Exit(Status.CHANGED)


def _verdict(
    path: Path, session: str | None, *, trusted: "Collection[bytes]" = (), witness: "Head | None" = None
) -> "Verdict":
    from pen_controller.report.verifying import verified

    return verified(path, session, trusted=trusted, witness=witness, watch=_watched)


def _watched(rows: "Iterable[Row]", count: int) -> "Iterable[Row]":
    """Show on a terminal, for work that takes a while, how far it is."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(rows, "verifying", count, console=console, transient=True, disable=not console.is_terminal)


def _say(verdict: "Verdict") -> None:
    which = f", from the first of {verdict.session} on" if verdict.session else ""
    print(f"holds: {verdict.records} records{which}")
    if verdict.head is not None:
        print(f"head    {verdict.head}")
    for key in verdict.keys:
        print(f"key     {key}")
    if verdict.keys and not verdict.compared:
        print("        compared with nothing: give the one that a report prints, with --key")
    if verdict.signed is not None:
        print(f"signed  up to record {verdict.signed.record_id}, {verdict.signed.wall}")


def _figures(verdict: "Verdict") -> dict[str, Any]:
    broken = verdict.broken
    stands = broken and broken.record
    return {
        "session": verdict.session,
        "holds": broken is None,
        "records": verdict.records,
        "head": verdict.head and str(verdict.head),
        "keys": verdict.keys,
        "compared": verdict.compared,
        "signed": verdict.signed and {"record": verdict.signed.record_id, "wall": verdict.signed.wall},
        "broken": broken
        and {
            "record": broken.record_id,
            "session": stands and stands.session,
            "seq": stands and stands.seq,
            "kind": stands and stands.kind,
            "why": str(broken),
        },
    }


def export_fhir(session: str | None, journal: Path | None, to: Path | None) -> None:
    """Write a treatment of the journal as a FHIR bundle, to a file or to standard output."""
    with _failing():
        from pen_controller.config.texts import texts
        from pen_controller.files import save
        from pen_controller.report.fhir import bundle
        from pen_controller.report.words import Words

        text = json.dumps(bundle(_story(_journal(journal), session), Words(texts("en"))), indent=2, ensure_ascii=False)
        if to is None:
            print(text)
        else:
            save(to, text.encode())
            print(to)


def _write(story: "Story", verdict: "Verdict", folder: Path, language: str, config: Path | None) -> list[Path]:
    from pen_controller.config import load
    from pen_controller.config.texts import texts
    from pen_controller.files import save
    from pen_controller.report import contents
    from pen_controller.report.aftercare import sheet
    from pen_controller.report.html import html
    from pen_controller.report.words import Words

    try:
        from pen_controller.report.pdf import pdf
    except ImportError as error:
        raise ImportError("the report needs Typst: pip install 'pen-controller[report]'") from error

    words = Words(texts(language))
    document = contents.report(story, words, language, sheet=sheet(load(config).aftercare, language), verdict=verdict)
    folder.mkdir(parents=True, exist_ok=True)
    made = {".html": html(document).encode(), ".pdf": pdf(document, made=datetime.now(UTC))}
    files = {folder / f"{story.session}{suffix}": content for suffix, content in made.items()}
    for path, content in files.items():
        save(path, content)
    return list(files)


def _journal(given: Path | None) -> Path:
    from pen_controller.files import data_folder

    return given or data_folder() / "journal.sqlite"


def _story(journal: Path, session: str | None) -> "Story":
    from pen_controller.report.reading import records
    from pen_controller.report.story import told

    return told(records(journal, session))


def _list(journal: Path, *, as_json: bool) -> None:
    from pen_controller.report.reading import sessions

    found = sessions(journal)
    if as_json:
        print(json.dumps([one._asdict() for one in found]))
    else:
        _show(found)


def _show(found: "list[SessionInfo]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("session", "pen", "records", "first", "last"):
        table.add_column(head, no_wrap=head == "session")
    for one in found:
        first, last = (wall[:16].replace("T", " ") for wall in (one.first_wall, one.last_wall))
        table.add_row(one.session, one.pen, str(one.records), first, last)
    Console().print(table)


def _failing() -> AbstractContextManager[None]:
    from pen_controller.config import ConfigError
    from pen_controller.journal import JournalError

    return failing((Status.BAD_USAGE, (ConfigError, JournalError, ImportError, ValueError, OSError)))
