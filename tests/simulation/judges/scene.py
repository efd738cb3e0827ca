"""What all judges share: where the needles are, what is owed by when, and what was seen of each hazard.

**Out and home.** The pen is *active* from a start, or the first sign of motion, until its needles are in, its sleeve is
home and its motor has no power. A bound is missed when the needles are out at a moment after it: what happens between
two moments, 5 ms at the most (`STEP_US`), is the only tolerance.

**S** is one stroke at the rate that the motor was last told.
"""

from dataclasses import dataclass
from typing import NamedTuple

from tests.simulation.judges.permitted import Grant, Permitted
from tests.simulation.truth import Deed, Kind, Moment, Violation

STEP_US = 5_000
OF_THE_PEN = ("H11", "H12", "H13", "H14 frozen")
"""What only the pen can notice: a run that was ended in order before it had to was not stopped by it."""
SLOWEST_HZ = 20.0
"""S before a rate was ever told: the slowest stroke of any pen in `pens.toml`."""


class Facts(NamedTuple):
    """What the oracle is told before a script begins."""

    pen: str = "simulated"
    """Its name in `pens.toml`."""
    envelope_depth_mm: float = 2.5
    """The firmware's own deepest."""
    envelope_rate_hz: float = 150.0
    latency_us: int = 0
    """Of the line when nothing is wrong with it, one way."""
    round_trip_us: int = 100_000
    """The longest that the host waits for one answer."""


class Measure(NamedTuple):
    """What was seen of one hazard."""

    provoked: int
    """How often."""
    worst: float | None
    """The figure nearest to its bound, or farthest beyond it; None: nothing was measured."""
    bound: float | None
    """The bound of that figure, which may depend on S."""
    unit: str


class Due(NamedTuple):
    """Needles must be home."""

    since_us: int
    by_us: int
    why: str


@dataclass(slots=True)
class Made:
    """What was truly done to an area; punctures are strokes times needles."""

    strokes: int = 0
    punctures: int = 0
    """That entered skin."""
    touching: int = 0
    """With the tip on skin, whether or not they entered it."""
    doubtful: int = 0
    """One stroke for each time that the tip met or left skin, or the motor was powered or not: a contact sensor may
    count it or not."""
    blind: int = 0
    """With the contact sensor frozen, which counts them all or none."""


