"""Bluetooth LE lines by bleak: over the system's own stack, or, where a URL asks for it, any controller by HCI."""

import asyncio
import contextlib
import re
import sqlite3
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason, BleakDBusError, BleakError

from pen_controller import files
from pen_controller.errors import InUseError, LinkError, UrlError
from pen_controller.transports import Lost, Receive
from protocols.framing import MAX_FRAME_BYTES
from protocols.gatt import CMD, PEN_SERVICE, RSP, TLM

OPEN_S = 15.0
"""Longest from having one's turn to a connection with its services discovered, or to a clear error."""
SCAN_S = 6.0
"""A pen advertises several times a second; one that is not heard for so long is not there."""
NAMESAKE_S = 0.5
"""How long to listen for a second pen of the same name."""
CLOSE_S = 2.0
LAST_WORD_S = 0.3
"""How long a closing line may take to send what still waits."""
MAX_VALUE_BYTES = 512
"""Longest write that ATT allows, at any MTU."""
MAX_QUEUED_FRAMES = 256
"""More unsent than this, and the pen has stopped taking bytes."""
STUCK = "the pen no longer takes bytes"
GONE = "the Bluetooth link is gone: out of reach, or the pen switched off"


@dataclass(frozen=True, slots=True)
class Radio:
    """Arguments that have bleak use one controller; none of them for the system's own stack."""

    scanner: dict[str, Any] = field(default_factory=dict)
    client: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A pen that advertises. The address is an opaque id on macOS."""

    name: str
    address: str
    signal_dbm: int


class BleTransport:
    """A line to a pen over Bluetooth LE.

    Each opening scans anew: what a system remembers of a device may be stale. The pen's bytes are passed on in whole
    frames.

    Args:
        url: `ble:NAME` or `ble:ADDRESS`, then perhaps `?hci=SPEC`, a controller for `bumble_backend`.

    Raises:
        UrlError: the URL has another form.
    """

    def __init__(self, url: str) -> None:
        self.name = url
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._target = unquote(parts.path)
        self._hci = query.pop("hci", [""])[0] or None
        if not self._target or query:
            raise UrlError(f"{url!r} names no pen: use ble:NAME or ble:ADDRESS; 'pen scan' lists those there are")
        self._channel: _Channel | None = None
        self._resources = contextlib.AsyncExitStack()

    async def open(self, receive: Receive, lost: Lost) -> None:
        """See `Transport.open`. Connections are opened one at a time; the bound of time begins when it is our turn."""
        async with _turn(), contextlib.AsyncExitStack() as stack:
            with _clear_errors(self.name):
                async with asyncio.timeout(OPEN_S):
                    radio = await stack.enter_async_context(radio_for(self._hci))
                    device = await self._find(radio)
                    if self._hci is None:
                        stack.enter_context(_sole_user(device.address))
                    channel = _Channel(device, radio, receive, lost)
                    stack.push_async_callback(channel.close)
                    await channel.open()
            self._channel, self._resources = channel, stack.pop_all()

    def write(self, data: bytes, *, urgent: bool = False, latest: bool = False) -> None:
        """See `Transport.write`."""
        if self._channel is not None:
            self._channel.write(data, urgent=urgent, latest=latest)

    async def close(self) -> None:
        """See `Transport.close`."""
        self._channel = None
        await self._resources.aclose()

    async def _find(self, radio: Radio) -> BLEDevice:
        found: dict[str, BLEDevice] = {}
        first = asyncio.Event()
        target = self._target.upper()

        def hear(device: BLEDevice, advertisement: AdvertisementData) -> None:
            name = advertisement.local_name or device.name or ""
            if target in (device.address.upper(), name.upper()):
                found[device.address.upper()] = device
                first.set()

        async with BleakScanner(hear, [PEN_SERVICE], **radio.scanner):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SCAN_S):
                    await first.wait()
            if found and target not in found:
                await asyncio.sleep(NAMESAKE_S)
        if not found:
            raise LinkError("no such pen in reach; switch it on and bring it near. 'pen scan' lists those there are")
        if len(found) > 1:
            addresses = " and ".join(sorted(found))
            raise LinkError(f"{len(found)} pens have this name: {addresses}; use ble:ADDRESS with the address of one")
        return found.popitem()[1]


class _Channel:
    """One connection: frames cut into writes, notifications put together to frames."""

    def __init__(self, device: BLEDevice, radio: Radio, receive: Receive, lost: Lost) -> None:
        self._client = BleakClient(
            device, disconnected_callback=lambda _: self._break(GONE), timeout=OPEN_S, **radio.client
        )
        self._receive, self._lost = receive, lost
        self._open = False
        self._urgent: bytes | None = None
        self._latest = b""
        self._queue: deque[bytes] = deque()
        self._wake, self._sent = asyncio.Event(), asyncio.Event()
        self._sent.set()
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self._client.connect()
        service = self._client.services.get_service(PEN_SERVICE)
        cmd, rsp, tlm = (service and service.get_characteristic(uuid) for uuid in (CMD, RSP, TLM))
        if not (cmd and rsp and tlm):
            raise LinkError("it advertises as a pen, but lacks a pen's characteristics; update its firmware")
        self._open = True
        self._writer = asyncio.create_task(self._write(cmd), name="write to the pen")
        for characteristic in (rsp, tlm):
            # BlueZ's StartNotify loses notifications in floods, AcquireNotify none.
            await self._client.start_notify(characteristic, self._assembler(), bluez={"use_start_notify": False})

    def write(self, data: bytes, *, urgent: bool, latest: bool) -> None:
        if not self._open:
            return
        if urgent:
            self._urgent = data  # of several STOPs that wait, one is enough
        else:
            if latest:
                with contextlib.suppress(ValueError):  # the one before has left
                    self._queue.remove(self._latest)
                self._latest = data
            self._queue.append(data)
        self._sent.clear()
        self._wake.set()
        if len(self._queue) > MAX_QUEUED_FRAMES:
            self._break(STUCK)

    async def close(self) -> None:
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):
                    await self._sent.wait()
        self._open = False
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])  # as `await` it would also take our own cancellation for the writer's
        with contextlib.suppress(BleakError, OSError, EOFError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._client.disconnect()

    async def _write(self, cmd: BleakGATTCharacteristic) -> None:
        """Write frame by frame: what is urgent goes next, but never into a frame that has begun to leave.

        It ends because the channel is closed, not because it is cancelled: a stack may answer a write that is being
        cancelled, and the cancellation is lost.
        """
        try:
            while self._open:
                await self._wake.wait()
                while frame := self._next():
                    # Read anew each time: a system may learn the MTU late.
                    size = min(cmd.max_write_without_response_size, MAX_VALUE_BYTES)
                    for start in range(0, len(frame), size):
                        await self._client.write_gatt_char(cmd, frame[start : start + size], response=True)
                self._wake.clear()
                self._sent.set()
        except (BleakError, OSError, EOFError, TimeoutError) as error:
            self._break(f"{GONE} ({error})")

    def _next(self) -> bytes | None:
        if not self._open:
            return None
        frame, self._urgent = self._urgent, None
        return frame or (self._queue.popleft() if self._queue else None)

    def _assembler(self) -> Callable[[BleakGATTCharacteristic, bytearray], None]:
        """Puts the frames of one characteristic together.

        A system may hand over the notifications of two characteristics out of step, and so mix their frames.
        """
        held = bytearray()

        def take(_: BleakGATTCharacteristic, data: bytearray) -> None:
            held.extend(data)
            end = len(held) if len(held) > 2 * MAX_FRAME_BYTES else held.rfind(0) + 1
            if end and self._open:
                self._receive(bytes(held[:end]))
            del held[:end]

        return take

    def _break(self, why: str) -> None:
        if self._open:
            self._open = False
            self._sent.set()
            self._lost(why)


# --- the radio -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def radio_for(hci: str | None) -> AsyncIterator[Radio]:
    """The system's Bluetooth, or the controller at an HCI spec.

    Raises:
        LinkError: there is no such controller, or the packages for it are not installed.
    """
    if hci is None:
        yield Radio()
        return
    try:
        from pen_controller.transports.bumble_backend import (  # noqa: PLC0415  # an extra, and slow to load
            BumbleClient,
            BumbleScanner,
            central,
        )
    except ImportError:
        raise LinkError("hci= needs more packages: python -m pip install 'pen-controller[ble-sim]'") from None
    async with central(hci) as controller:
        yield Radio({"backend": BumbleScanner, "central": controller}, {"backend": BumbleClient, "central": controller})


async def look(say: Callable[[Sighting], None], *, hci: str | None, seconds: float) -> None:
    """Listen for pens that advertise, and tell of each when it is first heard.

    Raises:
        LinkError: there is no Bluetooth to be had; says what to do.
    """
    seen: set[str] = set()

    def hear(device: BLEDevice, advertisement: AdvertisementData) -> None:
        if device.address not in seen:
            seen.add(device.address)
            say(Sighting(advertisement.local_name or device.name or "", device.address, advertisement.rssi))

    with _clear_errors():
        async with _turn(), asyncio.timeout(OPEN_S + seconds), contextlib.AsyncExitStack() as stack:
            radio = await stack.enter_async_context(radio_for(hci))
            await stack.enter_async_context(BleakScanner(hear, [PEN_SERVICE], **radio.scanner))
            await asyncio.sleep(seconds)


@contextlib.contextmanager
def _sole_user(address: str) -> Iterator[None]:
    """Keep this computer's other programs from the pen, until this one lets it go or dies.

    A system's Bluetooth shares one connection among its programs: the second would end the first one's by closing. It
    does not say whose a connection is, and may keep it after a crash, so the connection itself cannot be the lock.

    Raises:
        InUseError: another program has it, or another transport of this one.
        LinkError: there is no place for the lock.
    """
    with contextlib.ExitStack() as stack:
        try:
            name = re.sub(r"[^0-9A-Z]", "-", address.upper())
            stack.enter_context(files.locked(files.data_folder() / f"ble-{name}.lock"))
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
                raise InUseError("another program on this computer uses this pen; close that one first") from None
            raise LinkError(f"no lock for this pen ({error}); make your data folder writable") from None
        yield


_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()


def _turn() -> asyncio.Lock:
    """The lock of this loop: systems fail when two connections are set up at a time."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


