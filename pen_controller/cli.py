"""`pen`: the command line. Each command imports what it needs when it runs, so that help comes at once."""

import asyncio
import json
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pen_controller.capture import commands as capture_commands
from pen_controller.clinic import commands as clinic_commands
from pen_controller.conformance import command as conformance_command
from pen_controller.recorder import commands as recorder_commands
from pen_controller.report import commands as report_commands
from pen_controller.status import Status, fail

if TYPE_CHECKING:
    from rich.console import Console

    from pen_controller.config import Config, Plan

DASHBOARD_PORT = 8420

app = typer.Typer(
    name="pen",
    help="Control and telemetry for automated microneedling pens.\n\n"
    "Not a cleared medical device: its limits are defaults with sources, which a clinic approves for itself.\n\n"
    "Exit status: 0 good, 2 usage or configuration, 3 pen or line, 4 refused by a limit, 5 telemetry, "
    "6 a record that was changed, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Look at and check the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")

URL_FORMS = "serial:///dev/ttyUSB0, serial:COM3, socket://HOST:PORT or ble:NAME"
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
Broker = Annotated[
    str | None,
    typer.Option(help=f"{recorder_commands.BROKER_FORMS} Without it an embedded broker runs here meanwhile."),
]
HomeAssistant = Annotated[
    bool | None, typer.Option(help="Show the pen in Home Assistant at this broker, or take it out again.")
]
Journal = Annotated[Path | None, typer.Option(help="SQLite file of the record; by default in your data folder.")]
ConfigFolder = Annotated[Path | None, typer.Option("--config", help="Folder of configuration files; default: shipped.")]


