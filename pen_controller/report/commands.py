"""`pen report`, and what `pen export --fhir` does; each loads what it needs when it runs."""
# ruff: noqa: PLC0415 - so that help comes at once, and the rest of `pen` needs no typesetting

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pen_controller.journal import SessionInfo
    from pen_controller.report.story import Story

BAD_USAGE = 2  # as of every command of `pen`

JournalFile = Annotated[Path | None, typer.Option(help="SQLite file of the record; by default in your data folder.")]


def register(app: typer.Typer) -> None:
    """Add `report`."""
    app.command()(report)


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
        written = _write(story, out, language, config)
    if as_json:
        figures = {"session": story.session, "pen": story.pen, "begun": story.begun, "ended": story.ended}
        areas = [asdict(area) for area in story.areas]
        print(json.dumps(figures | {"areas": areas, "files": [str(file) for file in written]}))
    else:
        for file in written:
            print(file)


def export_fhir(session: str | None, journal: Path | None, to: Path | None) -> None:
    """Write a treatment of the journal as a FHIR bundle, to a file or to standard output."""
    with _failing():
        from pen_controller.report.fhir import bundle
        from pen_controller.report.words import Words
        from pen_controller.texts import texts

        text = json.dumps(bundle(_story(_journal(journal), session), Words(texts("en"))), indent=2, ensure_ascii=False)
        if to is None:
            print(text)
        else:
            _save(to, text.encode())
            print(to)


def _write(story: "Story", folder: Path, language: str, config: Path | None) -> list[Path]:
    from pen_controller.config import load
    from pen_controller.report import contents
    from pen_controller.report.aftercare import sheet
    from pen_controller.report.html import html
    from pen_controller.report.words import Words
    from pen_controller.texts import texts

    try:
        from pen_controller.report.pdf import pdf
    except ImportError as error:
        raise ImportError("the report needs Typst: pip install 'pen-controller[report]'") from error

    words = Words(texts(language))
    document = contents.report(story, words, language, sheet=sheet(load(config).aftercare, language))
    folder.mkdir(parents=True, exist_ok=True)
    made = {".html": html(document).encode(), ".pdf": pdf(document, made=datetime.now(UTC))}
    return [_save(folder / f"{story.session}{suffix}", content) for suffix, content in made.items()]


def _save(path: Path, content: bytes) -> Path:
    """Write a file that only its owner can read, for it tells of a patient; whole, or the older one stays."""
    from pen_controller.files import create

    part = path.with_name(f"{path.name}.part")
    create(part)
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


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
        print(json.dumps([asdict(one) for one in found]))
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


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """End the command with one clear line and its exit status where something fails."""
    from pen_controller.config import ConfigError
    from pen_controller.journal import JournalError

    try:
        yield
    except (ConfigError, JournalError, ImportError, ValueError, OSError) as error:
        print(f"pen: {error}", file=sys.stderr)
        raise typer.Exit(BAD_USAGE) from error
