"""Real lines: pseudo-terminals and sockets; what goes wrong with them, and that STOP overtakes what waits."""

import asyncio
import contextlib
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import serial

from pen_controller.errors import LinkError, UrlError
from pen_controller.pen import Pen
from pen_controller.pen.link import Link
from pen_controller.transports import serial as serial_lines
from pen_controller.transports import transport_for
from pen_controller.transports.pumps import MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES
from pen_controller.transports.serial import SerialTransport
from protocols import framing
from protocols.messages import AnyMessage, Arm, Release, Stop, decode
from tests.brokers import free_port
from tests.lines import by_pty, by_tcp, message_in, needs_pty
from tests.running import until

PROMISED_S = 3.0
PUMPS = pytest.mark.parametrize("threads", [False, True], ids=["loop", "threads"])


class Terminal:
    """A pseudo-terminal: the host opens `path`, the test plays the other side."""

    def __init__(self) -> None:
        import pty  # noqa: PLC0415  # POSIX only
        import tty  # noqa: PLC0415

        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        os.set_blocking(self.master, False)

    def read(self) -> bytes:
        """All that is there now."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                data += os.read(self.master, 65536)
        return data

    def pull(self) -> None:
        """Pull the cable: both ends are gone."""
        for fd in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.pull()


class Ends:
    """What a transport tells its owner."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[str] = []

    def receive(self, data: bytes) -> None:
        self.data += data

    @contextlib.asynccontextmanager
    async def of(self, transport: SerialTransport) -> AsyncIterator[SerialTransport]:
        await transport.open(self.receive, self.lost.append)
        try:
            yield transport
        finally:
            await transport.close()


# --- bytes -----------------------------------------------------------------------------------------------------------


@needs_pty
@PUMPS
async def test_bytes_come_and_go_in_order_and_the_last_word_is_sent(terminal: Terminal, threads: bool) -> None:
    ends = Ends()
    async with ends.of(SerialTransport(terminal.path, threads=threads)) as line:
        os.write(terminal.master, bytes(range(256)) * 8)
        await until(lambda: len(ends.data) == 2048)
        assert ends.data == bytes(range(256)) * 8
        for number in range(100):
            line.write(b"%03d," % number)
        line.write(b"the end")
    assert terminal.read() == b"".join(b"%03d," % number for number in range(100)) + b"the end"
    line.write(b"dropped")
    await line.close()
    assert (terminal.read(), ends.lost) == (b"", [])


@needs_pty
@PUMPS
async def test_a_line_may_be_opened_again_after_it_was_closed(terminal: Terminal, threads: bool) -> None:
    line = SerialTransport(terminal.path, threads=threads)
    for word in (b"once", b"twice"):
        ends = Ends()
        async with ends.of(line):
            os.write(terminal.master, word)
            await until(lambda: ends.data == word)  # noqa: B023  # awaited here


@pytest.mark.hazard("H25")
@needs_pty
@PUMPS
async def test_stop_overtakes_all_that_waits_but_cuts_no_frame(terminal: Terminal, threads: bool) -> None:
    """H25: the other side takes no bytes for a while, and the queue is nearly full."""
    link = Link(SerialTransport(terminal.path, threads=threads), 1, lambda _: None, lambda _: None)
    await link._transport.open(lambda _: None, lambda _: None)
    try:
        frames = [Arm(number, *[0] * 8) for number in range(MAX_QUEUED_FRAMES - 1)]
        for frame in frames:
            link._send(frame)
        await asyncio.sleep(0.05)  # let the terminal's own buffer fill up
        link.stop()
        decoder = framing.Decoder()
        taken: list[AnyMessage] = []

        def stop_came() -> bool:
            taken.extend(decode(frame) for frame in decoder.feed(terminal.read()))
            return Stop() in taken

        await until(stop_came)
        before = taken.index(Stop())
        assert before < len(frames) * 3 // 4
        assert taken[:before] == frames[:before]
        assert decoder.dropped.total == 0
    finally:
        await link.close()


