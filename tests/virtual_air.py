"""Pens and hosts on one air, in this process: the whole of bleak, HCI, L2CAP and ATT in virtual time, without a socket.

A host's URL says `hci=air`. Time jumps, so minutes cost seconds, and nothing depends on how busy the machine is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bumble.controller import Controller
from bumble.transport.common import Transport

from pen_controller.transports import bumble_backend
from pen_controller.transports.ble import BleTransport
from simulator.air import Air
from simulator.pen import SimulatedPen
from simulator.peripheral import BleLine
from simulator.ports import TICK_S


class HostPort(Transport):
    """A host's controller, taken from the air again when the host goes."""

    def __init__(self, air: Air, controller: Controller) -> None:
        super().__init__(controller, controller)
        self._air, self._controller = air, controller

    async def close(self) -> None:
        self._air.remove(self._controller)


class FreezableAir(Air):
    """Air that can keep every connection and yet carry nothing."""

    frozen = False

    def send_acl_data(self, *packet: Any) -> None:
        if not self.frozen:
            super().send_acl_data(*packet)


class VirtualAir:
    """Pens that run in the loop's own time, not yet plugged in."""

    def __init__(self, air: FreezableAir, pens: int, mtu: int, name: str | None) -> None:
        self.air = air
        self._loop = asyncio.get_running_loop()
        self.pens = [SimulatedPen(number=number) for number in range(1, pens + 1)]
        self.lines = [BleLine(pen, self.clock_us, air, mtu=mtu, name=name) for pen in self.pens]

    @property
    def frozen(self) -> bool:
        """Pens that hear nothing, say nothing, and whose time stands still, while their radio keeps the connection."""
        return self.air.frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self.air.frozen = frozen

    @property
    def pen(self) -> SimulatedPen:
        return self.pens[0]

    @property
    def line(self) -> BleLine:
        return self.lines[0]

    def clock_us(self) -> int:
        return round(self._loop.time() * 1e6)

    def transport(self, name: str = "PEN-0001") -> BleTransport:
        return BleTransport(f"ble:{name}?hci=air")

    async def run(self) -> None:
        while True:
            if not self.frozen:
                for pen, line in zip(self.pens, self.lines, strict=True):
                    line.send(pen.step(self.clock_us()))
            await asyncio.sleep(TICK_S)


OpenAir = Callable[..., contextlib.AbstractAsyncContextManager[VirtualAir]]


@pytest.fixture
def open_air(monkeypatch: pytest.MonkeyPatch) -> OpenAir:
    """Opens an air with some pens in it, in a test that runs in virtual time."""

    @contextlib.asynccontextmanager
    async def opened(
        pens: int = 1, *, mtu: int = 517, name: str | None = None, interval_ms: float = 0.0, missed: float = 0.0
    ) -> AsyncIterator[VirtualAir]:
        air = FreezableAir("nowhere", interval_ms=interval_ms, missed=missed)

        async def attach(_: str) -> HostPort:
            return HostPort(air, air.controller("host"))

        monkeypatch.setattr(bumble_backend, "open_transport", attach)
        bench = VirtualAir(air, pens, mtu, name)
        for line in bench.lines:
            await line.plug()
        running = asyncio.create_task(bench.run())
        try:
            yield bench
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            for line in bench.lines:
                await line.unplug()

    return opened
