"""Holds every sample against the grant and the set-point. Pure; the second pair of eyes after the pen's own.

The pen stops itself first (`protocols/README.md`, STP rules); the guard is there for the pen that does not.
"""

from dataclasses import dataclass

import numpy as np

from pen_controller.limits import Grant
from protocols.messages import WRAP
from protocols.samples import SampleArray
from protocols.words import SampleFlag

DEPTH_TOLERANCE_UM = 100
"""H11: a drift above 0.1 mm counts. Sensor noise stays well below."""
RATE_TOLERANCE = 1.10
"""H13: more than a tenth above the granted rate."""
FORCE_HOLD_US = 100_000
"""Pressing too hard for longer than a tap against bone."""
SETTLE_US = 350_000
"""What motor and sleeve may take to reach a set-point, and the host to hear of it."""
CREST_STROKES = 3
"""Strokes after which the deepest of them must have come near the set depth."""
STALL_US = 150_000
"""No stroke for so long while the pen says it runs: three periods at 20 Hz, the slowest pen."""


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
        depth_um: the set depth.
    """

    def __init__(self, grant: Grant, depth_um: int) -> None:
        self._grant = grant
        self._depth_um = depth_um
        self._settled_us: int | None = None
        self._strokes: int | None = None
        self._budget_used = 0
        self._moved_us = 0
        self._window_strokes = 0
        self._window_crest_um = 0
        self._pressed_us = 0
        self._last_t_us: int | None = None
        self._elapsed_us = 0

    def change(self, depth_um: int) -> None:
        """A new depth was set; until it has settled, only the caps are judged."""
        self._depth_um = depth_um
        self._settled_us = None

    def check(self, batch: SampleArray) -> Violation | None:
        """Judge a batch of samples in order; return the first violation, if any.

        Samples taken while the pen did not run count for time and strokes only.
        """
        running = batch[(batch["flags"] & SampleFlag.RUNNING) != 0]
        if len(running) == 0:
            self._follow(batch)
            return None
        return self._validity(running) or self._caps(running) or self._course(running)

    def _validity(self, batch: SampleArray) -> Violation | None:
        needed = int(SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID)
        blind = int(np.count_nonzero((batch["flags"] & needed) != needed))
        return Violation("samples without valid depth or force", blind, 0, "samples") if blind else None

    def _caps(self, batch: SampleArray) -> Violation | None:
        grant = self._grant
        deepest_um = int(batch["depth_um"].max())
        if deepest_um > grant.depth_cap_mm * 1000 + DEPTH_TOLERANCE_UM:
            return Violation("depth", deepest_um / 1000, grant.depth_cap_mm, "mm")
        fastest_dhz = int(np.sort(batch["rate_dhz"])[-2:].min())  # one odd reading is noise, two are a motor
        if fastest_dhz > grant.rate_cap_hz * 10 * RATE_TOLERANCE:
            return Violation("rate", fastest_dhz / 10, grant.rate_cap_hz, "Hz")
        return None

    def _course(self, batch: SampleArray) -> Violation | None:
        """What only shows over time: force that stays, strokes that stop, a depth that is not the set one."""
        for t_us, strokes, depth_um, force_mn in zip(
            batch["t_us"].tolist(),
            batch["strokes"].tolist(),
            batch["depth_um"].tolist(),
            batch["force_mn"].tolist(),
            strict=True,
        ):
            step_us, turned = self._step(t_us, strokes)
            violation = (
                self._budget(turned)
                or self._force(step_us, force_mn)
                or self._motion(step_us, turned)
                or self._crest(turned, depth_um)
            )
            if violation is not None:
                return violation
        return None

    def _follow(self, batch: SampleArray) -> None:
        """Keep up with the counters across samples that are not judged."""
        self._step(int(batch["t_us"][-1]), int(batch["strokes"][-1]))

    def _step(self, t_us: int, strokes: int) -> tuple[int, int]:
        """Time and strokes since the sample before, both across the wrap of their counters."""
        step_us = 0 if self._last_t_us is None else (t_us - self._last_t_us) % WRAP
        turned = 0 if self._strokes is None else (strokes - self._strokes) % WRAP
        self._last_t_us, self._strokes = t_us, strokes
        self._elapsed_us += step_us
        if self._settled_us is None:
            self._settled_us = self._elapsed_us + SETTLE_US
        return step_us, turned

    def _budget(self, turned: int) -> Violation | None:
        self._budget_used += turned
        if self._budget_used > self._grant.stroke_budget:
            return Violation("strokes", self._budget_used, self._grant.stroke_budget, "strokes")
        return None

    def _force(self, step_us: int, force_mn: int) -> Violation | None:
        cap_mn = self._grant.force_cap_n * 1000
        self._pressed_us = self._pressed_us + step_us if force_mn > cap_mn else 0
        if self._pressed_us > FORCE_HOLD_US:
            return Violation("force", force_mn / 1000, self._grant.force_cap_n, "N")
        return None

    def _motion(self, step_us: int, turned: int) -> Violation | None:
        self._moved_us = 0 if turned else self._moved_us + step_us
        if self._is_settled() and self._moved_us > STALL_US:
            return Violation("time without a stroke", self._moved_us / 1000, STALL_US / 1000, "ms")
        return None

    def _crest(self, turned: int, depth_um: int) -> Violation | None:
        self._window_crest_um = max(self._window_crest_um, depth_um)
        self._window_strokes += turned
        if self._window_strokes < CREST_STROKES:
            return None
        crest_um, self._window_crest_um, self._window_strokes = self._window_crest_um, 0, 0
        if self._is_settled() and abs(crest_um - self._depth_um) > DEPTH_TOLERANCE_UM:
            return Violation("depth away from the set depth", crest_um / 1000, self._depth_um / 1000, "mm")
        return None

    def _is_settled(self) -> bool:
        return self._settled_us is not None and self._elapsed_us >= self._settled_us
