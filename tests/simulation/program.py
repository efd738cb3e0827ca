"""The host's program in the world: the clinic's desk with a pen and a journal, from its start to its end."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from pen_controller.clinic.accounts import Role
from pen_controller.clinic.desk import Desk, NotNowError
from pen_controller.clinic.people import Who
from pen_controller.errors import PenError
from pen_controller.journal import JournalError, Record
from pen_controller.meanwhile import meanwhile
from pen_controller.pen import Pen
from pen_controller.preparation.answers import AnswerError
from pen_controller.treatment import recovery
from pen_controller.treatment.outcomes import ClosedError, RefusedError, StoppedError
from protocols.words import PenState
from tests.lines import CONFIG
from tests.simulation.disk import Disk, VirtualJournal
from tests.simulation.line import Line
from tests.simulation.truth import Kind

SCREEN_S = 0.05
"""How often the screen is drawn anew, as by the clinic's page while needles run."""
AGAIN_S = 1.0
"""How long a person waits who could not have the pen."""
WHO = Who("clinician", Role.CLINICIAN)
TOLD = (
    AnswerError,
    ClosedError,
    JournalError,
    NotNowError,
    PenError,
    RefusedError,
    StoppedError,
)
"""What the program tells a person in a line, and goes on."""

Note = Callable[..., None]


class Program:
    """One run of the host's program.

    Args:
        line: to the pen.
        disk: where its journal lies.
        host: its number, by which the pen knows it.
        note: is told what it shows and writes.
        work: what the person does at the desk; it ends when the program is to end.
    """

    def __init__(
        self, line: Line, disk: Disk, host: int, note: Note, work: Callable[["Program", Desk], Awaitable[None]]
    ) -> None:
        self.line, self.host = line, host
        self.desk: Desk | None = None
        self._disk, self._note, self._work = disk, note, work
        self._dead = False
        self._journal: VirtualJournal | None = None
        self._shown: tuple[str, bool] = ("", False)
        self._treated: str | None = None
        self._asked: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run(), name=f"program {host}")

    @property
    def is_dead(self) -> bool:
        """Whether it was killed, or has ended."""
        return self._dead or self._task.done()

    # --- its life ----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it as SIGKILL does: nothing more is written, sent or shown, though its tasks still have to unwind.

        What it has sent already is on the line, and arrives.
        """
        self._dead = self.line.dead = True
        self.desk = None
        if self._journal is not None:
            self._journal.die()
        self.line.leave()
        for task in (*self._asked, self._task):
            task.cancel()

    def quit(self, gone: Callable[[], None]) -> None:
        """End it in order, as when its window is closed; `gone` is called when it has."""

        def tell(_: object) -> None:
            if not self._dead:
                gone()

        self.desk = None
        self._task.add_done_callback(tell)
        for task in (*self._asked, self._task):
            task.cancel()

    async def ended(self) -> None:
        """Wait until its last task has ended."""
        await asyncio.gather(self._task, *self._asked, return_exceptions=True)

    async def _run(self) -> None:
        journal = self._journal = VirtualJournal(self._disk, self._wrote)
        while not self._dead:
            with contextlib.suppress(*TOLD):
                async with Pen.open(self.line, host_id=self.host) as pen, Desk.open(journal, CONFIG) as desk:
                    desk.pen, desk.unended = pen, recovery.unended(journal, pen.identity.serial)
                    self.desk = desk
                    async with meanwhile(self._draw(desk), "screen"):
                        await self._work(self, desk)
                return
            await asyncio.sleep(AGAIN_S)

    def ask(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Have something done that a person asked for; what becomes of it is shown."""
        task = asyncio.create_task(self._do(act))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _do(self, act: Callable[[], Awaitable[Any]]) -> None:
        with contextlib.suppress(*TOLD):
            await act()

    # --- what leaves it ----------------------------------------------------------------------------------------------

    def note(self, kind: Kind, **detail: Any) -> None:
        """Tell a deed, unless the program is dead."""
        if not self._dead:
            self._note(kind, **detail)

    def _wrote(self, record: Record) -> None:
        self.note(Kind.WRITTEN, session=record.session, seq=record.seq, record_kind=record.kind, body=record.body)

    async def _draw(self, desk: Desk) -> None:
        while True:
            self._show(desk)
            await asyncio.sleep(SCREEN_S)

    def _show(self, desk: Desk) -> None:
        """What the page makes of its snapshot: the pen's state, and why it is so."""
        pen, treatment = desk.pen, desk.treatment
        if pen is None:
            return
        self._tell_done(desk)
        state = pen.state.state if pen.connected else None
        word = state.name.lower() if state is not None else "link lost"
        why = desk.trouble or (treatment and treatment.interrupted) or pen.stop_reason
        shown = (f"{word}: {why}" if why else word, state is PenState.RUNNING)
        if shown != self._shown:
            self._shown = shown
            self.note(Kind.SHOWN, text=shown[0], running=shown[1])

    def _tell_done(self, desk: Desk) -> None:
        """The page shows an area as done once its needles are in, and nothing was wrong."""
        treatment, area = desk.treatment, self._treated
        if treatment is None or desk.is_treating:
            self._treated = treatment.running.wanted.area if treatment and treatment.running else area
            return
        self._treated = None
        if area is not None and desk.trouble is None and not treatment.interrupted:
            self.note(Kind.ENDED, area=area, areas=[each for each in treatment.summaries() if each["area"] == area])
