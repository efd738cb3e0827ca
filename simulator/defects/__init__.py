"""Pens that are wrong, each in one thing: what a conformance kit must find.

A defect is one part of a pen, replaced by a subclass that does one thing otherwise. The parts themselves know of none.
"""

import re
from functools import partial
from typing import Any, TypeVar

from protocols.framing import Decoder
from protocols.messages import Cartridge, Identity
from protocols.words import EventKind
from simulator.defects import claims, lines, memories, motion, rules, words
from simulator.firmware import Firmware
from simulator.memory import CommandMemory, EventMemory
from simulator.needles import Hardware, Needles
from simulator.ownership import Ownership
from simulator.pen import SimulatedPen
from simulator.sampler import Sampler

P = TypeVar("P")


def _name(part: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", part.__name__).lower()


DEFECTS: dict[str, type] = {
    _name(part): part
    for module in (claims, memories, rules, motion, words, lines)
    for part in vars(module).values()
    if isinstance(part, type) and part.__module__ == module.__name__ and not part.__name__.startswith("_")
}
"""The wrong part by the name of its defect, `lease-never-ends`; its docstring says what is wrong."""


class WrongPen(SimulatedPen):
    """A simulated pen with one defect, after each boot too.

    Args:
        defect: a key of `DEFECTS`.
        args: as for `SimulatedPen`.
        kwargs: as for `SimulatedPen`.
    """

    def __init__(self, defect: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed on as they are
        self._part = DEFECTS[defect]
        super().__init__(*args, **kwargs)
        self._flash()

    def new_decoder(self) -> Decoder:
        """See `SimulatedPen.new_decoder`."""
        return _or_good(self._part, Decoder)()

    def reboot(self, clock_us: int) -> None:
        """See `SimulatedPen.reboot`."""
        super().reboot(clock_us)
        self._flash()

    def _flash(self) -> None:
        make = self._part if issubclass(self._part, Firmware) else partial(_Assembled, self._part)
        self.firmware = make(self, self._identity, self.firmware.cartridge, self.firmware.used_cartridges)


class _Assembled(Firmware):
    """The good firmware, with one wrong part in it."""

    def __init__(
        self, part: type, hardware: Hardware, identity: Identity, cartridge: Cartridge, used: dict[int, int]
    ) -> None:
        super().__init__(hardware, identity, cartridge, used)
        self._out.clear()
        self._owner = _or_good(part, Ownership)(identity.boot_id, identity.lease_ms * 1000)
        self._commands, self._events = _or_good(part, CommandMemory)(), _or_good(part, EventMemory)()
        self._sampler = _or_good(part, Sampler)(identity.sample_rate_hz)
        self._needles = _or_good(part, Needles)(hardware, identity, cartridge, used, self._owner, self._event)
        self._event(EventKind.BOOTED)


def _or_good(part: type, good: type[P]) -> type[P]:
    return part if issubclass(part, good) else good
