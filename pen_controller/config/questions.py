"""The models of `configs/screening.toml`, `checklist.toml` and `aftercare.toml`: what is asked, done and taken home.

The words are in the catalogue (`texts.py`) under `screening.NAME`, `checklist.NAME` and `aftercare.NAME`. An entry of a
clinic's own is in no catalogue and brings its `text`, which is then shown in every language.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from pen_controller.config.texts import texts
from pen_controller.config.toml_file import MISSING, TomlFile

Kind = Literal["contraindication", "precaution"]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    source: Text
    text: str = ""


_E = TypeVar("_E", bound=_Entry)


class Question(_Entry):
    """What a person is asked; yes to a contraindication blocks, yes to a precaution needs an override."""

    kind: Kind


class Minutes(BaseModel):
    """How long an agent should act; outside this a caution is given."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    min: Count
    max: Count
    source: Text


class Step(_Entry):
    """What is done; with `agent` by means of what, with `minutes` how long it acted.

    It falls away where the agent of the step `unless_none` is "none".
    """

    agent: bool = False
    minutes: Minutes | None = None
    unless_none: str | None = None


class Advice(_Entry):
    """A line of the aftercare sheet; `hours` stands in its text as `{hours}`."""

    hours: Count | None = None


def worded(table: str, name: str, entry: Question | Step | Advice, language: str = "en") -> str:
    """The words of an entry in a language: the clinic's own, else the catalogue's."""
    return entry.text or texts(language)[f"{table}.{name}"].format(hours=getattr(entry, "hours", None))


def take(file: TomlFile, table: str, model: type[_E]) -> Mapping[str, _E]:
    """Take the entries of a file, and refuse one that nothing has words for."""
    entries = file.take(table, model)
    for name, entry in entries.items():
        if not entry.text and f"{table}.{name}" not in texts("en"):
            file.refuse(f"{table}.{name}.text", MISSING, "a text, for no catalogue has one")
    return entries


def take_steps(file: TomlFile) -> Mapping[str, Step]:
    """Take the checklist, and refuse minutes that descend or are of no agent, and what hangs on a step without one."""
    steps = take(file, "checklist", Step)
    agents = [name for name, step in steps.items() if step.agent]
    for name, step in steps.items():
        at = f"checklist.{name}"
        if step.minutes and not step.agent:
            file.refuse(f"{at}.agent", step.agent, "true, where minutes are asked")
        if step.minutes and step.minutes.max < step.minutes.min:
            file.refuse(f"{at}.minutes.max", step.minutes.max, f"at least {step.minutes.min}, which is `min`")
        if step.unless_none is not None:
            file.known(f"{at}.unless_none", [step.unless_none], agents)
    return steps
