"""`Pen`: the handle to one pen. The host asks, the pen decides.

A pen is armed with a `Grant` and nothing else, so what was not authorized cannot be asked for. The lease is renewed by
the control loop and only while all is well: if this program, its event loop or the line stalls, the pen stops itself.
After a lost line, a reboot or a latch nothing goes on by itself: a person reconnects, clears, arms and starts again.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Self

from pen_controller.errors import CommandLostError, DisarmedError, LinkError, PenError, PenRefusedError, UncertainError
from pen_controller.limits import Grant, Refusal
from pen_controller.meanwhile import meanwhile
from pen_controller.pen.guard import Guard, SetPoint
from pen_controller.pen.link import Link
from pen_controller.pen.subscription import Listener, Subscription
from pen_controller.transports import Transport, transport_for
from protocols.messages import Answer, Arm, Cartridge, Clear, Command, Disarm, Event, Identity, Set, Start, State
from protocols.samples import SampleArray, Samples
from protocols.words import PenState

RENEW_S = 0.05
"""Five renewals fit the pen's lease of 250 ms."""
DEAF_S = 0.2
"""A pen not heard for this long (four heartbeats) gets no more renewals."""
BLIND_S = 0.5
"""Needles that run without a sample for this long run unwatched: the guard stops them."""
SILENT_S = 1.0
"""A line silent for this long is given up."""
STOP_EVERY_S = 0.025
"""STOP is repeated until the pen is seen stopped."""
STOP_GIVES_UP_S = 2.0
HOME = (PenState.IDLE, PenState.LATCHED)
EPOCH_DAY = date(1970, 1, 1)
HOST_ID = secrets.randbits(64)
"""By this number a pen knows its owner again, for the life of this process."""


