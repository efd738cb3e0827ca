"""The person of a soak: treats areas one after the other, and after a stop resumes, once told why."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from pen_controller.config import PlanArea
from pen_controller.errors import PenError
from pen_controller.pen import Pen
from pen_controller.treatment import Treatment
from pen_controller.treatment.outcomes import ClosedError, RefusedError, StoppedError
from tests.virtual_treatment import narrowed

CONFIG = narrowed(density_per_cm2={"hard": 20_000.0})
"""Room for passes that were broken off and have to be given anew."""
INDICATION, FITZPATRICK = "fine_lines", 2
ZONE_CM2 = 3.0
PLAN = [
    PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=2, size_cm2=ZONE_CM2),
    PlanArea(area="forehead", depth_mm=0.5, rate_hz=90.0, passes=1, size_cm2=ZONE_CM2),
]
READING_S = 2.0
"""What it takes to see why the needles stopped."""
BETWEEN_AREAS_S = 5.0
TRIES = 10
"""So often interrupted, an area is left."""


@dataclass
class Tally:
    """What came of it: areas `left` as a limit closed or refused them, and `stops` that nobody asked for, by reason."""

    treatments: int = 0
    areas: int = 0
    left: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)

    @property
    def false_stops(self) -> int:
        return self.stops.total()


async def treat(treatment: Treatment, pen: Pen, tally: Tally) -> None:
    """Give all areas of the plan; a stop is noted, and resumed by the person."""
    for wanted in PLAN:
        for _ in range(TRIES):
            try:
                await treatment.treat(wanted)
            except StoppedError as error:
                tally.stops[str(error)] += 1
                await _resume(treatment, pen)
            except (ClosedError, RefusedError) as error:
                tally.left[str(error)] += 1
                await _resume(treatment, pen)
                break
            else:
                tally.areas += 1
                break
        await asyncio.sleep(BETWEEN_AREAS_S)
    tally.treatments += 1


async def _resume(treatment: Treatment, pen: Pen) -> None:
    """Read why it stopped, and let it go on, with the line opened again if it broke."""
    await asyncio.sleep(READING_S)
    for _ in range(TRIES):
        try:
            if not pen.connected:
                await treatment.reconnect()
            await treatment.resume("clinician", pen.state.latch_id)
        except PenError:
            await asyncio.sleep(READING_S)
        else:
            return
