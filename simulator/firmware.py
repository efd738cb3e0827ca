"""The pen's firmware: it decides, the host asks.

No I/O and no clock of its own: `handle(frame, now_us)` takes what came over a line, `step(now_us)` lets time pass, and
both return the messages to send. Here is who may speak, and what is said; `needles.py` moves. Envelope, caps, lease,
stroke budget, latch and memories are the pen's own, and it needs nobody to be safe. The rules are numbered in
`protocols/README.md`. It shares no limit code with the controller.
"""

from typing import Final

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
from simulator.memory import CommandMemory, EventMemory
from simulator.needles import OK, Hardware, Needles, Verdict
from simulator.ownership import Claimed, Ownership
from simulator.sampler import Sampler

HEARTBEAT_US: Final = 50_000
# Plain numbers: joining flags takes longer than all the rest of a heartbeat.
_RETRACTED: Final = int(StateFlag.RETRACTED)
_CLAIMED: Final = int(StateFlag.CLAIMED)
_CARTRIDGE_PRESENT: Final = int(StateFlag.CARTRIDGE_PRESENT)


class Firmware:
    """One pen, from power-on. `now_us` is pen time since boot and never runs backwards.

    `used_cartridges` (id -> treatment) is the part of the memory that survives a reboot: hand the same dictionary to
    the next boot.
    """

    def __init__(
        self,
        hardware: Hardware,
        identity: Identity,
        cartridge: Cartridge,
        used_cartridges: dict[int, int] | None = None,
    ) -> None:
        self.identity = identity
        self.used_cartridges = {} if used_cartridges is None else used_cartridges
        self.rejected = 0
        """Frames that were well made but stale, repeated or unreadable."""
        self._commands = CommandMemory()
        self._events = EventMemory()
        self._out: list[AnyMessage] = []
        self._now_us = 0
        self._owner = Ownership(identity.boot_id, identity.lease_ms * 1000)
        self._needles = Needles(hardware, identity, cartridge, self.used_cartridges, self._owner, self._event)
        self._said = self._needles.state
        self._sampler = Sampler(identity.sample_rate_hz)
        self._next_heartbeat_us = self._next_sample_us = 0
        self._event(EventKind.BOOTED)

    # --- the entrances -----------------------------------------------------------------------------------------------

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
                self._needles.stop(Cause.STOP, now_us)
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
            case _:
                self.rejected += 1
        return self._sent()

    def step(self, now_us: int) -> list[AnyMessage]:
        """Let time pass up to `now_us`; return what to send."""
        self._run(now_us)
        return self._sent()

    def button(self) -> None:
        """The person holding the pen presses its own button, which can only stop."""
        self._needles.stop(Cause.BUTTON, self._now_us)

    @property
    def next_due_us(self) -> int:
        """When `step` has something to do again, at the latest."""
        due_us = min(self._needles.next_due_us, self._next_heartbeat_us, self._next_sample_us)
        lease_until_us = self._owner.lease_until_us
        return due_us if lease_until_us is None or lease_until_us > due_us else lease_until_us

    @property
    def epoch(self) -> int:
        """The epoch every frame of the pen carries: of the last claim, or of the boot."""
        return self._owner.epoch

    @property
    def state(self) -> PenState:
        """What the pen is doing."""
        return self._needles.state

    @property
    def area(self) -> int:
        """Area code of the arm, 0 when disarmed."""
        return self._needles.caps.area if self._needles.caps else 0

    @property
    def cartridge(self) -> Cartridge:
        """The cartridge that is in. It may be replaced from outside, as fingers would."""
        return self._needles.cartridge

    @cartridge.setter
    def cartridge(self, cartridge: Cartridge) -> None:
        self._needles.cartridge = cartridge

    # --- time --------------------------------------------------------------------------------------------------------

    def _run(self, now_us: int) -> None:
        """Do all that falls due up to now, each thing at its own time, so that late calls change nothing."""
        while (due_us := self.next_due_us) <= now_us:
            self._tick(due_us)
        self._now_us = now_us

    def _tick(self, due_us: int) -> None:
        self._now_us = due_us
        self._needles.watch(due_us)
        if self._owner.has_lapsed(due_us):
            self._release(lapsed=True)
            self._say_state()
        if due_us >= self._next_sample_us:
            self._next_sample_us += self._sampler.period_us
            batch = self._sampler.take(
                due_us,
                self._needles.readings,
                self._needles.take_crest_um(),
                running=self.state is PenState.RUNNING,
                wanted=self._owner.claimed,
            )
            if batch is not None:
                self._out.append(batch)
        beat = due_us >= self._next_heartbeat_us
        if beat:
            # Whatever else was said meanwhile, and to whom: the owner's heartbeats do not wait for it.
            self._next_heartbeat_us += HEARTBEAT_US
        if beat or self.state is not self._said:
            self._say_state()

    # --- who may speak -----------------------------------------------------------------------------------------------

    def _on_claim(self, claim: Claim, frame: Frame) -> None:
        claimed = self._owner.claim(claim, frame, self._now_us)
        if claimed is Claimed.NEW:
            self._begin_epoch(self._answer(claim, OK))
        elif claimed is Claimed.REPEATED:
            self._out.append(self._answer(claim, OK))
        else:
            self._refuse(claim, Result.STALE_EPOCH if claimed is Claimed.STALE else Result.CLAIMED_BY_OTHER)

    def _begin_epoch(self, answer: Answer) -> None:
        if self.state in (PenState.RUNNING, PenState.ARMED):
            self._needles.stop(Cause.CLAIM_LOST, self._now_us)
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
        answer = self._answer(command, self._execute(command))
        self._commands.remember(answer)
        self._out.append(answer)
        self._say_state()

    def _execute(self, command: Arm | Start | Set | Disarm | Clear | Release) -> Verdict:
        match command:
            case Arm():
                return self._needles.arm(command, self._now_us)
            case Start():
                return self._needles.start(command, self._now_us)
            case Set():
                return self._needles.set(command, self._now_us)
            case Disarm():
                return self._needles.disarm(self._now_us)
            case Clear():
                return self._needles.clear(command)
        self._release(lapsed=False)
        return OK

    def _release(self, *, lapsed: bool) -> None:
        self._needles.disarm(self._now_us)
        self._owner.release()
        self._event(EventKind.RELEASED, int(lapsed))

    # --- what is said ------------------------------------------------------------------------------------------------

    def _sent(self) -> list[AnyMessage]:
        out, self._out = self._out, []
        return out

    def _answer(self, command: Command, verdict: Verdict) -> Answer:
        if verdict.broken is None:
            return Answer(command.command_id, command.TYPE, verdict.result, PenLimit.NONE, verdict.value)
        limit, value, asked = verdict.broken
        self._event(EventKind.REFUSED, limit, asked)
        return Answer(command.command_id, command.TYPE, verdict.result, limit, value)

    def _refuse(self, message: Message, result: Result) -> None:
        """Say no to somebody who may not command; such a no is not remembered as the id's outcome."""
        if isinstance(message, Command):
            self._out.append(self._answer(message, Verdict(result)))
        else:
            self._say_state()

    def _event(self, kind: EventKind, a: int = 0, b: int = 0) -> None:
        self._out.append(self._events.add(self._now_us % WRAP, kind, a, b))

    def _say_state(self) -> None:
        needles, readings = self._needles, self._needles.readings
        self._said = needles.state
        flags = 0
        if needles.state not in (PenState.RUNNING, PenState.STOPPING):
            flags |= _RETRACTED
        if self._owner.claimed:
            flags |= _CLAIMED
        if needles.cartridge.cartridge_id:
            flags |= _CARTRIDGE_PRESENT
        self._out.append(
            State(
                boot_id=self.identity.boot_id,
                t_us=self._now_us % WRAP,
                state=needles.state,
                cause=needles.cause,
                latch_id=needles.latch_id,
                flags=StateFlag(flags),
                arm_epoch=needles.arm_epoch if needles.caps else 0,
                area=self.area,
                depth_set_um=needles.set_point.depth_um,
                rate_set_dhz=needles.set_point.rate_dhz,
                deepest_um=min(needles.deepest_um, 0xFFFF),
                strokes=readings.strokes % WRAP,
                budget_left=needles.budget_left,
                last_command_id=self._commands.last_executed,
                first_event=self._events.first,
                last_event=self._events.last,
                battery_pct=readings.battery_pct,
                temperature_dc=readings.temperature_dc,
            )
        )
