"""Finds pens: the serial ports of this machine, and whether a pen answers there. Claims nothing, moves nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from serial.tools import list_ports

from pen_controller.errors import LinkError
from pen_controller.link import Link
from pen_controller.transports import transport_for
from protocols.messages import Cartridge, Identity, State
from protocols.words import StateFlag


@dataclass(frozen=True, slots=True)
class Found:
    """A place where a pen may be. `trouble` says why none was found there."""

    url: str
    name: str
    identity: Identity | None = None
    state: State | None = None
    cartridge: Cartridge | None = None
    trouble: str = ""

    @property
    def in_use(self) -> bool | None:
        """Whether another program owns the pen; None where there is no pen."""
        return None if self.state is None else StateFlag.CLAIMED in self.state.flags


async def ask(url: str, name: str = "") -> Found:
    """Ask the pen at a URL who and how it is, without claiming it.

    Raises:
        LinkError: there is no pen to be had there.
    """
    link = Link(transport_for(url), 0, lambda _: None, lambda _: None)
    identity = await link.open()
    try:
        return Found(url, name or identity.serial, identity, await link.ask_state(), await link.cartridge())
    finally:
        await link.close()


async def scan() -> AsyncIterator[Found]:
    """Ask every serial port of this machine at once; yield each as its answer, or the lack of one, comes in."""
    ports = await asyncio.to_thread(list_ports.comports)
    asking = [asyncio.create_task(_try(f"serial:{port.device}", port.description or port.device)) for port in ports]
    try:
        for found in asyncio.as_completed(asking):
            yield await found
    finally:
        for task in asking:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _try(url: str, name: str) -> Found:
    try:
        return await ask(url, name)
    except LinkError as error:
        return Found(url, name, trouble=str(error))
