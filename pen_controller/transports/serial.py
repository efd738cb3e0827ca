"""Serial lines by pyserial: a port of this machine, or what `serial_for_url` opens (`socket://`, `rfc2217://`).

Where the line has a file descriptor (POSIX) it sits in the event loop itself; elsewhere two threads pump the bytes.
"""

import asyncio
import contextlib
import errno
import os
import queue
import socket
import sys
import threading
from collections import deque
from typing import Protocol

import serial

from pen_controller.errors import LinkError
from pen_controller.transports import Lost, Receive

BAUD = 921_600
OPEN_TIMEOUT_S = 2.5
"""A port that takes longer to open is broken; three seconds are promised for the error, one line's delay included."""
MAX_QUEUED_BYTES = 65_536
"""More unsent than this, and the other side has stopped taking bytes."""
UNPLUGGED = "the line is gone: cable pulled, or the pen switched off"


class _Pump(Protocol):
    def start(self, receive: Receive, lost: Lost) -> None: ...
    def write(self, data: bytes, *, urgent: bool) -> None: ...
    def stop(self) -> None: ...


class SerialTransport:
    """A serial line.

    Args:
        target: a device name (`/dev/ttyUSB0`, `COM3`) or a URL that pyserial knows.
        threads: pump with threads even where the event loop could; None chooses.
    """

    def __init__(self, target: str, *, threads: bool | None = None) -> None:
        self.name = target
        self._threads = sys.platform == "win32" if threads is None else threads
        self._port: serial.SerialBase | None = None
        self._pump: _Pump | None = None

    async def open(self, receive: Receive, lost: Lost) -> None:
        """See `Transport.open`."""
        opening = asyncio.ensure_future(asyncio.to_thread(_open, self.name))
        try:
            port = await asyncio.wait_for(asyncio.shield(opening), OPEN_TIMEOUT_S)
        except TimeoutError:
            opening.add_done_callback(_close_late)
            raise LinkError(f"{self.name}: does not open; unplug it and plug it in again") from None
        self._port = port
        self._pump = _LoopPump(port) if hasattr(port, "fileno") and not self._threads else _ThreadPump(port)
        self._pump.start(receive, lost)

    def write(self, data: bytes, *, urgent: bool = False) -> None:
        """See `Transport.write`."""
        if self._pump is not None:
            self._pump.write(data, urgent=urgent)

    async def close(self) -> None:
        """See `Transport.close`."""
        port, self._port = self._port, None
        pump, self._pump = self._pump, None
        if pump is not None and port is not None:
            pump.stop()
            # pyserial's socket:// sleeps when it closes.
            await asyncio.to_thread(_close, port)


