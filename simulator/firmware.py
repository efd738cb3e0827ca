"""The pen's state machine: it decides, the host asks.

No I/O and no clock of its own: `handle(frame, now_us)` takes what came over a line, `step(now_us)` lets time pass, and
both return the messages to send. It holds its own envelope, caps, lease, stroke budget, latch and memories, and needs
nobody to be safe. The rules are numbered in `protocols/README.md`. It shares no limit code with the controller.
"""

from dataclasses import replace
from typing import Protocol

from protocols.framing import Frame, WireError
from protocols.messages import (
    WRAP,
    AckEvents,
    Answer,
    AnyMessage,
    Arm,
    AskCartridge,
    AskEvents,
    AskIdentity,
    AskState,
    Cartridge,
    Claim,
    Clear,
    Command,
    Disarm,
    Identity,
    Message,
    Release,
    Renew,
    Set,
    Settle,
    Start,
    State,
    Stop,
    decode,
)
from protocols.words import Cause, EventKind, PenLimit, PenState, Result, StateFlag
from simulator.limits import (
    STOP_RESERVE_STROKES,
    Broken,
    Caps,
    SetPoint,
    arm_breaks,
    cartridge_breaks,
    set_point_breaks,
    start_breaks,
)
from simulator.memory import CommandMemory, EventMemory
from simulator.ownership import Claimed, Ownership
from simulator.physics import Readings
from simulator.sampler import Sampler, signed
from simulator.selfcheck import SelfCheck

HEARTBEAT_US = 50_000
CONTROL_US = {PenState.RUNNING: 5_000, PenState.STOPPING: 1_000}
IDLE_CONTROL_US = 10_000
HOME_UM = 20
"""A sleeve reading up to this is home, sensor noise included."""


class Hardware(Protocol):
    """What the firmware moves and reads."""

    def advance(self, now_us: int) -> None:
        """Let the mechanics run up to pen time `now_us`."""

    def read(self) -> Readings:
        """Read all sensors."""

    def drive(self, rate_hz: float, depth_um: int) -> None:
        """Run the motor and set the sleeve."""

    def retract(self) -> None:
        """Pull the needles in and brake the motor."""


