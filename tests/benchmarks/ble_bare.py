"""Bumble alone, without bleak and without us: what a write and the notification that answers it take.

As a program it is the peripheral: `python -m tests.benchmarks.ble_bare` prints the port of its HCI server, and notifies
whatever is written to it. It ends with its standard input.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from bumble.controller import Controller
from bumble.core import UUID
from bumble.device import Connection, Device, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.link import LocalLink
from bumble.transport import open_transport
from bumble.transport.tcp_server import open_tcp_server_transport_with_socket

SERVICE, ECHO = UUID("7f3a0001-52d1-4c8e-9b06-1d2e6c5a9f11"), UUID("7f3a0002-52d1-4c8e-9b06-1d2e6c5a9f11")
PERIPHERAL, CENTRAL = Address("F0:00:00:00:00:01"), Address("F0:00:00:00:00:02")
MTU, ACL_BYTES = 517, 251


async def serve() -> None:
    """The peripheral, until standard input ends."""
    # Named as TCP, or asyncio leaves the small packets of this end to wait for each other.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    transport = await open_tcp_server_transport_with_socket(listening)
    link = LocalLink()  # type: ignore[no-untyped-call]  # Bumble's has no annotations
    peripheral = Controller("peripheral", link=link)
    host = Controller("host", host_source=transport.source, host_sink=transport.sink, link=link)
    for controller in (peripheral, host):
        controller.le_acl_data_packet_length = ACL_BYTES
    device = Device.with_hci("bare", PERIPHERAL, peripheral, peripheral)

    async def echo(connection: Connection, value: bytes) -> None:
        await device.notify_subscriber(connection, characteristic, value)

    characteristic = Characteristic[bytes](
        ECHO,
        Characteristic.Properties.WRITE | Characteristic.Properties.NOTIFY,
        Characteristic.WRITEABLE,
        CharacteristicValue(write=echo),
    )
    device.add_services([Service(SERVICE, [characteristic])])
    await device.power_on()
    await device.start_advertising()
    print(listening.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def far_end() -> Iterator[str]:
    """Such a peripheral in another process; yields its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.ble_bare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@contextlib.asynccontextmanager
async def bare_trip(data: bytes) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """A connection to such a peripheral in another process; the call writes the data and waits for the notification."""
    with far_end() as port:
        transport = await open_transport(f"tcp-client:127.0.0.1:{port}")
        device = Device.with_hci("bare", CENTRAL, transport.source, transport.sink)
        await device.power_on()
        peer = Peer(await device.connect(PERIPHERAL))
        await peer.request_mtu(MTU)
        (service,) = await peer.discover_service(SERVICE)
        (characteristic,) = await service.discover_characteristics()
        notified = asyncio.Event()
        await characteristic.subscribe(lambda _: notified.set())

        async def trip() -> None:
            notified.clear()
            await characteristic.write_value(data, with_response=True)
            await notified.wait()

        try:
            yield trip
        finally:
            await transport.close()


if __name__ == "__main__":
    asyncio.run(serve())
