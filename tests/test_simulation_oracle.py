"""The oracle of the simulation is right: each judge takes what is exactly at its bound, and nothing beyond it.

Its cases are in `simulation/cases/`: each is a calm treatment with one thing done to it, `over` the bound by a
microsecond, a stroke or a record, or not.
"""

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import oracle as oracle_module
from tests.simulation.cases import CASES
from tests.simulation.judges import permitted
from tests.simulation.judges.permitted import Permitted
from tests.simulation.judges.scene import Judge
from tests.simulation.oracle import JUDGES, Facts, Oracle, differs
from tests.simulation.story import CARTRIDGE, REQUEST, STROKE_US, Story
from tests.simulation.truth import Deed, Kind, Moment


def running() -> Story:
    return Story().ready().start()


# --- a person resumes ------------------------------------------------------------------------------------------------

STOPS: dict[str, tuple[str, Callable[[Story], object]]] = {
    "stop": ("H25", lambda story: story.deed(Kind.STOP_PRESSED)),
    "stop arrived": ("H25", lambda story: story.deed(Kind.STOP_ARRIVED, host="host")),
    "button": ("H25", lambda story: story.deed(Kind.BUTTON_PRESSED)),
    "area": ("H02", lambda story: story.deed(Kind.AREA_CHANGED, area="chin")),
    "killed": ("H03", lambda story: story.deed(Kind.HOST_KILLED)),
    "cable": ("H06", lambda story: story.deed(Kind.LINK_LOST, by="cable")),
    "reboot": ("H10", lambda story: story.deed(Kind.PEN_REBOOTED, back_us=0)),
    "lease": ("H05", lambda story: story.renew().wait(250_001)),
    "stalled host": ("H04", lambda story: story.renew().deed(Kind.HOST_STALLED).wait(250_001)),
    "drift": ("H11", lambda story: story.deed(Kind.SENSOR_WRONG, error_um=300.0)),
    "stall": ("H12", lambda story: story.deed(Kind.MOTOR_STALLED, stalled=True)),
    "runaway": ("H13", lambda story: story.see(rate_hz=130.0)),
    "cartridge": ("H15", lambda story: story.deed(Kind.CARTRIDGE_CHANGED, **CARTRIDGE)),
    "disk": ("H19", lambda story: story.deed(Kind.DISK_FULL)),
}


def _repaired(story: Story) -> None:
    """All that was broken is whole again, and the pen is armed."""
    story.deed(Kind.SENSOR_WRONG, error_um=0.0).deed(Kind.MOTOR_STALLED, stalled=False).deed(Kind.DISK_FREE)
    story.deed(Kind.LINK_BACK).deed(Kind.HOST_STARTED, host="host", resumes=True).wait(STROKE_US)
    story.command("claim").command("arm")


@pytest.mark.parametrize(("hazard", "stop"), STOPS.values(), ids=STOPS)
@pytest.mark.parametrize("resumed", [True, False])
def test_nothing_moves_again_without_a_person(hazard: str, stop: Callable[[Story], object], *, resumed: bool) -> None:
    story = running()
    stop(story)
    story.home().deed(Kind.APPROVED, **REQUEST)
    if resumed:
        story.deed(Kind.RESUMED)
    _repaired(story)
    story.start().home()
    assert story.violated() == ([] if resumed else [hazard])


@pytest.mark.parametrize("name", ["stop", "stop arrived", "button", "killed", "cable", "reboot"])
@pytest.mark.parametrize("person", [Kind.RESUMED, Kind.APPROVED, None])
def test_what_happens_while_the_pen_is_home_needs_a_person_too(name: str, person: Kind | None) -> None:
    story = Story().ready()
    hazard, stop = STOPS[name]
    stop(story)
    if person is not None:
        story.deed(person, **REQUEST)
    _repaired(story)
    story.start().home()
    assert story.violated() == ([] if person is not None else [hazard])


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_case_exactly_at_its_bound_is_fine(name: str) -> None:
    story = Story()
    CASES[name][1](story, False)
    assert story.oracle.finish() == []


@pytest.mark.parametrize("name", CASES)
def test_a_case_beyond_its_bound_violates_its_hazard_and_no_other(name: str) -> None:
    story = Story()
    CASES[name][1](story, True)
    assert story.violated() == [CASES[name][0]]


def test_the_cases_are_of_every_hazard_that_simulation_judges() -> None:
    judged = {f"H{number:02}" for number in (*range(1, 18), 19, 25)}
    assert {hazard for hazard, _ in CASES.values()} == judged


