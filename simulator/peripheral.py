"""Serves a simulated pen over Bluetooth LE, as a GATT peripheral of Bumble: the same firmware, bytes and rules."""

import asyncio
from collections.abc import Callable

from bumble import data_types
from bumble.att import ATT_Handle_Value_Notification
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.profiles.battery_service import BatteryService
from bumble.profiles.device_information_service import DeviceInformationService

from protocols.gatt import CMD, INFO, PEN_SERVICE, RSP, TLM, UDI_FOR_MEDICAL_DEVICES
from protocols.messages import AnyMessage, encode
from protocols.samples import Samples
from simulator.air import Air
from simulator.pen import SimulatedPen
from simulator.ports import Endpoint

ADVERTISING_MS = 50
START_UP_S = 0.5
"""From power to the first advertisement, as a microcontroller with a Bluetooth stack takes it."""
LONGEST_NAME = 8
"""Beside flags and the service's UUID no more fits an advertisement; virtual controllers send no scan responses."""
MIN_MTU, MAX_MTU = 23, 517
MAX_VALUE_BYTES = 512
"""Longest attribute value that ATT allows, at any MTU."""
MAKER = "pen-controller"
_UDI_LABEL_PRESENT = 1

_Can, _May = Characteristic.Properties, Characteristic


class BleLine:
    """A pen that advertises, and takes any number of hosts at once.

    Args:
        pen: which pen.
        clock: time in microseconds.
        air: where it is heard.
        mtu: largest ATT MTU it agrees to, 23 to 517.
        name: what it advertises, at most 8 characters; by default its serial number.

    Raises:
        ValueError: MTU or name is out of bounds.
    """

    def __init__(
        self, pen: SimulatedPen, clock: Callable[[], int], air: Air, *, mtu: int = MAX_MTU, name: str | None = None
    ) -> None:
        self.name = name or pen.serial
        if not MIN_MTU <= mtu <= MAX_MTU:
            raise ValueError(f"an ATT MTU of {mtu}: from {MIN_MTU} to {MAX_MTU}")
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"{self.name!r} is too long to be advertised: at most {LONGEST_NAME} characters")
        self._pen, self._clock, self._air, self._mtu = pen, clock, air, mtu
        self._device: Device | None = None
        self._hosts: dict[Connection, _Host] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def urls(self) -> list[str]:
        """One `ble:` URL."""
        return [self._air.url(self.name)] if self._device is not None else []

    def send(self, messages: list[AnyMessage]) -> None:
        """Notify every host."""
        for host in self._hosts.values():
            host.say(messages)

    async def plug(self) -> None:
        """Switch the radio on, and advertise. Quiet if it is on."""
        if self._device is None:
            self._device = device = self._new_device()
            await device.power_on()
            await device.start_advertising()

    async def unplug(self) -> None:
        """Go out of reach: every connection breaks, and nothing is advertised."""
        device, self._device = self._device, None
        if device is not None:
            self._air.remove(self._controller)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await device.stop_advertising()

    async def restart(self) -> None:
        """The radio goes with the pen's power: every connection breaks, and it advertises when it has started up."""
        await self.unplug()
        await asyncio.sleep(START_UP_S)
        await self.plug()

    def _new_device(self) -> Device:
        controller = self._controller = self._air.controller(self.name)
        config = DeviceConfiguration(
            name=self.name,
            # A static random address, the same whenever this pen is plugged in.
            address=Address(f"F0:{self._pen.serial[-5:].encode().hex(':')}"),
            advertising_interval_min=ADVERTISING_MS,
            advertising_interval_max=ADVERTISING_MS,
            advertising_data=_advertisement(self.name),
        )
        device = Device.from_config_with_hci(config, controller, controller)
        device.gatt_server.max_mtu = self._mtu
        self._rsp, self._tlm = (
            Characteristic[bytes](UUID(one), _Can.NOTIFY, _May.Permissions(0)) for one in (RSP, TLM)
        )
        cmd = Characteristic[bytes](UUID(CMD), _Can.WRITE, _May.WRITEABLE, CharacteristicValue(write=self._on_write))
        info = _readable(INFO, CharacteristicValue(read=self._info))
        battery = BatteryService(lambda _: self._pen.read().battery_pct)
        pen_service = Service(UUID(PEN_SERVICE), [info, cmd, self._rsp, self._tlm])
        device.add_services([pen_service, _device_information(self._pen), battery])
        device.on(Device.EVENT_CONNECTION, self._on_connection)
        device.gatt_server.on(device.gatt_server.EVENT_CHARACTERISTIC_SUBSCRIPTION, self._on_subscription)
        return device

    def _on_connection(self, connection: Connection) -> None:
        self._hosts[connection] = _Host(self._pen, connection, self._rsp, self._tlm)
        connection.on(Connection.EVENT_DISCONNECTION, lambda _: self._hosts.pop(connection))
        if self._device is not None:
            # A controller stops advertising when somebody connects; a second host must find the pen all the same.
            task = asyncio.create_task(self._device.start_advertising())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _on_subscription(
        self, connection: Connection, characteristic: Characteristic[bytes], notify: bool, _indicate: bool
    ) -> None:
        if host := self._hosts.get(connection):
            host.follow(characteristic, notify=notify)

    def _on_write(self, connection: Connection, data: bytes) -> None:
        now_us = self._clock()
        self.send(self._pen.step(now_us))  # what fell due meanwhile is for every host, not for the one who asks
        if host := self._hosts.get(connection):
            host.hear(data, now_us)

    def _info(self, _: Connection) -> bytes:
        return encode(self._pen.firmware.identity, epoch=self._pen.firmware.epoch, counter=0)


