"""`pen conformance`; it loads what it needs when it runs."""
# ruff: noqa: PLC0415 - so that help comes at once

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pen_controller.status import Status, fail

if TYPE_CHECKING:
    from rich.console import Console

    from pen_controller.conformance.checks import Check
    from pen_controller.conformance.run import Outcome, Report

MOST_SHOWN = 40
"""Pieces of traffic of a failure that are printed; `--json` has them all."""

WARNING = """The needles will run in the air for some seconds, at 0.2 to 0.3 mm and the pen's least rate.
Hold the pen away from everybody. The cartridge is marked as used, and the events that the pen keeps are lost: they must
be on record."""


def register(app: typer.Typer) -> None:
    """Add `conformance`."""
    app.command()(conformance)


def conformance(
    url: Annotated[str, typer.Argument(help="serial:///dev/ttyUSB0, serial:COM3, socket://HOST:PORT or ble:NAME")],
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only of this rule (CLM-2), step, chapter (CLM) or check; more than once."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run the needles without asking.")] = False,
    needles: Annotated[bool, typer.Option(help="Whether needles may run at all.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")
    ] = False,
) -> None:
    """Hold a pen against every requirement of protocols/README.md that shows on the wire, in half a minute.

    For people who build pens. It does what no host should, so never with a patient near. Exit status 3 if it fails.
    Try it: 'pen-sim tcp --port 9000 --defect lease-too-long', then 'pen conformance socket://127.0.0.1:9000'.
    """
    from rich.console import Console

    from pen_controller.conformance.run import chosen
    from pen_controller.conformance.wire import BrokenRuleError
    from pen_controller.errors import PenError, UrlError
    from pen_controller.transports import transport_for

    seen: list[Outcome] = []
    try:
        checks = chosen(only or ())
        transport_for(url)  # what is no URL is said before anybody is asked
        if needles and not yes and any(one.needles for one in checks):
            needles = _allowed()
        report = asyncio.run(_held(url, checks, seen, needles=needles))
    except (UrlError, ValueError) as error:
        fail(Status.BAD_USAGE, error)
    except (PenError, BrokenRuleError) as error:
        fail(Status.NO_PEN, error)
    except KeyboardInterrupt:
        if not as_json:
            _show(seen, Console())
        fail(Status.INTERRUPTED, "ended by Ctrl-C; the pen was told to stop")
    if as_json:
        print(json.dumps(_figures(url, report)))
    else:
        own = report.identity
        print(f"{own.serial}: {own.model}, firmware {own.firmware}, at {url}")
        _show(report.outcomes, Console())
        print(", ".join(f"{count} {status.value}" for status, count in report.counts.items()))
    if report.failed:
        fail(Status.NO_PEN, f"{len(report.failed)} of {len(report.outcomes)} checks failed")


def _allowed() -> bool:
    print(WARNING, file=sys.stderr)
    if not sys.stdin.isatty():
        fail(Status.BAD_USAGE, "there is nobody to ask: add --yes, or --no-needles")
    return typer.confirm("Run them?", err=True)


async def _held(url: str, checks: "list[Check]", seen: "list[Outcome]", *, needles: bool) -> "Report":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from pen_controller.conformance.run import conform
    from pen_controller.transports import transport_for

    columns, console = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn()), Console(stderr=True)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(checks))

        def say(outcome: "Outcome") -> None:
            seen.append(outcome)
            progress.update(task, advance=1, description=outcome.check.name)

        return await conform(transport_for(url), checks, needles=needles, say=say)


def _show(outcomes: "list[Outcome]", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table

    from pen_controller.conformance.run import CHECKS, Status
    from pen_controller.conformance.unseen import PARTLY, UNSEEN

    colours = {Status.PASSED: "green", Status.FAILED: "bold red"}
    table = Table("", "rules", "what a pen must do, and what was seen")
    for one in outcomes:
        colour = colours.get(one.status, "yellow")
        seen = f"\n[{colour}]{escape(one.why)}[/]" if one.why else ""
        table.add_row(f"[{colour}]{one.status.value}[/]", " ".join(one.check.rules), one.check.what + seen)
    console.print(table)
    if len(outcomes) == len(CHECKS):
        for rule, why in sorted((UNSEEN | PARTLY).items()):
            part = " in part" if rule in PARTLY else ""
            console.print(f"not seen from here: {rule}{part}: {why}", highlight=False, soft_wrap=True)
    for one in (one for one in outcomes if one.status is Status.FAILED):
        console.print(f"\n[bold red]{one.check.name}[/]: {escape(one.why)}", highlight=False)
        if len(one.traffic) > MOST_SHOWN:
            console.print(f"... {len(one.traffic) - MOST_SHOWN} earlier pieces: see --json", highlight=False)
        for piece in one.traffic[-MOST_SHOWN:]:
            console.print(str(piece), highlight=False, soft_wrap=True, markup=False)


def _figures(url: str, report: "Report") -> dict[str, Any]:
    from pen_controller.conformance.unseen import PARTLY, UNSEEN

    own = report.identity
    return {
        "url": url,
        "pen": {"serial": own.serial, "model": own.model, "firmware": own.firmware},
        "good": not report.failed,
        "checks": [
            {
                "name": one.check.name,
                "what": one.check.what,
                "rules": one.check.rules,
                "status": one.status.value,
                "why": one.why,
                "traffic": [piece.figures() for piece in one.traffic],
            }
            for one in report.outcomes
        ],
        "not_seen": UNSEEN,
        "seen_in_part": PARTLY,
    }
