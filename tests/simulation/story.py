"""Made-up worlds for the oracle's own tests: a calm treatment that runs, and what a case does to it."""

from typing import Any, Self

from tests.simulation.judges.scene import STEP_US
from tests.simulation.oracle import Facts, Oracle
from tests.simulation.truth import Deed, Kind, Moment

RATE_HZ = 100.0
STROKE_US = 10_000
"""S at that rate."""
STANDARD_US = 250_000 + 2 * STROKE_US
REQUEST = {
    "area": "cheek",
    "indication": "fine_lines",
    "fitzpatrick": 2,
    "depth_mm": 1.0,
    "rate_hz": RATE_HZ,
    "passes": 2,
    "size_cm2": 4.0,
}
"""Allows 1.5 mm, and 6,300 x 4 punctures: 2,100 strokes of 12 needles."""
CARTRIDGE = {"cartridge_id": 1, "used": False, "expired": False, "needles": 12}


class Story:
    """Tells an oracle what happens, and keeps the time. Times are in microseconds of the world."""

    def __init__(self, facts: Facts | None = None) -> None:
        self.oracle = Oracle(facts)
        self.t_us = 0
        self.last = Moment(0, 0.0, True, 0.0, False, None, 0, 0, 1)
        self._command_id = 0

    def deed(self, kind: Kind, **detail: Any) -> Self:
        """A deed, now."""
        self.oracle.note(Deed(self.t_us, kind, detail))
        return self

    def see(self, **changed: Any) -> Self:
        """A moment, now: the one before, but for what changed."""
        self.last = self.last._replace(t_us=self.t_us, **changed)
        self.oracle.see(self.last)
        return self

    def wait(self, for_us: int) -> Self:
        """Time passes while the pen stays as it is."""
        end_us = self.t_us + for_us
        while self.t_us < end_us:
            self.t_us = min(end_us, self.t_us + STEP_US)
            self.see()
        return self

    def command(self, name: str, host: str = "host", **detail: Any) -> Self:
        """The pen follows the next command, intact and at once."""
        self._command_id += 1
        known: dict[str, Any] = {"host": host, "command_id": self._command_id, "name": name, "age_us": 0}
        if name in ("start", "set"):
            known |= {"depth_mm": 1.0, "rate_hz": RATE_HZ}
        kind = Kind.EXECUTED if name in ("start", "set") else Kind.ACCEPTED
        return self.deed(kind, **known | {"touched": None} | detail)

    def renew(self, **detail: Any) -> Self:
        """An intact and fresh renewal arrives."""
        return self.deed(Kind.RENEWAL_ARRIVED, **{"host": "host", "age_us": 0, "quoted_us": 0} | detail)

    def ready(self, **request: Any) -> Self:
        """All is there for a start: cartridge, checklist, claim, lease, request, arm."""
        self.deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE).deed(Kind.PREPARED).command("claim")
        return self.renew().deed(Kind.APPROVED, **REQUEST | request).command("arm").wait(STROKE_US)

    def start(self, **detail: Any) -> Self:
        """The pen runs."""
        self.renew().command("start", **detail)
        return self.out()

    def out(self, **changed: Any) -> Self:
        """A moment, now, with needles out and the motor at its rate."""
        running = {"deepest_um": 1000.0, "retracted": False, "rate_hz": RATE_HZ, "driven": True, "area": "cheek"}
        return self.see(**running | changed)

    def strokes(self, count: int) -> Self:
        """So many strokes into skin, the lease renewed with each."""
        for _ in range(count):
            self.t_us += STROKE_US // 2
            self.see()
            self.t_us += STROKE_US // 2
            self.renew()
            self.see(strokes=self.last.strokes + 1, contact_strokes=self.last.contact_strokes + 1)
        return self

    def home(self) -> Self:
        """A microsecond later: needles in, sleeve home, motor off."""
        self.t_us += 1
        return self.see(deepest_um=0.0, retracted=True, rate_hz=0.0, driven=False)

    def violated(self) -> list[str]:
        """The hazards of all violations, each once."""
        return sorted({violation.hazard for violation in self.oracle.finish()})
