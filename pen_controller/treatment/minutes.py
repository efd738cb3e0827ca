"""Keeps the record of one treatment: what is asked of the pen and what becomes of it, what it reports, what it gave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from pen_controller.errors import CommandLostError, PenRefusedError
from pen_controller.journal import Journal, JournalError, Outlet, Record
from pen_controller.meanwhile import meanwhile
from pen_controller.passes import Finished
from pen_controller.pen import LimitError, Pen
from pen_controller.treatment import entries
from pen_controller.treatment.counts import AreaCount
from protocols.messages import Event

EVENTS_SETTLE_S = 1.0
"""How long the end of a treatment waits for the pen's last events; a lost line must not hold it up."""


class Minutes:
    """The record of one session with one pen.

    Args:
        pen: open and claimed.
        journal: where it is written.
        session: under which name.
        kept_events: boot, and number of the last event of that boot which is on the record already.
    """

    def __init__(self, pen: Pen, journal: Journal, session: str, kept_events: tuple[int, int] = (0, 0)) -> None:
        self.session = session
        self._pen, self._journal = pen, journal
        self._kept_events = kept_events
        self._foreign_events = (0, 0)
        self._recorded_event = (0, 0)
        self._event_recorded = asyncio.Event()

    @property
    def trouble(self) -> JournalError | None:
        """Why nothing more can be written."""
        return self._journal.failed

    async def write(self, kind: str, body: Mapping[str, Any], topic: Outlet | None = "event") -> Record:
        """Put something on the record; on the disk when this returns. Raises `JournalError`."""
        return await self._journal.append(
            self.session, kind, body, pen=self._pen.identity.serial, pen_t_us=self._pen.state.t_us, topic=topic
        )

    async def witness(self) -> None:
        """Publish where the record stands, for who keeps what is published. Raises `JournalError`."""
        await self.write("checkpoint", {"head": str(self._journal.head())})

    def read(self, seq: int) -> Record | None:
        """The record of this number in the session, if there is one. Raises `JournalError`."""
        return next((each for each in self._journal.read(self.session, seq - 1, 1) if each.seq == seq), None)

    def post(
        self, kind: str, body: Mapping[str, Any], pen_t_us: int | None = None, topic: Outlet | None = "event"
    ) -> None:
        """Put something on the record without waiting. A journal that is closed or broken shows elsewhere."""
        with contextlib.suppress(JournalError):
            self._journal.post(self.session, kind, body, pen=self._pen.identity.serial, pen_t_us=pen_t_us, topic=topic)

    async def command(
        self,
        command: str,
        body: Mapping[str, Any],
        act: Callable[[], Awaitable[None]],
        *,
        wait_before: bool = True,
        wait_after: bool = True,
    ) -> None:
        """Record the intent, have the pen do it, record what became of it.

        Args:
            command: its name.
            body: its parameters.
            act: asks the pen.
            wait_before: the intent is on the disk before the pen is asked.
            wait_after: so is the outcome when this returns.

        Raises:
            JournalError: it cannot be recorded; the pen was not asked.
            BaseException: what `act` raises.
        """
        intent = {"command": command, **body}
        if wait_before:
            await self.write("intent", intent)
        else:
            self.post("intent", intent)
        try:
            await act()
        except (CommandLostError, PenRefusedError, LimitError) as error:
            await self.write("outcome", {"command": command, "outcome": "failed", "reason": str(error)})
            raise
        except BaseException as error:
            # It may have been executed. This must not wait, nor be called off like the command itself.
            reason = str(error) or type(error).__name__
            self.post("outcome", {"command": command, "outcome": "uncertain", "reason": reason})
            raise
        outcome = {"command": command, "outcome": "done"}
        if wait_after:
            await self.write("outcome", outcome)
        else:
            self.post("outcome", outcome)

    def passes(self, count: AreaCount, finished: Finished, pen_t_us: int | None = None) -> None:
        """Post the passes that were completed."""
        for one in finished.passes:
            self.post("pass", entries.passed(count.area, one), pen_t_us, topic="pass")
        if finished.passes:
            self.progress(count)

    def progress(self, count: AreaCount) -> None:
        """Post how far an area has come, for whoever has to take it up; of no interest to others."""
        self.post("progress", entries.progress(count), self._pen.state.t_us, topic=None)

    # --- what the pen reports ----------------------------------------------------------------------------------------

    def disown_events(self) -> None:
        """What the pen has reported up to now belongs to another treatment: it is kept, and not published."""
        self._foreign_events = (self._pen.identity.boot_id, self._pen.state.last_event)

    @contextlib.asynccontextmanager
    async def following_events(self) -> AsyncIterator[asyncio.Task[None]]:
        """Record what the pen reports for the length of an `async with`; the task ends early only if that fails."""
        async with meanwhile(self._record_events(), "record the pen's events") as task:
            yield task

    async def settle_events(self) -> None:
        """Wait, not for long, until what the pen has reported is on the record too."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVENTS_SETTLE_S):
                while self._pen.connected and not _up_to(self._last_event, self._recorded_event):
                    self._event_recorded.clear()
                    await self._event_recorded.wait()

    @property
    def _last_event(self) -> tuple[int, int]:
        return self._pen.state.boot_id, self._pen.state.last_event

    async def _record_events(self) -> None:
        """Record each event, and only then let the pen forget it."""
        with contextlib.closing(self._pen.events()) as events:
            async for event in events:
                await self._record_event(event)

    async def _record_event(self, event: Event) -> None:
        place = (self._pen.identity.boot_id, event.number)
        if not _up_to(place, self._kept_events):
            foreign = _up_to(place, self._foreign_events)
            await self._journal.append(
                self.session,
                "earlier_pen_event" if foreign else "pen_event",
                entries.reported(event),
                pen=self._pen.identity.serial,
                pen_t_us=event.t_us,
                topic=None if foreign else "event",
            )
        self._pen.acknowledge_events(event.number)
        self._recorded_event = place
        self._event_recorded.set()


def _up_to(place: tuple[int, int], mark: tuple[int, int]) -> bool:
    """Whether an event, by boot and number, is of that boot and no later than that number."""
    return place[0] == mark[0] and place[1] <= mark[1]
