"""What a person enters about a treatment: each answer is one record of the journal. Pure.

`record_kind` is the record's kind, `model_dump(mode="json")` its body. Nothing has a default that says yes. There is no
name in any of it: a case has a code, and who answers is the short name of an account, such as `clinician-1`.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic.types import StringConstraints
from pydantic_core import PydanticCustomError

from pen_controller.config.questions import Kind
from pen_controller.preparation.udi import UdiError, read_udi

AgeBand = Literal["under_18", "18_21", "22_29", "30_39", "40_49", "50_59", "60_69", "70_plus"]
AGE_BANDS: tuple[AgeBand, ...] = get_args(AgeBand)
Endpoint = Literal["none", "even_redness", "pinpoint_bleeding", "bleeding"]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
NO_AGENT = "none"
"""Said for an agent that was not used."""

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,19}")
_DATE = re.compile(r"(?<!\d)((19|20)\d\d-?[01]\d-?[0-3]\d|[0-3]?\d-?[0-3]?\d-?(19|20)\d\d)(?!\d)")


class AnswerError(ValueError):
    """An answer that cannot be taken; one line that says why."""


def _coded(code: str) -> str:
    """Refuse what is no code, and what looks like a name or a date of birth as far as that can be told.

    Told are words of five letters and more, codes without a figure, and dates with a year of four figures. Not told
    are short names with a figure behind them (`anna-1`) and dates of six figures, which may be running numbers.
    """
    if not _CODE.fullmatch(code):
        raise PydanticCustomError("code", "3 to 20 letters, figures or -, such as C-0042")
    if re.search("[A-Za-z]{5}", code) or not re.search("[0-9]", code):
        raise PydanticCustomError("code", "this looks like a name: give a code with a figure in it, such as C-0042")
    if _DATE.search(code):
        raise PydanticCustomError("code", "this looks like a date of birth: give a code, such as C-0042")
    return code


def _labelled(udi: str) -> str:
    """A UDI as on a label, however it was scanned."""
    try:
        return read_udi(udi).text
    except UdiError as error:
        raise PydanticCustomError("udi", "{why}", {"why": str(error)}) from None


By = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Names = Annotated[tuple[Words, ...], Field(strict=False, max_length=40)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Answer(_Model):
    """One thing that a person has entered."""

    record_kind: ClassVar[str]

    @property
    def item(self) -> str:
        """What it answers: of two answers to one item the later holds."""
        return self.record_kind


class Case(Answer):
    """Whose treatment it is, without a name; `concerns` are areas, `previous_treatment` is None if there was none."""

    record_kind = "case"

    code: Annotated[str, AfterValidator(_coded)]
    age_band: AgeBand
    fitzpatrick: Annotated[int, Field(ge=1, le=6)]
    indications: Annotated[Names, Field(min_length=1)]
    concerns: Names
    previous_treatment: date | None


class Overridden(_Model):
    """Who lets a precaution pass, and why."""

    by: By
    reason: Words


class Screening(Answer):
    """The answer to one question of the screening; `kind` and `source` are the configuration's."""

    record_kind = "screening"

    question: Words
    answer: Literal["yes", "no"]
    override: Overridden | None = None
    kind: Kind | None = None
    source: str = ""

    @property
    def item(self) -> str:
        """See `Answer.item`."""
        return f"screening.{self.question}"


class Agent(_Model):
    """What was used, or `NO_AGENT`; and how long it acted, where that is asked."""

    agent: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    minutes: Annotated[int, Field(ge=1, le=240)] | None = None


class Checked(Answer):
    """A step of the checklist that was done."""

    record_kind = "checked"

    step: Words
    value: Agent | None = None
    by: By

    @property
    def item(self) -> str:
        """See `Answer.item`."""
        return f"checklist.{self.step}"


class Tag(_Model):
    """What the pen read from the cartridge: its id as 16 hexadecimal digits, needles, expiry."""

    cartridge_id: str
    needles: int
    expiry: date


class CartridgeLabel(Answer):
    """What the cartridge's label says; `tag` is what the pen read of it at that moment."""

    record_kind = "cartridge"

    lot: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
    expiry: date
    needles: Annotated[int, Field(ge=1, le=1000)]
    udi: Annotated[str, Field(max_length=200), AfterValidator(_labelled)] | None = None
    tag: Tag | None = None
    by: By

    @model_validator(mode="after")
    def _as_the_udi_says(self) -> Self:
        if self.udi is None:
            return self
        udi = read_udi(self.udi)
        for name, said, typed in (("lot", udi.lot, self.lot), ("expiry", udi.expiry, self.expiry)):
            if said is not None and said != typed:
                why = f"{name} {typed} was entered, the UDI says {said}: look at the label again"
                raise PydanticCustomError("udi", "{why}", {"why": why})
        return self


class Note(Answer):
    """What was seen of an area when it was done."""

    record_kind = "note"

    area: Words
    endpoint: Endpoint
    reactions: Names
    by: By


class AftercareGiven(Answer):
    """The aftercare sheet was handed over."""

    record_kind = "aftercare"

    given: Literal[True]
    by: By


class Override(Answer):
    """Anything else that was let pass, by whom and why."""

    record_kind = "override"

    what: Words
    reason: Words
    by: By


class Correction(Answer):
    """What holds from now on in place of record `of_seq`; a `body` of None takes that one back. Nothing is changed.

    `kind` and `corrects` (its item) are those of the record that is corrected, and need not be given.
    """

    record_kind = "correction"

    of_seq: Annotated[int, Field(ge=1)]
    reason: Words
    body: dict[str, JsonValue] | None
    by: By
    kind: str = ""
    corrects: str = ""


ANSWERS: Mapping[str, type[Answer]] = {
    model.record_kind: model
    for model in (Case, Screening, Checked, CartridgeLabel, Note, AftercareGiven, Override, Correction)
}
"""The models by the kind of their record."""


def read_answer(kind: str, body: Mapping[str, Any]) -> Answer:
    """Make an answer of JSON, as a page or a record has it.

    Raises:
        AnswerError: there is no such kind, or the body is not right.
    """
    if kind not in ANSWERS:
        raise AnswerError(f"{kind!r} is no kind of answer: give one of {', '.join(ANSWERS)}")
    try:
        return ANSWERS[kind].model_validate_json(json.dumps(body))
    except ValidationError as error:
        raise AnswerError(f"{kind}: {_in_one_line(error)}") from None


def _in_one_line(error: ValidationError) -> str:
    """What is wrong, key by key."""
    return "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())
