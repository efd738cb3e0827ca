"""The one catalogue of every text that a person sees: `configs/texts/LANGUAGE.toml`, a file a language.

`texts("de")["report.title"]`. Texts may hold `{placeholders}`, which `str.format` fills.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from string import Formatter
from types import MappingProxyType
from typing import Any

from pen_controller.config.toml_file import MISSING, TomlFile

_FOLDER = files("configs") / "texts"
FIRST = "en"
"""The language by which the others are measured, and that of the record."""


@cache
def languages() -> Mapping[str, str]:
    """The languages there are: code, and what it calls itself."""
    return MappingProxyType({code: texts(code)["language"] for code in _codes()})


@cache
def texts(language: str) -> Mapping[str, str]:
    """The shipped texts of a language, by dotted key.

    Raises:
        ValueError: there is no such language.
    """
    if language not in _codes():
        raise ValueError(f"no texts in {language!r}: give one of {', '.join(_codes())}")
    text = (_FOLDER / f"{language}.toml").read_text(encoding="utf-8")
    return MappingProxyType(dict(_flat(tomllib.loads(text))))


@cache
def _codes() -> list[str]:
    return sorted(one.name.removesuffix(".toml") for one in _FOLDER.iterdir() if one.name.endswith(".toml"))


def placeholders(text: str) -> set[str]:
    """The names in braces. Raises `ValueError` where the braces do not fit."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def check_texts(file: TomlFile) -> None:
    """Refuse what is not as in the first language: the same keys, each with the same placeholders."""
    first, own = texts(FIRST), dict(_flat(file.raw))
    for key in first.keys() - own.keys():
        file.refuse(key, MISSING, f"a text, as in {FIRST}.toml")
    for key, text in own.items():
        if key not in first:
            file.refuse(key, text, f"no such key: {FIRST}.toml has none")
        elif not isinstance(text, str) or not text:
            file.refuse(key, text, "a text")
        else:
            _check_placeholders(file, key, text, placeholders(first[key]))


def _check_placeholders(file: TomlFile, key: str, text: str, wanted: set[str]) -> None:
    try:
        found = placeholders(text)
    except ValueError as error:
        file.refuse(key, text, f"braces in pairs ({error})")
        return
    if found != wanted:
        named = ", ".join(f"{{{name}}}" for name in sorted(wanted)) or "none"
        file.refuse(key, text, f"these placeholders, as in {FIRST}.toml: {named}")


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value
