"""Each target of `tests/fuzz` on what is kept for it, and on what hypothesis makes of that; and each can fail."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pen_controller.journal import Record
from protocols.framing import Decoder, Frame
from simulator.defects import WrongPen
from tests.fuzz import clinic
from tests.fuzz.targets import CORPUS, TARGETS, kept

FUZZ = [sys.executable, "-m", "tests.fuzz"]
EXAMPLES = {"firmware": 60, "config": 80, "request": 60}
"""Of the slow ones; of the others 200."""


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    clinic.close()


def test_each_target_has_a_promise_and_a_corpus_of_a_few_small_files() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    for name, target in TARGETS.items():
        sizes = [file.stat().st_size for file in kept(name)]
        assert target.__doc__
        assert 4 <= len(sizes) <= 150
        assert sum(sizes) < 40_000


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_breaks_no_promise(name: str) -> None:
    for file in kept(name):
        TARGETS[name](file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_made_of_it_breaks_no_promise(name: str) -> None:
    seeds = [file.read_bytes() for file in kept(name)]

    @settings(max_examples=EXAMPLES.get(name, 200), suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=300) | st.builds(spliced, st.sampled_from(seeds), st.sampled_from(seeds), st.randoms()))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


def spliced(one: bytes, other: bytes, chance: random.Random) -> bytes:
    """The beginning of one and the end of another, with a few bytes changed."""
    data = bytearray(one[: chance.randint(0, len(one))] + other[chance.randint(0, len(other)) :])
    for _ in range(chance.randint(0, 4)):
        if data:
            data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    return bytes(data)


# --- each target can fail --------------------------------------------------------------------------------------------

WRONG_PENS = (
    "lease-never-ends", "lease-by-claim", "stale-epochs-command", "anyone-commands", "stale-arms-start",
    "starts-without-lease", "starts-unarmed", "refused-sets-change", "marks-nothing", "runs-deeper",
    "overspends-budget", "stops-late",
)  # fmt: skip


class Forgetful(Decoder):
    """Loses what is pending."""

    def feed(self, data: bytes) -> list[Frame]:
        found = super().feed(data)
        self.__init__()  # type: ignore[misc]  # begin anew
        return found


def fails(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("a bug")


BREAKS: dict[str, tuple[str, Any]] = {
    "frames": ("tests.fuzz.wire.Decoder", Forgetful),
    "messages": ("protocols.messages.VERSION", 2),
    "capture": ("protocols.capture.Piece.figures", lambda one: {"t_us": one.t_us, "from": "pen", "hex": ""}),
    "link": ("pen_controller.pen.link.WireError", LookupError),
    "config": ("pen_controller.config.reading._check_narrows", lambda *_: None),
    "plan": ("pen_controller.config.toml_file.TomlFile.known", lambda *_: None),
    "answers": ("pen_controller.terminal.questionnaire.AnswerError", LookupError),
    "label": ("pen_controller.preparation.udi.GS1Message.as_hri", lambda _: "(01)1"),
    "broker": ("pen_controller.telemetry.mqtt.DEFAULT_TLS_PORT", 0),
    "message": ("pen_controller.telemetry.messages.PayloadError", LookupError),
    "acks": (
        "pen_controller.telemetry.acks.Place._find",
        lambda *_: (Record(9, "s1", 9, None, 9, "", "", None, "", ""), None),
    ),
    "request": ("pen_controller.clinic.routes._STATUS", ()),
    "page": ("pen_controller.clinic.live._read", lambda text: json.loads(text or "")),
}
"""For each target a fault, put into what it tests."""


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_kept_finds_a_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BREAKS[name])
    assert any(map(partial(broken, TARGETS[name]), kept(name)))


@pytest.mark.parametrize("defect", WRONG_PENS)
def test_what_is_kept_finds_a_wrong_pen(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.virtual_pen.SimulatedPen", partial(WrongPen, defect))
    assert any(map(partial(broken, TARGETS["firmware"]), kept("firmware")))


def broken(target: Callable[[bytes], None], file: Path) -> bool:
    """Whether a promise is broken on a file."""
    try:
        target(file.read_bytes())
    except Exception:  # noqa: BLE001  # any is a broken promise
        return True
    return False


def test_it_is_run_by_one_command() -> None:
    asked = subprocess.run([*FUZZ, "nothing"], capture_output=True, text=True, check=False)
    assert (asked.returncode, "choose from" in asked.stderr) == (2, True)
    code = "import runpy, sys; sys.modules['atheris'] = None; sys.argv[1:] = ['label']; runpy.run_module('tests.fuzz')"
    without = [sys.executable, "-c", code.replace("'tests.fuzz'", "'tests.fuzz', run_name='__main__'")]
    done = subprocess.run(without, capture_output=True, text=True, check=False)
    assert (done.returncode, "python -m pip install atheris" in done.stderr) == (2, True)
