"""Wrong about how the needles run and stop."""
# ruff: noqa: ARG002, D102 - what a method is asked, and for what, is told where it is right

from dataclasses import replace

from protocols.messages import Start
from protocols.words import Cause, PenState, Result
from simulator.limits import Caps
from simulator.needles import Needles, Verdict
from simulator.physics import Readings
from simulator.selfcheck import SelfCheck

A_SECOND_US = 1_000_000


class _Blind(SelfCheck):
    """Sees no fault."""

    def look(self, now_us: int, readings: Readings) -> Cause:
        self.stall_us = now_us + A_SECOND_US  # or there would be something due now, for ever
        return Cause.NONE


class _Off(Needles):
    """Runs otherwise than asked, and does not notice."""

    depth_um = 0
    rate_share = 1.0

    def start(self, start: Start, now_us: int) -> Verdict:
        verdict = super().start(start, now_us)
        if verdict.result is Result.OK and self._check:
            self._check = _Blind(now_us, self.readings, self._check.caps, self._check.wanted)
            self._hardware.drive(start.rate_dhz / 10 * self.rate_share, start.depth_um + self.depth_um)
        return verdict


class RunsDeeper(_Off):
    """Needles go 0.3 mm deeper than asked, and the pen does not stop."""

    depth_um = 300


class RunsFaster(_Off):
    """Needles run at half as much again as asked, and the pen does not stop."""

    rate_share = 1.5


class LiesAboutDepth(_Off):
    """The depth that is told is a quarter of what the needles reach."""

    def _read(self, now_us: int) -> Readings:
        self._hardware.advance(now_us)
        readings = self._hardware.read()
        self.readings = replace(readings, depth_um=readings.depth_um // 4)
        self.deepest_um = max(self.deepest_um, self.readings.depth_um)
        self._crest_um = max(self._crest_um, self.readings.depth_um)
        return self.readings


class StandsStill(Needles):
    """RUNNING, and the motor is never switched on."""

    def start(self, start: Start, now_us: int) -> Verdict:
        verdict = super().start(start, now_us)
        if verdict.result is Result.OK and self._check:
            self._check = _Blind(now_us, self.readings, self._check.caps, self._check.wanted)
            self._hardware.retract()
        return verdict


class OverspendsBudget(Needles):
    """Strokes go on when the budget is spent."""

    def _spent(self, caps: Caps) -> Cause:
        return Cause.NONE


class StopsLate(Needles):
    """Needles go on for 300 ms after a stop."""

    _let_go_us: int | None = None

    def _retract(self, now_us: int) -> None:
        wanted, moving = self.set_point, self.state is PenState.RUNNING
        super()._retract(now_us)
        if moving:
            self._hardware.drive(wanted.rate_dhz / 10, wanted.depth_um)
            self._let_go_us = now_us + 300_000

    def watch(self, now_us: int) -> None:
        if self._let_go_us is not None and now_us >= self._let_go_us:
            self._let_go_us = None
            self._hardware.retract()
        super().watch(now_us)


class StopsOnlyWhenRunning(Needles):
    """STOP does nothing to a pen whose needles do not run."""

    def stop(self, cause: Cause, now_us: int) -> None:
        if self.state is PenState.RUNNING:
            super().stop(cause, now_us)


class StopsWithoutLatch(Needles):
    """After a stop the pen is IDLE."""

    def _arrive(self, now_us: int) -> None:
        self.cause = Cause.NONE
        super()._arrive(now_us)


class ArmOutlivesStop(Needles):
    """A stop does not forget the arm."""

    def _retract(self, now_us: int) -> None:
        caps = self.caps
        super()._retract(now_us)
        self.caps = caps


class LastCauseWins(Needles):
    """A latched pen takes the cause that comes last."""

    def stop(self, cause: Cause, now_us: int) -> None:
        if self.state is PenState.LATCHED:
            self.cause = cause
        super().stop(cause, now_us)


class LatchesAgain(Needles):
    """STOP gives a latched pen another latch id."""

    def stop(self, cause: Cause, now_us: int) -> None:
        self.latch_id += self.state is PenState.LATCHED
        super().stop(cause, now_us)


class LatchIdStays(Needles):
    """Every latch is number 1."""

    def _arrive(self, now_us: int) -> None:
        super()._arrive(now_us)
        self.latch_id = min(self.latch_id, 1)


class LatchClearsByItself(Needles):
    """A latch is over after a second."""

    _latched_us = 0

    def _arrive(self, now_us: int) -> None:
        super()._arrive(now_us)
        self._latched_us = now_us

    def watch(self, now_us: int) -> None:
        if self.state is PenState.LATCHED and now_us - self._latched_us >= A_SECOND_US:
            self.state, self.cause = PenState.IDLE, Cause.NONE
        super().watch(now_us)