def _open(target: str) -> serial.SerialBase:
    try:
        if "://" in target:
            port = serial.serial_for_url(target, timeout=0.05)
            _send_at_once(port)
            return port
        return serial.Serial(target, BAUD, timeout=0.05, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as error:
        raise LinkError(f"{target}: {_why(error)}") from None


def _send_at_once(port: serial.SerialBase) -> None:
    """Turn off the waiting of small packets for each other."""
    line = getattr(port, "_socket", None)
    if line is not None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _why(error: Exception) -> str:
    text = str(error)
    number = getattr(error, "errno", None)
    if number == errno.ENOENT or "FileNotFoundError" in text:
        return "there is no such port; 'pen scan' lists those there are"
    if number == errno.EACCES or "PermissionError" in text:
        if sys.platform == "win32":
            return "in use by another program, or not permitted; close the other program"
        return (
            "not permitted; add yourself to the group that owns the port (often dialout): "
            "'sudo usermod -aG dialout $USER', then log in again"
        )
    if number == errno.EBUSY or "exclusively lock" in text or "already" in text:
        return "in use by another program; close that one first"
    if "Connection refused" in text or number == errno.ECONNREFUSED:
        return "nothing listens there; is 'pen-sim tcp' running?"
    if number in (errno.ENOTTY, errno.EINVAL) or "Inappropriate ioctl" in text:
        return "this is no serial port"
    return f"cannot be opened: {text}"


def _close(port: serial.SerialBase) -> None:
    # pyserial 3.5 forgets to close a socket that the other side has closed first.
    line = getattr(port, "_socket", None)
    with contextlib.suppress(serial.SerialException, OSError):
        port.close()
    if line is not None:
        line.close()


def _close_late(opening: "asyncio.Future[serial.SerialBase]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        _close(opening.result())


class _LoopPump:
    """The port's file descriptor in the event loop."""

    def __init__(self, port: serial.SerialBase) -> None:
        self._fd: int = port.fileno()
        self._loop = asyncio.get_running_loop()
        self._queue: deque[bytes] = deque()
        self._head_begun = False
        os.set_blocking(self._fd, False)

    def start(self, receive: Receive, lost: Lost) -> None:
        self._receive, self._lost = receive, lost
        self._open = True
        self._loop.add_reader(self._fd, self._readable)

    def stop(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)

    def write(self, data: bytes, *, urgent: bool) -> None:
        if not self._open:
            return
        if urgent:
            # A frame that has begun to leave is finished first; the other side could not read either otherwise.
            self._queue.insert(int(self._head_begun and bool(self._queue)), data)
        else:
            self._queue.append(data)
        self._drain()

    def _drain(self) -> None:
        while self._queue:
            head = self._queue[0]
            try:
                sent = os.write(self._fd, head)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._break(f"{UNPLUGGED} ({error.strerror})")
                return
            if sent < len(head):
                self._queue[0] = head[sent:]
                self._head_begun = self._head_begun or sent > 0
                self._loop.add_writer(self._fd, self._drain)
                if sum(map(len, self._queue)) > MAX_QUEUED_BYTES:
                    self._break("the pen no longer takes bytes")
                return
            self._queue.popleft()
            self._head_begun = False
        self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, 65_536)
        except BlockingIOError:
            return
        except OSError as error:
            self._break(f"{UNPLUGGED} ({error.strerror})")
            return
        if data:
            self._receive(data)
        else:
            self._break(UNPLUGGED)

    def _break(self, why: str) -> None:
        if self._open:
            self.stop()
            self._lost(why)


class _ThreadPump:
    """A reader and a writer thread, for lines that the event loop cannot wait for."""

    def __init__(self, port: serial.SerialBase) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._queue: queue.PriorityQueue[tuple[int, int, bytes]] = queue.PriorityQueue(maxsize=1024)
        self._number = 0
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._send)]

    def start(self, receive: Receive, lost: Lost) -> None:
        self._receive, self._lost = receive, lost
        self._open = True
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._open = False
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait((-1, 0, b""))
        for thread in self._threads:
            thread.join(timeout=1)

    def write(self, data: bytes, *, urgent: bool) -> None:
        if not self._open:
            return
        self._number += 1
        try:
            self._queue.put_nowait((0 if urgent else 1, self._number, data))
        except queue.Full:
            self._break("the pen no longer takes bytes")

    def _read(self) -> None:
        while self._open:
            try:
                data = self._port.read(256)
            except (serial.SerialException, OSError, TypeError, AttributeError):
                self._from_thread(self._break, UNPLUGGED)
                return
            if data:
                self._from_thread(self._deliver, data)

    def _send(self) -> None:
        while self._open:
            _, _, data = self._queue.get()
            try:
                if self._open:
                    self._port.write(data)
            except (serial.SerialException, OSError):
                self._from_thread(self._break, UNPLUGGED)
                return

    def _from_thread(self, call: Receive | Lost, argument: bytes | str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(call, argument)  # type: ignore[arg-type]  # each gets its own argument

    def _deliver(self, data: bytes) -> None:
        if self._open:
            self._receive(data)

    def _break(self, why: str) -> None:
        if self._open:
            self._open = False
            self._lost(why)
