"""A simulated pen plugged into this process, on the running loop's own clock, that takes any bytes at all."""

import asyncio

from pen_controller.transports import Lost, Receive
from pen_controller.transports.inprocess import InProcessTransport
from simulator.pen import SimulatedPen
from simulator.ports import Endpoint


class Plugged:
    """The pen's end of a line (a `PenEnd`). The pen's time passes while a host is connected."""

    def __init__(self, pen: SimulatedPen, endpoint: type[Endpoint]) -> None:
        self.pen = pen
        self._new_endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None

    def connect(self, receive: Receive, _lost: Lost) -> None:
        self._receive, self._endpoint = receive, self._new_endpoint(self.pen)
        self._pass_time()

    def take(self, data: bytes) -> None:
        self._pass_time()
        self._say(self._endpoint.receive(data, self._now_us()))

    def disconnect(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _now_us(self) -> int:
        return round(self._loop.time() * 1e6)

    def _pass_time(self) -> None:
        self.disconnect()
        self._say(self._endpoint.encode(self.pen.step(self._now_us())))
        due_s = max(self.pen.next_due_us / 1e6, self._loop.time() + 0.001)
        self._timer = self._loop.call_at(due_s, self._pass_time)

    def _say(self, data: bytes) -> None:
        if data:
            self._receive(data)


def plugged(pen: SimulatedPen, endpoint: type[Endpoint] = Endpoint) -> InProcessTransport:
    """An unopened line to this pen, which frames what it says by an endpoint of this kind."""
    return InProcessTransport(Plugged(pen, endpoint))
