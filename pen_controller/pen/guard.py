"""Holds every sample against the grant and the set-point. Pure; the second pair of eyes after the pen's own.

The pen stops itself first (`protocols/README.md`, STP rules); the guard is there for the pen that does not.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from pen_controller.limits import Grant
from protocols.messages import WRAP, is_newer
from protocols.samples import SampleArray
from protocols.words import SampleFlag

DEPTH_TOLERANCE_UM: Final = 100
"""H11: a drift above 0.1 mm counts. Sensor noise stays well below."""
RATE_TOLERANCE: Final = 1.10
"""H13: more than a tenth above the set rate."""
FAST_SAMPLES: Final = 2
"""One odd reading of the rate is noise, two are a motor."""
FORCE_HOLD_US: Final = 100_000
"""Pressing too hard for longer than a tap against bone."""
SETTLE_US: Final = 350_000
"""What motor and sleeve may take to reach a set-point, and a batch to fill."""
CREST_STROKES: Final = 3
"""Strokes after which the deepest of them must have come near the set depth."""
STUCK_US: Final = 150_000
"""A depth reading that has not moved a micrometre for so long is no reading; three periods at 20 Hz."""
FROZEN_US: Final = 1_000_000
"""H14: a force that has not moved for so long with the tip on skin, against which needles beat, is no reading."""
STALL_US: Final = 150_000
"""No stroke for so long while the pen says it runs: three periods at 20 Hz, the slowest pen."""

_JUDGED: Final = ["t_us", "strokes", "depth_um", "force_mn", "rate_dhz", "flags"]
_RUNNING: Final = int(SampleFlag.RUNNING)
_CONTACT: Final = int(SampleFlag.CONTACT)
_VALID: Final = int(SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID)


class SetPoint(NamedTuple):
    """What the pen was asked to run at."""

    depth_um: int
    rate_dhz: int


@dataclass(frozen=True, slots=True)
class Violation:
    """What a sample showed, and the limit it broke."""

    name: str
    value: float
    limit: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value:g} {self.unit} measured, limit {self.limit:g} {self.unit}"


class Guard:
    """Watches one run under one grant. Feed it every batch; it keeps only a few numbers.

    Args:
        grant: what was authorized.
        set_point: what the run starts at.
        after_t_us: samples up to this pen time belong to an earlier run, and arrive late; None judges all.
    """

    def __init__(self, grant: Grant, set_point: SetPoint, after_t_us: int | None = None) -> None:
        self.in_force = set_point
        """The set-point that the pen last accepted."""
        self._depth_cap_um = grant.depth_cap_mm * 1000
        self._force_cap_mn = grant.force_cap_n * 1000
        self._stroke_budget = grant.stroke_budget
        self._lowest_um, self._highest_um, self._fastest_dhz = 0, *set_point
        self._settles_us: int | None = SETTLE_US
        self._after_t_us = after_t_us
        self._t_us: int | None = None
        self._strokes = self._spent_strokes = self._depth_um = self._fast_samples = 0
        self._ran_us = self._still_us = self._stuck_us = 0
        self._pressed_us: int | None = None
        self._force_mn = self._frozen_us = 0
        self._window_strokes = self._window_crest_um = 0

    def expect(self, wanted: SetPoint) -> None:
        """A set-point was asked for: until `settle` says which is in force, this one counts as well."""
        self._lowest_um = min(self._lowest_um, wanted.depth_um)
        self._highest_um = max(self._highest_um, wanted.depth_um)
        self._fastest_dhz = max(self._fastest_dhz, wanted.rate_dhz)
        self._settles_us = None

    def settle(self, in_force: SetPoint) -> None:
        """This set-point is in force; once motor and sleeve have had time to reach it, no other counts."""
        self.in_force = in_force
        self._settles_us = self._ran_us + SETTLE_US

    def check(self, batch: SampleArray) -> Violation | None:
        """Judge a batch of samples in order; return the first violation, if any.

        Of samples taken while the pen says that it does not run, only the depth is judged.
        """
        for t_us, strokes, depth_um, force_mn, rate_dhz, flags in batch[_JUDGED].tolist():
            if self._is_earlier(t_us):
                continue
            step_us, turned = self._step(t_us, strokes)
            if depth_um > self._depth_cap_um + DEPTH_TOLERANCE_UM:
                return Violation("depth", depth_um / 1000, self._depth_cap_um / 1000, "mm")
            if not flags & _RUNNING:
                continue
            self._run(step_us)
            violation = (
                self._sensors(step_us, flags, depth_um, force_mn)
                or self._depth(depth_um, turned)
                or self._rate(rate_dhz)
                or self._force(step_us, force_mn)
                or self._motion(step_us, turned)
            )
            if violation is not None:
                return violation
        return None

    def _is_earlier(self, t_us: int) -> bool:
        if self._t_us is not None or self._after_t_us is None:
            return False
        return not is_newer(t_us, self._after_t_us)

    def _step(self, t_us: int, strokes: int) -> tuple[int, int]:
        """Time and strokes since the sample before, both across the wrap of their counters."""
        if self._t_us is None:
            self._t_us, self._strokes = t_us, strokes
        step_us, turned = (t_us - self._t_us) % WRAP, (strokes - self._strokes) % WRAP
        self._t_us, self._strokes = t_us, strokes
        self._spent_strokes += turned
        return step_us, turned

    def _run(self, step_us: int) -> None:
        self._ran_us += step_us
        if self._settles_us is not None and self._ran_us >= self._settles_us:
            self._lowest_um = self._highest_um = self.in_force.depth_um
            self._fastest_dhz = self.in_force.rate_dhz

    def _sensors(self, step_us: int, flags: int, depth_um: int, force_mn: int) -> Violation | None:
        if flags & _VALID != _VALID:
            return Violation("samples without valid depth or force", 1, 0, "samples")
        self._stuck_us = self._stuck_us + step_us if depth_um == self._depth_um else 0
        self._depth_um = depth_um
        # What is set so shallow may well rest at zero.
        if self._stuck_us > STUCK_US and self._lowest_um > DEPTH_TOLERANCE_UM:
            return Violation("time with the same depth", self._stuck_us / 1000, STUCK_US / 1000, "ms")
        frozen = flags & _CONTACT and force_mn == self._force_mn
        self._frozen_us = self._frozen_us + step_us if frozen else 0
        self._force_mn = force_mn
        if self._frozen_us > FROZEN_US:
            return Violation("time with the same force on skin", self._frozen_us / 1000, FROZEN_US / 1000, "ms")
        return None

    def _depth(self, depth_um: int, turned: int) -> Violation | None:
        """Of every few strokes, the deepest is as deep as was set."""
        self._window_crest_um = max(self._window_crest_um, depth_um)
        self._window_strokes += turned
        if self._window_strokes < CREST_STROKES:
            return None
        crest_um, self._window_crest_um, self._window_strokes = self._window_crest_um, 0, 0
        if self._lowest_um - DEPTH_TOLERANCE_UM <= crest_um <= self._highest_um + DEPTH_TOLERANCE_UM:
            return None
        return Violation("depth away from the set depth", crest_um / 1000, self.in_force.depth_um / 1000, "mm")

    def _rate(self, rate_dhz: int) -> Violation | None:
        self._fast_samples = self._fast_samples + 1 if rate_dhz > self._fastest_dhz * RATE_TOLERANCE else 0
        if self._fast_samples >= FAST_SAMPLES:
            return Violation("rate", rate_dhz / 10, self._fastest_dhz / 10, "Hz")
        return None

    def _force(self, step_us: int, force_mn: int) -> Violation | None:
        if force_mn <= self._force_cap_mn:
            self._pressed_us = None
            return None
        self._pressed_us = 0 if self._pressed_us is None else self._pressed_us + step_us
        if self._pressed_us > FORCE_HOLD_US:
            return Violation("force", force_mn / 1000, self._force_cap_mn / 1000, "N")
        return None

    def _motion(self, step_us: int, turned: int) -> Violation | None:
        """The motor turns, and not for longer than was granted."""
        self._still_us = 0 if turned else self._still_us + step_us
        if self._ran_us >= SETTLE_US and self._still_us > STALL_US:
            return Violation("time without a stroke", self._still_us / 1000, STALL_US / 1000, "ms")
        if self._spent_strokes > self._stroke_budget:
            return Violation("strokes", self._spent_strokes, self._stroke_budget, "strokes")
        return None
