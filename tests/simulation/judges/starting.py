"""What must not start: H15 a bad cartridge, H16 without the checklist, H19 on a full disk, and anything by itself."""

from tests.simulation.judges.scene import Judge, Scene
from tests.simulation.truth import Deed, Kind

IDLE = {
    Kind.STOP_PRESSED: "H25",
    Kind.STOP_ARRIVED: "H25",
    Kind.BUTTON_PRESSED: "H25",
    Kind.LINK_LOST: "H06",
    Kind.HOST_KILLED: "H03",
    Kind.PEN_REBOOTED: "H10",
}
"""What a person must know of though it comes while the pen is home, and its hazard."""


class Cartridge(Judge):
    """H15: a cartridge used for another treatment, expired, of another needle count, or none at all: 0 starts.

    Used is also one that ran in an earlier treatment of this script, whatever its tag says.
    """

    hears = frozenset({Kind.CARTRIDGE_CHANGED, Kind.ENDED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._wrong: str | None = "unknown"
        self._id = 0
        self._treatment = 0
        self._used_in: dict[int, int] = {}
        """Number of the treatment, by id."""

    def note(self, deed: Deed) -> None:
        if deed.kind is Kind.ENDED:
            self._treatment += deed.detail["area"] is None
            return
        detail, needles = deed.detail, self.scene.permitted.needles
        self._id = detail["cartridge_id"]
        wrong = {
            "absent": self._id == 0,
            "used": detail["used"],
            "expired": detail["expired"],
            f"of {detail['needles']} needles, not {needles}": detail["needles"] != needles,
        }
        self._wrong = next((name for name, holds in wrong.items() if holds), None)
        if self._wrong is not None:
            self.scene.provoke("H15")

    def begin(self) -> None:
        wrong = self._wrong
        if self._used_in.setdefault(self._id, self._treatment) != self._treatment:
            wrong = wrong or "used in an earlier treatment"
        if wrong is not None:
            self.scene.violate("H15", f"started with a cartridge that is {wrong}")


class Checklist(Judge):
    """H16: nothing is armed, and nothing moves, before everything on the checklist was answered: 0 arms.

    A treatment that has ended takes its answers with it.
    """

    hears = frozenset({Kind.PREPARED, Kind.APPROVED, Kind.ACCEPTED, Kind.ENDED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._prepared = False

    def note(self, deed: Deed) -> None:
        match deed.kind:
            case Kind.PREPARED:
                self._prepared = True
            case Kind.APPROVED if not self._prepared:
                self.scene.provoke("H16")
            case Kind.ENDED if deed.detail["area"] is None:
                self._prepared = False
            case Kind.ACCEPTED if deed.detail["name"] == "arm" and not self._prepared:
                self.scene.violate("H16", "armed before the checklist was answered")
            case _:
                pass

    def begin(self) -> None:
        if not self._prepared:
            self.scene.violate("H16", "needles move before the checklist was answered")


class Disk(Judge):
    """H19: on a full disk nothing starts, but for a command that had left the host before it was full."""

    hears = frozenset({Kind.DISK_FULL, Kind.DISK_FREE, Kind.APPROVED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._full_us: int | None = None

    def note(self, deed: Deed) -> None:
        if deed.kind is not Kind.APPROVED:
            self._full_us = deed.t_us if deed.kind is Kind.DISK_FULL else None
        elif self._full_us is not None:
            self.scene.provoke("H19")

    def begin(self) -> None:
        if self._full_us is not None and self.scene.sent_us > self._full_us:
            self.scene.violate(
                "H19", f"started {(self.scene.now_us - self._full_us) / 1000:.0f} ms after the disk was full"
            )


class Person(Judge):
    """A person resumes, never the program: after a stop that was not asked for, nothing moves without a RESUMED.

    The violation is of the hazard that stopped it: H03 to H06 and H10 host, link and reboot, H25 STOP and button, and
    whatever else was owed. What happens while the pen is home (STOP, button, cable, crash, reboot) needs a RESUMED too,
    or a fresh request (APPROVED). A start that had left the host before STOP was pressed there, or it was killed, is on
    the line: that is L, and what follows it is for H25 and H03 to judge.
    """

    hears = frozenset({*IDLE, Kind.APPROVED, Kind.RESUMED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._idle: dict[str, tuple[str, int]] = {}
        """Why it must stay home, and since when no start may leave the host; by hazard."""

    def note(self, deed: Deed) -> None:
        if deed.kind in (Kind.APPROVED, Kind.RESUMED):
            self._idle.clear()
        elif not self.scene.active and deed.detail.get("by") != "radio":  # of which nobody is told
            at_host = deed.kind in (Kind.STOP_PRESSED, Kind.HOST_KILLED)
            self._idle[IDLE[deed.kind]] = deed.kind, deed.t_us if at_host else 0

    def begin(self) -> None:
        scene = self.scene
        left_us = scene.sent_us if scene.commanded_us == scene.now_us else scene.now_us
        idle = {hazard: why for hazard, (why, since_us) in self._idle.items() if left_us >= since_us}
        for hazard, why in (idle | self.scene.stopped).items():
            self.scene.violate(hazard, f"moves again without a person ({why})")
        self._idle.clear()
        self.scene.stopped.clear()
