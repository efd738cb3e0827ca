"""Reads `tests/hazards.toml`: what can go wrong, what keeps it from happening, and how it is shown."""

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

FILE = Path(__file__).parent.parent / "hazards.toml"
HazardId = Annotated[str, StringConstraints(pattern=r"H\d\d")]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bound(_Read):
    """How bad it may get: figures above `most` miss it. Where `most` is 0, figures are counts, and add up."""

    text: str
    most: float
    unit: str


class Hazard(_Read):
    """What can go wrong. `not_applicable` says why nothing here can do anything about it; it then has no bounds."""

    title: str
    causes: tuple[str, ...]
    bounds: Mapping[str, Bound] = {}
    not_applicable: str = ""

    @model_validator(mode="after")
    def _either_or(self) -> Self:
        if bool(self.bounds) == bool(self.not_applicable):
            raise ValueError("give its bounds, or the reason why it is not applicable")
        return self


class Control(_Read):
    """What keeps hazards from happening.

    Attributes:
        place: who does it.
        what: what is done.
        code: where, as a dotted name.
        against: which hazards.
        test: the quick test, below `tests/`, that fails when this alone is taken away (`seams.SEAMS` says how).
    """

    place: Literal["wire", "pen", "host", "record", "telemetry", "recorder", "server", "screen"]
    what: str
    code: str
    against: tuple[HazardId, ...]
    test: str


class SafetyCase(_Read):
    """All of it, by id and by name."""

    hazard: Mapping[HazardId, Hazard]
    control: Mapping[str, Control]

    def controls_of(self, hazard: str) -> dict[str, Control]:
        """The controls against one hazard, by name."""
        return {name: control for name, control in self.control.items() if hazard in control.against}


@functools.cache
def load() -> SafetyCase:
    """Read the file. Raises `ValueError` that names what is wrong in it."""
    return SafetyCase.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))
