"""What happens in simulation when controls are taken away: which hazard the oracle then sees, and what covers for what.

Names and seams are those of the safety case (`tests/safety_case/seams.py`); a few are only for simulation. Others are
not seen from the needles: `stop-lane`, as the oracle leaves out the link's own latency; `arm-epoch`, `latch-number`,
`void-when-settled`, `cartridge-memory` and `stop-repeated`, as another control always comes first.
"""

from typing import NamedTuple

import pytest

from pen_controller.config import PlanArea
from pen_controller.journal import record
from pen_controller.pen import Pen
from tests.safety_case.seams import NEVER, SEAMS, Seam, answering, instead
from tests.simulation.clock import WorldLoop
from tests.simulation.script import TO_HOST, TO_PEN, Act, Script, What

RENEW_MS = 50
CHEEK = PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=3, size_cm2=2.0, indication="acne_scars")
PERIORBITAL = PlanArea(area="periorbital", depth_mm=0.25, rate_hz=60.0, passes=3, size_cm2=2.0, indication="fine_lines")
SMALL = CHEEK.model_copy(update={"passes": 6, "size_cm2": 0.5})


def renewed_apart(patch: pytest.MonkeyPatch) -> None:
    """The lease is renewed by a clock of its own, whether or not the control loop runs."""
    connect = Pen._connect

    async def connect_and_renew(pen: Pen) -> None:
        await connect(pen)
        loop = pen._link._loop
        assert isinstance(loop, WorldLoop)
        clock = loop.clock

        def renew() -> None:
            if pen.connected:
                pen._link.renew()
                clock.after(RENEW_MS, renew)

        renew()

    patch.setattr(Pen, "_connect", connect_and_renew)


def timed_by_the_worlds_wall(patch: pytest.MonkeyPatch) -> None:
    """The control loop goes by the wall clock of the script."""
    watch, began_s = Pen._watch, dict[Pen, float]()

    def watch_by_the_wall(pen: Pen, now_s: float) -> None:
        wall_s = record.datetime.now().timestamp()  # type: ignore[attr-defined]  # the world's own, see seams.py
        watch(pen, wall_s - began_s.setdefault(pen, wall_s - now_s))

    patch.setattr(Pen, "_watch", watch_by_the_wall)


HERE: dict[str, Seam] = {
    "blind-run-stops": instead("pen_controller.pen.pen.BLIND_S", NEVER),
    "lost-line-shown": answering("pen_controller.pen.link.Link.lose", None),
    "renewed-by-the-loop": renewed_apart,
    "no-wall-clock": timed_by_the_worlds_wall,
}
"""Seams that are for simulation only, or stand for real threads and clocks there."""


def take_away(patch: pytest.MonkeyPatch, control: str) -> None:
    """Take a control away until the patches are undone."""
    (SEAMS | HERE)[control](patch)


class Taken(NamedTuple):
    """Controls any one of which is enough, and what happens when all of them are gone."""

    controls: tuple[str, ...]
    hazard: str
    script: Script


def _script(*acts: Act, area: PlanArea = CHEEK, seed: int = 1, seconds: float = 4.0, **facts: bool | str) -> Script:
    return Script.model_validate({"seed": seed, "seconds": seconds, "areas": (area,), "acts": acts} | facts)


def _act(what: What, at_ms: int = 1_500, **how: float | str) -> Act:
    return Act.model_validate({"at_ms": at_ms, "what": what} | how)


