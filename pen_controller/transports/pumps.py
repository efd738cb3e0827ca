"""Move the bytes of an open port: in the event loop where the port has a file descriptor (POSIX), else by threads."""

import asyncio
import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

import serial

from pen_controller.transports import Lost, Receive

MAX_QUEUED_BYTES = 65_536
MAX_QUEUED_FRAMES = 1024
"""More unsent than this, and the other side has stopped taking bytes."""
READ_BYTES = 65_536
LAST_WORD_S = 0.2
"""How long a closing line may take to send what still waits."""
UNPLUGGED = "the line is gone: cable pulled, or the pen switched off"
STUCK = "the pen no longer takes bytes"

T = TypeVar("T")


class Pump(Protocol):
    """Moves bytes from `start` until `stop`, or until the line breaks: then it calls `lost`, once."""

    def start(self, receive: Receive, lost: Lost) -> None:
        """Begin; `receive` and `lost` are called on the event loop."""

    def write(self, data: bytes, *, urgent: bool) -> None:
        """See `Transport.write`."""

    async def stop(self) -> None:
        """End. What was written is sent first, where the line takes it."""


class LoopPump:
    """The port's file descriptor in the event loop."""

    def __init__(self, port: serial.Serial) -> None:
        self._fd: int = port.fileno()
        self._loop = asyncio.get_running_loop()
        self._queue: deque[bytes] = deque()
        self._head_begun = self._waiting = self._open = False
        os.set_blocking(self._fd, False)

    def start(self, receive: Receive, lost: Lost) -> None:
        """See `Pump.start`."""
        self._receive, self._lost = receive, lost
        self._open = True
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes, *, urgent: bool) -> None:
        """See `Transport.write`."""
        if not self._open:
            return
        if not self._queue:
            self._queue.append(data)
            self._drain()
        elif urgent:
            # A frame that has begun to leave is finished first; the other side could not read either otherwise.
            self._queue.insert(int(self._head_begun), data)
        else:
            self._queue.append(data)
            if sum(map(len, self._queue)) > MAX_QUEUED_BYTES:
                self._break(STUCK)

    async def stop(self) -> None:
        """See `Pump.stop`."""
        self._stop()

    def _stop(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)

    def _drain(self) -> None:
        """Send what waits; what the line does not take now goes when it can."""
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
                if not self._waiting:
                    self._waiting = True
                    self._loop.add_writer(self._fd, self._drain)
                return
            self._queue.popleft()
            self._head_begun = False
        if self._waiting:
            self._waiting = False
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
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
            self._stop()
            self._lost(why)


class ThreadPump:
    """A reader and a writer thread, for lines that the event loop cannot wait for."""

    def __init__(self, port: serial.Serial) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._queue: queue.PriorityQueue[tuple[int, int, bytes]] = queue.PriorityQueue()
        self._number = 0
        self._open = self._given_up = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._writer = threading.Thread(target=self._send, daemon=True)

    def start(self, receive: Receive, lost: Lost) -> None:
        """See `Pump.start`."""
        self._receive, self._lost = receive, lost
        self._open = True
        self._reader.start()
        self._writer.start()

    def write(self, data: bytes, *, urgent: bool) -> None:
        """See `Transport.write`."""
        if not self._open:
            return
        self._number += 1
        self._queue.put((0 if urgent else 1, self._number, data))
        if self._queue.qsize() > MAX_QUEUED_FRAMES:
            self._break(STUCK)

    async def stop(self) -> None:
        """See `Pump.stop`."""
        self._open = False
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._queue.put((2, 0, b""))
        self._writer.join(LAST_WORD_S)
        self._given_up = True
        if self._writer.is_alive() and hasattr(self._port, "cancel_write"):
            self._port.cancel_write()
        for thread in (self._writer, self._reader):
            thread.join(LAST_WORD_S)

    def _read(self) -> None:
        while self._open:
            try:
                data = self._port.read(self._port.in_waiting or 1)
                while data and len(data) < READ_BYTES and (waiting := self._port.in_waiting):
                    data += self._port.read(waiting)
            except (serial.SerialException, OSError, TypeError, AttributeError):
                self._from_thread(self._break, UNPLUGGED)
                return
            if data:
                self._from_thread(self._deliver, data)

    def _send(self) -> None:
        while True:
            _, _, data = self._queue.get()
            if not data or self._given_up:
                return
            try:
                self._port.write(data)
            except (serial.SerialException, OSError):
                self._from_thread(self._break, UNPLUGGED)
                return

    def _from_thread(self, call: Callable[[T], None], argument: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(call, argument)

    def _deliver(self, data: bytes) -> None:
        if self._open:
            self._receive(data)

    def _break(self, why: str) -> None:
        if self._open:
            self._open = False
            self._lost(why)
