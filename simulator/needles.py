"""The needles' own state machine: idle, armed, running, stopping, latched. It alone moves the hardware.

It knows what is asked and what is measured, and nothing of frames, ids or hosts: `firmware.py` sees to who may ask.
Times are pen time in microseconds since boot, handed in.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from protocols.messages import Arm, Cartridge, Clear, Identity, Set, Start
from protocols.words import Cause, EventKind, PenState, Result
from simulator.limits import (
    STOP_RESERVE_STROKES,
    Broken,
    Caps,
    SetPoint,
    arm_breaks,
    battery_breaks,
    cartridge_breaks,
    set_point_breaks,
)
from simulator.ownership import Ownership
from simulator.physics import Readings
from simulator.sampler import signed
from simulator.selfcheck import SelfCheck

CONTROL_US: Final = {PenState.RUNNING: 5_000, PenState.STOPPING: 1_000}
IDLE_CONTROL_US: Final = 10_000


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


class Verdict(NamedTuple):
    """What became of a request: `value` is what OK brings."""

    result: Result
    broken: Broken | None = None
    value: int = 0


OK = Verdict(Result.OK)


class Needles:
    """The needles from power-on, retracted.

    `report` takes each event with its two numbers. `owner` says whether the lease lives.
    """

    def __init__(
        self,
        hardware: Hardware,
        identity: Identity,
        cartridge: Cartridge,
        used_cartridges: dict[int, int],
        owner: Ownership,
        report: Callable[[EventKind, int, int], None],
    ) -> None:
        self.cartridge = cartridge
        self.used_cartridges = used_cartridges
        self.state = PenState.IDLE
        self.cause = Cause.NONE
        self.latch_id = 0
        self.arm_epoch = 0
        self.caps: Caps | None = None
        self.deepest_um = 0
        """Deepest extension measured since the last arm."""
        self._hardware = hardware
        self._identity = identity
        self._owner = owner
        self._report = report
        self._check: SelfCheck | None = None
        self._armed_strokes = self._stop_strokes = 0
        self._crest_um = 0
        self._control_due_us = 0
        hardware.retract()
        self.readings = hardware.read()

    # --- what it is --------------------------------------------------------------------------------------------------

    @property
    def set_point(self) -> SetPoint:
        """What the needles do now; zeros when they do not run."""
        return self._check.wanted if self._check else SetPoint(0, 0)

    @property
    def budget_left(self) -> int:
        """Strokes that the arm still allows."""
        if self.caps is None:
            return 0
        return max(0, self.caps.stroke_budget - (self.readings.strokes - self._armed_strokes))

    def take_crest_um(self) -> int:
        """The deepest extension measured since this was last asked, so that no stroke escapes between samples."""
        crest_um, self._crest_um = self._crest_um, 0
        return crest_um

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def next_due_us(self) -> int:
        """When `watch` has something to do again, at the latest."""
        check, due_us = self._check, self._control_due_us
        return check.stall_us if check and check.stall_us < due_us else due_us

    def watch(self, now_us: int) -> None:
        """Look at lease and sensors, and stop for what they say."""
        readings = self._read(now_us)
        lease_ended = self._owner.lease_ends(now_us)
        if lease_ended and self.state in (PenState.RUNNING, PenState.ARMED):
            self.stop(Cause.LEASE_EXPIRED, now_us)
        elif self._check:
            cause = self._check.look(now_us, readings) or self._spent(self._check.caps)
            if cause is not Cause.NONE:
                self.stop(cause, now_us)
        elif self.state is PenState.STOPPING and readings.sleeve_um == 0:
            self._arrive(now_us)
        if now_us >= self._control_due_us:
            self._control_due_us = now_us + CONTROL_US.get(self.state, IDLE_CONTROL_US)

    def _spent(self, caps: Caps) -> Cause:
        if self.budget_left <= STOP_RESERVE_STROKES:
            return Cause.BUDGET_SPENT
        return Cause.NONE if self.cartridge.cartridge_id == caps.cartridge_id else Cause.CARTRIDGE_REMOVED

    def _read(self, now_us: int) -> Readings:
        self._hardware.advance(now_us)
        readings = self.readings = self._hardware.read()
        if readings.depth_um > self.deepest_um:
            self.deepest_um = readings.depth_um
        if readings.depth_um > self._crest_um:
            self._crest_um = readings.depth_um
        return readings

    # --- what may be asked -------------------------------------------------------------------------------------------

    def arm(self, arm: Arm, now_us: int) -> Verdict:
        """Take the caps of one area; while the needles run, stop instead."""
        if self.state is PenState.RUNNING:
            self.stop(Cause.ARMED_WHILE_RUNNING, now_us)
        if self.state is PenState.STOPPING:
            return Verdict(Result.WRONG_STATE)
        if self.state is PenState.LATCHED:
            return Verdict(Result.LATCHED)
        caps = Caps.of(arm)
        if broken := arm_breaks(caps, self._identity):
            return Verdict(Result.OVER_LIMIT, broken)
        if broken := cartridge_breaks(caps, self.cartridge, self.used_cartridges):
            return Verdict(Result.CARTRIDGE, broken)
        self._armed_strokes = self._read(now_us).strokes
        self.caps = caps
        self.arm_epoch += 1
        self.deepest_um = 0
        self.state = PenState.ARMED
        self._report(EventKind.ARMED, caps.area, self.arm_epoch)
        return Verdict(Result.OK, value=self.arm_epoch)

    def start(self, start: Start, now_us: int) -> Verdict:
        """Mark the cartridge and run."""
        if self.state is PenState.LATCHED:
            return Verdict(Result.LATCHED)
        if self.state is not PenState.ARMED or self.caps is None:
            return Verdict(Result.WRONG_STATE)
        caps = self.caps
        if refused := self._refuse(start, caps):
            return refused
        if broken := battery_breaks(self.readings.battery_pct):
            return Verdict(Result.OVER_LIMIT, broken)
        if broken := cartridge_breaks(caps, self.cartridge, self.used_cartridges):
            return Verdict(Result.CARTRIDGE, broken)
        self._mark_cartridge(caps)
        wanted = SetPoint(start.depth_um, start.rate_dhz)
        self._check = SelfCheck(now_us, self._read(now_us), caps, wanted)
        self.state = PenState.RUNNING
        self._control_due_us = now_us + CONTROL_US[PenState.RUNNING]
        self._hardware.drive(wanted.rate_dhz / 10, wanted.depth_um)
        self._report(EventKind.STARTED, wanted.depth_um, wanted.rate_dhz)
        return OK

    def set(self, command: Set, now_us: int) -> Verdict:
        """Change depth and rate while the needles run."""
        if self.state is PenState.LATCHED:
            return Verdict(Result.LATCHED)
        if self._check is None:
            return Verdict(Result.WRONG_STATE)
        if refused := self._refuse(command, self._check.caps):
            return refused
        wanted = SetPoint(command.depth_um, command.rate_dhz)
        self._check.change(now_us, wanted)
        self._hardware.advance(now_us)
        self._hardware.drive(wanted.rate_dhz / 10, wanted.depth_um)
        return OK

    def _refuse(self, command: Start | Set, caps: Caps) -> Verdict | None:
        """Why this set-point may not be driven now, if it may not."""
        if command.arm_epoch != self.arm_epoch:
            return Verdict(Result.STALE_ARM)
        if self._owner.lease_until_us is None:
            return Verdict(Result.NO_LEASE)
        broken = set_point_breaks(command, caps, self._identity, self.budget_left)
        return Verdict(Result.OVER_LIMIT, broken) if broken else None

    def _mark_cartridge(self, caps: Caps) -> None:
        """Write the use mark before the first stroke, on the tag and in the pen: a tag alone can be rewritten."""
        self.used_cartridges[caps.cartridge_id] = caps.treatment
        if self.cartridge.used_by != caps.treatment:
            self.cartridge = replace(self.cartridge, used_by=caps.treatment)
            self._report(EventKind.CARTRIDGE_MARKED, signed(caps.treatment), 0)

    def disarm(self, now_us: int) -> Verdict:
        """Retract and stop in good order, without a latch."""
        if self.state is PenState.LATCHED:
            return Verdict(Result.LATCHED)
        if self.caps is not None:
            self._report(EventKind.DISARMED, self.caps.area, 0)
            self._retract(now_us)
        return OK

    def clear(self, clear: Clear) -> Verdict:
        """End the latch that a person has seen."""
        if self.state is not PenState.LATCHED or clear.latch_id != self.latch_id:
            return Verdict(Result.WRONG_STATE)
        self.state, self.cause = PenState.IDLE, Cause.NONE
        self._report(EventKind.CLEARED, clear.latch_id, 0)
        return OK

    def stop(self, cause: Cause, now_us: int) -> None:
        """Retract, stop, forget the arm, and latch with `cause` once the needles are in. Safe to call in any state."""
        if self.state is PenState.LATCHED:
            return
        if self.cause is Cause.NONE:
            self.cause = cause
            self._report(EventKind.STOPPED, cause, self._owner.since_renewal_us(now_us))
        if self.state is not PenState.STOPPING:
            self._retract(now_us)

    def _retract(self, now_us: int) -> None:
        moving = self.state is PenState.RUNNING
        self._stop_strokes = self._read(now_us).strokes
        self._hardware.retract()
        self.caps = self._check = None
        self.state = PenState.STOPPING
        self._control_due_us = now_us + CONTROL_US[PenState.STOPPING]
        if not moving:
            self._arrive(now_us)

    def _arrive(self, now_us: int) -> None:
        """The needles are in."""
        if self.cause is Cause.NONE:
            self.state = PenState.IDLE
        else:
            self.state = PenState.LATCHED
            self.latch_id = self.latch_id % 0xFFFF + 1
        strokes = self.readings.strokes - self._stop_strokes
        self._report(EventKind.RETRACTED, self._owner.since_renewal_us(now_us), strokes)
