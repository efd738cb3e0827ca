"""All that a request may need, in one place; and the log of who came and went."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pen_controller.clinic.access import Keys, Screen
from pen_controller.clinic.accounts import Accounts
from pen_controller.clinic.desk import Desk
from pen_controller.clinic.jobs import Jobs
from pen_controller.clinic.lag import Lag
from pen_controller.clinic.live import Lives
from pen_controller.clinic.people import NOBODY, Who
from pen_controller.clinic.throttle import Throttle
from pen_controller.journal import Journal
from pen_controller.preparation import PRACTICE
from pen_controller.preparation.plans import Templates
from pen_controller.report.reading import LAPTOP


class ForbiddenError(Exception):
    """Not by this account; one line that says why."""


@dataclass(slots=True)
class Laptop:
    """The parts, open and joined."""

    journal: Journal
    accounts: Accounts
    keys: Keys
    desk: Desk
    templates: Templates
    jobs: Jobs
    lag: Lag
    lives: Lives
    throttle: Throttle
    practise: Callable[[str], None] | None = None
    """Has something happen to the simulated pen, where there is one."""
    hashing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One password is hashed at a time: it takes 64 MiB and a core."""

    async def log(self, kind: str, body: Mapping[str, Any]) -> None:
        """Put on the record who came or went; on the disk when this returns. Raises `JournalError`."""
        await self.journal.append(LAPTOP, kind, body, pen=LAPTOP, topic=None)

    async def readable(self, who: Who, *sessions: str) -> list[str]:
        """Those of the sessions that somebody may read of."""
        if who.may_read(practice=False):
            return list(sessions)
        return await asyncio.to_thread(lambda: [one for one in sessions if who.may_read(self._was_practice(one))])

    def _was_practice(self, session: str) -> bool:
        begun = (one.body for one in self.journal.read(session, limit=1) if one.kind == "treatment_begun")
        return any(body.get("model") == PRACTICE for body in begun)


def who(screen: Screen) -> Who | None:
    """Who is logged in at a browser."""
    return Who(screen.account, screen.role) if screen.account and screen.role else None


@dataclass(frozen=True, slots=True)
class Request:
    """What an act is given."""

    laptop: Laptop
    screen: Screen
    who: Who | None
    cookies: list[str] = field(default_factory=list)
    """The cookie that the answer sets, if it does."""

    @property
    def name(self) -> str:
        """Who asks, in a word for the record."""
        return self.who.name if self.who else NOBODY


Act = Callable[[Request, Any], Awaitable[Mapping[str, Any]]]
FOLDER_OF_REPORTS, FOLDER_OF_PLANS, FILE_OF_ACCOUNTS = Path("reports"), Path("plans"), Path("accounts.json")
