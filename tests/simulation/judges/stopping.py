"""What must stop a pen that runs: H02 area, H12 stall, H13 runaway, H14 force, H15 cartridge, H19 full disk, H25 STOP.

`Due`s of the scene do the work: a judge here says since when and by when the needles must be home.
"""

from tests.simulation.judges.scene import SLOWEST_HZ, Judge, Scene
from tests.simulation.truth import Deed, Kind, Moment

RUNAWAY = 1.1
"""H13: over 10 %."""
NEARLY = 0.9
"""H12: a motor that has come to this share of its rate runs at it."""
FROZEN_US = 520_000
"""H14: what the wire allows a pen to see that its force does not move, and two looks at it."""
ORDERLY_US = 1_000_000
"""H19: running stops in order, 1 s."""


class Stop(Judge):
    """H25: STOP is not starved: home in L + 2S; H18: nor while the broker is down.

    L is the link's, and not judged: what the host takes from the press until a STOP is on the line, and what the pen
    takes from its arrival until the needles are home, are 2S together. The pen's own button has no L. A STOP that
    nobody pressed (the host's guard, a second host) is owed 2S from its arrival too. While the host stands still or the
    link is down the other hazards hold.
    """

    hears = frozenset(
        {
            Kind.STOP_PRESSED,
            Kind.BUTTON_PRESSED,
            Kind.HALT_SENT,
            Kind.STOP_ARRIVED,
            Kind.HOST_KILLED,
            Kind.HOST_STALLED,
            Kind.LINK_LOST,
            Kind.BROKER_DOWN,
            Kind.BROKER_UP,
        }
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._pressed_us: int | None = None
        self._delay_us = 0
        self._broker_down = False

    def note(self, deed: Deed) -> None:
        scene = self.scene
        match deed.kind:
            case Kind.STOP_PRESSED if scene.active:
                self._provoke()
                scene.reasons["H25"] = "STOP pressed"
                if scene.host_up and scene.link_up:
                    self._pressed_us = deed.t_us
            case Kind.HALT_SENT if deed.detail["name"] == "stop":
                self._leave(sent=True)
            case Kind.STOP_ARRIVED if scene.active:
                scene.owe("H25", 2 * scene.stroke_us, "STOP", deed.t_us - self._delay_us)
            case Kind.BUTTON_PRESSED if scene.active:
                self._provoke()
                scene.owe("H25", 2 * scene.stroke_us, "the pen's button")
            case Kind.HOST_KILLED | Kind.HOST_STALLED | Kind.LINK_LOST:
                self._leave(sent=False)
            case Kind.BROKER_DOWN | Kind.BROKER_UP:
                self._broker_down = deed.kind is Kind.BROKER_DOWN
            case _:
                pass

    def begin(self) -> None:
        self._delay_us = 0

    def end(self) -> None:
        due = self.scene.dues.get("H25")
        if due is not None and self._broker_down:
            taken_us = max(0, self.scene.out_us - due.since_us)
            self.scene.measure("H18", taken_us / 1000, (due.by_us - due.since_us) / 1000, "ms")
        self._leave(sent=False)

    def finish(self) -> None:
        self._leave(sent=False)

    def _provoke(self) -> None:
        self.scene.provoke("H25")
        if self._broker_down:
            self.scene.provoke("H18")

    def _leave(self, *, sent: bool) -> None:
        """A STOP left the host, or it cannot leave any more."""
        if self._pressed_us is None:
            return
        self._delay_us, self._pressed_us = self.scene.now_us - self._pressed_us, None
        bound_us = 2 * self.scene.stroke_us
        if self._delay_us > bound_us:
            told = "left the host" if sent else "had not left the host"
            said = f"STOP {told} {self._delay_us / 1000:.1f} ms after it was pressed, bound {bound_us / 1000:.1f} ms"
            self.scene.violate("H25", said)
            self.scene.measure("H25", self._delay_us / 1000, bound_us / 1000, "ms")
        if not sent:
            self._delay_us = 0


class Area(Judge):
    """H02: the area is changed while running: stopped in 2S, and nothing moves without a new arm.

    Every stop forgets the arm (STP-2), so every start needs an arm that the pen took since it came home.
    """

    hears = frozenset({Kind.AREA_CHANGED, Kind.ACCEPTED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._armed = False

    def note(self, deed: Deed) -> None:
        if deed.kind is Kind.ACCEPTED:
            self._armed = self._armed or (deed.detail["name"] == "arm" and not self.scene.active)
        elif self.scene.active:
            self.scene.provoke("H02")
            owed = "H02" in self.scene.dues
            self.scene.owe("H02", 2 * self.scene.stroke_us, "area changed")
            if self.scene.ends and not owed:  # on its way home in order: the arm is refused, and nobody has to resume
                del self.scene.reasons["H02"]

    def begin(self) -> None:
        if not self._armed:
            self.scene.violate("H02", "needles move without a new arm")
        self._armed = False


class Motor(Judge):
    """H12: a motor that stalls with needles in: 3S from the stall. H13: a rate over 110 %: 3S from its first moment.

    A motor that stalls before it has come to nine tenths of its rate runs at none yet: S is the slowest pen's (H12).

    110 % of what the motor was told; as it may need a while to slow down when it is told less, of the most that it was
    told in this run, unless it was made to run away. Needles are never out for longer than 2S without power, the time
    that every stop may take (STP-2): H10 after a reboot, else H12.
    """

    hears = frozenset({Kind.MOTOR_STALLED, Kind.RUNAWAY, Kind.EXECUTED, Kind.PEN_REBOOTED})
    sees = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._stalled = False
        self._factor = 1.0
        self._most_hz = 0.0
        self._unpowered_us: int | None = None
        self._reported = self._rebooted = False

    def note(self, deed: Deed) -> None:
        match deed.kind:
            case Kind.MOTOR_STALLED:
                self._stalled = deed.detail.get("stalled", True)
                if not self._stalled:
                    self.scene.forgive("H12")
                elif self.scene.active:
                    self._owe_stall()
            case Kind.RUNAWAY:
                self._factor = deed.detail["factor"]
                if self._factor <= RUNAWAY:
                    self.scene.forgive("H13")
            case Kind.PEN_REBOOTED:
                self._rebooted = True
            case _:
                self._most_hz = max(self._most_hz, deed.detail["rate_hz"])

    def begin(self) -> None:
        self._most_hz = self.scene.told_hz
        self._unpowered_us, self._reported, self._rebooted = None, False, False
        if self._stalled:
            self._owe_stall()

    def see(self, moment: Moment) -> None:
        scene = self.scene
        told_hz = scene.told_hz if self._factor > RUNAWAY else self._most_hz
        if moment.rate_hz > RUNAWAY * told_hz and not moment.retracted and "H13" not in scene.reasons:
            scene.provoke("H13")
            scene.owe("H13", 3 * scene.stroke_us, f"{moment.rate_hz:.1f} Hz where {told_hz:.1f} Hz was told")
        if moment.driven or moment.retracted:
            self._unpowered_us = None
        elif self._unpowered_us is None:
            self._unpowered_us = moment.t_us
        elif moment.t_us - self._unpowered_us > 2 * scene.stroke_us and not self._reported:
            self._reported = True
            bound_ms = 2 * scene.stroke_us / 1000
            hazard = "H10" if self._rebooted else "H12"
            scene.violate(hazard, f"needles out without power for over {bound_ms:.1f} ms, bound {bound_ms:.1f} ms")

    def _owe_stall(self) -> None:
        if "H12" not in self.scene.reasons:
            self.scene.provoke("H12")
            runs = self.scene.last.rate_hz >= NEARLY * self.scene.told_hz
            stroke_us = self.scene.stroke_us if runs else 1e6 / SLOWEST_HZ
            self.scene.owe("H12", round(3 * stroke_us), "motor stalled")


class Force(Judge):
    """H14: the force sensor is frozen, and the contact by which punctures are counted with it: home in 520 ms + 2S."""

    hears = frozenset({Kind.FORCE_STUCK})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._frozen = False

    def note(self, deed: Deed) -> None:
        self._frozen = deed.detail["stuck"]
        if not self._frozen:
            self.scene.forgive("H14 frozen")
        elif self.scene.active:
            self.begin()

    def begin(self) -> None:
        if self._frozen:
            self.scene.provoke("H14 frozen")
            self.scene.owe("H14 frozen", FROZEN_US + 2 * self.scene.stroke_us, "force sensor frozen")


class Trouble(Judge):
    """H15: the cartridge is changed while running: home in 2S (STP-2). H19: the disk is full: home in 1 s, in order."""

    hears = frozenset({Kind.CARTRIDGE_CHANGED, Kind.DISK_FULL, Kind.DISK_FREE})

    def note(self, deed: Deed) -> None:
        match deed.kind:
            case Kind.CARTRIDGE_CHANGED if self.scene.active:
                self.scene.owe("H15", 2 * self.scene.stroke_us, "cartridge changed")
            case Kind.DISK_FULL if self.scene.active:
                self.scene.provoke("H19")
                self.scene.owe("H19", ORDERLY_US, "disk full")
            case Kind.DISK_FREE:
                self.scene.forgive("H19")
            case _:
                pass