@pytest.mark.parametrize("judge", JUDGES)
def test_no_judge_can_be_spared(judge: type[Judge], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle_module, "JUDGES", tuple(one for one in JUDGES if one is not judge))
    missed = []
    for hazard, act in CASES.values():
        story = Story()
        act(story, True)
        missed += [hazard] if story.violated() != [hazard] else []
    story = running().deed(Kind.STOP_PRESSED).home().command("arm").start()
    missed += ["resumed"] if not story.violated() else []
    assert missed


def test_what_a_screen_need_not_say() -> None:
    """A host that is gone shows nothing; a line that loses what the pen says has no L."""
    story = running().deed(Kind.SHOWN, text="", running=True).deed(Kind.LINK_LOST, by="cable")
    assert story.wait(50_000).deed(Kind.HOST_KILLED).wait(100_000).home().violated() == []
    story = running().deed(Kind.SHOWN, text="", running=True).deed(Kind.LINE_FAULTY, way="to host", fault="drop")
    assert story.deed(Kind.PEN_REBOOTED, back_us=story.t_us).wait(200_000).home().violated() == []


def test_a_fault_that_ends_leaves_another_of_its_kind() -> None:
    """Seed 1562: of two delays to the host the shorter one has ended."""
    story = running().deed(Kind.SHOWN, text="", running=True)
    for _ in range(2):
        story.deed(Kind.LINE_FAULTY, way="to host", fault="delay")
    story.deed(Kind.LINE_WHOLE, way="to host", fault="delay").deed(Kind.PEN_REBOOTED, back_us=story.t_us)
    assert story.wait(200_000).deed(Kind.SHOWN, text="", running=False).home().violated() == []


def test_the_latency_of_the_line_is_not_the_screens() -> None:
    story = Story(Facts(latency_us=30_000)).ready().start().deed(Kind.SHOWN, text="", running=True)
    story.deed(Kind.PEN_REBOOTED, back_us=story.t_us).wait(130_000).deed(Kind.SHOWN, text="", running=False)
    assert story.home().violated() == []


# --- what is measured ------------------------------------------------------------------------------------------------


def test_a_bound_is_measured_where_it_came_nearest() -> None:
    story = running().deed(Kind.BUTTON_PRESSED).wait(4_000).home().deed(Kind.RESUMED).command("arm")
    story.start().deed(Kind.BUTTON_PRESSED).wait(17_000).home().deed(Kind.RESUMED).command("arm")
    story.start().deed(Kind.BUTTON_PRESSED).wait(9_000).home()
    assert story.oracle.measured()["H25"] == (3, 17.0, 20.0, "ms")
    assert story.violated() == []


def test_stop_while_the_broker_is_down_is_measured_apart() -> None:
    story = running().deed(Kind.BROKER_DOWN).deed(Kind.STOP_PRESSED).deed(Kind.HALT_SENT, name="stop")
    story.deed(Kind.STOP_ARRIVED, host="host").wait(12_000).home()
    assert story.oracle.measured()["H18"] == (1, 12.0, 20.0, "ms")


@pytest.mark.parametrize(("name", "figure", "bound"), [("host_killed", 270.0, 270.0), ("motor_stalled", 30.0, 30.0)])
def test_what_is_at_its_bound_is_measured_as_its_bound(name: str, figure: float, bound: float) -> None:
    story = Story()
    hazard, act = CASES[name]
    act(story, False)
    assert story.oracle.measured()[hazard][1:3] == (figure, bound)


# --- H20: the clock --------------------------------------------------------------------------------------------------


def test_a_jump_of_the_clock_that_changes_nothing() -> None:
    moments = [Moment(t_us, 0.0, True, 0.0, False, None, 0, 0, 1) for t_us in range(0, 50_000, 5_000)]
    assert differs(moments, list(moments)) == []


@pytest.mark.parametrize("jumped", [3, None])
def test_a_jump_of_the_clock_that_changes_a_moment_or_ends_them(jumped: int | None) -> None:
    moments = [Moment(t_us, 0.0, True, 0.0, False, None, 0, 0, 1) for t_us in range(0, 50_000, 5_000)]
    other = moments[:3] if jumped is None else [*moments[:3], moments[3]._replace(strokes=1), *moments[4:]]
    violation = differs(moments, other)
    assert [(one.hazard, one.t_us) for one in violation] == [("H20", 15_000)]


# --- what a person may be given --------------------------------------------------------------------------------------

