"""A backend for bleak over Bumble: a whole Bluetooth host in this process, on any controller that speaks HCI.

With it `ble:NAME?hci=SPEC` needs neither the system's Bluetooth nor a radio: SPEC may be a USB dongle (`usb:0`) or the
virtual controller of a simulated pen (`tcp-client:HOST:PORT`). It is what pens need of bleak, not all of bleak.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError
from bleak.uuids import normalize_uuid_str
from bumble.att import ATT_Error
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt_client import ServiceProxy
from bumble.hci import Address
from bumble.transport import open_transport

from pen_controller.errors import LinkError

LARGEST_MTU = 517
DISCONNECT_S = 2.0

T = TypeVar("T")
AdType = AdvertisingData.Type


# Bumble warns of what a line that breaks is bound to bring; who wants to read it adds a handler here.
logging.getLogger("bumble").propagate = False
logging.getLogger("bumble").addHandler(logging.NullHandler())


@contextlib.asynccontextmanager
async def central(hci: str) -> AsyncIterator[Device]:
    """This program as a Bluetooth host, on the controller that an HCI spec names.

    Raises:
        LinkError: there is none; says what to do.
    """
    try:
        transport = await open_transport(hci)
    except Exception as error:  # noqa: BLE001  # each kind of controller has its own driver, and errors
        raise LinkError(f"no Bluetooth controller at hci={hci} ({error}); {_remedy(hci)}") from None
    try:
        device = Device.with_hci("host", Address.generate_static_address(), transport.source, transport.sink)
        await device.power_on()
        yield device
    except BaseBumbleError as error:
        raise LinkError(f"the Bluetooth controller at hci={hci} fails ({error}); {_remedy(hci)}") from None
    finally:
        await transport.close()


def _remedy(hci: str) -> str:
    if hci.startswith("tcp-client:"):
        return "is 'pen-sim ble' running there?"
    return "use tcp-client:HOST:PORT of a 'pen-sim ble', or usb:0 for the first Bluetooth dongle"


class BumbleScanner(BaseBleakScanner):
    """Listens for advertisements. See `bleak.BleakScanner`; `central` names the controller."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        *,
        central: Device,
        **_: object,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._device, self._active = central, scanning_mode == "active"

    async def start(self) -> None:
        """See bleak."""
        self.seen_devices = {}
        self._device.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        await self._device.start_scanning(active=self._active, filter_duplicates=False)

    async def stop(self) -> None:
        """See bleak."""
        self._device.remove_listener(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        await self._device.stop_scanning()

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        address = advertisement.address.to_string(with_type_qualifier=False)
        before = self.seen_devices.get(address)
        # A name may come alone, in a scan response.
        name = _name(advertisement.data) or (before and before[0].name) or None
        uuids = {*_service_uuids(advertisement.data), *(before[1].service_uuids if before else ())}
        data = AdvertisementData(name, {}, {}, sorted(uuids), None, advertisement.rssi, (advertisement,))
        device = self.create_or_update_device(address, address, name, advertisement.address, data)
        if self.is_allowed_uuid(data.service_uuids):
            self.call_detection_callbacks(device, data)


def _name(data: AdvertisingData) -> str | None:
    return data.get(AdType.COMPLETE_LOCAL_NAME) or data.get(AdType.SHORTENED_LOCAL_NAME)


def _service_uuids(data: AdvertisingData) -> list[str]:
    lists = [
        *data.get_all(AdType.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS),
        *data.get_all(AdType.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS),
        *data.get_all(AdType.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS),
        *data.get_all(AdType.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS),
    ]
    return [_uuid(uuid) for some in lists for uuid in some]


def _uuid(uuid: UUID) -> str:
    return normalize_uuid_str(uuid.to_hex_str("-"))


class BumbleClient(BaseBleakClient):
    """One connection. See `bleak.BleakClient`; `central` names the controller, and the device is a scanner's."""

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,  # bleak's name
        central: Device,
        **_: object,
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout)
        self._target, self._central = address_or_ble_device, central
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        """See bleak."""
        return (isinstance(self._target, BLEDevice) and self._target.name) or self.address

    @property
    def mtu_size(self) -> int:
        """See bleak."""
        return self._connection.att_mtu if self._connection else 23

    @property
    def is_connected(self) -> bool:
        """See bleak."""
        return self._connection is not None

    async def connect(self, pair: bool, **_: object) -> None:
        """See bleak. Raises `TimeoutError` when the device does not take the connection, or falls silent on the way."""
        if not isinstance(self._target, BLEDevice):
            raise BleakError("connects only to a device that a scanner found")
        try:
            async with asyncio.timeout(self._timeout):
                with _in_bleaks_words():
                    connection = await self._central.connect(self._target.details)
                self._connection = connection
                connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
                peer = Peer(connection)
                await self._held(peer.request_mtu(LARGEST_MTU))
                if pair:
                    await self.pair()
                self.services = await self._held(_discover(peer, lambda: self.mtu_size - 3))
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        """See bleak. A controller that does not answer is left to itself."""
        if self._connection is not None:
            with contextlib.suppress(BaseBumbleError, TimeoutError):
                async with asyncio.timeout(DISCONNECT_S):
                    await self._connection.disconnect()
        self._on_disconnection(None)

    def _on_disconnection(self, _: object) -> None:
        """The connection is over, or the whole controller is gone."""
        if self._connection is not None:
            self._connection = self.services = None
            if self._disconnected_callback:
                self._disconnected_callback()

    async def _held(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what needs the connection; fail at once when it goes."""
        if self._connection is None:
            work.close()
            raise BleakError("not connected")
        with _in_bleaks_words():
            return await self._connection.cancel_on_disconnection(work)

    async def pair(self, *_: object, **__: object) -> None:
        """See bleak."""
        if self._connection is not None:
            await self._held(self._connection.pair())

    async def unpair(self) -> None:
        """See bleak. Bonds are not kept, so there is none to forget."""

    async def read_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        **_: object,
    ) -> bytearray:
        """See bleak."""
        return bytearray(await self._held(characteristic.obj.read_value()))

    async def read_gatt_descriptor(
        self,
        descriptor: BleakGATTDescriptor,
        **_: object,
    ) -> bytearray:
        """See bleak."""
        return bytearray(await self._held(descriptor.obj.read_value()))

    async def write_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        data: SizedBuffer,
        response: bool,
    ) -> None:
        """See bleak."""
        await self._held(characteristic.obj.write_value(bytes(data), with_response=response))

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        """See bleak."""
        await self._held(descriptor.obj.write_value(bytes(data), with_response=True))

    async def start_notify(
        self,
        characteristic: BleakGATTCharacteristic,
        callback: NotifyCallback,
        **_: object,
    ) -> None:
        """See bleak."""
        await self._held(characteristic.obj.subscribe(lambda value: callback(bytearray(value))))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        """See bleak."""
        await self._held(characteristic.obj.unsubscribe(force=True))


@contextlib.contextmanager
def _in_bleaks_words() -> Iterator[None]:
    """Turn Bumble's errors into bleak's, and a cancellation that Bumble lost into a cancellation.

    Bumble cancels what a lost connection leaves unfinished; and it waits by `asyncio.wait_for`, which before Python
    3.12 forgets that it was cancelled when the answer has just come.
    """
    before = _cancellations()
    try:
        yield
    except ATT_Error as error:
        raise BleakGATTProtocolError(int(error.error_code)) from error
    except BaseBumbleError as error:
        raise BleakError(str(error)) from error
    except asyncio.CancelledError:
        if _cancellations() > before:
            raise
        raise BleakError("the connection is gone") from None
    if _cancellations() > before:
        raise asyncio.CancelledError


def _cancellations() -> int:
    """How often this task has been cancelled."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


async def _discover(peer: Peer, longest_write: Callable[[], int]) -> BleakGATTServiceCollection:
    found = BleakGATTServiceCollection()
    for service in await peer.discover_services():
        found.add_service(mine := BleakGATTService(service, service.handle, _uuid(service.uuid)))
        await _discover_characteristics(service, mine, found, longest_write)
    return found


async def _discover_characteristics(
    service: ServiceProxy, mine: BleakGATTService, found: BleakGATTServiceCollection, longest_write: Callable[[], int]
) -> None:
    for one in await service.discover_characteristics():
        properties = list(gatt_char_props_to_strs(int(one.properties)))
        characteristic = BleakGATTCharacteristic(one, one.handle, _uuid(one.uuid), properties, longest_write, mine)
        found.add_characteristic(characteristic)
        for descriptor in await one.discover_descriptors():
            uuid = _uuid(descriptor.type)
            found.add_descriptor(BleakGATTDescriptor(descriptor, descriptor.handle, uuid, characteristic))
