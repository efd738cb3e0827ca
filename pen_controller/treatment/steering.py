"""Needles that run in one area, as a person steers them: end in order, change depth and rate."""

from dataclasses import dataclass

from pen_controller.config import PlanArea
from pen_controller.limits import Grant, Refusal
from pen_controller.pen import Pen
from pen_controller.treatment.counts import AreaCount
from pen_controller.treatment.entries import started
from pen_controller.treatment.minutes import Minutes


@dataclass(slots=True)
class Run:
    """A run under way: from the needles' start until they are told to end.

    `wanted` has the depth and rate that were set last; `left` says who ended the run early, and why.
    """

    wanted: PlanArea
    grant: Grant
    count: AreaCount
    left: dict[str, str] | None = None

    def leave(self, by: str, why: str) -> None:
        """End the run in order with the next samples: the needles come in, and nothing latches."""
        self.left = self.left or {"by": by, "why": why}

    def refuse(self, depth_mm: float, rate_hz: float) -> Refusal | None:
        """Why this may not be set, if it may not; the grant holds the limits of the area."""
        return self.grant.refuse_setpoint(depth_mm, rate_hz)

    async def set(self, wanted: PlanArea, pen: Pen, minutes: Minutes) -> None:
        """Have the pen run at other figures; the record is not waited for. Raises `PenError`."""
        # Should the pen be lost now, nobody could say at which of the two rates it ran.
        self.count.rate_hz = max(self.count.rate_hz, wanted.rate_hz)
        await minutes.command(
            "set",
            started(wanted),
            lambda: pen.set(wanted.depth_mm, wanted.rate_hz),
            wait_before=False,
            wait_after=False,
        )
        self.wanted = wanted