@needs_pty
@PUMPS
async def test_a_line_that_takes_no_more_bytes_is_given_up(terminal: Terminal, threads: bool) -> None:
    ends = Ends()
    async with ends.of(SerialTransport(terminal.path, threads=threads)) as line:
        for _ in range(4 * MAX_QUEUED_BYTES // 100):
            line.write(bytes(100))
        assert ends.lost == ["the pen no longer takes bytes"]


@needs_pty
@PUMPS
async def test_a_pulled_line_is_told_once(terminal: Terminal, threads: bool) -> None:
    ends = Ends()
    async with ends.of(SerialTransport(terminal.path, threads=threads)) as line:
        terminal.pull()
        await until(lambda: ends.lost)
        line.write(b"into the void")
        await asyncio.sleep(0.1)
        assert len(ends.lost) == 1
        assert "cable pulled" in ends.lost[0]


async def test_a_port_without_a_file_descriptor_is_moved_by_threads() -> None:
    """Pyserial's own loopback has none, like `rfc2217://`; what is written comes back."""
    ends = Ends()
    async with ends.of(SerialTransport("loop://", threads=False)) as line:
        line.write(b"hello")
        await until(lambda: ends.data == b"hello")


# --- lines that do not open ------------------------------------------------------------------------------------------


def refused_url(url: str) -> str:
    with pytest.raises(UrlError) as caught:
        transport_for(url)
    return str(caught.value)


async def refusal(target: str) -> str:
    """Why no pen is to be had there: one line, within the time promised."""
    start_s = time.monotonic()
    with pytest.raises(LinkError) as caught:
        async with Pen.open(target):
            pytest.fail("there is no pen")
    assert time.monotonic() - start_s < PROMISED_S + 1.0  # the machine may be busy; the bounds are in virtual time
    assert "\n" not in str(caught.value)
    return str(caught.value)


OTHER_FORMS = "", "COM3", "/dev/ttyUSB0", "http://pen", "serial:", "serial://", "rfc2217:"
NO_ADDRESS = "socket://host", "socket://:9000", "socket://host:99999", "socket://host:port"


@pytest.mark.parametrize("url", [*OTHER_FORMS, *NO_ADDRESS])
def test_a_url_of_another_form_is_refused_with_the_right_ones(url: str) -> None:
    assert "use serial:///dev/ttyUSB0, serial:COM3, socket://HOST:PORT" in refused_url(url)


@pytest.mark.parametrize(
    ("url", "device"),
    [("serial:///dev/ttyUSB0", "/dev/ttyUSB0"), ("serial:/dev/ttyUSB0", "/dev/ttyUSB0"), ("serial:COM3", "COM3")],
)
def test_urls_name_devices(url: str, device: str) -> None:
    assert transport_for(url).name == device


async def test_an_absent_port() -> None:
    assert "there is no such port; 'pen scan' lists" in await refusal("serial:/dev/tty-not-there")


@needs_pty
async def test_what_is_no_serial_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "file", tmp_path, Path("/dev/null")):
        assert "this is no serial port" in await refusal(f"serial:{path}")


HOLD = "import serial, sys; port = serial.Serial(sys.argv[1], exclusive=True); print('held', flush=True); input()"


@needs_pty
async def test_a_busy_port(terminal: Terminal) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, terminal.path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    await other.stdout.readline()
    assert "in use by another program; close that one first" in await refusal(f"serial:{terminal.path}")
    await other.communicate(b"\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell forbidden from busy")
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "add yourself to the group.*dialout"),
        (OSError(errno.EBUSY, "Device or resource busy"), "in use by another program"),
        (OSError(errno.ENXIO, "No such device or address"), "there is no such port"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error.*unplug it and plug it in again"),
    ],
)
async def test_what_the_system_refuses(monkeypatch: pytest.MonkeyPatch, error: OSError, says: str) -> None:
    """The system's own error, at the place where pyserial meets it: root is refused nothing in earnest."""
    really = os.open

    def refuse(path: str, *args: int) -> int:
        if path == "/dev/refused":
            raise error
        return really(path, *args)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LinkError, match=says):
        await SerialTransport("/dev/refused").open(lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("socket://no-such-host.invalid:9000", "there is no such host; check its name"),
        ("socket://127.0.0.1:{free}", "nothing listens there; is 'pen-sim tcp' running?"),
        ("rfc2217://127.0.0.1:{free}", "nothing listens there"),
    ],
)
async def test_addresses_where_there_is_nothing(url: str, says: str) -> None:
    assert says in await refusal(url.format(free=free_port()))


