"""All targets by name, and what is kept for each."""

from collections.abc import Callable
from pathlib import Path

from tests.fuzz import clinic, files, telemetry, wire

CORPUS = Path(__file__).parent / "corpus"

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(wire.frames, wire.messages, wire.capture, wire.firmware, wire.link),
        *(files.config, files.plan, files.answers, files.label, files.broker),
        *(telemetry.message, telemetry.acks),
        *(clinic.request, clinic.page),
    )
}
"""Each takes any bytes, and fails if its promise, its docstring, is broken."""


def kept(name: str) -> list[Path]:
    """The files that are kept for a target: seeds, what found new ways through the code, what broke it once."""
    return sorted((CORPUS / name).iterdir())