@app.command()
def scan(
    bluetooth: Annotated[bool, typer.Option(help="Listen for Bluetooth pens too, for four seconds.")] = True,
    hci: Annotated[
        str | None,
        typer.Option(
            help="Bluetooth by this controller, not by the system: usb:0, or tcp-client:HOST:PORT of pen-sim."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for pens: ask every serial port of this machine, and every pen that advertises, who is there.

    Asking sends a few bytes; it claims no pen and moves nothing. Then: pen info URL.
    """
    from pen_controller.pen.scan_table import figures_of, show

    found = _run(show(_console(quiet=as_json), bluetooth=bluetooth, hci=hci))
    if not found:
        print("No pen in sight. Plug one in or switch one on, or start one: pen-sim serial", file=sys.stderr)
    if as_json:
        print(json.dumps([figures_of(one) for one in found]))


@app.command()
def info(
    url: Annotated[str, typer.Argument(help=URL_FORMS)],
    as_json: AsJson = False,
) -> None:
    """Show who a pen is, what it can do and how it is, without claiming it.

    Try it with a simulated pen: 'pen-sim serial' prints the path to use.
    """
    from pen_controller.pen.scan import ask
    from pen_controller.pen.scan_table import figures_of

    figures = figures_of(_run(ask(url)))
    if as_json:
        print(json.dumps(figures))
    else:
        from rich.table import Table

        table = Table(show_header=False, box=None)
        for key, value in figures.items():
            if value is not None:
                text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                table.add_row(key.replace("_", " "), text)
        _console().print(table)


@app.command()
def selftest(
    url: Annotated[str, typer.Argument(help=URL_FORMS)],
    as_json: AsJson = False,
) -> None:
    """Check a pen and the line to it against the specification, in about ten seconds. The needles do not move.

    It claims the pen, measures heartbeat, round trip and samples, sends STOP, and lets the claim lapse. Exit status 3
    if anything fails.
    """
    from pen_controller.pen.selftest import selftest as check

    checks = _run(check(url))
    if as_json:
        print(json.dumps([asdict(one) for one in checks]))
    else:
        from rich.table import Table

        table = Table("", "check", "seen", "wanted")
        for one in checks:
            table.add_row("[green]holds[/]" if one.good else "[bold red]FAILS[/]", one.name, one.seen, one.wanted)
        _console().print(table)
    failing = [one.name for one in checks if not one.good]
    if failing:
        fail(Status.NO_PEN, f"does not hold: {', '.join(failing)}")


@app.command()
def run(
    plan: Annotated[Path, typer.Argument(help="The plan: areas with depth, rate and passes. See configs/plans.")],
    pen: Annotated[str, typer.Option(help=URL_FORMS)],
    broker: Broker = None,
    journal: Journal = None,
    config: ConfigFolder = None,
    prepared: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answers to what is asked before needles are armed, TOML; see configs."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Start each area without asking; never resumes by itself.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="SESSION", help="Take a treatment up that was never ended, as after a crash."),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Begin another treatment, though the pen's last one was never ended.")
    ] = False,
    telemetry: Annotated[bool, typer.Option(help="Publish over MQTT.")] = True,
    home_assistant: HomeAssistant = None,
    as_json: AsJson = False,
) -> None:
    """Treat the areas of a plan, one after the other, inside the limits of each.

    Ctrl-C stops the needles. After any stop or lost line you are asked before anything goes on. With a pen that has no
    motion sensor there are no passes: an area is done at the density that as many passes should come to.

    What must be known before needles are armed is asked first; a simulated pen may do without, to practise.
    """
    from pen_controller.files import data_folder
    from pen_controller.terminal.treating import treat_plan

    if home_assistant is not None and not telemetry:
        fail(Status.BAD_USAGE, "Home Assistant hears of a pen over MQTT: leave out --no-telemetry")
    loaded, wanted = _load_plan(plan, config)
    console = _console(quiet=as_json)
    path = journal or data_folder() / "journal.sqlite"
    figures, ended = _run(
        treat_plan(
            wanted,
            loaded,
            pen,
            path,
            console,
            prepared=prepared,
            broker=broker,
            publish=telemetry,
            yes=yes,
            resume=resume,
            new=new,
            home_assistant=home_assistant,
        )
    )
    if as_json:
        print(json.dumps(figures))
    else:
        from pen_controller.terminal.console import table_of

        console.print(table_of(figures))
        console.print(f"The record lies in {figures['journal']}", soft_wrap=True, highlight=False)
    if ended is not None:
        fail(_status_of(ended), str(ended))
    if figures["published"] is False:
        why = f" ({figures['trouble']})" if figures["trouble"] else ""
        fail(Status.NO_TELEMETRY, f"not all records reached the broker{why}; they wait in the journal for the next run")


@app.command()
def watch(
    broker: Annotated[str, typer.Option(help=recorder_commands.BROKER_FORMS)] = recorder_commands.DEFAULT_BROKER,
    site: Annotated[list[str] | None, typer.Option(help="Of this site only; more than once for several.")] = None,
    pen: Annotated[list[str] | None, typer.Option(help="Of this pen only; more than once for several.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Of this kind only, as pass,event; more than once for several.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each message as a line of JSON.")] = False,
) -> None:
    """Show the pens of a broker live, from MQTT alone. Ctrl-C ends it."""
    from rich.console import Console

    from pen_controller.telemetry.topics import subscriptions
    from pen_controller.telemetry.watch import watch as show

    kinds = [name for text in kind or () for name in text.split(",")]
    try:
        wanted = subscriptions(site or (), pen or (), kinds)
    except ValueError as error:
        fail(Status.BAD_USAGE, error)
    _run(show(broker, as_json=as_json, console=Console(stderr=as_json), wanted=wanted), until_interrupted=True)


@app.command()
def dashboard(
    broker_ws: Annotated[
        list[str] | None,
        typer.Option(
            help="ws://HOST:PORT/PATH of a broker, or wss://, more than once for several; else the embedded one."
        ),
    ] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Show the pens of this site only; more than once for several.")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page. The embedded broker speaks to no page at another.")
    ] = DASHBOARD_PORT,
    browser: Annotated[bool, typer.Option(help="Open it in this machine's browser.")] = True,
) -> None:
    """Show all pens live in a browser, on a page that this machine serves to itself. Ctrl-C ends it."""

    async def show() -> None:
        from pen_controller.dashboard.server import DEFAULT_BROKER, show

        brokers = broker_ws or [DEFAULT_BROKER]
        await show(brokers, sites=site or (), port=port, browser=browser, say=partial(print, flush=True))

    _run(show(), until_interrupted=True)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Seed of the simulated pen and the hand that holds it.")] = 1,
    broker: Broker = None,
    journal: Journal = None,
    ble: Annotated[bool, typer.Option("--ble", help="Reach the pen over Bluetooth LE, without a radio.")] = False,
    home_assistant: HomeAssistant = None,
    as_json: AsJson = False,
) -> None:
    """See it all in under a minute: a simulated pen, a treatment, a refusal, a pulled cable, telemetry.

    Exit status 0 only if every figure holds.
    """
    from pen_controller.files import data_folder
    from pen_controller.journal.file import SCHEMA_VERSION
    from pen_controller.terminal import demo as show

    console = _console(quiet=as_json)
    # By schema, for it has to run whatever an older version has left there.
    path = journal or data_folder() / f"demo-{SCHEMA_VERSION}.sqlite"
    figures = _run(
        show.run_demo(console, seed=seed, broker=broker, journal=path, ble=ble, home_assistant=home_assistant)
    )
    if as_json:
        print(json.dumps(figures))
    else:
        show.show(figures, console)
    if not figures["good"]:
        failing = [name for name, good in figures["checks"].items() if not good]
        only_telemetry = all("received" in name for name in failing)
        fail(Status.NO_TELEMETRY if only_telemetry else Status.NO_PEN, f"does not hold: {'; '.join(failing)}")


@config_app.command("check")
def config_check(
    path: Annotated[
        Path | None, typer.Argument(help="A file or folder; the shipped configuration if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check configuration: every problem with its file, key, value and what was expected."""
    from pen_controller import config

    try:
        problems: Sequence[config.Problem] = []
        if path:
            problems = config.check(path)
        else:
            config.load()
    except config.ConfigError as error:
        problems = error.problems
    if as_json:
        print(json.dumps([asdict(problem) for problem in problems], default=str))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print(f"{path or 'shipped configuration'}: good")
    if problems:
        raise typer.Exit(Status.BAD_USAGE)


# --- what the commands share -----------------------------------------------------------------------------------------


def _run(work: Coroutine[Any, Any, Any], *, until_interrupted: bool = False) -> Any:  # noqa: ANN401  # as the work returns
    """Run to its end, or to one clear line and an exit status.

    Args:
        work: what to do.
        until_interrupted: Ctrl-C is how it ends. Such work talks MQTT, for which Windows needs a selector loop.
    """
    from pen_controller.config import ConfigError
    from pen_controller.errors import PenError
    from pen_controller.journal import JournalError
    from pen_controller.pen import LimitError
    from pen_controller.telemetry.broker import BrokerError
    from pen_controller.telemetry.refusals import AccessError
    from pen_controller.terminal.console import NobodyError
    from pen_controller.treatment.outcomes import RefusedError

    try:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop if until_interrupted else None) as runner:
            return runner.run(work)
    except KeyboardInterrupt:
        if until_interrupted:
            raise typer.Exit(0) from None
        fail(Status.INTERRUPTED, "ended by Ctrl-C; the pen was told to stop")
    except (RefusedError, LimitError, PenError) as error:
        fail(_status_of(error), error)
    except (ConfigError, JournalError, NobodyError, ValueError, OSError) as error:
        fail(Status.BAD_USAGE, error)
    except (BrokerError, AccessError, ImportError) as error:
        fail(Status.NO_TELEMETRY, error)


def _status_of(error: Exception) -> Status:
    from pen_controller.errors import PenRefusedError
    from pen_controller.pen import LimitError
    from pen_controller.terminal.console import NobodyError
    from pen_controller.treatment.outcomes import ClosedError, RefusedError
    from protocols.words import Result

    by_limit = isinstance(error, PenRefusedError) and error.answer.result in (Result.OVER_LIMIT, Result.CARTRIDGE)
    if isinstance(error, NobodyError):
        return Status.BAD_USAGE
    return Status.REFUSED if by_limit or isinstance(error, RefusedError | ClosedError | LimitError) else Status.NO_PEN


def _console(*, quiet: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=quiet)


def _load_plan(path: Path, folder: Path | None) -> "tuple[Config, Plan]":
    from pen_controller import config

    try:
        loaded = config.load(folder)
        return loaded, config.load_plan(path, loaded)
    except config.ConfigError as error:
        fail(Status.BAD_USAGE, error)
    except OSError as error:
        fail(Status.BAD_USAGE, f"{path}: {error.strerror}")


capture_commands.register(app)
clinic_commands.register(app)
conformance_command.register(app)
recorder_commands.register(app)
report_commands.register(app)


def main() -> None:
    """Entry point of `pen`."""
    app()
