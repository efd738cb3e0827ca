"""Asks at a terminal, or takes from a file, what must be known before needles are armed."""

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from pen_controller.config import Config, Plan
from pen_controller.config.questions import worded
from pen_controller.config.toml_file import ConfigError, Problem, TomlFile
from pen_controller.preparation.answers import AGE_BANDS, NO_AGENT, Answer, AnswerError, read_answer
from pen_controller.preparation.udi import UdiError, read_udi
from pen_controller.treatment.intake import Intake

BY = "clinician"
"""Who answers at a terminal, which knows no accounts."""
_TABLES = ("case", "screening", "checked", "cartridge")

Ask = Callable[[str], Awaitable[str]]
Say = Callable[[str], None]
Body = dict[str, Any]


# --- from a file -----------------------------------------------------------------------------------------------------


def load_answers(path: Path) -> list[Answer]:
    """Read the answers of a file, which may leave some out: those are then missing.

    `by` says who answers; `[case]` and `[cartridge]` are as in `answers.py`; `[screening]` has a line for each
    question, `keloid = "no"` or `{ answer = "yes", override = { by = "...", reason = "..." } }`; `[checked]` has
    `cleansed = true` or `numbing = { agent = "...", minutes = 30 }`. TOML has no null: who was never treated has
    `previous_treatment = "none"`.

    Raises:
        ConfigError: the file cannot be read, or is no TOML.
        AnswerError: an answer in it is not right.
    """
    problems: list[Problem] = []
    file = TomlFile(str(path), path, problems)
    if problems:
        raise ConfigError(problems)
    raw = json.loads(json.dumps(file.raw, default=str))  # dates become text, as in the journal
    by = raw.pop("by", None)
    for name, table in raw.items():
        if name not in _TABLES or not isinstance(table, dict):
            raise AnswerError(f"{path}: {name}: expected `by` and tables of {', '.join(_TABLES)}")
    answers = []
    for place, kind, body in _bodies(raw, by):
        try:
            answers.append(read_answer(kind, body))
        except AnswerError as error:
            raise AnswerError(f"{path}: {place}: {error}") from None
    return answers


def _bodies(raw: Body, by: object) -> Iterator[tuple[str, str, Body]]:
    """Where each answer stands, its kind and its body."""
    if case := raw.get("case"):
        previous = case.get("previous_treatment")
        yield "case", "case", case | ({"previous_treatment": None} if previous == "none" else {})
    for name, answer in raw.get("screening", {}).items():
        given = answer if isinstance(answer, dict) else {"answer": answer}
        yield f"screening.{name}", "screening", given | {"question": name}
    for name, value in raw.get("checked", {}).items():
        yield f"checked.{name}", "checked", {"step": name, "by": by, "value": None if value is True else value}
    if label := raw.get("cartridge"):
        yield "cartridge", "cartridge", label | {"by": by}


# --- at a terminal ---------------------------------------------------------------------------------------------------


async def prepare(intake: Intake, plan: Plan, config: Config, answers: list[Answer], ask: Ask, say: Say) -> None:
    """Enter the answers of a file, and ask for those that are missing, where any are needed.

    It ends early at an answer that stands against the treatment, which is then refused.

    Raises:
        ValueError: the case has another skin type than the plan.
        AnswerError: an answer of the file does not fit the configuration.
        JournalError, LinkError: see `Intake.enter`.
    """
    for answer in answers:
        await intake.enter(answer)
    while missing := intake.missing():
        item = missing[0].key
        if item in intake.preparation.answers:
            break
        try:
            await intake.enter(await _asked(item, plan, config, ask))
        except AnswerError as error:
            say(f"Not taken: {error}")
    for caution in intake.cautions():
        say(f"Caution: {caution.text} ({caution.source})")
    if intake.case and intake.case.fitzpatrick != plan.fitzpatrick:
        raise ValueError(f"the case has skin type {intake.case.fitzpatrick}, the plan is for {plan.fitzpatrick}")


async def _asked(item: str, plan: Plan, config: Config, ask: Ask) -> Answer:
    """Ask for one item. Raises `AnswerError`."""
    table, _, name = item.partition(".")
    match table:
        case "case":
            return read_answer("case", await _case(plan, ask))
        case "screening":
            return read_answer("screening", await _screening(name, config, ask))
        case "checklist":
            return read_answer("checked", await _step(name, config, ask))
    return read_answer("cartridge", await _cartridge(ask))


async def _case(plan: Plan, ask: Ask) -> Body:
    wanted = dict.fromkeys([plan.indication, *(area.indication for area in plan.areas if area.indication)])
    body: Body = {
        "code": await ask("Case code, never a name, such as C-0042: "),
        "age_band": await ask(f"Age band ({', '.join(AGE_BANDS)}): "),
        "fitzpatrick": _number(await ask("Skin type, 1 to 6: ")),
        "indications": list(wanted),
        "concerns": [area.area for area in plan.areas],
    }
    previous = (await ask("Previous treatment, YYYY-MM-DD or none: ")).lower()
    return body | {"previous_treatment": None if previous == "none" else previous}


async def _screening(name: str, config: Config, ask: Ask) -> Body:
    question = config.screening[name]
    said = (await ask(f"{worded('screening', name, question)} yes or no: ")).lower()
    body: Body = {"question": name, "answer": {"y": "yes", "n": "no"}.get(said, said)}
    if body["answer"] == "yes" and question.kind == "precaution":
        reason = await ask(f"A precaution ({question.source}). Why is it overridden? Enter overrides nothing: ")
        body["override"] = {"by": BY, "reason": reason} if reason else None
    return body


async def _step(name: str, config: Config, ask: Ask) -> Body:
    step = config.checklist[name]
    words = worded("checklist", name, step)
    if not step.agent:
        if (await ask(f"{words}. y if it is done: ")).lower() != "y":
            raise AnswerError(f"{words}: do it first")
        return {"step": name, "by": BY}
    value: Body = {"agent": await ask(f"{words}. What was used, or {NO_AGENT}: ")}
    if step.minutes and value["agent"] != NO_AGENT:
        value["minutes"] = _number(await ask("For how many minutes: "))
    return {"step": name, "by": BY, "value": value}


async def _cartridge(ask: Ask) -> Body:
    scanned = await ask("Cartridge: scan or type its UDI, Enter if it has none in GS1's form: ")
    try:
        udi = read_udi(scanned) if scanned else None
    except UdiError as error:
        raise AnswerError(str(error)) from None
    return {
        "udi": udi and udi.text,
        "lot": (udi and udi.lot) or await ask("Lot: "),
        "expiry": str(udi.expiry) if udi and udi.expiry else await ask("Expiry, YYYY-MM-DD: "),
        "needles": _number(await ask("Number of needles: ")),
        "by": BY,
    }


def _number(text: str) -> int | str:
    """A whole number, or else the text, which is then refused by name."""
    return int(text) if text.isdecimal() else text
