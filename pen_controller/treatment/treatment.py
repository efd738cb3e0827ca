"""One treatment: each area authorized, recorded, armed, run, counted and ended.

The straight path of a command: limits -> journal (intent) -> pen -> journal (outcome). Of a sample: pen (guard) ->
counts -> journal -> whoever watches. Nothing resumes by itself: after a stop, a lost line or a restart of this program
a person calls `resume`.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn, Self

from pen_controller import limits
from pen_controller.config import Config, PlanArea
from pen_controller.errors import CommandLostError, DisarmedError, LinkError, PenError, PenRefusedError, UncertainError
from pen_controller.journal import Journal
from pen_controller.limits import Delivered, Grant, Refusal, Request
from pen_controller.pen import Pen, reported
from pen_controller.pen.home import sample_at_home
from pen_controller.preparation import Preparation
from pen_controller.treatment import entries, recovery
from pen_controller.treatment.counts import AreaCount, Live, closing, counted
from pen_controller.treatment.intake import Intake
from pen_controller.treatment.minutes import Minutes
from pen_controller.treatment.outcomes import ClosedError, RefusedError, StoppedError
from pen_controller.treatment.recovery import Left
from pen_controller.treatment.steering import Run
from pen_controller.treatment.unseen import PROGRESS_S, Unseen
from protocols.messages import WRAP, is_newer
from protocols.samples import SampleArray
from protocols.words import Cause, PenState, Result, SampleFlag


class Treatment:
    """A treatment with one pen and one journal, under way while its context is entered.

    Args:
        pen: open and claimed.
        journal: where every step is recorded.
        config: the clinic's configuration.
        indication: a key of the configuration's indications, of areas that name none; the case's first, if left out.
        fitzpatrick: skin type, 1 to 6; the case's, once it is entered.
        preparation: what was answered already, and the sign that all of it must be (`Intake`); None is practice.
        left: what a killed program left of it; `restore` reads that.
    """

    def __init__(
        self,
        pen: Pen,
        journal: Journal,
        config: Config,
        indication: str = "",
        fitzpatrick: int = 0,
        *,
        preparation: Preparation | None = None,
        left: Left | None = None,
    ) -> None:
        left = left or Left(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}", secrets.randbits(31) + 1)
        self.session = left.session
        self.token = left.token
        """Names this treatment on the cartridge's use mark."""
        self.areas: dict[str, AreaCount] = left.areas
        self.refusals: list[tuple[str, Refusal]] = left.refusals
        """What was refused, each with the area it was asked for."""
        self.watchers: list[Callable[[Live], None]] = []
        self.interrupted = left.interrupted
        """Why a person has to call `resume` before anything goes on, where the pen itself need not show it."""
        self.running: Run | None = None
        """The area whose needles run."""
        self.config = config
        self._pen = pen
        self._minutes = Minutes(pen, journal, left.session, (left.boot_id, left.events))
        self._today = journal.today()
        self.intake = Intake(self._minutes, pen, config, self._today, preparation, (indication, fitzpatrick))
        """What persons answer: `await treatment.intake.enter(answer)`."""
        self._unseen = Unseen(pen, self._minutes, left.ran)
        self._progress_t_us = 0
        self._stays_open = False
        self._open = contextlib.AsyncExitStack()

    @classmethod
    def restore(cls, pen: Pen, journal: Journal, config: Config, session: str) -> Self:
        """Take up a treatment that a killed program left behind: its counts, closed areas and place on the cartridge.

        What the pen did meanwhile is counted when the context is entered. A person has to call `resume`.

        Raises:
            ValueError: it is not the last treatment of this pen, was ended, or is of areas that are configured no more.
            JournalError: the journal cannot be read.
        """
        left = recovery.read(journal, session, config=config, pen=pen.identity)
        return cls(pen, journal, config, left.indication, left.fitzpatrick, preparation=left.preparation, left=left)

    async def __aenter__(self) -> Self:
        """Begin: from now on everything is recorded, the pen's own events too."""
        boot_id = self._pen.identity.boot_id
        if self.interrupted:
            await self._minutes.write("treatment_restored", {"boot_id": boot_id})
            await self._settle()
        else:
            body = {"treatment": self.token, "boot_id": boot_id, "practice": not self.intake.asks}
            await self._minutes.write("treatment_begun", body | entries.introduced(self._pen.identity))
            # What says something about the patient stays in the journal.
            patient = {"indication": self.intake.indication, "fitzpatrick": self.intake.fitzpatrick}
            await self._minutes.write("skin", patient, topic=None)
            self._minutes.disown_events()
        self._events = await self._open.enter_async_context(self._minutes.following_events())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End: the needles are stopped if they still run, and the summary is recorded."""
        async with self._open:
            if self._pen.may_run:
                self._stop("the treatment ended while the needles ran")
                with contextlib.suppress(PenError):
                    await self._pen.stop()
            with contextlib.suppress(PenError):
                await self._settle()
            await self._minutes.settle_events()
            if not self._stays_open:
                await self._end()

    def stay_open(self) -> None:
        """Leave what was begun without an end, so that it can be taken up: nobody has decided that it is over."""
        self._stays_open = bool(self.areas or self.intake.case)

    # --- what a person asks for --------------------------------------------------------------------------------------

    async def sign_in(self, account: str, role: str) -> None:
        """Record who works at it from now on. Raises `JournalError`."""
        await self._minutes.write("signed_in", {"account": account, "role": role}, topic=None)

    async def plan(self, areas: Sequence[PlanArea]) -> None:
        """Record what is planned; it binds nobody. Raises `JournalError`."""
        listed = [entries.planned(area, self.intake.indication) for area in areas]
        await self._minutes.write("plan", {"areas": listed}, topic=None)

    async def treat(self, wanted: PlanArea, begun: Callable[[], None] = lambda: None) -> AreaCount:
        """Treat one area until it has been given the wanted passes, or a person leaves it (`leave`).

        Args:
            wanted: passes count from the beginning of the treatment, those before an interruption too.
            begun: is called when the needles run.

        Raises:
            RefusedError: a limit forbids it; nothing has moved.
            ClosedError: a hard limit was reached; the area cannot be treated again.
            StoppedError: the needles stopped early; call `resume`, then `treat` again.
            PenError: the pen could not be armed or started.
            JournalError: the record cannot be written; the pen has been stopped.
        """
        if self.is_done(wanted) and not self.areas[wanted.area].closed:
            return self.areas[wanted.area]
        if self._events.done():
            self.interrupted = "the pen's events are no longer recorded"
        if self.interrupted:
            raise StoppedError(self.interrupted)
        try:
            grant = await self.check(wanted)
        except LinkError as error:
            self._interrupt(str(error))
            raise StoppedError(str(error)) from error
        count = self._count(wanted, grant)
        grant, command = count.allow(grant), self._minutes.command
        try:
            self._minutes.post("grant", entries.granted(grant), topic=None)
            await command("arm", entries.armed(count, grant), lambda: self._pen.arm(grant, today=self._today))
            count.begin(await sample_at_home(self._pen), self._pen.identity.boot_id, wanted.rate_hz)
            self._unseen.begin(count)
            self._minutes.progress(count)
            run = await self._run(Run(wanted, grant, count), begun)
            await command("disarm", {"area": wanted.area}, self._pen.disarm, wait_before=False)
            await self._settle()
        except (LinkError, UncertainError, CommandLostError, DisarmedError) as error:
            self._interrupt(str(error))
            raise StoppedError(str(error)) from error
        except PenRefusedError as error:
            self._interrupt(str(error))
            if error.answer.result is Result.LATCHED:
                raise StoppedError(str(error)) from error
            raise
        except BaseException as error:
            called_off = isinstance(error, asyncio.CancelledError)
            self._interrupt(str(error) or ("called off" if called_off else type(error).__name__))
            raise
        finally:
            self.running = None
        if run.left and not self.is_done(wanted):
            await self._minutes.write("area_left", self._summary(count) | run.left)
        else:
            await self._minutes.write("area_done", self._summary(count))
        return count

    def stop_now(self, by: str, why: str = "STOP") -> None:
        """A person, or who watches over one, stops the pen: at once, from any state, without waiting for anything.

        The pen latches, and a person has to call `resume`.

        Args:
            by: who stops, in a word without a name.
            why: what for.
        """
        reason = f"{why} ({by})"
        again = reason in (self.interrupted, self._pen.stop_reason)
        self._pen.stop_now(reason)
        self.interrupted = self.interrupted or reason
        if not again:  # a page repeats its STOP until the pen has confirmed it
            self._minutes.post("stop", {"reason": why, "by": by})

    def leave(self, by: str, why: str) -> None:
        """A person ends the area under way in order, before its passes are given; nothing latches."""
        if self.running is not None:
            self.running.leave(by, why)

    async def change(self, depth_mm: float, rate_hz: float) -> None:
        """A person changes depth and rate while the needles run.

        Raises:
            RefusedError: a limit forbids it, and the needles go on as they were; the refusal is recorded.
            PenError: no needles run, or the pen did not take it; whether the needles run on is for `treat` to say.
            JournalError: it cannot be recorded.
        """
        run = self.running
        if run is None:
            raise PenError("no needles run: start an area first")
        wanted = run.wanted.model_copy(update={"depth_mm": depth_mm, "rate_hz": rate_hz})
        if refusal := run.refuse(depth_mm, rate_hz):
            await self._refuse(self.intake.request(wanted, run.count.given.passes), refusal)
        await run.set(wanted, self._pen, self._minutes)

    def is_done(self, wanted: PlanArea) -> bool:
        """Whether an area has been given what is wanted."""
        count = self.areas.get(wanted.area)
        return count is not None and count.has(wanted.passes)

    async def check(self, wanted: PlanArea) -> Grant:
        """Ask whether this may be given to an area, and with which warnings; nothing moves.

        Raises:
            RefusedError: a limit forbids it; the refusal is recorded.
            LinkError: the pen does not answer.
            JournalError: a refusal cannot be recorded.
        """
        await self._settle()
        count = self.areas.get(wanted.area)
        request = self.intake.request(wanted, count.given.passes if count else 0)
        pen, cartridge = self._pen.identity, reported.tag(await self._pen.cartridge())
        if refusal := self.intake.refuse(request, cartridge):
            await self._refuse(request, refusal)
        verdict = (count and count.refuse(request)) or limits.authorize(
            request,
            config=self.config,
            envelope=reported.envelope(pen),
            pen_profile=pen.model,
            cartridge=cartridge,
            treatment=self.token,
            today=self._today,
            delivered=count.delivered if count else Delivered(),
        )
        if count and isinstance(verdict, Grant):
            count.allow(verdict)
            self._close_if_reached(count)
            verdict = count.refuse(request) or verdict
        if isinstance(verdict, Refusal):
            await self._refuse(request, verdict)
        return verdict

    async def _refuse(self, request: Request, refusal: Refusal) -> NoReturn:
        self.refusals.append((request.area, refusal))
        await self._minutes.write("refusal", entries.refused(refusal, request), topic=entries.outlet(refusal))
        raise RefusedError(refusal)

    async def reconnect(self) -> None:
        """Open the line again after it was lost. The pen comes back stopped, disarmed and, if it ran, latched.

        Raises:
            PenError: the pen cannot be had back.
            JournalError: it cannot be recorded.
        """
        self.interrupted = self.interrupted or self._pen.stop_reason or "the line was lost"
        await self._pen.reconnect()
        state = self._pen.state.state.name.lower()
        await self._minutes.write("reconnected", {"state": state, "boot_id": self._pen.identity.boot_id})
        await self._settle()

    async def resume(self, by: str, latch_id: int) -> None:
        """A person lets the treatment go on after a stop, having been shown why the pen latched.

        The pen stays disarmed; `treat` arms and starts it anew, with what is left.

        Args:
            by: who resumes, in a word without a name: "clinician".
            latch_id: the latch the person was shown (`pen.state.latch_id`); a newer one stays.

        Raises:
            PenError: the pen is gone, or its latch is another by now.
            JournalError: it cannot be recorded; the latch stays.
        """
        state = self._pen.state
        seen = {"state": state.state.name.lower(), "cause": state.cause.name.lower()}
        await self._minutes.write("resume", {"by": by, **seen})
        if state.state is PenState.LATCHED:
            await self._minutes.command("clear", {"latch_id": latch_id}, lambda: self._pen.clear(latch_id))
        self.interrupted = ""

    # --- running -----------------------------------------------------------------------------------------------------

    def _count(self, wanted: PlanArea, grant: Grant) -> AreaCount:
        if wanted.area not in self.areas:
            pen = self._pen.identity
            self.areas[wanted.area] = counted(wanted.area, wanted.size_cm2, grant.needles, config=self.config, pen=pen)
        count = self.areas[wanted.area]
        count.wanted_passes = wanted.passes
        return count

    async def _run(self, run: Run, begun: Callable[[], None]) -> Run:
        """Start the needles; count until the area is done or left. Raises `StoppedError` if they stop first."""
        count, wanted = run.count, run.wanted
        with contextlib.closing(self._pen.samples()) as samples:
            # While needles run, nothing waits for the disk.
            start = partial(self._pen.start, wanted.depth_mm, wanted.rate_hz)
            await self._minutes.command("start", entries.started(wanted), start, wait_after=False)
            self.running = run
            begun()
            try:
                reason = await self._count_samples(run, samples)
            except LinkError as error:
                reason = str(error)
        self._minutes.passes(count, count.finish())
        if reason is None:
            return run
        if count.closed is None:
            self._stop(reason)
        with contextlib.suppress(PenError):
            await self._settle()
        if count.closed is not None:
            raise ClosedError(count.area, count.closed)
        await self._minutes.write("interrupted", {"area": count.area, "reason": reason})
        raise StoppedError(reason)

    async def _count_samples(self, run: Run, samples: AsyncIterator[SampleArray]) -> str | None:
        """Count until the area is done or left; return why it ended otherwise, if it did."""
        count = run.count
        ran_t_us: int | None = None
        async for batch in samples:
            self._take(count, batch)
            if count.closed is not None:
                return closing(count.area, count.closed)
            if run.left or count.has(count.wanted_passes):
                return None
            if ran_t_us is None and int(batch["flags"][-1]) & SampleFlag.RUNNING:
                ran_t_us = int(batch["t_us"][-1])
            if self._pen.stop_reason:
                return self._pen.stop_reason
            state = self._pen.state
            # What the pen said before the needles ran does not count, should its later words be lost.
            stopped = state.state not in (PenState.RUNNING, PenState.STOPPING)
            if stopped and ran_t_us is not None and is_newer(state.t_us, ran_t_us):
                return f"the pen stopped: {state.cause.name.lower().replace('_', ' ')}"
            if self._minutes.trouble is not None:
                raise self._minutes.trouble
            if self._events.done():
                return "the pen's events are no longer recorded"
        return "the pen was closed"

    def _take(self, count: AreaCount, batch: SampleArray) -> None:
        finished = count.feed(batch)
        self._unseen.seen()
        self._close_if_reached(count, ran=True)
        pen_t_us = int(batch["t_us"][-1])
        self._minutes.passes(count, finished, pen_t_us)
        for limit in count.warnings_due():
            self._minutes.post("warning", entries.bound(count.area, limit, count.warnings[-1]), pen_t_us)
        for alert in count.coach(batch):
            self._minutes.post("alert", entries.alerted(count.area, alert), pen_t_us)
        if (pen_t_us - self._progress_t_us) % WRAP >= PROGRESS_S * 1e6:
            self._progress_t_us = pen_t_us
            self._minutes.progress(count)
        for watch in self.watchers:
            watch(Live(count, batch[-1], count.technique.current))

    async def _settle(self) -> None:
        """Count what the area that ran last was given unseen. Raises `LinkError`, see `Unseen.settle`."""
        if count := await self._unseen.settle():
            self._close_if_reached(count, ran=True)
            self._minutes.progress(count)

    def _close_if_reached(self, count: AreaCount, *, ran: bool = False) -> None:
        """Stop the needles and close the area if it has come to a hard limit; nothing is waited for.

        If it is the area that ran last, the pen may have come to its stroke budget before all strokes are heard of.
        """
        spent = ran and self._pen.state.cause is Cause.BUDGET_SPENT
        limit = count.reached or (count.stroke_budget if spent else None)
        if limit is None or count.closed is not None:
            return
        text = closing(count.area, limit)
        self._stop(text)
        count.closed = limit
        self._minutes.post("area_closed", entries.bound(count.area, limit, text))

    # --- the record --------------------------------------------------------------------------------------------------

    def _interrupt(self, reason: str) -> None:
        """Stop the needles, and let nothing go on before a person resumes."""
        self._stop(reason)
        self.interrupted = reason

    def _stop(self, reason: str) -> None:
        """Tell the pen to stop if it may run, and then the record; wait for neither."""
        if self._pen.may_run:
            self._pen.stop_now(reason)
            if reason != self.interrupted:  # else a person's STOP, which is on the record
                self._minutes.post("stop", {"reason": reason})

    def summaries(self) -> list[dict[str, Any]]:
        """What each area has been given so far, in the order they were begun."""
        return [self._summary(count) for count in self.areas.values()]

    def _summary(self, count: AreaCount) -> dict[str, Any]:
        return entries.summed(count, sum(area == count.area for area, _ in self.refusals))

    async def _end(self) -> None:
        self._unseen.lose("the treatment ended without a line to the pen")
        await self._minutes.witness()
        await self._minutes.write("summary", entries.ended(self.summaries(), len(self.refusals)), topic="summary")
