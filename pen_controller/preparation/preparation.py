"""What must be known before needles are armed, and what is still missing of it. Pure: no I/O and no clock."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Self, TypeVar

from pen_controller.config import Config
from pen_controller.config.questions import Step, worded
from pen_controller.config.texts import texts
from pen_controller.limits import SINGLE_USE
from pen_controller.preparation.answers import (
    NO_AGENT,
    Answer,
    AnswerError,
    CartridgeLabel,
    Case,
    Checked,
    Correction,
    Note,
    Screening,
    read_answer,
)

PRACTICE = "simulated"
"""The profile of pen that needs no preparation: nobody is treated with it."""
CLOCK = "project rule: a clock that was set back makes no cartridge fresh"
RULE = "project rule: no needles without a case and a cartridge that are known"
AGE_SOURCE = "DEN160029, age 22 and over"
_YOUNG = ("under_18", "18_21")

_PREPARES = (Case, Screening, Checked, CartridgeLabel)
_A = TypeVar("_A", bound=Answer)


@dataclass(frozen=True, slots=True)
class Missing:
    """What keeps the needles from being armed: of which item, in words, and who says so."""

    key: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Caution:
    """What forbids nothing, and deserves a second thought."""

    key: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Preparation:
    """What was answered so far, by item: the later of two answers to one item holds; else order does not matter."""

    answers: Mapping[str, Answer] = field(default_factory=dict)

    def taking(self, answer: Answer) -> Self:
        """With one more answer, if it is one that prepares; a correction puts another in its place, or takes it back.

        Raises:
            AnswerError: the body of a correction is not right.
        """
        if isinstance(answer, Correction):
            if answer.body is not None:
                return self.taking(read_answer(answer.kind, answer.body))
            return type(self)({item: given for item, given in self.answers.items() if item != answer.corrects})
        return type(self)({**self.answers, answer.item: answer}) if isinstance(answer, _PREPARES) else self

    @property
    def case(self) -> Case | None:
        """The case."""
        return self._of(Case, "case")

    @property
    def cartridge(self) -> CartridgeLabel | None:
        """The cartridge's label."""
        return self._of(CartridgeLabel, "cartridge")

    def screened(self, question: str) -> Screening | None:
        """The answer to a question of the screening."""
        return self._of(Screening, f"screening.{question}")

    def checked(self, step: str) -> Checked | None:
        """A step of the checklist, if it is done."""
        return self._of(Checked, f"checklist.{step}")

    def _of(self, model: type[_A], item: str) -> _A | None:
        answer = self.answers.get(item)
        return answer if isinstance(answer, model) else None


def missing(
    preparation: Preparation, config: Config, today: date, *, cartridge_id: str | None = None, language: str = "en"
) -> list[Missing]:
    """What is still missing, in the order of the work; empty is ready.

    Args:
        preparation: what was answered.
        config: what is asked.
        today: by which a cartridge expires.
        cartridge_id: of the cartridge that is in the pen now, as in `Tag`; it must be the one that was entered.
        language: of the texts.
    """
    said = texts(language)
    found = [] if preparation.case else [Missing("case", said["missing.case"], RULE)]
    found += _unscreened(preparation, config, language)
    found += _undone(preparation, config, language)
    return found + [
        Missing("cartridge", said[f"missing.{why}"].format(**figures), source)
        for why, source, figures in _cartridge(preparation.cartridge, config, today, cartridge_id)
    ]


def _unscreened(preparation: Preparation, config: Config, language: str) -> Iterator[Missing]:
    for name, question in config.screening.items():
        given = preparation.screened(name)
        if given is None:
            why = "unanswered"
        elif given.answer == "no":
            continue
        elif question.kind == "contraindication":
            why = "contraindicated"
        elif given.override is None:
            why = "override"
        else:
            continue
        item = worded("screening", name, question, language)
        yield Missing(f"screening.{name}", texts(language)[f"missing.{why}"].format(item=item), question.source)


def _undone(preparation: Preparation, config: Config, language: str) -> Iterator[Missing]:
    for name, step in config.checklist.items():
        done = preparation.checked(name)
        if not _is_needed(step, preparation) or (done is not None and _trouble(done, step) is None):
            continue
        item = worded("checklist", name, step, language)
        yield Missing(f"checklist.{name}", texts(language)["missing.undone"].format(item=item), step.source)


def _is_needed(step: Step, preparation: Preparation) -> bool:
    """False where it hangs on an agent that was not used."""
    before = preparation.checked(step.unless_none) if step.unless_none else None
    return before is None or before.value is None or before.value.agent != NO_AGENT