DEPTHS = [
    ("simulated", "cheek", "fine_lines", 2, 2.5, 1500),  # the indication's overlay
    ("simulated", "cheek", "acne_scars", 2, 2.5, 2000),  # the area
    ("simulated", "cheek", "acne_scars", 5, 2.5, 1500),  # the skin type
    ("simulated", "cheek", "texture_and_tone", 6, 2.5, 1000),  # the least of both
    ("simulated", "cheek", None, 2, 2.5, 2000),
    ("simulated", "periorbital", "fine_lines", 2, 2.5, 400),  # the clinic
    ("simulated", "neck", "wrinkles", 2, 2.5, 1000),  # the clinic
    ("simulated", "forehead", "fine_lines", 2, 2.5, 750),  # no overlay there
    ("simulated", "abdomen", "striae", 2, 2.5, 2500),
    ("dr_pen_a20", "abdomen", "striae", 2, 2.5, 2000),  # the pen
    ("simulated", "abdomen", "striae", 2, 1.2, 1200),  # the firmware
]


@pytest.mark.parametrize(("pen", "area", "indication", "fitzpatrick", "envelope_mm", "depth_um"), DEPTHS)
def test_the_depth_allowed_is_the_least_of_all(
    pen: str, area: str, indication: str | None, fitzpatrick: int, envelope_mm: float, depth_um: float
) -> None:
    asked = {"area": area, "indication": indication, "fitzpatrick": fitzpatrick, "depth_mm": 0.25}
    grant = Permitted(pen, envelope_mm, 150.0).grant(asked | {"rate_hz": 60.0, "passes": 1, "size_cm2": 1.0})
    assert grant is not None
    assert grant.depth_um == depth_um


@pytest.mark.parametrize(
    ("most", "beyond"),
    [
        ({"depth_mm": 1.5}, {"depth_mm": 1.5001}),
        ({"rate_hz": 150.0}, {"rate_hz": 150.1}),
        ({"passes": 6}, {"passes": 7}),
        ({"size_cm2": 160.0}, {"size_cm2": 160.1}),
        ({"area": "neck", "depth_mm": 0.5, "passes": 4}, {"area": "neck", "depth_mm": 0.5, "passes": 5}),
        ({}, {"depth_mm": float("nan")}),
        ({}, {"depth_mm": -1.0}),
        ({}, {"area": "eyelid"}),
        ({}, {"area": "abdomen"}),  # not for fine lines
        ({}, {"fitzpatrick": 7}),
        ({}, {"indication": "boredom"}),
    ],
)
def test_a_request_at_every_limit_grants_and_one_beyond_it_does_not(
    most: dict[str, Any], beyond: dict[str, Any]
) -> None:
    limits = Permitted("simulated", 2.5, 150.0)
    assert limits.grant(REQUEST | most) is not None
    assert limits.grant(REQUEST | beyond) is None


# --- a world that is wrong itself ------------------------------------------------------------------------------------


def test_time_that_goes_back_is_refused() -> None:
    oracle = Oracle()
    oracle.note(Deed(10, Kind.PREPARED))
    with pytest.raises(ValueError, match="prepared at 9 us, after 10 us"):
        oracle.note(Deed(9, Kind.PREPARED))
    with pytest.raises(ValueError, match="a moment at 9 us, after 10 us"):
        oracle.see(Moment(9, 0.0, True, 0.0, False, None, 0, 0, 1))


def test_too_long_a_step_with_needles_out_is_refused() -> None:
    story = running()
    story.t_us += 5_001
    with pytest.raises(ValueError, match="a step of 5001 us"):
        story.see()


# --- a start that is on the line while a person presses STOP ----------------------------------------------------------


@pytest.mark.parametrize(("kind", "hazard"), [(Kind.STOP_PRESSED, "H25"), (Kind.HOST_KILLED, "H03")])
@pytest.mark.parametrize("late", [False, True])
def test_a_start_may_be_on_the_line_while_its_host_stops(kind: Kind, hazard: str, late: bool) -> None:
    story = Story().ready().deed(kind).wait(4_000)
    story.start(age_us=4_000 if late else 4_001)
    assert (hazard in story.violated()) is late


def test_a_pen_that_moves_without_a_command_had_none_on_the_line() -> None:
    story = Story().ready().deed(Kind.STOP_PRESSED).wait(4_000).out()
    assert "H25" in story.violated()


# --- it stands apart -------------------------------------------------------------------------------------------------


def test_the_oracle_knows_neither_end() -> None:
    folder = Path(permitted.__file__).parent
    files = [folder.parent / "oracle.py", folder.parent / "truth.py", *folder.glob("*.py")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                ours = name.startswith(("tests.simulation.truth", "tests.simulation.judges"))
                assert ours or name.split(".")[0] in sys.stdlib_module_names, f"{file.name} imports {name}"
            called = isinstance(node, ast.Name) and node.id in ("__import__", "eval", "exec")
            assert not called, f"{file.name} hides an import"
