"""The oracle: judges every step of a simulated world by physics, and knows neither controller nor firmware.

It is written from `wire-and-safety.md` (hazards and bounds), the protocol's page, and the limits as data. It is shown
`Moment`s and `Deed`s (`truth.py`) and gives back `Violation`s; whose docstring says how it reads its bound:

| judge | hazards |
| --- | --- |
| `depth.Depth`, `depth.Drift` | H01, H11 |
| `lease.Lease` | H03, H04, H05, H06, H10: standard |
| `stopping.Stop`, `.Area`, `.Motor`, `.Force`, `.Trouble` | H25 and H18; H02; H12, H13; H14; H15, H19 while running |
| `starting.Cartridge`, `.Checklist`, `.Disk` | H15, H16, H19: what must not start |
| `starting.Person` | what was stopped moves again by itself: the hazard that stopped it |
| `frames.Frames`, `.Answers`, `.Owner` | H07, H08, H09 |
| `amounts.Amount` | H14 |
| `telling.Screen`, `.Record` | H06, H10 on the screen; H08 falsely reported; H17 |
| `differs` | H20: two worlds, with and without the jump of the clock |

H17 is judged as far as the record on the disk: what a recorder gets of it, and H18 where a broker is down for hours,
have tests of their own (`test_outage`, `test_recorder*`). H21 (MQTT clients), H22 (web pages), H23 (edited records) and
H24 (firmware images) are not simulation's: nothing of them passes the line between host and pen.
"""

from collections.abc import Iterable
from itertools import zip_longest

from tests.simulation.judges import amounts, depth, frames, lease, starting, stopping, telling
from tests.simulation.judges.scene import STEP_US, Facts, Judge, Measure, Scene
from tests.simulation.truth import Deed, Kind, Moment, Violation

__all__ = ["JUDGES", "Facts", "Measure", "Oracle", "differs"]

JUDGES: tuple[type[Judge], ...] = (
    depth.Depth,
    depth.Drift,
    lease.Lease,
    stopping.Stop,
    stopping.Area,
    stopping.Motor,
    stopping.Force,
    stopping.Trouble,
    starting.Cartridge,
    starting.Checklist,
    starting.Disk,
    starting.Person,
    frames.Frames,
    frames.Answers,
    frames.Owner,
    amounts.Amount,
    telling.Screen,
    telling.Record,
)


class Oracle:
    """Judges one world, from its beginning to `finish`.

    Moments and deeds come in the order in which they happened; a deed at the time of a moment counts as before or after
    it as it comes.

    Args:
        facts: Pen and line of the script.
    """

    def __init__(self, facts: Facts | None = None) -> None:
        self._scene = Scene(facts or Facts())
        self._judges = [judge(self._scene) for judge in JUDGES]
        self._seeing = [judge.see for judge in self._judges if judge.sees]
        self._hearing = {kind: [judge.note for judge in self._judges if kind in judge.hears] for kind in Kind}
        self._finished = False

    def see(self, moment: Moment) -> None:
        """Judge one step.

        Raises:
            ValueError: Time went back, or a step was longer than 5 ms while needles were out: the world is wrong.
        """
        scene = self._scene
        last = scene.last
        if moment.t_us < scene.now_us:
            raise ValueError(f"a moment at {moment.t_us} us, after {scene.now_us} us")
        scene.now_us = moment.t_us
        home = moment.retracted and not moment.driven and moment.deepest_um <= 0
        if scene.active or not home or moment.strokes != last.strokes:
            if moment.t_us - last.t_us > STEP_US and not (home and last.retracted):
                raise ValueError(f"a step of {moment.t_us - last.t_us} us with needles out, bound {STEP_US} us")
            if not home and not scene.active:
                self._begin()
            scene.busy(moment)
            for see in self._seeing:
                see(moment)
            if home and scene.active:
                for judge in self._judges:
                    judge.end()
                scene.come_home()
        scene.last = moment

    def note(self, deed: Deed) -> None:
        """Take a fact of the world.

        Raises:
            ValueError: Time went back.
        """
        scene = self._scene
        if deed.t_us < scene.now_us:
            raise ValueError(f"{deed.kind} at {deed.t_us} us, after {scene.now_us} us")
        scene.now_us = deed.t_us
        scene.follow(deed)
        if deed.kind is Kind.EXECUTED and not scene.active:
            self._begin()
        for note in self._hearing[deed.kind]:
            note(deed)

    def finish(self) -> list[Violation]:
        """The script is over: what was still to come in time did not. All violations, in the order they were seen."""
        if not self._finished:
            self._finished = True
            for judge in self._judges:
                judge.finish()
        return list(self._scene.violations)

    def measured(self) -> dict[str, Measure]:
        """What was seen of each hazard, by its id.

        `H06 screen` and `H10 screen` are what their screens said, `H14 frozen` is a force sensor that was.
        """
        return dict(sorted(self._scene.measures.items()))

    def _begin(self) -> None:
        self._scene.active = True
        self._scene.began_us = self._scene.now_us
        for judge in self._judges:
            judge.begin()


def differs(calm: Iterable[Moment], jumped: Iterable[Moment]) -> list[Violation]:
    """H20: a jump of the wall clock changes no behaviour: the same script without it gives the same moments.

    Returns:
        One violation at the first moment that is another, or none.
    """
    for one, other in zip_longest(calm, jumped):
        if one != other:
            at = other or one
            assert at is not None
            return [Violation("H20", at.t_us, f"{other} with the jump of the clock, {one} without it")]
    return []
