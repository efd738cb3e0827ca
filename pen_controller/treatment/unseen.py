"""What the pen did while nobody saw it: after the newest sample of a run, or while line or program was gone."""

from pen_controller.pen import BLIND_S, Pen
from pen_controller.pen.home import sample_at_home
from pen_controller.treatment.counts import AreaCount, PenCounters
from pen_controller.treatment.minutes import Minutes
from protocols.words import Cause

START_S = 1.0
"""How long the outcome of a start may be unknown."""
FROZEN_S = 0.5
"""So long a pen may count by a frozen force sensor before it stops (the cause FORCE_SENSOR)."""
PROGRESS_S = 0.5
"""How often the record says how far a run has come."""


class Unseen:
    """Keeps which area's needles ran last, until all that the pen did there is counted.

    Args:
        pen: open and claimed.
        minutes: of the treatment.
        ran: the area that a killed program left running, whose last progress on record may be `PROGRESS_S` old.
    """

    def __init__(self, pen: Pen, minutes: Minutes, ran: AreaCount | None) -> None:
        self.area = ran
        """Which area's needles ran last; None once all is counted."""
        self._pen, self._minutes = pen, minutes
        self._most_s = BLIND_S + (PROGRESS_S if ran else 0.0)
        """How long the needles may have run since the newest sample counted, less the lease."""

    def begin(self, area: AreaCount) -> None:
        """An area's needles may run from now on."""
        self.area, self._most_s = area, BLIND_S + START_S

    def seen(self) -> None:
        """A sample of the run is counted."""
        self._most_s = BLIND_S

    async def settle(self) -> AreaCount | None:
        """Count what the area that ran last was given unseen. Without a line nothing; it waits for `reconnect`.

        Returns:
            The area, if there was one to settle.

        Raises:
            LinkError: the pen does not show that its needles are in.
        """
        area, boot_id = self.area, self._pen.identity.boot_id
        if area is None or not self._pen.connected:
            return None
        if area.pen is None or area.pen.boot_id != boot_id:
            self.lose("the pen rebooted")
        else:
            (home,) = await sample_at_home(self._pen)
            now = PenCounters(boot_id, int(home["strokes"]), int(home["contact_strokes"]))
            area.catch_up(now, self._pen.state.deepest_um)
            if self._pen.state.cause is Cause.FORCE_SENSOR:
                self._tell(area, "the force sensor was frozen", FROZEN_S, area.doubt(FROZEN_S))
        self.area = None
        return area

    def lose(self, why: str) -> None:
        """Nobody can say what the pen did last: the most that it can be counts against the limits."""
        area = self.area
        if area is None:
            return
        unseen_s = self._most_s + self._pen.identity.lease_ms / 1000
        self._tell(area, why, unseen_s, area.lose(unseen_s))

    def _tell(self, area: AreaCount, why: str, unseen_s: float, strokes: int) -> None:
        body = {"area": area.area, "reason": why, "unseen_s": unseen_s, "rate_hz": area.rate_hz}
        self._minutes.post("counts_uncertain", body | {"most_punctures": strokes * area.zone.needles})
