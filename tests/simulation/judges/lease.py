"""Who goes on without a host: H03 crash, H04 stalled, H05 radio gone, H06 cable pulled, H10 pen rebooted.

All have one bound, *standard*: retracted no later than the 250 ms lease + 2S after the last renewal arrived.
"""

from tests.simulation.judges.scene import Judge, Scene
from tests.simulation.truth import Deed, Kind, Moment

LEASE_US = 250_000
FRESH_US = 500_000
"""LSE-1: a renewal that quotes older pen time is void."""


class Lease(Judge):
    """H03, H04, H05, H06, H10: standard, by what the renewals ended with; frames that are merely lost are H05.

    A renewal counts when it is fresh, left its host before that stood still, and came before the lease ran out. A claim
    brings no lease (LSE-2). None counts that comes to a pen still moving after its cable was plugged in again, its host
    started anew, or it rebooted: those come back disarmed.
    """

    hears = frozenset(
        {
            Kind.RENEWAL_ARRIVED,
            Kind.HOST_KILLED,
            Kind.HOST_STALLED,
            Kind.HOST_STARTED,
            Kind.LINK_LOST,
            Kind.LINK_BACK,
            Kind.PEN_REBOOTED,
        }
    )
    sees = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._last_us: int | None = None
        self._void = False
        """No renewal counts until the needles are home."""
        self._hazard, self._why = "H05", "renewals lost"
        self._cable = False
        self._down_us = 0
        """When the host stood still."""
        self._reported = False

    def note(self, deed: Deed) -> None:
        match deed.kind:
            case Kind.RENEWAL_ARRIVED:
                self._renew(deed)
            case Kind.HOST_KILLED:
                self._down_us = deed.t_us
                self._blame("H03", "host killed", stops=True)
            case Kind.HOST_STALLED:
                self._down_us = deed.t_us
                self._blame("H04", "host stalled", stops=False)
            case Kind.LINK_LOST:
                self._cable = deed.detail["by"] == "cable"
                self._blame("H06" if self._cable else "H05", f"{deed.detail['by']} lost", stops=self._cable)
            case Kind.PEN_REBOOTED if self.scene.active:
                self._blame("H10", "pen rebooted", stops=True)
                self._void = True
            case Kind.PEN_REBOOTED:
                self._last_us = None
            case _ if self.scene.active:  # the host or the line is back
                self._void = self._void or deed.kind is Kind.HOST_STARTED or self._cable

    def _renew(self, deed: Deed) -> None:
        from_nobody = not self.scene.host_up and deed.t_us - deed.detail["age_us"] > self._down_us
        if self._void or from_nobody or deed.detail["quoted_us"] > FRESH_US:
            return
        if self.scene.active and (self._last_us is None or deed.t_us - self._last_us > LEASE_US):
            self._void = True
        else:
            self._last_us = deed.t_us

    def _blame(self, hazard: str, why: str, *, stops: bool) -> None:
        """From now on it is this hazard; `stops`: even if the lease should hold."""
        if not self.scene.active:
            return
        self._hazard, self._why = hazard, why
        self.scene.provoke(hazard)
        if stops:
            self.scene.reasons[hazard] = why

    def begin(self) -> None:
        self._hazard, self._why = "H05", "renewals lost"
        self._reported = False

    def see(self, moment: Moment) -> None:
        scene = self.scene
        if self._last_us is not None and moment.t_us - self._last_us <= LEASE_US:
            return
        out_ms, bound_ms = self._since_renewal_ms()
        if out_ms > bound_ms and not self._reported:
            self._reported = True
            said = f"{self._why}: needles still out {out_ms:.1f} ms after the last renewal, bound {bound_ms:.1f} ms"
            scene.violate(self._hazard, said)
            scene.measure(self._hazard, out_ms, bound_ms, "ms")

    def end(self) -> None:
        out_ms, bound_ms = self._since_renewal_ms()
        if out_ms * 1000 > LEASE_US:
            self.scene.reasons[self._hazard] = self._why
            self.scene.measure(self._hazard, out_ms, bound_ms, "ms")
        if "H10" in self.scene.reasons:
            self._last_us = None
        self._void = False

    def _since_renewal_ms(self) -> tuple[float, float]:
        """How long after the last renewal the needles were out, and how long they may be."""
        scene = self.scene
        bound_us = LEASE_US + 2 * scene.stroke_us
        if self._last_us is None:
            return (float("inf") if scene.out_us >= scene.began_us else 0.0), bound_us / 1000
        return (scene.out_us - self._last_us) / 1000, bound_us / 1000
