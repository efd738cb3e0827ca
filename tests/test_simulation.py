"""The simulated world: a million judged steps, the same again from the same script, and a failing one made short."""

import os
import random
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pen_controller.config import PlanArea
from simulator import profiles
from tests.simulation.__main__ import first_of_each, shrunk, summary, table
from tests.simulation.person import Person
from tests.simulation.script import MAKERS, PROVOKED_BY, Act, Script, What, generate
from tests.simulation.shrink import shrink
from tests.simulation.truth import Deed, Kind
from tests.simulation.verdict import Tally, Trace, judge
from tests.simulation.world import run

pytestmark = pytest.mark.timeout(900)  # the first test waits for all the steps

STEPS = 1_000_000
LEAST_PROVOKED = 3
UNREACHED = frozenset({Kind.BROKER_DOWN, Kind.BROKER_UP})
"""Deeds of a broker: the publisher has a thread and a clock of its own, and is not in this world."""


@pytest.fixture(scope="module")
def tally() -> Tally:
    """A million steps, of as many seeds as it takes."""
    found = Tally()
    seed = 0
    while found.steps < STEPS:
        found.add(judge(generate(seed)))
        seed += 1
    return found


def test_a_million_steps_without_a_violation(tally: Tally) -> None:
    print(summary(tally))
    assert [(script.seed, *found) for script, found in tally.violations] == []


def test_every_hazard_that_it_can_reach_was_provoked(tally: Tally) -> None:
    seldom = {
        hazard: tally.measured[hazard].provoked if hazard in tally.measured else 0
        for hazard in PROVOKED_BY
        if hazard not in tally.measured or tally.measured[hazard].provoked < LEAST_PROVOKED
    }
    assert seldom == {}


def test_everything_that_can_happen_did(tally: Tally) -> None:
    assert set(What) - set(tally.acts) == set()
    assert set(Kind) - set(tally.kinds) == UNREACHED
    assert set(MAKERS) == set(What)


def test_every_figure_is_in_the_table(tally: Tally) -> None:
    shown = [str(cell) for cell in table(tally).columns[0].cells]
    assert shown == sorted(tally.measured)


# --- the same again --------------------------------------------------------------------------------------------------

CHEEK = PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=3, size_cm2=6.0)
FOREHEAD = PlanArea(area="forehead", depth_mm=0.5, rate_hz=80.0, passes=1, size_cm2=3.0)
MIXED = Script(
    seed=7,
    seconds=14.0,
    areas=(CHEEK, FOREHEAD),
    acts=(
        Act(at_ms=2_000, what=What.DUPLICATE, for_ms=6_000, way="to pen", chance=0.3),
        Act(at_ms=2_500, what=What.CORRUPT, for_ms=5_000, way="to host", chance=0.2),
        Act(at_ms=4_000, what=What.CRASH, for_ms=700),
        Act(at_ms=6_000, what=What.RIVAL, for_ms=1_500, choice="claim"),
        Act(at_ms=8_000, what=What.SUSPEND, for_ms=4_000),
        Act(at_ms=9_000, what=What.DISK_FULL, for_ms=2_500),
    ),
)
DIGEST = "from tests.test_simulation import digest; print(digest())"


def digest(script: Script = MIXED) -> str:
    trace = Trace()
    run(script, trace)
    return trace.digest


def test_a_script_comes_back_from_its_text() -> None:
    assert Script.model_validate_json(MIXED.model_dump_json()) == MIXED


