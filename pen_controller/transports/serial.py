"""Serial lines by pyserial: a port of this machine, or what `serial_for_url` opens (`socket://`, `rfc2217://`)."""

import asyncio
import contextlib
import io
import socket
import sys
import threading
from concurrent.futures import Future

import serial

from pen_controller.errors import LinkError
from pen_controller.transports import Lost, Receive
from pen_controller.transports.pumps import LoopPump, Pump, ThreadPump

BAUD = 921_600
OPEN_TIMEOUT_S = 1.9
"""A port that takes longer to open is broken; three seconds are promised to a clear error, with asking who is there."""
READ_TIMEOUT_S = 0.05
"""How soon a reading thread notices that it is to end."""


class SerialTransport:
    """A serial line.

    Args:
        target: a device name (`/dev/ttyUSB0`, `COM3`) or a URL that pyserial knows.
        threads: pump with threads even where the event loop could; None chooses.
    """

    def __init__(self, target: str, *, threads: bool | None = None) -> None:
        self.name = target
        self._threads = sys.platform == "win32" if threads is None else threads
        self._port: serial.Serial | None = None
        self._pump: Pump | None = None

    async def open(self, receive: Receive, lost: Lost) -> None:
        """See `Transport.open`."""
        ready = asyncio.Event()
        opening = _open_in_thread(self.name, ready)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await ready.wait()
        except BaseException as error:
            opening.add_done_callback(_close_late)
            if isinstance(error, TimeoutError):
                raise LinkError(f"{self.name}: does not open; {_remedy(self.name)}") from None
            raise
        port = self._port = opening.result()
        pump = self._pump = ThreadPump(port) if self._threads or not _has_descriptor(port) else LoopPump(port)
        pump.start(receive, lost)

    def write(self, data: bytes, *, urgent: bool = False, latest: bool = False) -> None:  # noqa: ARG002  # never slow
        """See `Transport.write`."""
        if self._pump is not None:
            self._pump.write(data, urgent=urgent)

    async def close(self) -> None:
        """See `Transport.close`."""
        port, self._port = self._port, None
        pump, self._pump = self._pump, None
        if pump is not None and port is not None:
            await pump.stop()
            # pyserial's socket:// sleeps when it closes.
            await asyncio.to_thread(_close, port)


def _open_in_thread(target: str, ready: asyncio.Event) -> "Future[serial.Serial]":
    """Open what may hang for long. A thread of its own does not keep the program from ending, as a pool's would."""
    loop = asyncio.get_running_loop()
    opening: Future[serial.Serial] = Future()

    def work() -> None:
        try:
            opening.set_result(_open(target))
        except LinkError as error:
            opening.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            loop.call_soon_threadsafe(ready.set)

    threading.Thread(target=work, daemon=True).start()
    return opening


def _open(target: str) -> serial.Serial:
    try:
        if "://" in target:
            port = serial.serial_for_url(target, timeout=READ_TIMEOUT_S)
            _send_at_once(port)
            return port
        return serial.Serial(target, BAUD, timeout=READ_TIMEOUT_S, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as error:
        raise LinkError(f"{target}: {_why(error, target)}") from None


def _send_at_once(port: serial.Serial) -> None:
    """Turn off the waiting of small packets for each other."""
    line = getattr(port, "_socket", None)
    if line is not None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _has_descriptor(port: serial.Serial) -> bool:
    try:
        port.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return False
    return True


_ABSENT = "there is no such port; 'pen scan' lists those there are"
_BUSY = "in use by another program; close that one first"
_NO_PORT = "this is no serial port"
_FORBIDDEN = (
    "in use by another program, or not permitted; close the other program"
    if sys.platform == "win32"
    else "not permitted; add yourself to the group that owns the port (often dialout): "
    "'sudo usermod -aG dialout $USER', then log in again"
)
_REASONS = {
    "FileNotFoundError": _ABSENT,
    "No such device": _ABSENT,
    "PermissionError": _FORBIDDEN,
    "exclusively lock": _BUSY,
    "esource busy": _BUSY,
    "ConnectionRefusedError": "nothing listens there; is 'pen-sim tcp' running?",
    "gaierror": "there is no such host; check its name",
    "Inappropriate ioctl": _NO_PORT,
    "IsADirectoryError": _NO_PORT,
}
"""What to do about an error, by a sign of it in its name or text."""


def _why(error: Exception, target: str) -> str:
    # pyserial wraps what the system said; on Windows only its text names the kind of error.
    said = f"{type(error.__context__ or error).__name__} {error}"
    for sign, reason in _REASONS.items():
        if sign in said:
            return reason
    return f"does not open ({error}); {_remedy(target)}"


def _remedy(target: str) -> str:
    if "://" in target:
        return "check the address, and that the other side is switched on"
    return "unplug it and plug it in again"


def _close(port: serial.Serial) -> None:
    # pyserial 3.5 forgets to close a socket that the other side has closed first.
    line = getattr(port, "_socket", None)
    with contextlib.suppress(serial.SerialException, OSError):
        port.close()
    if line is not None:
        line.close()


def _close_late(opening: "Future[serial.Serial]") -> None:
    if opening.exception() is None:
        _close(opening.result())