class LimitError(PenError):
    """A set-point beyond the grant was not even asked of the pen. `refusal` has the limit and its source."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class Pen:
    """One pen, claimed by this program. Made by `Pen.open`."""

    def __init__(self, transport: Transport | str, host_id: int = HOST_ID) -> None:
        self.stop_reason: str | None = None
        """Why this program stopped the pen by itself, or lost it; None while all is well."""
        self._target, self._host_id = transport, host_id
        self._link: Link
        self._known: Identity | None = None
        self._state: State | None = None
        self._lost_why: str | None = "not opened"
        self._grant: Grant | None = None
        self._arm_epoch = 0
        self._guard: Guard | None = None
        self._loop = asyncio.get_running_loop()
        self._samples: Subscription[SampleArray] = Subscription()
        self._events: Subscription[Event] = Subscription(keep=True)
        self._last_event = 0
        self._sample_heard_s = 0.0
        self._stop_unseen = False
        self._changed = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, target: Transport | str, *, host_id: int = HOST_ID) -> AsyncIterator[Self]:
        """Open, claim and keep a pen for the length of an `async with`.

        On leaving, whatever the reason, the pen is stopped if its needles move, and released.

        Args:
            target: a URL (`serial:///dev/ttyUSB0`, `socket://host:port`, `ble:NAME`) or an unopened `Transport`.
            host_id: who we are to the pen; the same for reconnections.

        Raises:
            LinkError: within three seconds, by radio within 20, when there is no pen to be had there.
            PenRefusedError: another program owns the pen.
        """
        pen = cls(target, host_id)
        await pen._connect()
        async with meanwhile(pen._control(), "pen control loop"):
            try:
                yield pen
            finally:
                await pen._leave()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        target = self._target
        transport = transport_for(target) if isinstance(target, str) else target
        link = self._link = Link(transport, self._host_id, self._hear, self._lose)
        identity = await link.open()
        try:
            self._meet(identity)
            await link.claim()
            link.renew()
        except BaseException:
            await link.close()
            raise
        self._lost_why = self.stop_reason = None
        self._stop_unseen = False

    def _meet(self, identity: Identity) -> None:
        known = self._known
        if known is not None and identity.serial != known.serial:
            raise LinkError(f"{identity.serial} answers where {known.serial} was; plug the right pen in")
        if known is not None and identity.boot_id != known.boot_id:
            self._last_event = 0
        self._known = identity

    async def reconnect(self) -> None:
        """Open the line again after it was lost, and claim the pen. It comes back stopped and disarmed.

        Raises:
            LinkError: the line does not open, or another pen is there now.
            PenRefusedError: another program has claimed the pen meanwhile.
        """
        if not self.connected:
            await self._link.close()
            await self._connect()

    @property
    def identity(self) -> Identity:
        """Who the pen is."""
        if self._known is None:
            raise LinkError("the pen has not said who it is")
        return self._known

    @property
    def connected(self) -> bool:
        """Whether the line stands and the pen is ours."""
        return self._lost_why is None

    @property
    def state(self) -> State:
        """What the pen said last of itself, on this line or on the one before."""
        if self._state is None:
            raise LinkError("the pen has not said how it is")
        return self._state

    @property
    def may_run(self) -> bool:
        """Whether the needles run, or may: the pen's last word may not show a start or a stop yet."""
        return self.connected and (self._guard is not None or self._stop_unseen or not self.state.stopped)

    @property
    def age_s(self) -> float:
        """Seconds since the pen's last word."""
        heard_s = self._link.heard_s
        return float("inf") if heard_s is None else self._loop.time() - heard_s

    @property
    def lost_frames(self) -> int:
        """Frames of the pen that this connection lost."""
        return self._link.lost_frames

    def _lose(self, why: str) -> None:
        if self._lost_why is not None:
            return
        self._lost_why = self.stop_reason = why
        self._disarmed()
        self._samples.fail(LinkError(why))
        self._changed.set()

    async def _leave(self) -> None:
        try:
            if self.may_run:
                with contextlib.suppress(PenError):
                    await self.stop()
        finally:
            if self.connected:
                self._link.release()
            self._lost_why = self._lost_why or "closed"
            self._samples.end()
            self._events.end()
            await self._link.close()

    # --- what the pen is told ----------------------------------------------------------------------------------------

    async def cartridge(self) -> Cartridge:
        """Ask which cartridge is in. Raises `LinkError`."""
        self._need_link()
        return await self._link.cartridge()

    async def arm(self, grant: Grant, *, today: date) -> None:
        """Hand the pen the caps of a grant. Only when it is stopped.

        Args:
            grant: from `limits.authorize`.
            today: the date against which the pen reads the cartridge's expiry.

        Raises:
            PenRefusedError, CommandLostError, UncertainError, LinkError: see `Link.command`.
        """
        self._need_link()
        answer = await self._command(
            "arm",
            lambda command_id: Arm(
                command_id=command_id,
                area=grant.area_code,
                depth_cap_um=round(grant.depth_cap_mm * 1000),
                rate_cap_dhz=round(grant.rate_cap_hz * 10),
                force_cap_mn=round(grant.force_cap_n * 1000),
                stroke_budget=grant.stroke_budget,
                cartridge_id=grant.cartridge_id,
                treatment=grant.treatment,
                today_days=(today - EPOCH_DAY).days,
            ),
        )
        self._grant, self._arm_epoch = grant, answer.value

    async def start(self, depth_mm: float, rate_hz: float) -> None:
        """Run the needles, under the grant the pen is armed with.

        Raises:
            LimitError: the set-point is beyond the grant.
            DisarmedError: the pen is not armed, or was told to stop meanwhile.
            PenRefusedError, CommandLostError, UncertainError, LinkError: as for `arm`.
        """
        grant, arm_epoch, wanted = self._need_grant(depth_mm, rate_hz)
        before, self._guard = self._guard, Guard(grant, wanted, after_t_us=self.state.t_us)
        self._sample_heard_s = self._loop.time()
        try:
            await self._command("start", lambda command_id: Start(command_id, arm_epoch, *wanted))
        except PenError:
            self._guard = before if self._grant else None
            raise
        if self._grant is None:
            self.stop_now()
            raise DisarmedError(self._why_disarmed())

    async def set(self, depth_mm: float, rate_hz: float) -> None:
        """Change depth and rate while the needles run. Raises as `start` does, and `PenError` if they do not run."""
        _, arm_epoch, wanted = self._need_grant(depth_mm, rate_hz)
        guard = self._guard
        if guard is None:
            raise PenError("the needles do not run: start them first")

        def make(command_id: int) -> Set:
            guard.expect(wanted)
            return Set(command_id, arm_epoch, *wanted)

        try:
            await self._command("set", make)
        except (PenRefusedError, CommandLostError):
            guard.settle(guard.in_force)
            raise
        guard.settle(wanted)

    async def disarm(self) -> None:
        """End the arm in good order, and wait until the needles are in. No latch. Raises as `arm` does."""
        self._need_link()
        self._changed.clear()
        await self._command("disarm", Disarm)
        await self._until(HOME)
        self._disarmed()

    async def stop(self) -> State:
        """Stop now, by the lane that overtakes everything; return what the pen says once it is seen stopped.

        Raises:
            LinkError: the pen's word did not come; its own lease stops it all the same.
        """
        self.stop_now()
        self._changed.clear()
        return await self._until((PenState.LATCHED,), again=self.stop_now)

    def stop_now(self, reason: str | None = None) -> None:
        """Send STOP and wait for nothing. The control loop repeats it until the pen is seen stopped."""
        if self.connected:
            self._link.stop()
            self._stop_unseen = True
            self._disarmed()
            self.stop_reason = reason or self.stop_reason

    async def clear(self, latch_id: int) -> None:
        """A person has seen why the pen stopped, and lets it be armed again.

        Args:
            latch_id: the latch the person was shown (`pen.state.latch_id`); a newer one is not cleared by it.

        Raises:
            PenRefusedError, CommandLostError, UncertainError, LinkError: see `Link.command`.
        """
        self._need_link()
        await self._command("clear", lambda command_id: Clear(command_id, latch_id))
        self.stop_reason = None

    def acknowledge_events(self, up_to: int) -> None:
        """Events up to this number are recorded; the pen may forget them."""
        if self.connected:
            self._link.acknowledge_events(up_to)

    async def _command(self, name: str, make: Callable[[int], Command]) -> Answer:
        try:
            return await self._link.command(name, make)
        except UncertainError as error:
            self.stop_now(str(error))
            raise
        except asyncio.CancelledError:
            # Nobody waits for its outcome any more, so nobody may be left to stop what it begins.
            self.stop_now(f"the command to {name} was called off")
            raise

    def _need_link(self) -> None:
        if self._lost_why is not None:
            raise LinkError(f"no line to the pen: {self._lost_why}")

    def _need_grant(self, depth_mm: float, rate_hz: float) -> tuple[Grant, int, SetPoint]:
        self._need_link()
        if self._grant is None:
            raise DisarmedError(self._why_disarmed())
        refusal = self._grant.refuse_setpoint(depth_mm, rate_hz)
        if refusal is not None:
            raise LimitError(refusal)
        return self._grant, self._arm_epoch, SetPoint(round(depth_mm * 1000), round(rate_hz * 10))

    def _why_disarmed(self) -> str:
        if self.stop_reason is None and self.state.state is PenState.LATCHED:
            return f"the pen stopped: {self.state.cause.name.lower().replace('_', ' ')}"
        return self.stop_reason or "the pen is not armed: arm it with a grant first"

    def _disarmed(self) -> None:
        self._grant = self._guard = None

    async def _until(self, states: tuple[PenState, ...], again: Callable[[], None] = lambda: None) -> State:
        """Wait for the pen to say that it is in one of these; what it said before does not count."""
        deadline_s = self._loop.time() + STOP_GIVES_UP_S
        while self.connected and self._loop.time() < deadline_s:
            try:
                async with asyncio.timeout(STOP_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                again()
                continue
            self._changed.clear()
            if self.connected and self.state.state in states:
                return self.state
        self.stop_now("the pen does not show that it has stopped")
        raise LinkError("told to stop, but not seen stopped: lift the pen; without this program it stops in 250 ms")

    # --- what the pen says -------------------------------------------------------------------------------------------

    def samples(self) -> Listener[SampleArray]:
        """Batches of samples (dtype `protocols.samples.SAMPLE`) from now on, until the pen is closed.

        The iterator raises `LinkError` when the line is lost; close it when you listen no more. Whoever does not keep
        up (ten seconds) while the needles run stops the pen, and then gets a `PenError`: what nobody watches must not
        run.
        """
        return self._samples.follow()

    def events(self) -> Listener[Event]:
        """The pen's events, across reconnections and without gaps, until the pen is closed.

        The first to listen also hears what came before. A reboot begins the numbers anew.
        """
        return self._events.follow()

    def _hear(self, message: State | Event | Samples) -> None:
        if isinstance(message, Samples):
            self._on_samples(message.records)
        elif isinstance(message, Event):
            self._on_event(message)
        else:
            self._on_state(message)

    def _on_samples(self, batch: SampleArray) -> None:
        self._sample_heard_s = self._loop.time()
        violation = self._guard.check(batch) if self._guard else None
        if violation is not None:
            self.stop_now(f"guard: {violation}")
        if not self._samples.put(batch) and self.state.state is PenState.RUNNING:
            self.stop_now("nobody reads the samples")

    def _on_event(self, event: Event) -> None:
        if event.number == self._last_event + 1:
            self._last_event = event.number
            self._events.put(event)
        elif event.number > self._last_event:
            self._link.ask_events(self._last_event)

    def _on_state(self, state: State) -> None:
        self._state = state
        if state.state is PenState.LATCHED:
            self._stop_unseen = False
            self._disarmed()
        # What the pen has already forgotten cannot be asked for.
        self._last_event = max(self._last_event, state.first_event - 1)
        if state.last_event > self._last_event:
            self._link.ask_events(self._last_event)
        self._changed.set()

    # --- the control loop --------------------------------------------------------------------------------------------

    async def _control(self) -> None:
        """Renew the lease while all is well; otherwise let the pen stop, and say why."""
        while True:
            if self.connected:
                self._watch(self._loop.time())
            await asyncio.sleep(RENEW_S)

    def _watch(self, now_s: float) -> None:
        if self.age_s > SILENT_S:
            self._link.lose("the pen has fallen silent")
            return
        running = self.state.state is PenState.RUNNING
        if self._stop_unseen or (running and self._guard is None):
            self._link.stop()
        elif running and now_s - self._sample_heard_s > BLIND_S:
            self.stop_now("the pen runs but sends no samples")
        elif self.age_s <= DEAF_S:
            self._link.renew()