class _Host:
    """One connection: its own frames, on the two characteristics that notify."""

    def __init__(
        self, pen: SimulatedPen, connection: Connection, rsp: Characteristic[bytes], tlm: Characteristic[bytes]
    ) -> None:
        self._connection, self._rsp, self._tlm = connection, rsp, tlm
        self._endpoint = Endpoint(pen)
        self._followed: set[Characteristic[bytes]] = set()

    def follow(self, characteristic: Characteristic[bytes], *, notify: bool) -> None:
        """The host has switched notifications on or off."""
        (self._followed.add if notify else self._followed.discard)(characteristic)

    def say(self, messages: list[AnyMessage]) -> None:
        """Notify, where the host listens; frames that it would not get are not counted."""
        for message in messages:
            characteristic = self._tlm if isinstance(message, Samples) else self._rsp
            if characteristic in self._followed:
                self._notify(characteristic, self._endpoint.encode([message]))

    def hear(self, data: bytes, clock_us: int) -> None:
        """Take what the host wrote, and answer."""
        answer = self._endpoint.receive(data, clock_us)
        if self._rsp in self._followed:
            self._notify(self._rsp, answer)

    def _notify(self, characteristic: Characteristic[bytes], data: bytes) -> None:
        size = min(self._connection.att_mtu - 3, MAX_VALUE_BYTES)
        for start in range(0, len(data), size):
            pdu = ATT_Handle_Value_Notification(
                attribute_handle=characteristic.handle, attribute_value=data[start : start + size]
            )
            # Bumble's own notify is a coroutine, which would let the frames of two characteristics mix (BLE-2).
            self._connection.device.gatt_server.send_gatt_pdu(self._connection, bytes(pdu))


def _advertisement(name: str) -> bytes:
    flags = AdvertisingData.Flags.LE_GENERAL_DISCOVERABLE_MODE | AdvertisingData.Flags.BR_EDR_NOT_SUPPORTED
    return bytes(
        AdvertisingData(
            [
                data_types.Flags(flags),
                data_types.IncompleteListOf128BitServiceUUIDs([UUID(PEN_SERVICE)]),
                data_types.CompleteLocalName(name),
            ]
        )
    )


def _device_information(pen: SimulatedPen) -> Service:
    """Device Information, with the UDI label: flags, then text that a zero byte ends."""
    identity = pen.firmware.identity
    service = DeviceInformationService(
        manufacturer_name=MAKER,
        model_number=identity.model,
        serial_number=identity.serial,
        firmware_revision=identity.firmware,
    )
    udi = bytes([_UDI_LABEL_PRESENT]) + identity.udi.encode() + b"\0"
    return Service(service.uuid, [*service.characteristics, _readable(UDI_FOR_MEDICAL_DEVICES, udi)])


def _readable(uuid: str, value: bytes | CharacteristicValue[bytes]) -> Characteristic[bytes]:
    return Characteristic[bytes](UUID(uuid), _Can.READ, _May.READABLE, value)
