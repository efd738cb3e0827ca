"""Where the product looks at the wall clock, asks for chance or reads a file: in the world all come from the script."""

import contextlib
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Self
from unittest.mock import patch

from tests.simulation.disk import Disk

BEGINS = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""The wall time of every script's beginning."""
WALL_CLOCKS = (
    "pen_controller.journal.journal.datetime",
    "pen_controller.journal.record.datetime",
    "pen_controller.treatment.intake.datetime",
    "pen_controller.treatment.treatment.datetime",
)
CHANCES = ("pen_controller.treatment.treatment.secrets",)


class Chance:
    """As the module `secrets`, from a seed."""

    def __init__(self, chance: random.Random) -> None:
        self.randbits = chance.getrandbits
        self.token_hex: Callable[[int], str] = lambda n_bytes: chance.randbytes(n_bytes).hex()


@contextlib.contextmanager
def sealed(chance: random.Random, wall_s: Callable[[], float], disk: Disk) -> Iterator[None]:
    """Let nothing of this machine's time and chance into the product while entered.

    Args:
        chance: what there is instead.
        wall_s: seconds since `BEGINS`, by the wall clock of the host.
        disk: where the journal lies, and is verified.
    """

    class Wall(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(BEGINS.timestamp() + wall_s(), tz)

    with contextlib.ExitStack() as stack:
        for place in WALL_CLOCKS:
            stack.enter_context(patch(place, Wall))
        for place in CHANCES:
            stack.enter_context(patch(place, Chance(chance)))
        stack.enter_context(patch("pen_controller.clinic.desk.must_hold", disk.must_hold))
        yield
