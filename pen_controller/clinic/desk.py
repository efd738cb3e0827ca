"""The one pen and the one treatment on this laptop. What a person asks for goes through here, straight to the pen.

One thing at a time: whoever comes while another thing is under way waits for it, but not STOP, which waits for nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self

from pen_controller.clinic.people import Who
from pen_controller.clinic.places import Places
from pen_controller.config import Config, PlanArea
from pen_controller.errors import PenError
from pen_controller.journal import Journal, JournalError
from pen_controller.pen import Pen
from pen_controller.pen.scan import ask
from pen_controller.preparation import PRACTICE, Preparation, fit
from pen_controller.preparation.answers import Answer, Case
from pen_controller.report.verifying import must_hold
from pen_controller.service import Service
from pen_controller.treatment import Treatment, entries, recovery
from pen_controller.treatment.counts import Live
from pen_controller.treatment.outcomes import ClosedError, RefusedError, StoppedError
from pen_controller.treatment.recovery import ALL
from protocols.messages import Identity
from protocols.words import PenState

SETTLE_S = 5.0
"""Longer than the pen takes to stop, and its last word to be counted."""
_TOLD = (ClosedError, JournalError, PenError, RefusedError, StoppedError)
"""How an area may end otherwise than in order. Anything else is a fault of this program."""
Publishing = Callable[[Service], AbstractAsyncContextManager[None]]


class NotNowError(Exception):
    """What was asked for does not fit what is under way; one line that says what to do first."""


class Desk:
    """Made by `Desk.open`.

    Args:
        journal: where all of it is recorded.
        config: the clinic's configuration.
        publishing: publishes a treatment while entered, if anything is to be published.
        hci: look for Bluetooth pens by this controller, not by the system's own.
    """

    def __init__(
        self, journal: Journal, config: Config, *, publishing: Publishing | None = None, hci: str | None = None
    ) -> None:
        self.journal, self.config, self._publishing = journal, config, publishing
        self.pen: Pen | None = None
        self.is_practice = True
        """Whether nobody is treated: the pen that was picked last is a simulated one."""
        self.treatment: Treatment | None = None
        self.published: Service | None = None
        """The treatment under way as it is published, if it is."""
        self.plan: tuple[PlanArea, ...] = ()
        """What is planned; it binds nobody."""
        self.places = Places(hci, self.changed)
        self.unended: str | None = None
        """The last treatment of the picked pen, where that was never ended: it has to be taken up first."""
        self.ended: str | None = None
        """The treatment that was ended here last."""
        self.live: Live | None = None
        """What the pen does now, while its needles run."""
        self.trouble: str | None = None
        """Why the needles stopped last, or what else went wrong."""
        self.changes = 0
        """Counts up with everything that a person enters."""
        self._one = asyncio.Lock()
        self._pen_stack, self._treatment_stack = AsyncExitStack(), AsyncExitStack()
        self._treating: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, journal: Journal, config: Config, *, publishing: Publishing | None = None, hci: str | None = None
    ) -> AsyncIterator[Self]:
        """Work while entered. A treatment that nobody has ended on leaving is left so that it can be taken up."""
        desk = cls(journal, config, publishing=publishing, hci=hci)
        try:
            yield desk
        finally:
            await desk._leave()

    async def _leave(self) -> None:
        await self.places.close()
        if self._treating is not None:
            self._treating.cancel()
            await asyncio.gather(self._treating, return_exceptions=True)
        if self.treatment is not None:
            self.treatment.stay_open()
        try:
            await self._treatment_stack.aclose()
        finally:
            await self._pen_stack.aclose()

    # --- STOP --------------------------------------------------------------------------------------------------------

    def stop(self, by: str, why: str = "STOP") -> None:
        """Stop the pen, from any state, ahead of everything: no lock is taken, and nothing is waited for."""
        if self.treatment is not None:
            self.treatment.stop_now(by, why)
        elif self.pen is not None:
            self.pen.stop_now(f"{why} ({by})")
        self.changed()

    @property
    def stopped(self) -> bool:
        """Whether the pen itself says that it has stopped and latched."""
        pen = self.pen
        return pen is not None and pen.connected and not pen.may_run and pen.state.state is PenState.LATCHED

    @property
    def runs(self) -> bool:
        """Whether needles run, or may, or are about to."""
        return (self.is_treating and not self.stopped) or (self.pen is not None and self.pen.may_run)

    @property
    def is_treating(self) -> bool:
        """Whether an area is under way, from being armed to being counted."""
        return self._treating is not None and not self._treating.done()

    # --- the pen -----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look for pens. Raises `NotNowError` while needles run: it takes the radio."""
        if self.runs:
            raise NotNowError("needles run: look for pens when they have stopped")
        self.places.look()

    async def pick(self, url: str, who: Who) -> None:
        """Open and claim the pen at a place that was found.

        Raises:
            NotNowError: it was not found, a treatment is under way, or who asks may only practise.
            PenError: it cannot be had.
        """
        async with self._one:
            if url not in self.places.found:
                raise NotNowError("no pen was found there: look for pens first")
            await self._put_back()
            if not who.may_work(practice=False):  # nobody else's pen is claimed to be looked at
                _let_work(who, (await ask(url)).identity)
            async with AsyncExitStack() as stack:
                pen = await stack.enter_async_context(Pen.open(url))
                _let_work(who, pen.identity)
                self.unended = await asyncio.to_thread(recovery.unended, self.journal, pen.identity.serial)
                self.pen, self._pen_stack = pen, stack.pop_all()
            self.is_practice = pen.identity.model == PRACTICE
            self.ended = self.trouble = None
            self.changed()

    async def release(self) -> None:
        """Give the pen up. Raises `NotNowError` while a treatment is under way."""
        async with self._one:
            await self._put_back()
            self.changed()

    async def _put_back(self) -> None:
        if self.treatment is not None:
            raise NotNowError("a treatment is under way with this pen: end it first")
        self.pen = self.unended = self.live = None
        await self._pen_stack.aclose()

    async def reconnect(self) -> None:
        """Open a lost line again. The pen comes back stopped. Raises `PenError`."""
        async with self._one:
            pen = self._need_pen()
            await self._settled()
            await (self.treatment.reconnect() if self.treatment else pen.reconnect())
            self.changed()

    async def resume(self, latch_id: int, who: Who) -> None:
        """A person who was shown why the pen stopped lets it go on; nothing runs before an area is started anew.

        Raises:
            NotNowError: the line is lost, or the pen has not shown yet that it has stopped.
            PenError: its latch is another by now.
        """
        async with self._one:
            pen = self._need_pen(who)
            await self._settled()
            if not pen.connected:
                raise NotNowError("the line to the pen is lost: reconnect first")
            if pen.may_run:
                raise NotNowError("the pen has not shown yet that it has stopped: wait, or press its own button")
            if self.treatment is not None:
                await self.treatment.resume(who.name, latch_id)
            elif pen.state.state is PenState.LATCHED:
                await pen.clear(latch_id)
            self.trouble = None
            self.changed()

    def _need_pen(self, who: Who | None = None) -> Pen:
        """The pen; `who` asked before it was this one's turn, and perhaps before there was this pen."""
        if self.pen is None:
            raise NotNowError("no pen is picked: pick one first")
        if who is not None:
            _let_work(who, self.pen.identity)
        return self.pen

    # --- the treatment -----------------------------------------------------------------------------------------------

    async def begin(self, case: Case, who: Who) -> None:
        """Begin a treatment with its case, or enter another case into the one under way.

        Raises:
            NotNowError: no pen is picked, or its last treatment was never ended.
            AnswerError: the case does not fit the configuration; nothing has begun.
            JournalError: it cannot be recorded.
        """
        fit(case, self.config, self.journal.today())
        async with self._one:
            pen = self._need_pen(who)
            if self.treatment is None:
                if self.unended is not None:
                    raise NotNowError(f"treatment {self.unended} was never ended: take it up first, then end it")
                treatment = Treatment(pen, self.journal, self.config, preparation=Preparation())
                await self._enter(treatment, who)
            await self.enter(case)

    async def take_up(self, session: str, who: Who) -> None:
        """Take up the treatment that a killed program left behind: stopped, its counts intact. A person resumes it.

        Raises:
            NotNowError: it is not the one that this pen left.
            ValueError: the configuration has changed since.
            JournalError, PenError: it cannot be read, or the pen does not answer.
        """
        async with self._one:
            pen = self._need_pen(who)
            if self.treatment is not None or session != self.unended:
                raise NotNowError(f"{session}: not the last treatment of this pen, or it was ended")
            await asyncio.to_thread(must_hold, self.journal.path, session)
            treatment = await asyncio.to_thread(Treatment.restore, pen, self.journal, self.config, session)
            records = await asyncio.to_thread(self.journal.read, session, limit=ALL)
            plans = [record.body["areas"] for record in records if record.kind == "plan"]
            plan = tuple(map(entries.plan_area, plans[-1])) if plans else ()
            if gone := {area.area for area in plan} - self.config.areas.keys():
                raise ValueError(f"{session}: the configuration has no {', '.join(gone)} any more; put it back first")
            await self._enter(treatment, who)
            self.plan = plan
            self.trouble = treatment.interrupted

    async def _enter(self, treatment: Treatment, who: Who) -> None:
        async with AsyncExitStack() as stack:
            if self._publishing is not None:
                service = Service(self._need_pen(), self.journal, treatment)
                await stack.enter_async_context(self._publishing(service))
                stack.callback(setattr, self, "published", None)
                self.published = service
            await stack.enter_async_context(treatment)
            self._treatment_stack = stack.pop_all()
        self.treatment, self.unended, self.plan, self.trouble = treatment, None, (), None
        treatment.watchers.append(self._watch)
        await self.sign_in(who)
        self.changed()

    async def sign_in(self, who: Who) -> None:
        """Put on the record of the treatment under way, if there is one, who works at it from now on."""
        if self.treatment is not None:
            await self.treatment.sign_in(who.name, who.role)

    async def enter(self, answer: Answer) -> int:
        """Take in an answer of a person; return its number in the record. Raises as `Intake.enter` does."""
        seq = await self.need_treatment().intake.enter(answer)
        self.changed()
        return seq

    async def intend(self, areas: tuple[PlanArea, ...]) -> None:
        """Plan these areas. Raises `JournalError`."""
        await self.need_treatment().plan(areas)
        self.plan = areas
        self.changed()

    async def end(self) -> None:
        """End the treatment: its summary is recorded.

        Raises:
            NotNowError: needles run.
        """
        async with self._one:
            treatment = self.need_treatment()
            await self._settled()
            if self.is_treating:
                raise NotNowError("needles run: finish the area or press STOP first")
            self.treatment, self.live, self.ended = None, None, treatment.session
            self.changed()
            await self._treatment_stack.aclose()

    def need_treatment(self) -> Treatment:
        """The treatment under way. Raises `NotNowError` if there is none."""
        if self.treatment is None:
            raise NotNowError("no treatment is under way: begin one with a case")
        return self.treatment

    # --- needles -----------------------------------------------------------------------------------------------------

    async def start(self, wanted: PlanArea, ready: Callable[[], None] = lambda: None) -> None:
        """Arm the pen and start the needles in an area; they run when this returns.

        Args:
            wanted: what for.
            ready: is called when nothing else is under way, before anything is asked of the pen; may raise.

        Raises:
            RefusedError: a limit forbids it; nothing has moved.
            StoppedError: a person has to resume first, or stopped it meanwhile.
            NotNowError: another area is under way, or this one has been given its passes.
            PenError, JournalError: see `Treatment.treat`.
        """
        async with self._one:
            treatment = self.need_treatment()
            await self._settled()
            if self.is_treating:
                raise NotNowError("needles run already: finish that area first")
            ready()
            begun = asyncio.Event()
            treating = self._treating = asyncio.create_task(self._treat(treatment, wanted, begun), name="treat")
            waiting = asyncio.create_task(begun.wait())
            try:
                await asyncio.wait({treating, waiting}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                treating.cancel()
                raise
            finally:
                waiting.cancel()
            if not begun.is_set():
                await treating
                raise NotNowError(f"{wanted.area}: it has been given {wanted.passes} passes already: ask for more")

    async def _treat(self, treatment: Treatment, wanted: PlanArea, begun: asyncio.Event) -> None:
        self.trouble = None
        try:
            await treatment.treat(wanted, begun.set)
        except Exception as error:
            if not begun.is_set():
                raise  # `start` tells
            self.trouble = str(error) or type(error).__name__
            if not isinstance(error, _TOLD):
                said = {"message": "treating broke off", "exception": error}
                asyncio.get_running_loop().call_exception_handler(said)
        finally:
            self.live = None
            self.changed()

    async def change(self, depth_mm: float, rate_hz: float) -> None:
        """Change depth and rate while needles run. Raises as `Treatment.change` does."""
        await self.need_treatment().change(depth_mm, rate_hz)

    async def finish(self, who: Who, why: str = "finished by a person") -> None:
        """End the area under way in order, and wait until its needles are in.

        Raises:
            NotNowError: no needles run.
            StoppedError: they stopped otherwise; a person has to resume.
        """
        if not self.is_treating:
            raise NotNowError("no needles run")
        self.need_treatment().leave(who.name, why)
        await self._settled()
        if self.trouble is not None:
            raise StoppedError(self.trouble)

    async def _settled(self) -> None:
        """Wait until an area whose needles are told to come in has ended; call it off if it does not."""
        if self._treating is not None and (self.pen is None or not self.pen.may_run or self._is_leaving):
            _, waiting = await asyncio.wait({self._treating}, timeout=SETTLE_S)
            for treating in waiting:
                treating.cancel()
                await asyncio.wait({treating})

    @property
    def _is_leaving(self) -> bool:
        running = self.treatment.running if self.treatment else None
        return running is not None and running.left is not None

    def _watch(self, live: Live) -> None:
        self.live = live

    def changed(self) -> None:
        """Something that is slow to tell has changed."""
        self.changes += 1


def _let_work(who: Who, pen: Identity | None) -> None:
    if not who.may_work(pen is not None and pen.model == PRACTICE):
        raise NotNowError("an engineer practises on a simulated pen: this one treats people")
