"""How deep needles go: H01 over-depth, H11 a depth sensor that drifts or sticks."""

from tests.simulation.judges.scene import Judge, Scene
from tests.simulation.truth import Deed, Kind, Moment

DRIFT_UM = 100.0
"""An error of the depth sensor up to this need not be noticed (H11)."""
CAUGHT_US = 250_000
READING_UM = 1.0
"""The finest that a depth is told on the wire."""


class Depth(Judge):
    """H01: no stroke deeper than firmware, pen, area, indication, skin type and clinic allow in the area approved.

    Bound: "0 strokes over". Nothing approved allows nothing. While the depth sensor is wrong, needles may be deeper by
    its error up to 0.1 mm, and beyond that for as long as H11 allows.
    """

    hears = frozenset({Kind.APPROVED, Kind.SENSOR_WRONG})
    sees = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._error_um = 0.0
        self._slack_um = READING_UM
        self._worst_um = 0.0
        self._reported = False

    def note(self, deed: Deed) -> None:
        if deed.kind is Kind.APPROVED:
            self.scene.provoke("H01")
        else:
            self._error_um = abs(deed.detail["error_um"])
            self._slack_um = max(self._slack_um, self._error_um + READING_UM)

    def begin(self) -> None:
        self._slack_um = self._error_um + READING_UM
        self._reported = False

    def see(self, moment: Moment) -> None:
        if moment.deepest_um <= 0:
            return
        grant = self.scene.in_force
        if grant is None:
            self._over("nothing approved", moment.deepest_um)
        elif self._slack_um <= DRIFT_UM + READING_UM:  # else H11 says when this must end
            if moment.deepest_um > self._worst_um * grant.depth_um:
                self._worst_um = moment.deepest_um / grant.depth_um
                self.scene.measure("H01", moment.deepest_um, grant.depth_um, "um")
            if moment.deepest_um > grant.depth_um + self._slack_um:
                self._over(f"{grant.area} approved, bound {grant.depth_um:.0f} um", moment.deepest_um)

    def _over(self, why: str, deepest_um: float) -> None:
        if not self._reported:
            self._reported = True
            self.scene.violate("H01", f"needles {deepest_um:.0f} um deep: {why}")


class Drift(Judge):
    """H11: a sensor more than 0.1 mm off is caught in 250 ms.

    Caught means that the pen has begun to stop; its needles are home 2S later, as in every stop (STP-2). So the bound
    is 250 ms + 2S from the first instant of motion with such an error. One that goes back within it may pass unnoticed.
    """

    hears = frozenset({Kind.SENSOR_WRONG})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._wrong = False

    def note(self, deed: Deed) -> None:
        self._wrong = abs(deed.detail["error_um"]) > DRIFT_UM
        if not self._wrong:
            self.scene.forgive("H11")
        elif self.scene.active:
            self._owe()

    def begin(self) -> None:
        if self._wrong:
            self._owe()

    def _owe(self) -> None:
        if "H11" not in self.scene.dues:
            self.scene.provoke("H11")
            self.scene.owe("H11", CAUGHT_US + 2 * self.scene.stroke_us, "depth sensor over 0.1 mm off")