class Firmware:
    """One pen, from power-on. `now_us` is pen time since boot and never runs backwards.

    `cartridge` may be replaced from outside, as fingers would. `used_cartridges` (id -> treatment) is the part of the
    memory that survives a reboot: hand the same dictionary to the next boot.
    """

    def __init__(
        self,
        hardware: Hardware,
        identity: Identity,
        cartridge: Cartridge,
        used_cartridges: dict[int, int] | None = None,
    ) -> None:
        self.identity = identity
        self.cartridge = cartridge
        self.used_cartridges = {} if used_cartridges is None else used_cartridges
        self.state = PenState.IDLE
        self.rejected = 0
        """Frames that were well made but stale, repeated or unreadable."""
        self._hardware = hardware
        self._commands = CommandMemory()
        self._events = EventMemory()
        self._out: list[AnyMessage] = []
        self._now_us = 0
        self._owner = Ownership(identity.boot_id, identity.lease_ms * 1000)
        self._caps: Caps | None = None
        self._arm_epoch = 0
        self._armed_strokes = 0
        self._wanted = SetPoint(0, 0)
        self._check: SelfCheck | None = None
        self._cause = Cause.NONE
        self._latch_id = 0
        self._stop_strokes = 0
        self._deepest_um = 0
        self._sampler = Sampler(identity.sample_rate_hz)
        self._next_control_us = self._next_heartbeat_us = self._next_sample_us = 0
        hardware.retract()
        self._readings = hardware.read()
        self._event(EventKind.BOOTED)

    # --- the two entrances -------------------------------------------------------------------------------------------

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        """Take one frame off a line at `now_us`; return what to send. Never raises for what a frame may hold."""
        self._run(now_us)
        try:
            message = decode(frame)
        except WireError:
            self.rejected += 1
            return self._sent()
        match message:
            case Stop():
                self._stop(Cause.STOP)
                self._say_state()
            case AskIdentity():
                self._out.append(self.identity)
            case AskState():
                self._say_state()
            case AskCartridge():
                self._out.append(self.cartridge)
            case AskEvents():
                self._out.extend(self._events.after(message.after))
            case Claim():
                self._on_claim(message, frame)
            case Message():
                self._on_owner(message, frame)
        return self._sent()

    def step(self, now_us: int) -> list[AnyMessage]:
        """Let time pass up to `now_us`; return what to send."""
        self._run(now_us)
        return self._sent()

    @property
    def next_due_us(self) -> int:
        """When `step` has something to do again, at the latest."""
        due = min(self._next_control_us, self._next_heartbeat_us, self._next_sample_us)
        lease_until_us = self._owner.lease_until_us
        return due if lease_until_us is None else min(due, lease_until_us)

    @property
    def epoch(self) -> int:
        """The epoch every frame of the pen carries: of the last claim, or of the boot."""
        return self._owner.epoch

    @property
    def area(self) -> int:
        """Area code of the arm, 0 when disarmed."""
        return self._caps.area if self._caps else 0

    # --- time --------------------------------------------------------------------------------------------------------

    def _run(self, now_us: int) -> None:
        """Do all that falls due up to now, each thing at its own time, so that late calls change nothing."""
        while (due_us := self.next_due_us) <= now_us:
            self._tick(due_us)
        self._now_us = now_us

    def _tick(self, due_us: int) -> None:
        self._now_us = due_us
        self._hardware.advance(due_us)
        readings = self._readings = self._hardware.read()
        self._sampler.watch(readings)
        self._deepest_um = max(self._deepest_um, readings.depth_um)
        self._watch_lease()
        if self.state is PenState.RUNNING:
            self._watch_run(readings)
        elif self.state is PenState.STOPPING and readings.sleeve_um <= HOME_UM:
            self._arrive()
        if due_us >= self._next_control_us:
            self._next_control_us = due_us + CONTROL_US.get(self.state, IDLE_CONTROL_US)
        if due_us >= self._next_sample_us:
            self._next_sample_us += self._sampler.period_us
            running, wanted = self.state is PenState.RUNNING, self._owner.claimed
            batch = self._sampler.take(due_us, readings, running=running, wanted=wanted)
            if batch is not None:
                self._out.append(batch)
        if due_us >= self._next_heartbeat_us:
            self._say_state()

    def _watch_lease(self) -> None:
        if self._owner.lease_ends(self._now_us) and self.state in (PenState.RUNNING, PenState.ARMED):
            self._stop(Cause.LEASE_EXPIRED)
        if self._owner.has_lapsed(self._now_us):
            self._release(lapsed=True)

    def _watch_run(self, readings: Readings) -> None:
        if self._check is None or self._caps is None:
            return
        cause = self._check.look(self._now_us, readings)
        if cause is Cause.NONE and self._budget_left() <= STOP_RESERVE_STROKES:
            cause = Cause.BUDGET_SPENT
        if cause is Cause.NONE and self.cartridge.cartridge_id != self._caps.cartridge_id:
            cause = Cause.CARTRIDGE_REMOVED
        if cause is not Cause.NONE:
            self._stop(cause)

    # --- who may speak -----------------------------------------------------------------------------------------------

    def _on_claim(self, claim: Claim, frame: Frame) -> None:
        match self._owner.claim(claim, frame, self._now_us):
            case Claimed.BY_OTHER:
                self._refuse(claim, Result.CLAIMED_BY_OTHER)
            case Claimed.STALE:
                self._refuse(claim, Result.STALE_EPOCH)
            case Claimed.REPEATED:
                self._out.append(self._ok(claim))
            case Claimed.NEW:
                if self.state in (PenState.RUNNING, PenState.ARMED):
                    self._stop(Cause.CLAIM_LOST)
                answer = self._ok(claim)
                self._commands.restart(answer)
                self._event(EventKind.CLAIMED)
                self._out.append(answer)
                self._say_state()

    def _on_owner(self, message: Message, frame: Frame) -> None:
        admitted = self._owner.admits(frame)
        if admitted is not Result.OK:
            self._refuse(message, admitted)
        elif self._owner.is_fresh(frame):
            self._obey(message)
        else:
            self.rejected += 1

    def _obey(self, message: Message) -> None:
        match message:
            case Renew():
                self.rejected += not self._owner.renew(message.seen_t_us, self._now_us)
            case AckEvents():
                self._events.forget(message.up_to)
            case Settle():
                self._out.append(self._commands.settle(message.command_id))
            case Arm() | Start() | Set() | Disarm() | Clear() | Release():
                self._once(message)
            case _:
                self.rejected += 1

    def _once(self, command: Arm | Start | Set | Disarm | Clear | Release) -> None:
        """Execute a command unless its id is spent; answer a repeat from memory."""
        known = self._commands.recall(command.command_id)
        if known is not None:
            self._out.append(known)
            return
        if self._commands.is_spent(command.command_id):
            self._refuse(command, Result.STALE_ID)
            return
        match command:
            case Arm():
                answer = self._on_arm(command)
            case Start():
                answer = self._on_start(command)
            case Set():
                answer = self._on_set(command)
            case Disarm():
                answer = self._on_disarm(command)
            case Clear():
                answer = self._on_clear(command)
            case Release():
                answer = self._ok(command)
                self._release(lapsed=False)
        self._commands.remember(answer)
        self._out.append(answer)
        self._say_state()

    # --- the commands ------------------------------------------------------------------------------------------------

    def _on_arm(self, arm: Arm) -> Answer:
        if self.state is PenState.RUNNING:
            self._stop(Cause.ARMED_WHILE_RUNNING)
        if self.state is PenState.STOPPING:
            return self._no(arm, Result.WRONG_STATE)
        if self.state is PenState.LATCHED:
            return self._no(arm, Result.LATCHED)
        broken = arm_breaks(arm, self.identity)
        if broken:
            return self._over(arm, broken)
        broken = cartridge_breaks(arm, self.cartridge, self.used_cartridges)
        if broken:
            return self._over(arm, broken, Result.CARTRIDGE)
        self._caps = Caps(
            arm.area,
            arm.depth_cap_um,
            arm.rate_cap_dhz,
            arm.force_cap_mn,
            arm.stroke_budget,
            arm.cartridge_id,
            arm.treatment,
        )
        self._arm_epoch += 1
        self._armed_strokes = self._readings.strokes
        self._deepest_um = 0
        self.state = PenState.ARMED
        self._event(EventKind.ARMED, arm.area, self._arm_epoch)
        return self._ok(arm, self._arm_epoch)

    def _on_start(self, start: Start) -> Answer:
        caps = self._caps_for(start, PenState.ARMED)
        if isinstance(caps, Answer):
            return caps
        broken = start_breaks(self._readings.battery_pct, self.cartridge, caps)
        if broken:
            wrong_cartridge = broken.limit is PenLimit.CARTRIDGE_OTHER
            return self._over(start, broken, Result.CARTRIDGE if wrong_cartridge else Result.OVER_LIMIT)
        self._mark_cartridge(caps)
        self._wanted = SetPoint(start.depth_um, start.rate_dhz)
        self._check = SelfCheck(self._now_us, self._readings, caps, self._wanted)
        self.state = PenState.RUNNING
        self._next_control_us = self._now_us + CONTROL_US[PenState.RUNNING]
        self._drive()
        self._event(EventKind.STARTED, start.depth_um, start.rate_dhz)
        return self._ok(start)

    def _on_set(self, command: Set) -> Answer:
        caps = self._caps_for(command, PenState.RUNNING)
        if isinstance(caps, Answer):
            return caps
        self._wanted = SetPoint(command.depth_um, command.rate_dhz)
        if self._check:
            self._check.change(self._now_us, self._wanted)
        self._drive()
        return self._ok(command)

    def _caps_for(self, command: Start | Set, needed: PenState) -> Caps | Answer:
        """The caps a set-point was found to be within, or the answer that refuses it."""
        if self.state is PenState.LATCHED:
            return self._no(command, Result.LATCHED)
        if self.state is not needed or self._caps is None:
            return self._no(command, Result.WRONG_STATE)
        if command.arm_epoch != self._arm_epoch:
            return self._no(command, Result.STALE_ARM)
        if self._owner.lease_until_us is None:
            return self._no(command, Result.NO_LEASE)
        broken = set_point_breaks(command, self._caps, self.identity, self._budget_left())
        return self._over(command, broken) if broken else self._caps

    def _drive(self) -> None:
        self._hardware.advance(self._now_us)
        self._hardware.drive(self._wanted.rate_dhz / 10, self._wanted.depth_um)

    def _mark_cartridge(self, caps: Caps) -> None:
        """Write the use mark before the first stroke, on the tag and in the pen: a tag alone can be rewritten."""
        self.used_cartridges[caps.cartridge_id] = caps.treatment
        if self.cartridge.used_by != caps.treatment:
            self.cartridge = replace(self.cartridge, used_by=caps.treatment)
            self._event(EventKind.CARTRIDGE_MARKED, signed(caps.treatment))

    def _on_disarm(self, disarm: Disarm) -> Answer:
        if self.state is PenState.LATCHED:
            return self._no(disarm, Result.LATCHED)
        self._disarm()
        return self._ok(disarm)

    def _on_clear(self, clear: Clear) -> Answer:
        if self.state is not PenState.LATCHED or clear.latch_id != self._latch_id:
            return self._no(clear, Result.WRONG_STATE)
        self.state, self._cause = PenState.IDLE, Cause.NONE
        self._event(EventKind.CLEARED, clear.latch_id)
        return self._ok(clear)

    # --- stopping ----------------------------------------------------------------------------------------------------

    def button(self) -> None:
        """The person holding the pen presses its own button, which can only stop."""
        self._stop(Cause.BUTTON)

    def _stop(self, cause: Cause) -> None:
        """Retract, stop, forget the arm, and latch with `cause` once the needles are in. Safe to call in any state."""
        if self.state is PenState.LATCHED:
            return
        if self._cause is Cause.NONE:
            self._cause = cause
            self._event(EventKind.STOPPED, cause, self._owner.since_renewal_us(self._now_us))
        self._retract()

    def _disarm(self) -> None:
        if self._caps is not None:
            self._event(EventKind.DISARMED, self._caps.area)
            self._retract()

    def _retract(self) -> None:
        if self.state is PenState.STOPPING:
            return
        self._hardware.advance(self._now_us)
        self._hardware.retract()
        self._stop_strokes = self._readings.strokes
        moving = self.state is PenState.RUNNING
        self._caps, self._check = None, None
        self._wanted = SetPoint(0, 0)
        self.state = PenState.STOPPING
        self._next_control_us = self._now_us + CONTROL_US[PenState.STOPPING]
        if not moving:
            self._arrive()

    def _arrive(self) -> None:
        """The needles are in."""
        if self._cause is Cause.NONE:
            self.state = PenState.IDLE
        else:
            self.state = PenState.LATCHED
            self._latch_id = self._latch_id % 0xFFFF + 1
        strokes = self._readings.strokes - self._stop_strokes
        self._event(EventKind.RETRACTED, self._owner.since_renewal_us(self._now_us), strokes)
        self._say_state()

    def _release(self, *, lapsed: bool) -> None:
        self._disarm()
        self._owner.release()
        self._event(EventKind.RELEASED, int(lapsed))

    # --- what is said ------------------------------------------------------------------------------------------------

    def _sent(self) -> list[AnyMessage]:
        out, self._out = self._out, []
        return out

    def _ok(self, command: Command, value: int = 0) -> Answer:
        return Answer(command.command_id, command.TYPE, Result.OK, PenLimit.NONE, value)

    def _no(self, command: Command, result: Result) -> Answer:
        return Answer(command.command_id, command.TYPE, result, PenLimit.NONE, 0)

    def _over(self, command: Command, broken: Broken, result: Result = Result.OVER_LIMIT) -> Answer:
        self._event(EventKind.REFUSED, broken.limit, broken.asked)
        return Answer(command.command_id, command.TYPE, result, broken.limit, broken.value)

    def _refuse(self, message: Message, result: Result) -> None:
        """Say no to somebody who may not command; such a no is not remembered as the id's outcome."""
        if isinstance(message, Command):
            self._out.append(self._no(message, result))
        else:
            self._say_state()

    def _event(self, kind: EventKind, a: int = 0, b: int = 0) -> None:
        self._out.append(self._events.add(self._now_us % WRAP, kind, a, b))

    def _budget_left(self) -> int:
        if self._caps is None:
            return 0
        return max(0, self._caps.stroke_budget - (self._readings.strokes - self._armed_strokes))

    def _say_state(self) -> None:
        self._next_heartbeat_us = self._now_us + HEARTBEAT_US
        flags = StateFlag(0)
        if self.state not in (PenState.RUNNING, PenState.STOPPING):
            flags |= StateFlag.RETRACTED
        if self._owner.claimed:
            flags |= StateFlag.CLAIMED
        if self.cartridge.cartridge_id:
            flags |= StateFlag.CARTRIDGE_PRESENT
        readings = self._readings
        self._out.append(
            State(
                boot_id=self.identity.boot_id,
                t_us=self._now_us % WRAP,
                state=self.state,
                cause=self._cause,
                latch_id=self._latch_id,
                flags=flags,
                arm_epoch=self._arm_epoch if self._caps else 0,
                area=self.area,
                depth_set_um=self._wanted.depth_um,
                rate_set_dhz=self._wanted.rate_dhz,
                deepest_um=min(self._deepest_um, 0xFFFF),
                strokes=readings.strokes % WRAP,
                budget_left=self._budget_left(),
                last_command_id=self._commands.last_executed,
                first_event=self._events.first,
                last_event=self._events.last,
                battery_pct=readings.battery_pct,
                temperature_dc=readings.temperature_dc,
            )
        )
