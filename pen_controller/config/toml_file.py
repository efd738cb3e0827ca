"""A TOML file read into pydantic models, with every problem named by file, key and value."""

import json
import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MISSING = "(missing)"

_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file; `str()` is one line for a person."""

    file: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key} = {self.value}: expected {self.expected}"


class ConfigError(Exception):
    """A configuration that cannot be used; `str()` is one line a problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class TomlFile:
    """One file: hands out checked models, and notes every problem in the list it is given.

    A file that cannot be read or is not TOML notes that one problem, is `broken`, and is empty.
    """

    def __init__(self, name: str, path: Traversable, problems: list[Problem]) -> None:
        self.broken = False
        self.raw: dict[str, Any] = {}
        self._name, self._problems = name, problems
        text = ""
        try:
            text = path.read_bytes().decode()
            self.raw = tomllib.loads(text)
        except OSError as error:
            self._break("file", f"({error.strerror})", "a file that can be read")
        except UnicodeDecodeError:
            self._break("file", "(bytes)", "text in UTF-8")
        except tomllib.TOMLDecodeError as error:
            lines = text.splitlines() or [""]
            found = re.search(r"at line (\d+)", str(error))  # else at the end of the document
            line = min(int(found[1]), len(lines)) if found else len(lines)
            self._break(f"line {line}", repr(lines[line - 1]), f"valid TOML ({error})")

    def _break(self, key: str, shown: str, expected: str) -> None:
        self.broken = True
        self._problems.append(Problem(self._name, key, shown, expected))

    def refuse(self, key: str, value: object, expected: str) -> None:
        """Note a problem; a value of `MISSING` is one that is not there."""
        shown = MISSING if value is MISSING else json.dumps(value, ensure_ascii=False, default=str)
        self._problems.append(Problem(self._name, key, shown, expected))

    def known(self, key: str, names: Iterable[object], among: Collection[str]) -> None:
        """Refuse each name that is not among the others."""
        for name in names:
            if name not in among:
                self.refuse(key, name, f"one of: {', '.join(sorted(among))}")

    def names(self, table: str) -> set[str]:
        """The names under a top-level table, whether their entries are right or not."""
        entries = self.raw.get(table)
        return set(entries) if isinstance(entries, dict) else set()

    def take(self, table: str, model: type[_M], *, optional: bool = False) -> dict[str, _M]:
        """Take a top-level table out and check each entry by itself; wrong ones are left out."""
        entries = self.raw.pop(table, {} if optional or self.broken else None)
        if not isinstance(entries, dict):
            self.refuse(table, MISSING if entries is None else entries, f"a table [{table}.NAME] for each")
            return {}
        checked = {name: self._check(model, raw, table, name) for name, raw in entries.items()}
        return {name: entry for name, entry in checked.items() if entry is not None}

    def rest(self, model: type[_M], **taken: object) -> _M | None:
        """Check what is left, with the tables already taken; None if wrong or broken."""
        raw, self.raw = self.raw | taken, {}
        return None if self.broken else self._check(model, raw)

    def close(self) -> None:
        """Refuse the keys that nobody has taken out."""
        for key, value in self.raw.items():
            self.refuse(key, value, "no such key")

    def _check(self, model: type[_M], raw: object, *at: str) -> _M | None:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            details = error.errors()
            for detail in details:
                place = detail["loc"]
                if detail["type"] == "too_short" and any(
                    each["loc"][: len(place)] == place != each["loc"] for each in details
                ):
                    continue  # it is short of those that are refused themselves
                value = MISSING if detail["type"] == "missing" else detail["input"]
                self.refuse(_dotted((*at, *detail["loc"])), value, _expected(detail, model))
            return None


def _dotted(location: tuple[str | int, ...]) -> str:
    """A place in a file as a person writes it: `areas[0].depth_mm`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def _expected(error: ErrorDetails, model: type[BaseModel]) -> str:
    """What would have been right, in words."""
    match error["type"]:
        case "missing":
            return "a value; it may not be left out"
        case "extra_forbidden":
            return f"one of: {', '.join(_keys(model, error['loc'][:-1]))}"
        case "model_type":
            return "a table"
    return error["msg"].removeprefix("Input should be ").replace(" should ", " to ")


def _keys(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """The keys that a table at this place may have."""
    for part in location:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            inner = (annotation, *get_args(annotation))
            model = next(m for m in inner if isinstance(m, type) and issubclass(m, BaseModel))
    return list(model.model_fields)
