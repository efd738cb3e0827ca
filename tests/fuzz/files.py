"""Targets: files that a person writes or exchanges, and the label that a scanner reads."""

import math
from typing import Any, cast

from pen_controller.config import ConfigError, reading
from pen_controller.config.texts import check_texts
from pen_controller.config.toml_file import Problem, TomlFile
from pen_controller.preparation.answers import AnswerError
from pen_controller.preparation.udi import UdiError, read_udi
from pen_controller.telemetry.mqtt import BrokerUrl
from pen_controller.terminal.questionnaire import load_answers
from tests.fuzz.taking import Taking, or_refusal
from tests.lines import CONFIG


class Memory:
    """A file of these bytes; its name is for messages."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_bytes(self) -> bytes:
        """See `Path.read_bytes`."""
        return self._content

    def __str__(self) -> str:
        return "fuzzed.toml"


def config(data: bytes) -> None:
    """A configuration file of any bytes gives one line for each of its problems, or narrows what is allowed."""
    taking, problems = Taking(data), list[Problem]()
    kind = taking.number() % (len(reading.KINDS) + 1)
    file = cast("Any", Memory(taking.rest()))
    if kind == len(reading.KINDS):
        check_texts(TomlFile("fuzzed.toml", file, problems))
    else:
        built = reading._build(reading._shipped() | {reading.KINDS[kind]: ("fuzzed.toml", file)}, problems)
        assert (built is None) == bool(problems)
        for name, own in built.clinic.areas.items() if built else ():
            for group, figures in own:
                hard = getattr(getattr(built.areas[name], group), "hard", None) if built else None
                assert figures is None or figures.hard is None or hard is None or figures.hard <= hard
    assert all("\n" not in str(one) for one in problems)


def plan(data: bytes) -> None:
    """A plan of any bytes is refused with every problem, or names areas that there are, in figures that are finite."""
    read = or_refusal(lambda: reading.load_plan(cast("Any", Memory(data)), CONFIG), ConfigError)
    if isinstance(read, str):
        assert read
    else:
        assert all(0 < one.depth_mm < math.inf and one.area in CONFIG.areas for one in read.areas)


def answers(data: bytes) -> None:
    """A file of answers of any bytes is refused in words, or read."""
    read = or_refusal(lambda: load_answers(cast("Any", Memory(data))), ConfigError, AnswerError)
    assert isinstance(read, list) or read


def label(data: bytes) -> None:
    """A barcode of any signs is refused in one line, or is a UDI that reads the same again."""
    read = or_refusal(lambda: read_udi(data.decode("utf-8", "replace")), UdiError)
    if isinstance(read, str):
        assert "\n" not in read
    else:
        assert read_udi(read.text) == read


def broker(data: bytes) -> None:
    """An address of a broker is refused in one line, or is one without a password, and reads the same again."""
    read = or_refusal(lambda: BrokerUrl.parse(data.decode("utf-8", "replace")), ValueError)
    if isinstance(read, str):
        assert "\n" not in read
    else:
        assert BrokerUrl.parse(str(read)) == read
        assert 0 < read.port < 65536
