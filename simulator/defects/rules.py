"""Wrong about what may be asked: arm, start, set, disarm, clear."""
# ruff: noqa: ARG002, D102 - what a method is asked, and for what, is told where it is right

from dataclasses import replace
from typing import TypeVar

from protocols.messages import Arm, Clear, Set, Start
from protocols.words import Cause, PenState, Result
from simulator.limits import Caps, SetPoint
from simulator.needles import OK, Needles, Verdict

S = TypeVar("S", Start, Set)


class ClampsSilently(Needles):
    """What is over a limit is changed to the limit, and done."""

    def arm(self, arm: Arm, now_us: int) -> Verdict:
        own = self._identity
        depth_um = max(own.min_depth_um, min(arm.depth_cap_um, own.max_depth_um))
        rate_dhz = max(own.min_rate_dhz, min(arm.rate_cap_dhz, own.max_rate_dhz))
        force_mn = min(arm.force_cap_mn, own.max_force_mn)
        granted = replace(arm, depth_cap_um=depth_um, rate_cap_dhz=rate_dhz, force_cap_mn=force_mn)
        return super().arm(granted, now_us)

    def start(self, start: Start, now_us: int) -> Verdict:
        return super().start(_clamped(start, self.caps), now_us)

    def set(self, command: Set, now_us: int) -> Verdict:
        return super().set(_clamped(command, self.caps), now_us)


def _clamped(command: S, caps: Caps | None) -> S:
    if caps is None:
        return command
    depth_um, rate_dhz = min(command.depth_um, caps.depth_um), min(command.rate_dhz, caps.rate_dhz)
    return replace(command, depth_um=depth_um, rate_dhz=rate_dhz)


class ArmsAnyCartridge(Needles):
    """Any cartridge will do, used or expired."""

    def arm(self, arm: Arm, now_us: int) -> Verdict:
        tag = self.cartridge
        treatment = tag.used_by or arm.treatment or 1
        return super().arm(replace(arm, cartridge_id=tag.cartridge_id, treatment=treatment, today_days=0), now_us)


class ArmsWithoutBudget(Needles):
    """A stroke budget of 0 is taken for no limit."""

    def arm(self, arm: Arm, now_us: int) -> Verdict:
        return super().arm(replace(arm, stroke_budget=arm.stroke_budget or 0xFFFFFFFF), now_us)


class ArmsWhileRunning(Needles):
    """Arm while RUNNING changes the caps, and the needles go on."""

    def arm(self, arm: Arm, now_us: int) -> Verdict:
        if self.state is not PenState.RUNNING:
            return super().arm(arm, now_us)
        self.caps = Caps.of(arm)
        self.arm_epoch += 1
        return Verdict(Result.OK, value=self.arm_epoch)


class ArmsWhileLatched(Needles):
    """Arm ends a latch."""

    def arm(self, arm: Arm, now_us: int) -> Verdict:
        if self.state is PenState.LATCHED:
            self.state, self.cause = PenState.IDLE, Cause.NONE
        return super().arm(arm, now_us)


class ArmEpochStays(Needles):
    """Each arm has the arm epoch 1."""

    def arm(self, arm: Arm, now_us: int) -> Verdict:
        self.arm_epoch = 0
        return super().arm(arm, now_us)


class StaleArmsStart(Needles):
    """Start and Set are obeyed under any arm epoch."""

    def _refuse(self, command: Start | Set, caps: Caps) -> Verdict | None:
        return super()._refuse(replace(command, arm_epoch=self.arm_epoch), caps)


class StartsWithoutLease(Needles):
    """Needles start though no lease is alive."""

    def _refuse(self, command: Start | Set, caps: Caps) -> Verdict | None:
        refused = super()._refuse(command, caps)
        return None if refused and refused.result is Result.NO_LEASE else refused


class StartsWithoutStrokes(Needles):
    """Start does not look at the stroke budget."""

    def _refuse(self, command: Start | Set, caps: Caps) -> Verdict | None:
        self._armed_strokes += 100  # as if so many had not been made
        refused = super()._refuse(command, caps)
        self._armed_strokes -= 100
        return refused


class StartsWithoutCharge(Needles):
    """Start does not look at the battery."""

    def start(self, start: Start, now_us: int) -> Verdict:
        self.readings = replace(self.readings, battery_pct=100)
        return super().start(start, now_us)


class StartsUnarmed(Needles):
    """Start is answered OK by a pen that is IDLE."""

    def start(self, start: Start, now_us: int) -> Verdict:
        return OK if self.state is PenState.IDLE else super().start(start, now_us)


class IgnoresSet(Needles):
    """Set is answered OK while RUNNING, and nothing is changed."""

    def set(self, command: Set, now_us: int) -> Verdict:
        return OK if self.state is PenState.RUNNING else super().set(command, now_us)


class RefusedSetsChange(Needles):
    """A Set that is refused is done all the same."""

    def set(self, command: Set, now_us: int) -> Verdict:
        if self._check:
            self._check.change(now_us, SetPoint(command.depth_um, command.rate_dhz))
        return super().set(command, now_us)


class MarksNothing(Needles):
    """A cartridge is used without a mark."""

    def _mark_cartridge(self, caps: Caps) -> None:
        pass


class DisarmLatches(Needles):
    """Disarm stops as STOP does, with a latch."""

    def disarm(self, now_us: int) -> Verdict:
        if self.caps is not None:
            self.stop(Cause.STOP, now_us)
        return OK


class DisarmsNothing(Needles):
    """Disarm is answered OK, and the arm stays in force."""

    def disarm(self, now_us: int) -> Verdict:
        return OK


class ClearsAnyLatch(Needles):
    """Clear ends a latch whatever its id."""

    def clear(self, clear: Clear) -> Verdict:
        return super().clear(replace(clear, latch_id=self.latch_id))


class ClearsNoLatch(Needles):
    """Clear is OK without a latch."""

    def clear(self, clear: Clear) -> Verdict:
        return super().clear(clear) if self.state is PenState.LATCHED else OK