# --- what went wrong -------------------------------------------------------------------------------------------------

_Reason = BleakBluetoothNotAvailableReason
_ALLOW = "allow Bluetooth for this terminal in the system's privacy settings"
_UNAVAILABLE = {
    _Reason.NO_BLUETOOTH: "this machine has no Bluetooth adapter; plug one in, or connect the pen by cable",
    _Reason.NO_BLE_CENTRAL_ROLE: "this machine's Bluetooth adapter knows no Bluetooth LE; plug another one in",
    _Reason.POWERED_OFF: "Bluetooth is off; switch it on in the system's settings (Linux: 'bluetoothctl power on')",
    _Reason.DENIED_BY_USER: f"Bluetooth is not permitted; {_ALLOW}",
    _Reason.DENIED_BY_SYSTEM: "Bluetooth is not permitted on this machine; ask whoever administers it",
    _Reason.DENIED_BY_UNKNOWN: f"Bluetooth is not permitted; {_ALLOW}",
}
_NO_BLUEZ = "Bluetooth does not run; install BlueZ and start it: 'sudo systemctl start bluetooth'"
_DBUS = {
    "ServiceUnknown": _NO_BLUEZ,
    "NameHasNoOwner": _NO_BLUEZ,
    "ChildExited": _NO_BLUEZ,
    "AccessDenied": "Bluetooth is not permitted; 'sudo usermod -aG bluetooth $USER', then log in again",
    "NotAuthorized": "Bluetooth is not permitted; 'sudo usermod -aG bluetooth $USER', then log in again",
    "NotReady": _UNAVAILABLE[_Reason.POWERED_OFF],
}
"""What to do about an error of Linux's Bluetooth, by the end of its name."""


@contextlib.contextmanager
def _clear_errors(name: str = "") -> Iterator[None]:
    """Turn whatever bleak and the system raise into one line that says what to do."""
    where = name and f"{name}: "
    try:
        yield
    except TimeoutError:
        raise LinkError(f"{where}no connection in {OPEN_S:.0f} s; bring the pen near, switch it off and on") from None
    except LinkError as error:
        raise type(error)(f"{where}{error}") from None
    except BleakBluetoothNotAvailableError as error:
        raise LinkError(f"{where}{_UNAVAILABLE.get(error.reason, str(error.args[0]))}") from None
    except BleakDBusError as error:
        said = _DBUS.get(error.dbus_error.rpartition(".")[2], str(error))
        raise LinkError(f"{where}{said}") from None
    except (FileNotFoundError, ConnectionRefusedError):  # the socket of Linux's D-Bus
        raise LinkError(f"{where}{_NO_BLUEZ}") from None
    except (BleakError, OSError, EOFError) as error:
        raise LinkError(f"{where}Bluetooth fails ({error}); switch it off and on, then try again") from None