class Scene:
    """The world as the judges know it."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.permitted = Permitted(facts.pen, facts.envelope_depth_mm, facts.envelope_rate_hz)
        self.now_us = 0
        self.last = Moment(0, 0.0, True, 0.0, False, None, 0, 0, 0)
        self.active = False
        self.out_us = -1
        """When the needles were last surely out."""
        self.stroke_us = round(1e6 / SLOWEST_HZ)
        self.told_hz = 0.0
        self.began_us = 0
        """When the pen last began to move."""
        self.commanded_us = -1
        """When the motor last followed a command."""
        self.sent_us = 0
        """When that command left its host."""
        self.home_us = 0
        """When it last came home."""
        self.made: dict[str, Made] = {}
        """By area approved, in this treatment."""
        self.in_force: Grant | None = None
        self.host_up = True
        self.link_up = True
        self.faults: list[tuple[str, str]] = []
        """Of the line, now: way and fault, as often as it is there."""
        self.violations: list[Violation] = []
        self.measures: dict[str, Measure] = {}
        self.dues: dict[str, Due] = {}
        self.reasons: dict[str, str] = {}
        """Why the pen, active, is to stop, by hazard."""
        self.stopped: dict[str, str] = {}
        """Why the pen, at home, must stay there until a person resumes, by hazard."""
        self._next: Grant | None = None
        self.ends = False
        """Whether the pen, active, was told to end in order."""

    # what judges say

    def violate(self, hazard: str, said: str) -> None:
        """A bound was missed."""
        self.violations.append(Violation(hazard, self.now_us, said))

    def provoke(self, hazard: str) -> None:
        """The hazard was there once more."""
        old = self.measures.get(hazard, Measure(0, None, None, ""))
        self.measures[hazard] = old._replace(provoked=old.provoked + 1)

    def measure(self, hazard: str, figure: float, bound: float, unit: str) -> None:
        """Keep the figure if it is nearer to its bound than the worst so far."""
        old = self.measures.get(hazard, Measure(0, None, None, ""))
        if old.worst is None or old.bound is None or bound - figure < old.bound - old.worst:
            self.measures[hazard] = Measure(old.provoked, figure, bound, unit)

    def owe(self, hazard: str, within_us: int, why: str, since_us: int | None = None) -> None:
        """The needles must be home `within_us` from now, or from `since_us`, and stay there until a person resumes."""
        if hazard not in self.dues:
            since_us = self.now_us if since_us is None else since_us
            self.dues[hazard] = Due(since_us, since_us + within_us, why)
            self.reasons[hazard] = why

    def forgive(self, hazard: str) -> None:
        """What was wrong is right again, before it was to be noticed."""
        self.dues.pop(hazard, None)
        self.reasons.pop(hazard, None)

    # what happens

    def follow(self, deed: Deed) -> None:
        """Keep what a deed says about host, link and person."""
        detail = deed.detail
        match deed.kind:
            case Kind.APPROVED:
                self._approve(self.permitted.grant(detail))
            case Kind.RESUMED:
                self.reasons.clear()
                self.stopped.clear()
            case Kind.EXECUTED:
                self.commanded_us, self.sent_us = deed.t_us, deed.t_us - detail["age_us"]
                self.told_hz = detail["rate_hz"]
                self.stroke_us = round(1e6 / max(self.told_hz, SLOWEST_HZ))
            case Kind.HALT_SENT:
                self.ends = self.active and detail["name"] == "disarm"
            case Kind.LINE_FAULTY:
                self.faults.append((detail["way"], detail["fault"]))
            case Kind.LINE_WHOLE:
                self.faults.remove((detail["way"], detail["fault"]))
            case Kind.LINK_LOST | Kind.LINK_BACK:
                self.link_up = deed.kind is Kind.LINK_BACK
            case Kind.HOST_KILLED | Kind.HOST_STALLED:
                self.host_up = False
            case Kind.HOST_STARTED | Kind.HOST_WOKE:
                self.host_up = True
            case _:
                pass

    def _approve(self, grant: Grant | None) -> None:
        """A request that must be refused changes nothing; one for another area waits until the needles are home."""
        if grant is None:
            return
        if self.active and self.in_force is not None and grant.area != self.in_force.area:
            self._next = grant
        else:
            self.in_force, self._next = grant, None

    def busy(self, moment: Moment) -> None:
        """Judge what is owed by a moment of motion."""
        if not moment.retracted:
            self.out_us = moment.t_us
        elif moment.deepest_um > 0:
            self.out_us = self.last.t_us
        for hazard, due in self.dues.copy().items():
            if self.out_us > due.by_us:
                late_ms, bound_ms = (self.out_us - due.since_us) / 1000, (due.by_us - due.since_us) / 1000
                self.violate(  # what is measured as `H14 frozen` is a bound of H14
                    hazard[:3], f"{due.why}: needles still out after {late_ms:.1f} ms, bound {bound_ms:.1f} ms"
                )
                self.measure(hazard, late_ms, bound_ms, "ms")
                del self.dues[hazard]

    def come_home(self) -> None:
        """Needles in, sleeve home, no power: what was owed is measured, and why it stopped is kept."""
        for hazard, due in self.dues.items():
            taken_ms = max(0, self.out_us - due.since_us) / 1000
            self.measure(hazard, taken_ms, (due.by_us - due.since_us) / 1000, "ms")
            if self.ends and hazard in OF_THE_PEN:
                del self.reasons[hazard]
        self.dues.clear()
        self.ends = False
        self.stopped.update(self.reasons)
        self.reasons.clear()
        self.active = False
        self.home_us = self.now_us
        if self._next is not None:
            self.in_force, self._next = self._next, None


class Judge:
    """Holds the world to one bound, or to a few of a kind.

    Class attributes: `hears`, the kinds of deeds that `note` is called with, and `sees`, whether `see` is called.
    """

    hears: frozenset[Kind] = frozenset()
    sees = False

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def note(self, deed: Deed) -> None:
        """Take a deed; the scene has followed it already."""

    def see(self, moment: Moment) -> None:
        """Take a moment of motion; `scene.last` is the one before."""

    def begin(self) -> None:
        """The pen begins to move, having been home."""

    def end(self) -> None:
        """The pen came home; `scene.reasons` still holds why."""

    def finish(self) -> None:
        """The script is over."""
