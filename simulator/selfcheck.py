"""What the pen notices by itself, from its sensors alone, while the needles run.

Own code for the pen's own limits: the host's guard judges the same samples with another hand.
"""

import math
from typing import Final

from protocols.words import Cause
from simulator.limits import Caps, SetPoint
from simulator.physics import Readings

DEPTH_TOLERANCE_UM: Final = 100
"""H01: needles or a sleeve this far beyond the cap, or a sleeve this far from its set-point, end the run."""
DRIFT_TOLERANCE_UM: Final = 80
"""H11: a drift of 0.1 mm must show, and in each of a few crests in a row: so less, by the noise of both sensors."""
DEPTH_STROKES: Final = 3
"""One odd crest is noise; this many in a row are a fault."""
STUCK_US: Final = 100_000
"""H11: two strokes at the slowest rate; a depth sensor that has not moved a micrometre meanwhile is stuck."""
RATE_TOLERANCE: Final = 1.10
"""H13: more than a tenth above the set rate is a runaway motor."""
RATE_HOLD_US: Final = 5_000
"""One odd reading is noise; the next control tick confirms it, well within three strokes."""
STALL_STROKES: Final = 2.0
"""H12: no stroke while two should have ended, which leaves one of the bound of three to come home."""
FROZEN_US: Final = 500_000
"""H14: contact is told by the force. Its noise never lets a reading stand for so long, not even at zero in the air."""
FORCE_HOLD_US: Final = 100_000
"""A tap against bone is shorter than this; pressing too hard is longer."""
SETTLE_US: Final = 200_000
"""Motor and sleeve are never slower to reach a set-point than evenly in this time."""
BATTERY_EMPTY_PCT: Final = 3
TEMPERATURE_MAX_DC: Final = 600


class Expected:
    """The band in which a driven quantity may be: it opens at once to a new set-point, then closes on it."""

    def __init__(self, now_us: int, start: float, wanted: float) -> None:
        self._low = self._high = start
        self._wanted = start
        self._since_us = now_us
        self.change(now_us, wanted)

    def change(self, now_us: int, wanted: float) -> None:
        """There is a new set-point."""
        low, high = self.at(now_us)
        self._low, self._high = min(low, wanted), max(high, wanted)
        self._wanted, self._since_us = wanted, now_us

    def at(self, now_us: int) -> tuple[float, float]:
        """The least and the most it may be now."""
        left = 1 - (now_us - self._since_us) / SETTLE_US
        if left <= 0:
            return self._wanted, self._wanted
        return self._wanted - (self._wanted - self._low) * left, self._wanted + (self._high - self._wanted) * left


class Held:
    """Whether something has been so without a break for long enough."""

    def __init__(self, hold_us: int) -> None:
        self._hold_us = hold_us
        self._since_us: int | None = None

    def still(self, now_us: int, so: bool) -> bool:
        """Note whether it is so now; true once it has been for the time to hold."""
        if not so:
            self._since_us = None
        elif self._since_us is None:
            self._since_us = now_us
        return self._since_us is not None and now_us - self._since_us >= self._hold_us