def _cartridge(
    label: CartridgeLabel | None, config: Config, today: date, cartridge_id: str | None
) -> Iterator[tuple[str, str, dict[str, object]]]:
    """What is wrong with the cartridge: why, who says so, figures."""
    if label is None:
        yield "cartridge", RULE, {}
        return
    if label.expiry < today:
        yield "cartridge_expired", SINGLE_USE, {"expiry": label.expiry}
    if label.needles not in {each.needles for each in config.cartridges.values()}:
        yield "cartridge_type", "cartridges.toml", {"needles": label.needles}
    if label.tag is None:
        yield "cartridge_unread", RULE, {}
    elif cartridge_id is not None and label.tag.cartridge_id != cartridge_id:
        yield "cartridge_other", RULE, {}
    elif label.tag.needles != label.needles:
        yield "cartridge_needles", RULE, {"label": label.needles, "tag": label.tag.needles}


def cautions(
    preparation: Preparation, config: Config, today: date, clock: date, *, language: str = "en"
) -> list[Caution]:
    """What a person should think of once more, though it forbids nothing.

    Args:
        preparation: what was answered.
        config: what is asked.
        today: by which a cartridge expires.
        clock: the day that the computer's clock says now; `today` cannot be later, unless one of them is wrong.
        language: of the texts.
    """
    said, found, case = texts(language), [], preparation.case
    if case and case.previous_treatment:
        days, least = (today - case.previous_treatment).days, config.clinic.min_interval_days
        if days < least:
            source = f"clinic {config.clinic.site}: min_interval_days"
            found.append(Caution("case", said["caution.interval"].format(days=days, least=least), source))
    if case and case.age_band in _YOUNG:
        found.append(Caution("case", said["caution.age"], AGE_SOURCE))
    for name, step in config.checklist.items():
        done, usual = preparation.checked(name), step.minutes
        if usual and done and done.value and done.value.minutes and not usual.min <= done.value.minutes <= usual.max:
            figures = done.value.model_dump() | {"min": usual.min, "max": usual.max}
            found.append(Caution(f"checklist.{name}", said["caution.minutes"].format(**figures), usual.source))
    if clock < today:
        found.append(Caution("cartridge", said["caution.clock"].format(clock=clock, today=today), CLOCK))
    return found


# --- what may be entered ---------------------------------------------------------------------------------------------


def fit(answer: Answer, config: Config, today: date) -> Answer:
    """Hold an answer against the configuration; return it with what the configuration says of it.

    Raises:
        AnswerError: it names what the configuration does not know, or cannot be so.
    """
    match answer:
        case Case():
            _know("case: indications", answer.indications, config.indications)
            _know("case: concerns", answer.concerns, config.areas)
            if answer.previous_treatment and answer.previous_treatment > today:
                raise AnswerError(f"case: previous_treatment: {answer.previous_treatment} is still to come")
        case Screening():
            return _fit_screening(answer, config)
        case Checked():
            _know("checked: step", [answer.step], config.checklist)
            if trouble := _trouble(answer, config.checklist[answer.step]):
                raise AnswerError(f"checked: {answer.step}: {trouble}")
        case Note():
            _know("note: area", [answer.area], config.areas)
    return answer


def _fit_screening(answer: Screening, config: Config) -> Screening:
    _know("screening: question", [answer.question], config.screening)
    question = config.screening[answer.question]
    if answer.override and (answer.answer == "no" or question.kind == "contraindication"):
        why = "a contraindication cannot be overridden" if answer.answer == "yes" else "a no needs no override"
        raise AnswerError(f"screening: {answer.question}: {why} ({question.source})")
    return answer.model_copy(update={"kind": question.kind, "source": question.source})


def _trouble(done: Checked, step: Step) -> str | None:
    """Why a step cannot count as done like this."""
    value = done.value
    if value is None:
        return f"say what was used, or {NO_AGENT!r}" if step.agent else None
    if not step.agent:
        return "it is done or not: give no value"
    asked = step.minutes is not None and value.agent != NO_AGENT
    if (value.minutes is not None) != asked:
        return "say for how many minutes it acted" if asked else "give no minutes"
    return None


def _know(where: str, names: Iterable[str], among: Mapping[str, object]) -> None:
    for name in names:
        if name not in among:
            raise AnswerError(f"{where}: {name!r}: expected one of {', '.join(sorted(among))}")