def test_the_same_script_gives_the_same_world_to_the_last_bit() -> None:
    assert digest() == digest()
    assert digest() != digest(MIXED.model_copy(update={"seed": 8}))


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_so_it_does_in_another_process_on_another_day(hash_seed: str) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": "Pacific/Apia"}
    told = subprocess.run(
        [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    assert told.stdout.strip() == digest()


def test_no_time_and_no_chance_of_this_machine_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()

    def no(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("the world asked this machine")

    for module, name in (
        *((time, name) for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")),
        *((secrets, name) for name in ("randbits", "token_hex", "token_bytes", "choice")),
        *((random, name) for name in ("random", "randint", "gauss", "choice", "uniform", "getrandbits")),
        (os, "urandom"),
    ):
        monkeypatch.setattr(module, name, no)
    assert digest() == before


def test_the_days_on_record_are_the_worlds() -> None:
    sessions: list[str] = []

    class Reader(Trace):
        def note(self, deed: Any) -> None:
            if deed.kind is Kind.WRITTEN:
                sessions.append(deed.detail["session"])

    run(MIXED, Reader())
    assert {session[:8] for session in sessions} == {"20260302"}


# --- a world that goes on --------------------------------------------------------------------------------------------

CALM = Script(
    seed=1, seconds=10.0, areas=(PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=3, size_cm2=6.0),)
)
ENDURED = {
    What.CRASH: 500,
    What.QUIT: 500,
    What.HOST_STALL: 1_000,
    What.SUSPEND: 2_000,
    What.REBOOT: 300,
    What.BUTTON: 0,
    What.STOP: 0,
    What.UNPLUG: 1_000,
    What.RADIO_GONE: 1_200,
    What.DISK_FULL: 1_000,
    What.STALL: 300,
}


@pytest.mark.parametrize("what", ENDURED)
def test_after_what_stops_it_a_treatment_is_taken_up_and_goes_on(what: What) -> None:
    """Else a world would judge a pen at home and call it safe."""
    told: list[Deed] = []

    class Listener(Trace):
        def note(self, deed: Deed) -> None:
            told.append(deed)

    run(CALM.model_copy(update={"acts": (Act(at_ms=2_500, what=what, for_ms=ENDURED[what]),)}), Listener())
    resumed_us = next(deed.t_us for deed in told if deed.kind is Kind.RESUMED)
    assert resumed_us > 2_500_000
    assert any(deed.kind is Kind.EXECUTED and deed.t_us > resumed_us for deed in told)


# --- a script that fails ---------------------------------------------------------------------------------------------

BROKEN = MIXED.model_copy(
    update={
        "seconds": 6.0,
        "acts": (
            Act(at_ms=1_000, what=What.DELAY, for_ms=900, way="to host", chance=0.1),
            Act(at_ms=3_000, what=What.CRASH, for_ms=700),
            Act(at_ms=5_500, what=What.BUTTON),
        ),
    }
)


@pytest.fixture
def long_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pens whose lease lasts a minute."""
    monkeypatch.setattr(profiles, "LEASE_MS", 60_000)


@pytest.mark.usefixtures("long_lease")
def test_a_failing_script_is_shrunk_to_what_it_takes() -> None:
    found = first_of_each(judge(BROKEN).violations)
    assert "H03" in {violation.hazard for _, violation in found}
    short = shrunk(BROKEN, "H03")
    assert [act.what for act in short.acts] == [What.CRASH]
    assert len(short.areas) == 1
    assert short.seconds < BROKEN.seconds
    assert "H03" in {violation.hazard for _, violation in judge(short).violations}


def test_the_same_script_passes_with_the_lease() -> None:
    assert judge(BROKEN).violations == []


def test_shrinking_gives_the_same_each_time_and_ends() -> None:
    def fails(script: Script) -> bool:
        return {What.CRASH, What.RIVAL} <= {act.what for act in script.acts}

    short = shrink(MIXED, fails)
    assert short == shrink(MIXED, fails)
    assert [act.what for act in short.acts] == [What.CRASH, What.RIVAL]
    assert shrink(MIXED, lambda _: False) == MIXED
    assert all(act.at_ms <= 1 and act.for_ms <= 1 for act in short.acts), "as early and as short as it fails"
    assert short.seconds == 1


def test_an_error_that_nobody_expects_is_a_finding_with_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall_over(*_: object) -> None:
        raise ZeroDivisionError("by a person")

    monkeypatch.setattr(Person, "do", fall_over)
    script = MIXED.model_copy(update={"acts": (Act(at_ms=3_000, what=What.STOP),)})
    violations = judge(script).violations
    assert (violations[-1][0], violations[-1][1].hazard) == (script, "broke")
    assert "by a person" in violations[-1][1].said


# --- the command -----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=os.environ | {"COLUMNS": "200"},
    )


def test_the_command_judges_many_and_says_so(tmp_path: Path) -> None:
    done = command("--steps", "1e4", "--jobs", "1", "--hazard", "H25", "--failed", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "times real time on one core" in done.stdout
    assert "H25" in done.stdout


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--steps 0", "more than 0"),
        ("--steps nan", "more than 0"),
        ("--jobs 0", "more than 0"),
        ("--failed nowhere", "is no folder"),
        ("--script nowhere.json", "nowhere.json"),
        ("--script pyproject.toml", "pyproject.toml"),
    ],
)
def test_the_command_refuses_what_it_cannot_run(wrong: str, said: str) -> None:
    done = command(*wrong.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_replays_a_script_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(MIXED.model_dump_json(), "utf-8")
    done = command("--script", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "host killed" in done.stdout


def test_a_hazard_is_provoked_by_what_is_said_to_provoke_it() -> None:
    for hazard, whats in PROVOKED_BY.items():
        assert {act.what for act in generate(3, hazard).acts} & set(whats)