CRASH = _script(_act(What.CRASH, for_ms=2_000))
STALL = _script(_act(What.HOST_STALL, for_ms=1_500))
RADIO = _script(_act(What.RADIO_GONE, for_ms=1_500))
UNPLUG = _script(_act(What.UNPLUG, for_ms=1_500), seconds=6.0)
UNPLUG_SHORTLY = _script(_act(What.UNPLUG, for_ms=50))
DEAF = _script(_act(What.DROP, for_ms=3_000, way=TO_HOST))
REBOOT = _script(_act(What.REBOOT, for_ms=100))
CHANGE = _script(_act(What.CHANGE, figure=0.6), area=PERIORBITAL)
TOO_DEEP = _script(_act(What.TOO_MUCH, 250, figure=2.0), model="exceed")
DRIFT = _script(_act(What.DRIFT, figure=300.0))
MOTOR = _script(_act(What.STALL, for_ms=1_000))
RUNAWAY = _script(_act(What.RUNAWAY, figure=1.3, for_ms=1_000))
FROZEN = _script(_act(What.FORCE_STUCK, for_ms=2_000))
OTHER_AREA = _script(_act(What.OTHER_AREA, choice="blunt"))
TO_THE_END = _script(area=SMALL, seconds=15.0)
TWICE_UNSEEN = _script(
    _act(What.RADIO_GONE, for_ms=1_500), _act(What.RADIO_GONE, 6_000, for_ms=1_500), area=SMALL, seconds=20.0
)
USED, EXPIRED, OTHER_NEEDLES = (
    _script(_act(What.CARTRIDGE, 300, choice=choice)) for choice in ("used", "expired", "needles")
)
NEXT_PATIENT = _script(_act(What.FINISH, 2_400), _act(What.CLOSE, 2_500))
DAMAGED = _script(_act(What.CORRUPT, 400, chance=0.5, for_ms=2_500, way=TO_PEN), seed=57)
REORDERED = _script(_act(What.REORDER, 100, chance=0.8, for_ms=4_000, way=TO_PEN))
REPEATED = _script(
    _act(What.DUPLICATE, 1_450, for_ms=600, way=TO_PEN), *(_act(What.CHANGE, at, figure=0.5) for at in (1_500, 1_900))
)
UNANSWERED = _script(_act(What.DROP, 1_400, for_ms=900, way=TO_HOST), _act(What.CHANGE, figure=0.5), seconds=5.0)
RIVAL = _script(_act(What.RIVAL, choice="claim", for_ms=2_000))
STOPPED_BY_ANOTHER = _script(_act(What.RIVAL, choice="stop", for_ms=2_000))
UNPREPARED = _script(prepared=False)
DISK = _script(_act(What.DISK_FULL, for_ms=2_000))
DISK_FIRST = _script(_act(What.DISK_FULL, 250, for_ms=2_000))
SET_BACK = _script(
    _act(What.CLOCK_JUMP, 0, figure=-365 * 86_400.0),
    _act(What.CRASH, 2_000, for_ms=300),
    _act(What.CARTRIDGE, 2_200, choice="expired"),
    seconds=14.0,
)
YEAR = _script(_act(What.CLOCK_JUMP, figure=365 * 86_400.0))

TAKEN = (
    Taken(("lease",), "H03", CRASH),
    Taken(("lease",), "H04", STALL),
    Taken(("lease",), "H05", RADIO),
    Taken(("lease",), "H06", UNPLUG),
    Taken(("renewed-by-the-loop",), "H04", STALL),
    Taken(("fresh-renewals", "no-renewal-when-deaf", "blind-run-stops"), "H05", DEAF),
    Taken(("latch", "a-person-resumes"), "H06", UNPLUG),
    Taken(("a-person-resumes",), "H10", REBOOT),
    Taken(("lost-line-shown",), "H06", UNPLUG),
    Taken(("spring",), "H10", REBOOT),
    Taken(("least-layer",), "H01", CHANGE),
    Taken(("least-layer", "envelope"), "H01", TOO_DEEP),
    Taken(("grant", "arm-caps"), "H01", CHANGE),
    Taken(("over-depth-check", "guard"), "H11", DRIFT),
    Taken(("other-area-stops",), "H02", OTHER_AREA),
    Taken(("stall-check",), "H12", MOTOR),
    Taken(("rate-check",), "H13", RUNAWAY),
    Taken(("frozen-check",), "H14", FROZEN),
    Taken(("stroke-budget", "guard", "hard-limits"), "H14", TO_THE_END),
    Taken(("unseen-strokes",), "H17", TWICE_UNSEEN),
    Taken(("cartridge-rules", "cartridge-limits"), "H15", USED),
    Taken(("cartridge-rules", "cartridge-limits"), "H15", EXPIRED),
    Taken(("days-go-forward",), "H15", SET_BACK),
    Taken(("days-go-forward",), "H20", SET_BACK),
    Taken(("cartridge-limits", "preparation"), "H15", OTHER_NEEDLES),
    Taken(("use-mark",), "H15", NEXT_PATIENT),
    Taken(("preparation",), "H16", UNPREPARED),
    Taken(("checksum",), "H07", DAMAGED),
    Taken(("frame-counter",), "H07", REORDERED),
    Taken(("frame-counter", "command-memory"), "H07", REPEATED),
    Taken(("uncertain-stops",), "H08", UNANSWERED),
    Taken(("one-owner",), "H09", RIVAL),
    Taken(("claim-epoch",), "H09", RIVAL),
    Taken(("claim-stops",), "H09", UNPLUG_SHORTLY),
    Taken(("record-before-needles",), "H19", DISK_FIRST),
    Taken(("failed-record-stops",), "H19", DISK),
    Taken(("no-wall-clock",), "H20", YEAR),
    Taken(("stop-from-anyone",), "H25", STOPPED_BY_ANOTHER),
)