@pytest.mark.parametrize("name", ["/dev/slow", "rfc2217://slow:1"])
def test_a_port_that_hangs_keeps_neither_the_error_nor_the_program_waiting(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    opened: list[serial.Serial] = []
    go_on = threading.Event()

    def hang(_: str) -> serial.Serial:
        go_on.wait(30)
        opened.append(serial.serial_for_url("loop://"))
        return opened[0]

    monkeypatch.setattr(serial_lines, "_open", hang)
    monkeypatch.setattr(serial_lines, "OPEN_TIMEOUT_S", 0.2)
    with pytest.raises(LinkError, match=r"does not open; (unplug it|check the address)"):
        asyncio.run(SerialTransport(name).open(lambda _: None, lambda _: None))
    go_on.set()  # too late: what opens now is closed again
    asyncio.run(until(lambda: opened and not opened[0].is_open))


@needs_pty
async def test_a_cancelled_opening_leaves_no_port_open(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> None:
    really, ports, go_on = serial_lines._open, [], threading.Event()

    def slow(target: str) -> serial.Serial:
        go_on.wait(30)
        ports.append(really(target))
        return ports[0]

    monkeypatch.setattr(serial_lines, "_open", slow)
    opening = asyncio.create_task(SerialTransport(terminal.path).open(lambda _: None, lambda _: None))
    await asyncio.sleep(0.02)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    go_on.set()
    await until(lambda: ports and not ports[0].is_open)


# --- ports where there is no pen -------------------------------------------------------------------------------------


@needs_pty
async def test_a_port_that_nobody_serves(terminal: Terminal) -> None:
    assert "nothing answers there; is the pen switched on" in await refusal(f"serial:{terminal.path}")


def newer(_: bytes) -> bytes:
    return framing.encode(0x81, 1, 1, bytes(150), version=2)


@needs_pty
@pytest.mark.parametrize(
    ("reply", "says"),
    [(lambda _: b"AT\r\nERROR\r\n", "but it is no pen"), (lambda data: data, "but it is no pen"), (newer, "version 2")],
    ids=["garbage", "echo", "newer"],
)
async def test_a_port_where_something_else_answers(
    terminal: Terminal, reply: Callable[[bytes], bytes], says: str
) -> None:
    loop = asyncio.get_running_loop()
    loop.add_reader(terminal.master, lambda: os.write(terminal.master, reply(terminal.read())))
    try:
        assert says in await refusal(f"serial:{terminal.path}")
    finally:
        loop.remove_reader(terminal.master)


@needs_pty
async def test_a_port_that_vanishes_while_it_is_asked(terminal: Terminal) -> None:
    asyncio.get_running_loop().call_later(0.3, terminal.pull)
    assert "cable pulled" in await refusal(f"serial:{terminal.path}")


async def test_a_peer_that_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        asked = asyncio.create_task(refusal(url))
        host, _ = await asyncio.to_thread(server.accept)
        host.close()
        assert "the line is gone" in await asked


@needs_pty
async def test_a_pen_in_use_by_another_program_on_its_serial_port() -> None:
    async with by_pty() as plugged, Pen.open(plugged.transport()):
        assert "in use by another program" in await refusal(plugged.url)


async def test_a_pen_that_another_program_owns() -> None:
    async with by_tcp() as plugged, Pen.open(plugged.transport()) as pen:
        with pytest.raises(Exception, match="another program owns it; close that one first"):
            async with Pen.open(plugged.url, host_id=2):
                pytest.fail("two owners")
        assert pen.connected


@needs_pty
@PUMPS
async def test_the_pen_is_released_before_the_port_closes(terminal: Terminal, threads: bool) -> None:
    """The last frame leaves, also by way of threads."""
    link = Link(SerialTransport(terminal.path, threads=threads), 1, lambda _: None, lambda _: None)
    await link._transport.open(lambda _: None, lambda _: None)
    link.claimed_epoch = 1
    link.release()
    await link.close()
    assert isinstance(message_in(terminal.read()), Release)
