"""What is asked at a terminal, and what a file answers."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pen_controller.config import Plan, PlanArea
from pen_controller.config.toml_file import ConfigError
from pen_controller.preparation import Preparation
from pen_controller.preparation.answers import AnswerError
from pen_controller.terminal.questionnaire import load_answers, prepare
from tests.lines import CONFIG, PenSim
from tests.prepared import AGENTS
from tests.running import in_virtual_time
from tests.test_cli import PEN, pen
from tests.test_recovery import bodies
from tests.virtual_treatment import MemoryJournal, bench_of, treating

AREA = PlanArea(area="cheek", depth_mm=1.0, rate_hz=80.0, passes=1, size_cm2=3.0)
PLAN = Plan(title="t", indication="fine_lines", fitzpatrick=2, areas=(AREA,))
FILE = """
by = "clinician-1"
[case]
code = "C-0042"
age_band = "30_39"
fitzpatrick = 2
indications = ["fine_lines"]
concerns = ["cheek"]
previous_treatment = "none"
[cartridge]
udi = "(01)09506000134352(17)390630(10)A1"
lot = "A1"
expiry = 2039-06-30
needles = 12
[screening]
keloid = { answer = "yes", override = { by = "clinician-1", reason = "old" } }
""" + "\n".join(f'{name} = "no"' for name in CONFIG.screening if name != "keloid")
CHECKED = "\n[checked]\n" + "\n".join(
    f"{name} = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in AGENTS[name].items())} }}"
    if name in AGENTS
    else f"{name} = true"
    for name in CONFIG.checklist
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prepared.toml"
    path.write_text(FILE + CHECKED)
    return path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


class Answering:
    """Answers what is asked by the first of these words that is in the question."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers | {
            "yes_or_no": "n", "code": "C-0042", "Age_band": "30_39", "Skin_type": "2", "Previous": "none",
            "many_minutes": "30", "y_if": "y", "What_was_used": "gel", "UDI": "]d201095060001343521739063010A1",
            "needles": "12",
        }  # fmt: skip
        self.asked: list[str] = []
        self.said: list[str] = []

    async def ask(self, question: str) -> str:
        self.asked.append(question)
        assert len(self.asked) < 100, self.said
        return next(answer for words, answer in self.answers.items() if words.replace("_", " ") in question)

    def say(self, line: str) -> None:
        self.said.append(line)


async def after(person: Answering, answers: Path | None = None, plan: Plan = PLAN) -> list[str]:
    """What is still missing when the person has been asked."""
    journal = MemoryJournal()
    async with bench_of(model="rejuvapen_nxt") as bench, treating(bench, journal) as now:
        intake = now.treatment.intake
        given = load_answers(answers) if answers else []
        await prepare(intake, plan, CONFIG, given, person.ask, person.say)
        return [one.key for one in intake.missing()]


@in_virtual_time
async def test_all_is_asked_once_at_a_terminal() -> None:
    person = Answering()
    assert await after(person) == []
    assert len(person.asked) == len(set(person.asked)) > len(CONFIG.screening) + len(CONFIG.checklist)


@in_virtual_time
async def test_a_contraindication_ends_the_questions() -> None:
    person = Answering(nursing="yes")
    assert (await after(person))[0] == "screening.pregnant"
    assert "nursing" in person.asked[-1]


@in_virtual_time
async def test_a_precaution_asks_why_it_is_overridden() -> None:
    assert await after(Answering(Diabetes="yes", overridden="well controlled")) == []
    assert (await after(Answering(Diabetes="yes", overridden="")))[0] == "screening.diabetes"


@in_virtual_time
async def test_an_answer_that_cannot_be_is_told_and_asked_again() -> None:
    person = Answering()
    typed = iter(["smith-7", "C-0042"])
    ask = person.ask

    async def ask_again(question: str) -> str:
        return next(typed) if "code" in question else await ask(question)

    person.ask = ask_again  # type: ignore[method-assign]  # the person learns
    assert await after(person) == []
    assert "looks like a name" in person.said[0]


@in_virtual_time
async def test_a_file_answers_all_and_nothing_is_asked(file: Path) -> None:
    person = Answering()
    assert await after(person, file) == []
    assert person.asked == []


@in_virtual_time
async def test_what_a_file_answers_is_not_asked_again(file: Path) -> None:
    change(file, 'pregnant = "no"', 'pregnant = "yes"')
    person = Answering()
    assert await after(person, file) == ["screening.pregnant"]
    assert person.asked == []


async def test_a_plan_for_another_skin_type_is_an_error(file: Path) -> None:
    with pytest.raises(ValueError, match="the case has skin type 2, the plan is for 5"):
        await after(Answering(), file, PLAN.model_copy(update={"fitzpatrick": 5}))


@in_virtual_time
async def test_a_simulated_pen_is_asked_nothing() -> None:
    person = Answering()
    async with bench_of() as bench, treating(bench, MemoryJournal()) as now:
        await prepare(now.treatment.intake, PLAN, CONFIG, [], person.ask, person.say)
        assert now.treatment.intake.preparation == Preparation()
    assert person.asked == []


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('code = "C-0042"', 'code = "anna"', "case: case: code: this looks like a name"),
        ('pregnant = "no"', "pregnant = false", "screening.pregnant: screening: answer"),
        ('by = "clinician-1"\n[case]', "[case]", "by"),
        ("consent = true", "consent = false", "checked.consent: checked: value"),
        ("expiry = 2039-06-30", "expiry = 2039-07-30", "the UDI says 2039-06-30"),
        ("[case]", "[patient]", "patient: expected `by` and tables of case, "),
        ('keloid = { answer = "yes", override = {', 'keloid = { answer = "yes", excuse = {', "keloid"),
    ],
)
def test_a_fault_of_a_file_is_named_in_one_line(file: Path, old: str, new: str, why: str) -> None:
    change(file, old, new)
    with pytest.raises(AnswerError, match=why) as refused:
        load_answers(file)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_no_toml_is_an_error(file: Path) -> None:
    with pytest.raises(ConfigError, match="can be read"):
        load_answers(file.with_name("no.toml"))
    file.write_text("by =")
    with pytest.raises(ConfigError, match="valid TOML"):
        load_answers(file)


# --- as typed --------------------------------------------------------------------------------------------------------


@pytest.fixture
def real_pen() -> Iterator[str]:
    """The URL of a pen that is not for practice."""
    sim = PenSim("tcp", "--profile", "rejuvapen_nxt", "--zone-cm2", "1")
    yield sim.url
    sim.end()


def test_pen_run_treats_with_a_preparation_and_not_without(real_pen: str, file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "t"\nindication = "fine_lines"\nfitzpatrick = 2\n'
        '[[areas]]\narea = "cheek"\ndepth_mm = 1.0\nrate_hz = 80\npasses = 1\nsize_cm2 = 1.0\n'
    )
    command = ["run", str(plan), "--pen", real_pen, "--yes", "--no-telemetry", "--json"]
    command += ["--journal", str(tmp_path / "journal.sqlite")]
    done = subprocess.run([*PEN, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "--prepared" in done.stderr
    assert json.loads(pen("info", real_pen, "--json").stdout)["strokes"] == 0
    done = pen(*command, "--prepared", str(file))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["complete"] is True
    assert len(bodies(tmp_path, "screening")) == len(CONFIG.screening)
