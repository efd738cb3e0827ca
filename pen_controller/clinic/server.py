"""Serves the clinic's page to this machine: the parts joined, behind the gate."""

import asyncio
import contextlib
import mimetypes
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles

from pen_controller import loopback
from pen_controller.clinic.access import Access, Keys
from pen_controller.clinic.accounts import Accounts
from pen_controller.clinic.desk import Desk, Publishing
from pen_controller.clinic.jobs import Jobs
from pen_controller.clinic.lag import Lag
from pen_controller.clinic.laptop import FILE_OF_ACCOUNTS, FOLDER_OF_PLANS, FOLDER_OF_REPORTS, Laptop
from pen_controller.clinic.live import MOST_MESSAGE_BYTES, Lives
from pen_controller.clinic.routes import no_such, routes
from pen_controller.clinic.throttle import Throttle
from pen_controller.config import Config
from pen_controller.journal import Journal
from pen_controller.preparation.plans import Templates

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served: `origin` is its address, `launch_url` lets one browser in, once."""

    origin: str
    launch_url: str
    laptop: Laptop


@contextlib.asynccontextmanager
async def serving(
    journal_path: Path,
    config: Config,
    *,
    port: int = 0,
    config_folder: Path | None = None,
    publishing: Publishing | None = None,
    hci: str | None = None,
    practise: Callable[[str], None] | None = None,
) -> AsyncIterator[Serving]:
    """Serve while entered; a treatment under way on leaving is stopped, and left so that it can be taken up.

    Args:
        journal_path: the record; accounts, plans and reports lie beside it.
        config: the clinic's configuration.
        port: where to listen; 0: a free port.
        config_folder: where `config` is from, if it is not the shipped one.
        publishing: see `Desk`.
        hci: see `Desk`.
        practise: has something happen to a simulated pen.

    Raises:
        JournalError: the record cannot be opened.
        AccountError, OSError: the accounts cannot be read, or the port cannot be had.
    """
    home = journal_path.parent
    accounts = Accounts.open(home / FILE_OF_ACCOUNTS)
    async with AsyncExitStack() as stack:
        listeners = [stack.enter_context(one) for one in loopback.listeners(port)]
        journal = await stack.enter_async_context(Journal.open(journal_path))
        desk = await stack.enter_async_context(Desk.open(journal, config, publishing=publishing, hci=hci))
        folder = home / FOLDER_OF_REPORTS
        folder.mkdir(mode=0o700, exist_ok=True)
        jobs = Jobs(journal_path, folder, config_folder, desk.changed)
        stack.push_async_callback(jobs.close)
        keys, lag = Keys(time.monotonic), Lag()
        lives = Lives(desk, keys, accounts, lag, jobs)
        laptop = Laptop(
            journal,
            accounts,
            keys,
            desk,
            Templates(home / FOLDER_OF_PLANS, config),
            jobs,
            lag,
            lives,
            Throttle(time.monotonic),
            practise,
        )
        origins = [loopback.origin(one) for one in listeners]
        app = application(laptop, origins)
        await stack.enter_async_context(loopback.serving(app, listeners, most_message_bytes=MOST_MESSAGE_BYTES))
        await stack.enter_async_context(_going_on(lives.watch(), lives.tell(), lag.measure()))
        yield Serving(origins[0], f"{origins[0]}/launch?token={keys.launch()}", laptop)


@contextlib.asynccontextmanager
async def _going_on(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Have work without an end done while entered. If it fails, all ends: nothing goes on without its watch."""
    ended: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised again below, and not as a group
            ended = error
        finally:
            for task in tasks:
                task.cancel()
    if ended is not None:
        raise ended


def application(laptop: Laptop, origins: Sequence[str]) -> Starlette:
    """What answers at these addresses."""
    mimetypes.add_type("text/javascript", ".js")  # some Windows machines call it text/plain, which browsers refuse
    sockets = [origin.replace("http://", "ws://") for origin in origins if "[" not in origin]
    return Starlette(
        routes=[
            *routes(laptop),
            WebSocketRoute("/live", laptop.lives.serve),
            Mount("/", StaticFiles(directory=STATIC, html=True, check_dir=False)),
        ],
        middleware=[
            Middleware(loopback.Headers, policy=loopback.content_policy(("'self'", *sockets))),
            Middleware(Access, keys=laptop.keys, origins=origins),
        ],
        exception_handlers={HTTPException: no_such},
    )
