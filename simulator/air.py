"""The air that virtual Bluetooth controllers share, and the HCI port where hosts attach to it. No radio, no root."""

import asyncio
import random
from types import TracebackType
from typing import Any, Self

from bumble.controller import Controller
from bumble.hci import HCI_ErrorCode, LeFeatureMask
from bumble.link import LocalLink
from bumble.transport import open_transport
from bumble.transport.common import StreamPacketSource, Transport, TransportInitError

ACL_BYTES = 251
"""Longest data packet of a controller; Bumble's 27 would cut every frame of an MTU over 23."""
MOST_UNREAD_BYTES = 1 << 20
"""A host that leaves so much unread has gone."""
TCP_SERVER = "tcp-server:"


class Air(LocalLink):
    """Carries data between virtual controllers: those of pens, and one for each host that attaches.

    Args:
        hci: where hosts attach: `tcp-server:HOST:PORT` (port 0 finds a free one) takes any number of them; any other
            transport that Bumble opens, such as `vhci`, takes one.
        interval_ms: connection interval: data waits for the next one. 0 carries it at once.
        missed: how probable it is that an interval passes without any data getting through, as by interference.
        seed: of what is missed.

    Use as `async with`; then pens may be plugged in and hosts attach.
    """

    def __init__(
        self, hci: str = "tcp-server:127.0.0.1:0", *, interval_ms: float = 0.0, missed: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Bumble's has no annotations
        self.hci = hci
        self.interval_ms, self.missed = interval_ms, missed
        self.hosts: set[_TcpHost] = set()
        self._chance = random.Random(seed)  # noqa: S311  # a simulation, not a secret
        self._server: asyncio.Server | None = None
        self._transport: Transport | None = None
        self._waiting: list[tuple[Any, ...]] = []

    def url(self, name: str) -> str:
        """How a host on this machine opens the pen of that name."""
        if self._server is None:
            return f"ble:{name}"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"ble:{name}?hci=tcp-client:{host}:{port}"

    async def __aenter__(self) -> Self:
        """Open the port that hosts attach to. Raises `OSError` if it does not open."""
        try:
            await self._open()
        except (ValueError, OverflowError, TransportInitError) as error:
            raise OSError(f"{self.hci}: {error}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the port; every host loses its controller."""
        if self._server is not None:
            self._server.close()
            for host in list(self.hosts):
                host.leave()
            await self._server.wait_closed()
        if self._transport is not None:
            await self._transport.close()

    async def _open(self) -> None:
        if self.hci.startswith(TCP_SERVER):
            host, _, port = self.hci.removeprefix(TCP_SERVER).rpartition(":")
            self._server = await asyncio.get_running_loop().create_server(self._tcp_host, host, int(port))
        else:
            self._transport = await open_transport(self.hci)
            # No public address: Linux would take it for the adapter's, while data comes from the random one.
            foreign = self.controller("host", self._transport.source, self._transport.sink)
            # Linux expects of a controller with these features an event that Bumble's never sends.
            foreign.le_features &= ~(LeFeatureMask.LL_PRIVACY | LeFeatureMask.LE_EXTENDED_ADVERTISING)

    def controller(self, name: str, source: Any = None, sink: Any = None) -> Controller:  # noqa: ANN401  # as Bumble's
        """A new controller in this air, for the host at this source and sink of HCI packets."""
        controller = Controller(name, host_source=source, host_sink=sink, link=self)
        controller.acl_data_packet_length = controller.le_acl_data_packet_length = ACL_BYTES
        return controller

    def drop(self, controller: Controller) -> None:
        """Break every connection of a controller, as when it goes out of reach. Both sides learn of it at once."""
        for connection in list(controller.le_connections.values()):
            peer = self.find_le_controller(connection.peer_address)
            theirs = peer and peer.le_connections.get(connection.self_address)
            if peer and theirs:
                peer.on_le_disconnected(theirs, HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
            controller.on_le_disconnected(connection, HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def remove(self, controller: Controller) -> None:
        """Take a controller away, with its connections."""
        self.drop(controller)
        self.remove_controller(controller)

    def send_acl_data(self, *packet: Any) -> None:  # noqa: ANN401  # passed on as it is
        """Carry a data packet (Bumble's call): at once, or at the next interval."""
        if not self.interval_ms:
            super().send_acl_data(*packet)
            return
        self._waiting.append(packet)
        if len(self._waiting) == 1:
            self._wait()

    def _wait(self) -> None:
        loop, interval_s = asyncio.get_running_loop(), self.interval_ms / 1000
        # The millionth keeps what is sent at a meeting from being carried by that same meeting.
        loop.call_at((int(loop.time() / interval_s + 1e-6) + 1) * interval_s, self._meet)

    def _meet(self) -> None:
        """Both sides listen: what waits is carried, in order."""
        if self._chance.random() < self.missed:
            self._wait()
            return
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            super().send_acl_data(*packet)

    def _tcp_host(self) -> "_TcpHost":
        return _TcpHost(self)


class _TcpHost(StreamPacketSource):
    """A host that came over TCP, with a controller of its own for as long as it stays."""

    def __init__(self, air: Air) -> None:
        super().__init__()
        self._air = air

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give it a controller (asyncio's call)."""
        if not isinstance(transport, asyncio.WriteTransport):
            raise TypeError("a host that cannot be written to")
        self._transport = transport
        self._controller = self._air.controller("host", self, self)
        self._air.hosts.add(self)

    def on_packet(self, packet: bytes) -> None:
        """Write a packet of the controller (Bumble's call)."""
        if self._transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(packet)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why does not matter
        """Take its controller away (asyncio's call)."""
        self._air.hosts.discard(self)
        self._air.remove(self._controller)

    def leave(self) -> None:
        """Send it away."""
        self._transport.abort()
