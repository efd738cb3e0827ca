"""`pen app`; it loads what it needs when it runs."""
# ruff: noqa: PLC0415 - so that help comes at once, and the rest of `pen` needs no web server

import asyncio
import contextlib
import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pen_controller.recorder.commands import BROKER_FORMS
from pen_controller.status import Status, failing

if TYPE_CHECKING:
    from pen_controller.config import Config

APP_PORT = 8431


def register(app: typer.Typer) -> None:
    """Add `app`."""
    app.command("app")(clinic)


def clinic(
    pen: Annotated[str | None, typer.Option(help="Offer the pen at this URL, besides those that are found.")] = None,
    sim: Annotated[
        bool, typer.Option("--sim", help="Offer a simulated pen with a hand that leads it, to practise.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulated pen and hand.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 finds a free one.")] = APP_PORT,
    browser: Annotated[bool, typer.Option(help="Open it in this machine's browser.")] = True,
    broker: Annotated[
        str | None, typer.Option(help=f"Publish there: {BROKER_FORMS} Without it records wait in the journal.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="SQLite file of the record; accounts, plans and reports lie beside it. By default in your data folder."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Folder of configuration files; default: shipped.")] = None,
    hci: Annotated[
        str | None, typer.Option(help="Look for Bluetooth pens by this controller, as 'pen scan --hci' does.")
    ] = None,
) -> None:
    """Prepare, treat, stop and document, on a page that this machine serves to itself. Ctrl-C ends it.

    The first line printed is the address that lets one browser in, once, within ten minutes. On the first run the page
    asks for an account; no password comes with the program.

    A treatment that is under way when this ends is stopped and kept: start again, pick the pen, and take it up.

    Try it without a pen: pen app --sim
    """
    with _failing():
        from pen_controller.config import load
        from pen_controller.files import data_folder

        path = journal or data_folder() / "journal.sqlite"
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(
                _serve(
                    path,
                    load(config),
                    pen=pen,
                    sim_seed=seed if sim else None,
                    port=port,
                    browser=browser,
                    broker=broker,
                    folder=config,
                    hci=hci,
                )
            )


async def _serve(
    journal: Path,
    config: "Config",
    *,
    pen: str | None,
    sim_seed: int | None,
    port: int,
    browser: bool,
    broker: str | None,
    folder: Path | None,
    hci: str | None,
) -> None:
    import webbrowser

    from pen_controller.clinic.server import serving
    from pen_controller.output import print_line
    from pen_controller.pen.scan import Found
    from pen_controller.practice import simulated
    from pen_controller.service import publishing
    from pen_controller.telemetry.mqtt import broker_url
    from pen_controller.transports import transport_for

    if pen is not None:
        transport_for(pen)
    say = partial(print, file=sys.stderr, flush=True)
    publish = None
    if broker is not None:
        broker_url(broker)
        publish = partial(publishing, broker=broker, say=say)
    async with contextlib.AsyncExitStack() as stack:
        line = None
        if sim_seed is not None:
            line = await stack.enter_async_context(simulated(sim_seed))
        served = await stack.enter_async_context(
            serving(
                journal,
                config,
                port=port,
                config_folder=folder,
                publishing=publish,
                hci=hci,
                practise=line.tell if line else None,
            )
        )
        for url, name in ((pen, "named at the start"), (line and line.url, "simulated pen")):
            if url:
                served.laptop.desk.places.see(Found(url, name))
        print_line(served.launch_url)
        say("The address works once. Ctrl-C ends it, and stops the pen.")
        if browser:
            await asyncio.to_thread(webbrowser.open, served.launch_url)
        await asyncio.Event().wait()


def _failing() -> AbstractContextManager[None]:
    from pen_controller.config import ConfigError
    from pen_controller.errors import PenError
    from pen_controller.journal import JournalError

    usage = (ConfigError, JournalError, ImportError, ValueError, OSError)
    return failing((Status.NO_PEN, (PenError,)), (Status.BAD_USAGE, usage))
