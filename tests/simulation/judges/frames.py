"""Which commands are followed: H07 frames not as they were sent, H08 lost answers, H09 two hosts."""

from typing import Any

from tests.simulation.judges.scene import Judge, Scene
from tests.simulation.truth import Deed, Kind

HOLD_US = 2_000_000
"""CLM-2: an owner that had a claim or renewal accepted within this is still there."""
ROUND_TRIPS = 3


class Frames(Judge):
    """H07: no command is followed from a frame that is damaged, stale, repeated or out of order. Bound: 0 executed.

    Nothing moves without a command that reached the pen as it was sent.

    Stale: it left its host before the pen was rebooted, or before the claim in force. Out of order: after a frame of
    its host that is newer, or an id below one that was followed; a Claim is held by its epoch, not its counter (CLM-2).
    H08: no command is followed twice, whether the line repeated it (H07) or the host.
    """

    hears = frozenset({Kind.TOUCHED, Kind.EXECUTED, Kind.ACCEPTED, Kind.PEN_REBOOTED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._claimed_us = 0
        self._booted_us = 0
        self._followed: set[int] = set()
        """Ids, since the claim in force."""

    def note(self, deed: Deed) -> None:
        match deed.kind:
            case Kind.TOUCHED:
                self.scene.provoke("H07")
            case Kind.PEN_REBOOTED:
                self._booted_us = deed.t_us
            case _:
                self._follow(deed)

    def begin(self) -> None:
        if self.scene.commanded_us != self.scene.now_us:
            self.scene.violate("H07", "needles move, though no command reached the pen as it was sent")

    def _follow(self, deed: Deed) -> None:
        name, command_id, touched = deed.detail["name"], deed.detail["command_id"], deed.detail["touched"]
        claims = name == "claim"
        sent_us = deed.t_us - deed.detail["age_us"]
        if touched == "damaged" or (touched == "out of order" and not claims):
            self._say("H07", deed, f"from a frame that is {touched}")
        if sent_us < self._booted_us or (sent_us < self._claimed_us and not claims):
            self._say("H07", deed, "from a frame that is stale")
        if claims:
            self._claimed_us = deed.t_us
            self._followed = {command_id}
        elif command_id in self._followed:
            self._say("H07" if touched == "repeated" else "H08", deed, "twice")
        elif command_id < max(self._followed, default=0):
            self._say("H07", deed, "after a newer one")
        self._followed.add(command_id)

    def _say(self, hazard: str, deed: Deed, how: str) -> None:
        self.scene.violate(hazard, f"{deed.detail['name']} {deed.detail['command_id']} followed {how}")


class Answers(Judge):
    """H08: a lost answer is settled in 3 round trips, else the pen is told to stop, or does; nothing is falsely done.

    The 3 are those of asking; before them the answer's own must be over, in which it may still come.
    False is a screen that says running later than L + 2 heartbeats (100 ms, as in H10) after the pen last did, and an
    area told as done while needles are out. A host that is stopped, or has no link, settles nothing.
    """

    hears = frozenset(
        {
            Kind.ANSWER_LOST,
            Kind.ANSWERED,
            Kind.HALT_SENT,
            Kind.HOST_KILLED,
            Kind.HOST_STALLED,
            Kind.LINK_LOST,
            Kind.PEN_REBOOTED,
        }
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._lost_us: dict[tuple[Any, int], int] = {}

    def note(self, deed: Deed) -> None:
        match deed.kind:
            case Kind.ANSWER_LOST:
                self.scene.provoke("H08")
                if self.scene.host_up and self.scene.link_up:
                    self._lost_us.setdefault((deed.detail["host"], deed.detail["command_id"]), deed.t_us)
            case Kind.ANSWERED:
                key = (deed.detail["host"], deed.detail["command_id"])
                if key in self._lost_us:
                    self._settle(self._lost_us.pop(key), measured=True)
            case _:
                self._settle_all(measured=deed.kind is Kind.HALT_SENT and deed.detail["name"] == "stop")

    def end(self) -> None:
        self._settle_all(measured=True)

    def finish(self) -> None:
        self._settle_all(measured=False)

    def _settle_all(self, *, measured: bool) -> None:
        for since_us in self._lost_us.values():
            self._settle(since_us, measured=measured)
        self._lost_us.clear()

    def _settle(self, since_us: int, *, measured: bool) -> None:
        """An answer, a STOP, the needles or the end of what is judged came now."""
        taken_ms, bound_ms = (
            (self.scene.now_us - since_us) / 1000,
            (1 + ROUND_TRIPS) * self.scene.facts.round_trip_us / 1000,
        )
        if measured or taken_ms > bound_ms:
            self.scene.measure("H08", taken_ms, bound_ms, "ms")
        if taken_ms > bound_ms:
            said = (
                f"a lost answer was neither settled nor the pen stopped in {taken_ms:.0f} ms, bound {bound_ms:.0f} ms"
            )
            self.scene.violate("H08", said)


class Owner(Judge):
    """H09: one host at a time. 0 commands of another than the pen's owner are followed.

    A claim of another host is taken only when the owner released the pen, or had no claim or renewal accepted for 2 s
    (CLM-2). A pen that moves stops when it is claimed (CLM-3), in 2S.
    """

    hears = frozenset({Kind.ACCEPTED, Kind.EXECUTED, Kind.RENEWAL_ARRIVED, Kind.PEN_REBOOTED, Kind.HOST_STARTED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._owner: Any = None
        self._heard_us = 0

    def note(self, deed: Deed) -> None:
        host, name = deed.detail.get("host"), deed.detail.get("name")
        match deed.kind:
            case Kind.PEN_REBOOTED:
                self._owner = None
            case Kind.RENEWAL_ARRIVED if host == self._owner:
                self._heard_us = deed.t_us
            case Kind.HOST_STARTED if self._owner not in (None, host):
                self.scene.provoke("H09")
            case Kind.ACCEPTED if name == "claim":
                self._claim(host, deed.t_us)
            case Kind.ACCEPTED | Kind.EXECUTED:
                if host != self._owner:
                    self.scene.violate("H09", f"{name} of {host} followed, the owner is {self._owner}")
                if name == "release":
                    self._owner = None
            case _:
                pass

    def _claim(self, host: Any, t_us: int) -> None:
        silent_us = t_us - self._heard_us
        if self._owner not in (None, host):
            self.scene.measure("H09", (HOLD_US - silent_us) / 1e6, 0.0, "s too early")
            if silent_us < HOLD_US:
                self.scene.violate("H09", f"{host} took the pen {silent_us / 1e6:.3f} s after {self._owner}")
        if self.scene.active:
            self.scene.owe("H09", 2 * self.scene.stroke_us, "claimed while running")
        self._owner, self._heard_us = host, t_us
