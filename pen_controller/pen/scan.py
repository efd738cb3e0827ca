"""Finds pens, by cable and by Bluetooth LE: asks who is there. Claims nothing, moves nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import quote

from serial.tools import list_ports

from pen_controller.errors import InUseError, LinkError
from pen_controller.pen.link import Link
from pen_controller.transports import transport_for
from protocols.messages import Cartridge, Identity, State
from protocols.words import StateFlag

LISTEN_S = 4.0
"""A pen advertises several times a second, but a busy radio may miss many."""

NOWHERE = "ble:"
"""In place of a URL, where there is no Bluetooth to be had."""


@dataclass(frozen=True, slots=True)
class Found:
    """A place where a pen may be. `trouble` says why none was found there."""

    url: str
    name: str
    identity: Identity | None = None
    state: State | None = None
    cartridge: Cartridge | None = None
    signal_dbm: int | None = None
    trouble: str = ""
    line_in_use: bool = False
    """Whether another program on this computer has the line, so that the pen could not be asked."""

    @property
    def in_use(self) -> bool | None:
        """Whether another program owns the pen, or the line to it; None where there is no pen."""
        if self.state is None:
            return True if self.line_in_use else None
        return StateFlag.CLAIMED in self.state.flags

    @property
    def is_place(self) -> bool:
        """Whether the URL leads somewhere; the row that says why there is no Bluetooth leads nowhere."""
        return self.url != NOWHERE

    @property
    def short_trouble(self) -> str:
        """What is wrong, beside the URL; of a lack of Bluetooth also what to do."""
        if not self.is_place:
            return self.trouble
        return (
            self.trouble.removeprefix(f"{self.url}: ")
            .removeprefix(f"{self.url.removeprefix('serial:')}: ")
            .partition(";")[0]
        )


Say = Callable[[Found], None]


async def ask(url: str, name: str = "", *, signal_dbm: int | None = None) -> Found:
    """Ask the pen at a URL who and how it is, without claiming it.

    Raises:
        LinkError: there is no pen to be had there.
    """
    link = Link(transport_for(url), 0, lambda _: None, lambda _: None)
    identity = await link.open()
    try:
        state, cartridge = await link.ask_state(), await link.cartridge()
        return Found(url, name or identity.serial, identity, state, cartridge, signal_dbm)
    finally:
        await link.close()


async def scan(say: Say, *, bluetooth: bool = True, hci: str | None = None) -> None:
    """Ask every serial port of this machine at once, and every pen that advertises.

    Args:
        say: hears of each place as soon as its answer, or the lack of one, comes in; of a pen by Bluetooth twice,
            first when it is in sight, and again, with the same URL, when it has answered.
        bluetooth: look for Bluetooth pens too.
        hci: do so by this controller, and not by the system's own Bluetooth.
    """
    ports = await asyncio.to_thread(list_ports.comports)
    async with asyncio.TaskGroup() as group:
        for port in ports:
            group.create_task(_try(say, Found(f"serial:{port.device}", port.description or port.device)))
        if bluetooth:
            group.create_task(_scan_air(say, hci))


async def _scan_air(say: Say, hci: str | None) -> None:
    seen: list[Found] = []
    try:
        from pen_controller.transports.ble import Sighting, look  # noqa: PLC0415  # an extra, and slow to load

        def sight(pen: Sighting) -> None:
            url = f"ble:{pen.address}" + (f"?hci={quote(hci, safe=':/,')}" if hci else "")
            seen.append(Found(url, pen.name, signal_dbm=pen.signal_dbm))
            say(seen[-1])

        await look(sight, hci=hci, seconds=LISTEN_S)
    except ImportError:
        say(Found(NOWHERE, "Bluetooth", trouble="needs one more package: python -m pip install 'pen-controller[ble]'"))
    except LinkError as error:
        say(Found(NOWHERE, "Bluetooth", trouble=str(error)))
    for found in seen:
        await _try(say, found)


async def _try(say: Say, place: Found) -> None:
    try:
        say(await ask(place.url, place.name, signal_dbm=place.signal_dbm))
    except LinkError as error:
        say(replace(place, trouble=str(error), line_in_use=isinstance(error, InUseError)))
