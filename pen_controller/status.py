"""How a command of `pen` ends: with an exit status, and where it fails with one clear line."""

import contextlib
import sys
from collections.abc import Iterator
from enum import IntEnum
from typing import NoReturn

import typer


class Status(IntEnum):
    """Exit statuses, the same of every command."""

    BAD_USAGE = 2  # or configuration
    NO_PEN = 3  # or a pen that does not do what it must
    REFUSED = 4  # by a limit
    NO_TELEMETRY = 5
    CHANGED = 6  # a record that is not as it was written
    INTERRUPTED = 130  # by Ctrl-C, as of a shell


def fail(status: Status, why: object) -> NoReturn:
    """End the command with this line; of the system's own errors without their numbers."""
    if isinstance(why, OSError) and why.strerror:
        why = f"{why.filename}: {why.strerror}" if why.filename else why.strerror
    print(f"pen: {why}", file=sys.stderr)
    raise typer.Exit(status)


@contextlib.contextmanager
def failing(*endings: tuple[Status, tuple[type[Exception], ...]]) -> Iterator[None]:
    """End the command where one of these is raised.

    Args:
        endings: each exit status with the errors that come to it; the first that fits counts.
    """
    try:
        yield
    except Exception as error:
        for status, errors in endings:
            if isinstance(error, errors):
                fail(status, error)
        raise
