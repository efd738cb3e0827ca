"""How much: H14 over-treatment, from true counts, whatever crashed or rebooted in between."""

from tests.simulation.judges.scene import Judge, Made, Scene
from tests.simulation.truth import Deed, Kind, Moment

NEAR = 0.9
"""So much of its budget, if every stroke of it were in skin, is near: the hazard was there."""


class Amount(Judge):
    """H14: the punctures in an area (strokes that entered skin x needles) stay within hard density x size.

    Bound: "0 strokes over budget", counted until the treatment ends, by the area that the person approved. The stroke
    at which the tip meets or leaves skin is not held against it: no contact sensor tells on which side it was. A
    request for more passes, a bigger area or a higher rate than permitted grants nothing: its strokes are H01's.
    """

    hears = frozenset({Kind.CARTRIDGE_CHANGED, Kind.ENDED, Kind.FORCE_STUCK, Kind.PREPARED})
    sees = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._needles = scene.permitted.needles
        self._near: set[str] = set()
        self._over: set[str] = set()
        self._ended = False
        self._blind = self._was_blind = False

    def note(self, deed: Deed) -> None:
        match deed.kind:
            case Kind.CARTRIDGE_CHANGED:
                self._needles = deed.detail["needles"]
            case Kind.FORCE_STUCK:
                self._blind, self._was_blind = deed.detail["stuck"], True
            case Kind.ENDED if deed.detail["area"] is None:
                self._ended = True
            case Kind.PREPARED if self._ended:
                self._ended = False
                for counts in (self.scene.made, self._near, self._over):
                    counts.clear()
            case _:
                pass

    def see(self, moment: Moment) -> None:
        scene, last, grant = self.scene, self.scene.last, self.scene.in_force
        if grant is None:
            return
        met = (moment.area is None) is not (last.area is None) or moment.driven is not last.driven
        strokes = moment.strokes - last.strokes
        if not strokes and not met:
            return
        made = scene.made.get(grant.area)
        if made is None:
            made = scene.made[grant.area] = Made()
        made.strokes += strokes
        made.doubtful += met * self._needles
        made.blind += self._was_blind * strokes * self._needles
        self._was_blind = self._blind
        if moment.area is not None or last.area is not None:
            made.touching += strokes * self._needles
        made.punctures += (moment.contact_strokes - last.contact_strokes) * self._needles
        budget = grant.punctures_per_cm2 * grant.size_cm2
        spent = (made.punctures - made.doubtful) / budget
        if max(spent, made.strokes * self._needles / budget) > NEAR:
            self._judge(grant.area, spent)

    def _judge(self, area: str, spent: float) -> None:
        self.scene.measure("H14", 100 * spent, 100.0, "% of the budget")
        if area not in self._near:
            self._near.add(area)
            self.scene.provoke("H14")
        if spent > 1 and area not in self._over:
            self._over.add(area)
            self.scene.violate(
                "H14", f"{self.scene.made[area].punctures} punctures in {area}: {spent:.2%} of its budget"
            )