class SelfCheck:
    """Judges the readings of one run. `look` is called at every control tick and keeps no more than a few numbers."""

    def __init__(self, now_us: int, readings: Readings, caps: Caps, wanted: SetPoint) -> None:
        self.caps = caps
        self.wanted = wanted
        self._rate_set_dhz = Expected(now_us, 0, wanted.rate_dhz)
        self._depth_set_um = Expected(now_us, 0, wanted.depth_um)
        self._strokes = readings.strokes
        self._stroke_us = now_us
        self.stall_us = now_us + SETTLE_US
        """When the motor has stalled if no stroke ends before: a moment to look, besides the control ticks."""
        self._depth_um = readings.depth_um
        self._crest_um = 0
        self._sleeve_um = self._lowest_um = self._highest_um = float(readings.sleeve_um)
        self._odd_crests = 0
        self._force_mn = readings.force_mn
        self._fast, self._pressed = Held(RATE_HOLD_US), Held(FORCE_HOLD_US)
        self._stuck, self._frozen = Held(STUCK_US), Held(FROZEN_US)
        self._turns = False
        """Whether a stroke has ended: the first one may have begun anywhere."""
        self._took_us = math.inf
        """How long the newest whole stroke took."""

    def change(self, now_us: int, wanted: SetPoint) -> None:
        """A new set-point was accepted; motor and sleeve may be anywhere between the old and the new."""
        self.wanted = wanted
        self._rate_set_dhz.change(now_us, wanted.rate_dhz)
        self._depth_set_um.change(now_us, wanted.depth_um)

    def look(self, now_us: int, readings: Readings) -> Cause:
        """The first fault these readings show, or `Cause.NONE`."""
        return (
            self._depth(now_us, readings)
            or self._motor(now_us, readings)
            or self._force(now_us, readings)
            or self._supply(readings)
        )

    def _depth(self, now_us: int, readings: Readings) -> Cause:
        cap_um = self.caps.depth_um + DEPTH_TOLERANCE_UM
        if readings.depth_um > cap_um or readings.sleeve_um > cap_um:
            return Cause.OVER_DEPTH
        # A shallow reading may rest at zero for long; stuck there, it is not off by more than the tolerance.
        same = readings.depth_um == self._depth_um and self.wanted.depth_um > DEPTH_TOLERANCE_UM
        stuck = self._stuck.still(now_us, same)
        low_um, high_um = self._depth_set_um.at(now_us)
        lost = _off(readings.sleeve_um, low_um, high_um, DEPTH_TOLERANCE_UM)
        # Within what is expected, a reading of the sleeve is better than its set-point; beyond, it is but noise.
        sleeve_um = min(max(readings.sleeve_um, low_um), high_um)
        odd = self._stroke(readings, sleeve_um)
        self._depth_um, self._sleeve_um = readings.depth_um, sleeve_um
        return Cause.DEPTH_SENSOR if stuck or lost or odd else Cause.NONE

    def _stroke(self, readings: Readings, sleeve_um: float) -> bool:
        """Hold the crest of a stroke that ended against where the sleeve stood meanwhile; true after many odd ones."""
        if readings.depth_um > self._crest_um:
            self._crest_um = readings.depth_um
        if sleeve_um < self._lowest_um:
            self._lowest_um = sleeve_um
        if sleeve_um > self._highest_um:
            self._highest_um = sleeve_um
        if readings.strokes != self._strokes:
            odd = _off(self._crest_um, self._lowest_um, self._highest_um, DRIFT_TOLERANCE_UM)
            self._odd_crests = self._odd_crests + 1 if odd else 0
            # The reading that saw a stroke end may hold the crest of the next one already: it counts for both.
            self._crest_um = readings.depth_um
            self._lowest_um, self._highest_um = sorted((self._sleeve_um, sleeve_um))
        return self._odd_crests >= DEPTH_STROKES

    def _motor(self, now_us: int, readings: Readings) -> Cause:
        if readings.strokes != self._strokes:
            ended_us = now_us - readings.since_stroke_us
            if self._turns:
                self._took_us = (ended_us - self._stroke_us) / (readings.strokes - self._strokes)
            self._turns, self._strokes, self._stroke_us = True, readings.strokes, ended_us
        slowest_dhz, fastest_dhz = self._rate_set_dhz.at(now_us)
        if self._fast.still(now_us, readings.rate_hz * 10 > fastest_dhz * RATE_TOLERANCE):
            return Cause.OVER_RATE
        # On its way up, no stroke takes longer than the one before; on its way down, none longer than is wanted.
        period_us = min(1e7 / slowest_dhz, max(self._took_us, 1e7 / self.wanted.rate_dhz))
        self.stall_us = self._stroke_us + math.ceil(STALL_STROKES * period_us)
        return Cause.STALLED if now_us >= self.stall_us else Cause.NONE

    def _force(self, now_us: int, readings: Readings) -> Cause:
        pressing = self._pressed.still(now_us, readings.force_mn > self.caps.force_mn)
        frozen = self._frozen.still(now_us, readings.force_mn == self._force_mn)
        self._force_mn = readings.force_mn
        if pressing:
            return Cause.OVER_FORCE
        return Cause.FORCE_SENSOR if frozen else Cause.NONE

    @staticmethod
    def _supply(readings: Readings) -> Cause:
        if readings.battery_pct < BATTERY_EMPTY_PCT:
            return Cause.BATTERY_LOW
        if readings.temperature_dc > TEMPERATURE_MAX_DC:
            return Cause.OVER_TEMPERATURE
        return Cause.NONE


def _off(measured_um: int, low_um: float, high_um: float, tolerance_um: int) -> bool:
    return not low_um - tolerance_um <= measured_um <= high_um + tolerance_um
