"""One treatment: each area authorized, recorded, armed, run, counted and ended.

The straight path of a command: limits -> journal (intent) -> pen -> journal (outcome). Of a sample: pen (guard) ->
passes -> journal -> whoever watches. Nothing resumes by itself: after a stop or a lost line a person calls `resume`.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

from pen_controller import limits
from pen_controller.config import Config, PlanArea
from pen_controller.errors import CommandLostError, LinkError, PenError, PenRefusedError, UncertainError
from pen_controller.journal import Journal, JournalError, Outlet
from pen_controller.limits import CartridgeTag, Delivered, Envelope, Grant, Refusal, Request
from pen_controller.passes import PassCounter
from pen_controller.pen import EPOCH_DAY, LimitError, Pen
from protocols.messages import Cartridge, Event
from protocols.samples import SampleArray
from protocols.words import PenState, Result, SampleFlag

EVENTS_SETTLE_S = 1.0
"""How long the end of a treatment waits for the pen's last events; a lost line must not hold it up."""


class RefusedError(Exception):
    """An area may not be treated like this. `refusal` has the limit, its value and its source."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class StoppedError(PenError):
    """The needles stopped before the area was done; a person decides whether to resume. The text says why."""


@dataclass(slots=True)
class AreaCount:
    """What one area has been given in this treatment."""

    area: str
    counter: PassCounter
    grant: Grant
    """The last one given."""
    wanted_passes: int

    def summary(self, refusals: int) -> dict[str, Any]:
        """The figures as the record keeps them."""
        counter = self.counter
        return {
            "area": self.area,
            "passes": int(counter.passes),
            "strokes": counter.strokes,
            "punctures": counter.punctures,
            "density_per_cm2": round(counter.density_per_cm2, 1),
            "deepest_um": counter.deepest_um,
            "depth_cap_um": round(self.grant.depth_cap_mm * 1000),
            "duration_s": round(counter.duration_s, 3),
            "refusals": refusals,
        }


@dataclass(frozen=True, slots=True)
class Live:
    """What is happening now, for a screen; `sample` is the newest one (dtype SAMPLE)."""

    area: AreaCount
    sample: Any


class Treatment:
    """A treatment with one pen and one journal, under way while its context is entered.

    Args:
        pen: open and claimed.
        journal: where every step is recorded.
        config: the clinic's configuration.
        indication: a key of the configuration's indications.
        fitzpatrick: skin type, 1 to 6.
    """

    def __init__(self, pen: Pen, journal: Journal, config: Config, indication: str, fitzpatrick: int) -> None:
        now = datetime.now(UTC)
        self.session = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        self.token = secrets.randbits(31) + 1
        """Names this treatment on the cartridge's use mark."""
        self.areas: dict[str, AreaCount] = {}
        self.refusals: list[tuple[str, Refusal]] = []
        """What was refused, each with the area it was asked for."""
        self.watchers: list[Callable[[Live], None]] = []
        self.config = config
        self._pen, self._journal = pen, journal
        self._indication, self._fitzpatrick = indication, fitzpatrick
        self._boot_id = pen.identity.boot_id
        self._last_area: AreaCount | None = None
        self._recorded_event = self._earlier_events = 0
        self._event_recorded = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Begin: from now on everything is recorded, the pen's own events too."""
        await self.record("treatment_begun", {"indication": self._indication, "treatment": self.token})
        # What says something about the patient stays in the journal.
        await self.record("skin", {"fitzpatrick": self._fitzpatrick}, topic=None)
        self._earlier_events = self._pen.state.last_event
        self._listening = asyncio.create_task(self._record_events(), name="record the pen's events")
        return self

    async def __aexit__(self, *_: object) -> None:
        """End: the needles are stopped if they still run, and the summary is recorded."""
        try:
            if self._pen.may_run:
                self._stop("the treatment ended while the needles ran")
                with contextlib.suppress(PenError):
                    await self._pen.stop()
            await self._settle_events()
            await self._end()
        finally:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    # --- what a person asks for --------------------------------------------------------------------------------------

    async def treat(self, wanted: PlanArea) -> AreaCount:
        """Treat one area until it has been given the wanted passes, counting those before an interruption.

        Raises:
            RefusedError: a limit forbids it; nothing has moved.
            StoppedError: the needles stopped early; call `resume`, then `treat` again.
            PenError: the pen could not be armed or started.
            JournalError: the record cannot be written; the pen has been stopped.
        """
        request = self._request(wanted)
        count = self._count(request, await self._authorize(request), wanted.passes)
        try:
            await self._do("arm", _caps(count.grant), lambda: self._pen.arm(count.grant, today=_today()))
            samples = self._pen.samples()
            count.counter.begin(after_t_us=self._pen.state.t_us)
            await self._do("start", _set_point(wanted), lambda: self._pen.start(wanted.depth_mm, wanted.rate_hz))
            await self._run(count, samples)
            await self._do("disarm", {"area": wanted.area}, self._pen.disarm)
        except (LinkError, UncertainError, CommandLostError) as error:
            self._stop(str(error))
            raise StoppedError(str(error)) from error
        except PenRefusedError as error:
            self._stop(str(error))
            if error.answer.result is Result.LATCHED:
                raise StoppedError(str(error)) from error
            raise
        except BaseException as error:
            self._stop(str(error) or "called off")
            raise
        await self.record("area_done", self._summary(count))
        return count

    async def check(self, wanted: PlanArea) -> Grant:
        """Ask whether this may be given to an area, and with which warnings; nothing moves.

        Raises:
            RefusedError: a limit forbids it; the refusal is recorded.
            LinkError: the pen does not answer.
        """
        return await self._authorize(self._request(wanted))

    async def _authorize(self, request: Request) -> Grant:
        """Hold a request against every limit; record and raise the refusal if one forbids it.

        Raises:
            RefusedError: a limit forbids it.
            LinkError: the pen does not answer.
        """
        pen = self._pen.identity
        done = self.areas.get(request.area)
        verdict = limits.authorize(
            request,
            config=self.config,
            envelope=Envelope(
                pen.min_depth_um / 1000,
                pen.max_depth_um / 1000,
                pen.min_rate_dhz / 10,
                pen.max_rate_dhz / 10,
                pen.max_force_mn / 1000,
            ),
            pen_profile=pen.model,
            cartridge=_tag(await self._pen.cartridge()),
            treatment=self.token,
            today=_today(),
            delivered=Delivered(int(done.counter.passes), done.counter.punctures) if done else Delivered(),
        )
        if isinstance(verdict, Grant):
            return verdict
        self.refusals.append((request.area, verdict))
        await self.record("refusal", {**asdict(verdict), "request": asdict(request) | {"fitzpatrick": None}})
        raise RefusedError(verdict)

    async def reconnect(self) -> None:
        """Open the line again after it was lost. The pen comes back stopped, disarmed and, if it ran, latched.

        Raises:
            PenError: the pen cannot be had back.
        """
        await self._pen.reconnect()
        for count in self.areas.values():
            count.counter.forget_place()
            if self._pen.identity.boot_id != self._boot_id:
                count.counter.forget_counters()
        if self._pen.identity.boot_id != self._boot_id:
            self._boot_id = self._pen.identity.boot_id
            self._recorded_event = self._earlier_events = 0
        await self.record("reconnected", {"state": self._pen.state.state.name.lower()})

    async def resume(self, by: str, latch_id: int) -> None:
        """A person lets the treatment go on after a stop, having been shown why the pen latched.

        The pen stays disarmed; `treat` arms and starts it anew, with what is left.

        Args:
            by: who resumes, in a word without a name: "clinician".
            latch_id: the latch the person was shown (`pen.state.latch_id`); a newer one stays.

        Raises:
            PenError: the pen is gone, or its latch is another by now.
        """
        state = self._pen.state
        await self.record("resume", {"by": by, "state": state.state.name.lower(), "cause": state.cause.name.lower()})
        if state.state is PenState.LATCHED:
            await self._do("clear", {"latch_id": latch_id}, lambda: self._pen.clear(latch_id))

    # --- running -----------------------------------------------------------------------------------------------------

    def _request(self, wanted: PlanArea) -> Request:
        """What to ask the limits for: the passes that are still to come, the one under way among them."""
        done = int(self.areas[wanted.area].counter.passes) if wanted.area in self.areas else 0
        passes = max(1, wanted.passes - done)
        return Request(
            wanted.area,
            self._indication,
            self._fitzpatrick,
            wanted.depth_mm,
            wanted.rate_hz,
            passes,
            wanted.size_cm2,
        )

    def _count(self, request: Request, grant: Grant, passes: int) -> AreaCount:
        count = self.areas.get(request.area)
        if count is None:
            counter = PassCounter(grant.needles, self._pen.identity.tip_width_um / 1000, request.size_cm2)
            count = self.areas[request.area] = AreaCount(request.area, counter, grant, passes)
        elif count is not self._last_area:
            count.counter.forget_counters()
        count.grant, count.wanted_passes = grant, passes
        self._last_area = count
        return count

    def _summary(self, count: AreaCount) -> dict[str, Any]:
        return count.summary(sum(area == count.area for area, _ in self.refusals))

    async def _run(self, count: AreaCount, samples: AsyncIterator[SampleArray]) -> None:
        """Count until the area is done. Raises `StoppedError` if the needles stop first."""
        try:
            reason = await self._count_samples(count, samples)
        except LinkError as error:
            reason = str(error)
        if reason is None:
            return
        count.counter.forget_place()
        await self.record("interrupted", {"area": count.area, "reason": reason})
        raise StoppedError(reason)

    async def _count_samples(self, count: AreaCount, samples: AsyncIterator[SampleArray]) -> str | None:
        """Count until the area is done; return why it ended earlier, if it did."""
        ran = False
        async for batch in samples:
            self._take(count, batch)
            if count.counter.passes >= count.wanted_passes:
                return None
            ran = ran or bool(int(batch["flags"][-1]) & SampleFlag.RUNNING)
            if self._pen.stop_reason:
                return self._pen.stop_reason
            if ran and self._pen.state.state not in (PenState.RUNNING, PenState.STOPPING):
                return f"the pen stopped: {self._pen.state.cause.name.lower().replace('_', ' ')}"
            if self._journal.failed is not None:
                raise self._journal.failed
            if self._listening.done():
                return "the pen's events are no longer recorded"
        return "the pen was closed"

    def _take(self, count: AreaCount, batch: SampleArray) -> None:
        pen_t_us = int(batch["t_us"][-1])
        for done in count.counter.feed(batch):
            body = {
                "area": count.area,
                "pass_index": done.index,
                "strokes": done.strokes,
                "punctures": done.punctures,
                "density_per_cm2": done.density_per_cm2,
                "deepest_um": done.deepest_um,
                "duration_s": done.duration_s,
                "how": done.how,
            }
            self._post("pass", body, pen_t_us, topic="pass")
        for watch in self.watchers:
            watch(Live(count, batch[-1]))

    # --- the record --------------------------------------------------------------------------------------------------

    async def record(self, kind: str, body: Mapping[str, Any], topic: Outlet | None = "event") -> None:
        """Put something on the record; on the disk when this returns."""
        await self._journal.append(
            self.session, kind, dict(body), pen=self._pen.identity.serial, pen_t_us=self._pen.state.t_us, topic=topic
        )

    async def _do(self, command: str, body: Mapping[str, Any], act: Callable[[], Awaitable[None]]) -> None:
        """Record the intent, have the pen do it, record what became of it."""
        await self.record("intent", {"command": command, **body})
        try:
            await act()
        except (CommandLostError, PenRefusedError, LimitError) as error:
            await self.record("outcome", {"command": command, "outcome": "failed", "reason": str(error)})
            raise
        except BaseException as error:
            # It may have been executed. This must not wait, nor be called off like the command itself.
            reason = str(error) or type(error).__name__
            self._post("outcome", {"command": command, "outcome": "uncertain", "reason": reason})
            raise
        await self.record("outcome", {"command": command, "outcome": "done"})

    def _stop(self, reason: str) -> None:
        """Tell the pen to stop if it may run, and then the record; wait for neither."""
        if self._pen.may_run:
            self._pen.stop_now(reason)
            self._post("stop", {"reason": reason})

    def _post(self, kind: str, body: Mapping[str, Any], pen_t_us: int | None = None, topic: Outlet = "event") -> None:
        """Put something on the record without waiting. A journal that is closed or broken shows elsewhere."""
        with contextlib.suppress(JournalError):
            self._journal.post(
                self.session, kind, dict(body), pen=self._pen.identity.serial, pen_t_us=pen_t_us, topic=topic
            )

    async def _record_events(self) -> None:
        """Record what the pen reports, and only then let it forget."""
        async for event in self._pen.events():
            # What the pen reports of before belongs to another treatment: it is kept, and not published under this one.
            earlier = event.number <= self._earlier_events
            await self._journal.append(
                self.session,
                "earlier_pen_event" if earlier else "pen_event",
                _event(event),
                pen=self._pen.identity.serial,
                pen_t_us=event.t_us,
                topic=None if earlier else "event",
            )
            self._pen.acknowledge_events(event.number)
            self._recorded_event = event.number
            self._event_recorded.set()

    async def _settle_events(self) -> None:
        """Wait, not for long, until what the pen has reported is on the record too."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVENTS_SETTLE_S):
                while self._pen.connected and self._recorded_event < self._pen.state.last_event:
                    self._event_recorded.clear()
                    await self._event_recorded.wait()

    def summaries(self) -> list[dict[str, Any]]:
        """What each area has been given so far, in the order they were begun."""
        return [self._summary(count) for count in self.areas.values()]

    async def _end(self) -> None:
        areas = self.summaries()
        totals = {key: sum(area[key] for area in areas) for key in ("passes", "strokes", "punctures")}
        totals["refusals"] = len(self.refusals)
        await self.record("summary", {"areas": areas, "totals": totals}, topic="summary")


def _set_point(wanted: PlanArea) -> dict[str, Any]:
    return {
        "area": wanted.area,
        "depth_um": round(wanted.depth_mm * 1000),
        "rate_dhz": round(wanted.rate_hz * 10),
    }


def _caps(grant: Grant) -> dict[str, Any]:
    return {
        "area": grant.area,
        "depth_cap_um": round(grant.depth_cap_mm * 1000),
        "rate_cap_dhz": round(grant.rate_cap_hz * 10),
        "force_cap_mn": round(grant.force_cap_n * 1000),
        "stroke_budget": grant.stroke_budget,
        "cartridge_id": str(grant.cartridge_id),
        "limits": [asdict(limit) for limit in grant.limits],
        "warnings": list(grant.warnings),
    }


def _tag(cartridge: Cartridge) -> CartridgeTag | None:
    if cartridge.cartridge_id == 0:
        return None
    expires = EPOCH_DAY + timedelta(days=cartridge.expiry_days)
    return CartridgeTag(cartridge.cartridge_id, cartridge.needles, expires, cartridge.used_by or None)


def _event(event: Event) -> dict[str, Any]:
    return {"number": event.number, "event": event.kind.name.lower(), "a": event.a, "b": event.b}


def _today() -> date:
    return datetime.now(UTC).date()
