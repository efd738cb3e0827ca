"""What the pen notices by itself, from its sensors alone, while the needles run.

Own code for the pen's own limits: the host's guard judges the same samples with another hand.
"""

from protocols.words import Cause
from simulator.limits import Caps, SetPoint
from simulator.physics import Readings

DEPTH_TOLERANCE_UM = 100
"""H11: a difference above 0.1 mm between what is commanded and what is measured ends the run."""
DEPTH_STROKES = 3
"""One odd crest is noise; this many in a row are a fault."""
RATE_TOLERANCE = 1.10
"""H13: more than a tenth above the set rate is a runaway motor."""
RATE_STROKES = 2
STALL_PERIODS = 2.0
"""H12: no stroke for two expected periods, one less than the bound of three."""
FORCE_HOLD_US = 100_000
"""A tap against bone is shorter than this; pressing too hard is longer."""
SETTLE_US = 300_000
"""Time the motor and the sleeve may take to reach a new set-point."""
BATTERY_EMPTY_PCT = 3
TEMPERATURE_MAX_DC = 600


class SelfCheck:
    """Judges the readings of one run. `look` is called at every control tick and keeps no more than a few numbers."""

    def __init__(self, now_us: int, readings: Readings, caps: Caps, wanted: SetPoint) -> None:
        self._caps = caps
        self._wanted = self._before = wanted
        self._settled_us = now_us + SETTLE_US
        self._strokes = readings.strokes
        self._stroke_us = now_us
        self._crest_um = 0
        self._sleeve_low_um = self._sleeve_high_um = readings.sleeve_um
        self._odd_crests = self._fast_strokes = 0
        self._pressing_since_us: int | None = None

    def change(self, now_us: int, wanted: SetPoint) -> None:
        """A new set-point was accepted; until it has settled, the one before counts as well."""
        self._before, self._wanted = self._wanted, wanted
        self._settled_us = now_us + SETTLE_US

    def look(self, now_us: int, readings: Readings) -> Cause:
        """The first fault these readings show, or `Cause.NONE`."""
        self._crest_um = max(self._crest_um, readings.depth_um)
        self._sleeve_low_um = min(self._sleeve_low_um, readings.sleeve_um)
        self._sleeve_high_um = max(self._sleeve_high_um, readings.sleeve_um)
        return (
            self._depth(now_us, readings)
            or self._motor(now_us, readings)
            or self._force(now_us, readings)
            or self._supply(readings)
        )

    def _depth(self, now_us: int, readings: Readings) -> Cause:
        cap_um = self._caps.depth_um + DEPTH_TOLERANCE_UM
        if readings.depth_um > cap_um or readings.sleeve_um > cap_um:
            return Cause.OVER_DEPTH
        settled = now_us >= self._settled_us
        if settled and abs(readings.sleeve_um - self._wanted.depth_um) > DEPTH_TOLERANCE_UM:
            return Cause.DEPTH_SENSOR
        return Cause.NONE

    def _motor(self, now_us: int, readings: Readings) -> Cause:
        settled = now_us >= self._settled_us
        slowest_dhz, fastest_dhz = sorted((self._wanted.rate_dhz, self._before.rate_dhz))
        if settled:
            slowest_dhz = fastest_dhz = self._wanted.rate_dhz
        turned = readings.strokes != self._strokes
        if turned:
            self._strokes, self._stroke_us = readings.strokes, now_us
            fast = readings.rate_hz * 10 > fastest_dhz * RATE_TOLERANCE
            self._fast_strokes = self._fast_strokes + 1 if fast else 0
            if self._fast_strokes >= RATE_STROKES:
                return Cause.OVER_RATE
            return self._crest()
        # While it spins up, a motor has no expected period yet; it must turn at all before it has settled.
        patience_us = STALL_PERIODS * 1e7 / slowest_dhz if settled else SETTLE_US
        return Cause.STALLED if now_us - self._stroke_us > patience_us else Cause.NONE

    def _crest(self) -> Cause:
        """Hold the deepest reading of the stroke that just ended against where the sleeve stood meanwhile."""
        low_um = self._sleeve_low_um - DEPTH_TOLERANCE_UM
        high_um = self._sleeve_high_um + DEPTH_TOLERANCE_UM
        odd = not low_um <= self._crest_um <= high_um
        self._odd_crests = self._odd_crests + 1 if odd else 0
        self._crest_um = 0
        self._sleeve_low_um, self._sleeve_high_um = self._sleeve_high_um, 0
        return Cause.DEPTH_SENSOR if self._odd_crests >= DEPTH_STROKES else Cause.NONE

    def _force(self, now_us: int, readings: Readings) -> Cause:
        if readings.force_mn <= self._caps.force_mn:
            self._pressing_since_us = None
        elif self._pressing_since_us is None:
            self._pressing_since_us = now_us
        elif now_us - self._pressing_since_us >= FORCE_HOLD_US:
            return Cause.OVER_FORCE
        return Cause.NONE

    @staticmethod
    def _supply(readings: Readings) -> Cause:
        if readings.battery_pct < BATTERY_EMPTY_PCT:
            return Cause.BATTERY_LOW
        if readings.temperature_dc > TEMPERATURE_MAX_DC:
            return Cause.OVER_TEMPERATURE
        return Cause.NONE
