"""Captures: the file, what it says, and the tap between a host and a pen."""

import asyncio
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.capture import behind, offers
from pen_controller.capture.behind import Behind
from pen_controller.capture.offers import TcpOffer
from pen_controller.capture.recording import recording
from pen_controller.capture.tap import Tap
from pen_controller.conformance.run import chosen, conform
from pen_controller.passes import PassCounter
from pen_controller.pen import Pen
from pen_controller.transports import Lost, Receive, transport_for
from pen_controller.transports.inprocess import InProcessTransport
from pen_controller.transports.serial import SerialTransport
from pen_controller.treatment import Treatment
from protocols import framing
from protocols.capture import (
    MAX_LINE_BYTES,
    CaptureError,
    Damage,
    Listener,
    Note,
    Piece,
    Said,
    header,
    line_of,
    parse,
)
from protocols.framing import Decoder
from protocols.messages import Arm, AskIdentity, Identity, Renew, State, Stop, encode
from protocols.samples import Samples
from simulator.defects import WrongPen
from tests.lines import CONFIG, by_tcp, needs_pty
from tests.plugged import plugged
from tests.running import in_virtual_time, until
from tests.test_transports import Ends, Terminal
from tests.virtual_treatment import CHEEK, MemoryJournal, bench_of
from tests.wires import connected

FIRST = header("2026-11-22T19:14:03Z", "serial").encode()
Entry = Piece | Note | Damage


def read(file: Path) -> list[Entry]:
    return list(parse(file.read_bytes().splitlines(keepends=True)))


def bytes_from(entries: list[Entry], *, host: bool) -> bytes:
    return b"".join(one.data for one in entries if isinstance(one, Piece) and one.to_pen is host)


def said_in(entries: list[Entry]) -> list[Said]:
    listener = Listener()
    return [said for one in entries if isinstance(one, Piece) for said in listener.feed(one)]


# --- the file --------------------------------------------------------------------------------------------------------

ENTRIES: st.SearchStrategy[list[Piece | Note]] = st.lists(
    st.one_of(
        st.builds(Piece, st.integers(0, 10**9), st.booleans(), st.binary(max_size=80), st.text(max_size=8)),
        st.builds(Note, st.integers(0, 10**9), st.text(max_size=20)),
    ),
    max_size=8,
)


@given(ENTRIES)
def test_what_is_written_is_read(entries: list[Piece | Note]) -> None:
    entries.sort(key=lambda one: one.t_us)
    assert list(parse([FIRST, *(line_of(one).encode() for one in entries)])) == entries


def test_a_file_cut_anywhere_gives_what_is_whole_and_tells_the_line_of_the_rest() -> None:
    entries: list[Piece | Note] = [Piece(5, True, b"\0ab\0"), Note(7, "a host came"), Piece(7, False, b"\0\1", "half")]
    lines = [line_of(one).encode() for one in entries]
    whole = FIRST + b"".join(lines)
    for cut in range(len(FIRST), len(whole)):
        read_back = list(parse(whole[:cut].splitlines(keepends=True)))
        good = [one for one in read_back if not isinstance(one, Damage)]
        assert good == entries[: len(good)]
        ends = [len(FIRST) + sum(map(len, lines[:n])) for n in range(4)]
        assert len(good) == sum(end - 1 <= cut for end in ends[1:])  # the line break itself may be missing
        damage = [str(one) for one in read_back if isinstance(one, Damage)]
        assert bool(damage) == (cut not in ends and cut + 1 not in ends)
        assert all(re.match(rf"line {len(good) + 2}: .* cut off", one) for one in damage)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"x\n", b"[]\n", b"7\n", b"{}\n", b"\xff\n", b"[" * 100_000, b'{"t_us": 1}\n', b'{"t_us": 1, "note": 2}\n',
        b'{"t_us": -1, "note": ""}\n', b'{"t_us": 1.5, "note": ""}\n', b'{"t_us": %d, "note": ""}\n' % 2**63,
        b'{"t_us": ' + b"9" * 5000 + b', "note": ""}\n', b'{"t_us": 1, "from": "me", "hex": "00"}\n',
        b'{"t_us": 1, "from": "pen", "hex": "0"}\n', b'{"t_us": 1, "from": "pen", "hex": 0}\n',
    ],
)  # fmt: skip
def test_a_damaged_line_is_told_and_reading_goes_on(line: bytes) -> None:
    after = Note(3, "after")
    one, other = parse([FIRST, line, line_of(after).encode()])
    assert (isinstance(one, Damage), str(one)[:8], other) == (True, "line 2: ", after)


def test_time_that_goes_back_is_damage_and_unknown_keys_are_not() -> None:
    lines = [b'{"t_us": 5, "note": "a", "of": "a later version"}\n', b'{"t_us": 4, "note": "b"}\n']
    note, damage = parse([FIRST, *lines])
    assert note == Note(5, "a")
    assert str(damage) == "line 3: its time, 4 us, is before that of the line before it"


@pytest.mark.parametrize("lines", [[], [b"\n"], [b"{}\n"], [b"\xff\xfe"], [b'{"pen_capture": "1"}\n']])
def test_what_is_no_capture_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(CaptureError, match="no capture"):
        list(parse(lines))


def test_a_capture_of_a_later_version_is_refused() -> None:
    with pytest.raises(CaptureError, match="version 2; this program reads 1: update it"):
        list(parse([b'{"pen_capture": 2}\n']))


def test_the_examples_of_the_specification_are_read() -> None:
    text = Path("protocols/capture.md").read_text("utf-8")
    lines = [
        line.encode() for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    entries = list(parse(lines))
    assert [type(one).__name__ for one in entries] == ["Note", "Piece", "Piece", "Note"]
    assert [one.name for one in said_in(entries)] == ["AskCartridge", "Cartridge"]
    assert "65,536 of them" in text
    assert len(line_of(Piece(2**62, True, bytes(65_536)))) < MAX_LINE_BYTES


# --- what it says ----------------------------------------------------------------------------------------------------


def test_frames_are_put_together_read_and_counted_for_each_side_apart() -> None:
    listener = Listener()
    stop = encode(Stop(), epoch=7, counter=9)
    assert listener.feed(Piece(1, True, stop[:5])) == []
    unknown = framing.encode(0x77, 1, 2, b"")
    (one,) = listener.feed(Piece(2, False, unknown))
    assert (one.name, one.trouble) == ("unreadable", "unknown message type 0x77")
    (said,) = listener.feed(Piece(3, True, stop[5:]))
    assert str(said) == "   0.000003 s -> Stop  (epoch 7, counter 9)"
    (bad,) = listener.feed(Piece(4, False, b"\0xx\0"))
    assert str(bad) == "   0.000004 s <- unreadable dropped: cobs"
    assert listener.counts == {(True, "Stop"): 1, (False, "unreadable"): 2}
    assert listener.heard_bytes == {True: len(stop), False: len(unknown) + 4}


def test_a_message_is_told_by_its_fields_with_names() -> None:
    (said,) = Listener().feed(Piece(1500, True, encode(Renew(5), epoch=1, counter=2)))
    assert said.figures() == {
        "t_us": 1500, "from": "host", "message": "Renew", "epoch": 1, "counter": 2, "fields": {"seen_t_us": 5}
    }  # fmt: skip


@in_virtual_time
async def test_the_bytes_of_a_conformance_failure_are_pieces_of_a_capture() -> None:
    report = await conform(plugged(WrongPen("lease-too-long")), chosen(["LSE"]), needles=False)
    traffic = report.failed[0].traffic
    assert traffic
    assert list(parse([FIRST, *(line_of(one).encode() for one in traffic)])) == list(traffic)


# --- the tap ---------------------------------------------------------------------------------------------------------


class HostHere:
    """A line offered to a host in this process: an `Offer` to the tap, a `PenEnd` to the host."""

    url = "in-process"

    def __init__(self) -> None:
        self._to_host: Receive | None = None

    async def open(self, receive: Receive, _note: offers.Note) -> None:
        self._to_pen = receive

    def send(self, data: bytes) -> None:
        if self._to_host is not None:
            self._to_host(data)

    async def close(self) -> None:
        pass

    def connect(self, receive: Receive, _lost: Lost) -> None:
        self._to_host = receive

    def take(self, data: bytes) -> None:
        self._to_pen(data)

    def disconnect(self) -> None:
        self._to_host = None


@in_virtual_time
async def test_a_whole_treatment_reads_the_same_from_its_capture() -> None:
    told: list[Piece | Note] = []
    here = HostHere()
    async with (
        bench_of() as bench,
        Tap(bench.transport(), here, told.append),
        Pen.open(InProcessTransport(here)) as pen,
        Treatment(pen, MemoryJournal(), CONFIG, "fine_lines", 2) as treatment,
    ):
        done = await treatment.treat(CHEEK)
        strokes = bench.pen.read().strokes
    (cable,) = bench.cables
    said = said_in(list(parse([FIRST, *(line_of(one).encode() for one in told)])))
    for to_pen, true in ((True, cable.asked), (False, cable.said)):
        heard = [one.message for one in said if one.to_pen is to_pen and one.message]
        assert len(heard) > 100
        assert [encode(one) for one in heard] == [encode(one) for one in true[: len(heard)]]
        assert len(true) - len(heard) <= 3  # what the pen says as its host leaves
    states = [one.message for one in said if isinstance(one.message, State)]
    assert states[-1].strokes == strokes
    again = PassCounter([done.zone])
    for one in said:
        if isinstance(one.message, Samples):
            again.feed(one.message.records)
    again.finish()
    figures = [(one.passes, one.glides, one.punctures) for one in (again.figures(), done.figures)]
    assert figures[0] == figures[1]
    assert all(figures[0])


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    one = Terminal()
    yield one
    one.pull()


@needs_pty
async def test_stop_overtakes_what_waits_before_a_pen_that_takes_no_bytes(terminal: Terminal) -> None:
    """H25, through a recorder."""
    arms = [encode(Arm(number, *[0] * 8), counter=number) for number in range(1, 1001)]
    told: list[Piece | Note] = []
    async with Tap(SerialTransport(terminal.path), offer := TcpOffer(), told.append):
        _, port = offer.url.rsplit(":", 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"".join(arms) + encode(Stop(), counter=2000))
        await until(lambda: sum(len(one.data) for one in told if isinstance(one, Piece)) > len(b"".join(arms)))
        decoder = Decoder()
        types: list[int] = []

        def stopped() -> bool:
            types.extend(one.type for one in decoder.feed(terminal.read()))
            return Stop.TYPE in types and len(types) == len(arms) + 1

        await until(stopped, "all that was sent")
        assert types.index(Stop.TYPE) < 600  # what a terminal's own buffer holds
        assert decoder.dropped.total == 0
        writer.close()
        await writer.wait_closed()
        del reader


@needs_pty
async def test_bytes_that_are_no_frames_go_on_at_once_and_untouched(terminal: Terminal) -> None:
    told: list[Piece | Note] = []
    async with Tap(SerialTransport(terminal.path), offer := TcpOffer(), told.append):
        async with connected(offer.url) as wire:
            heard = b""
            for data in (b"no zero", b"\0\0\0", bytes(range(256)), b"\0half", b" a frame", encode(Stop())):
                wire._write(data)
                expected = len(heard) + len(data)

                def all_came() -> bool:
                    nonlocal heard
                    heard += terminal.read()
                    return len(heard) == expected  # noqa: B023  # called before the next one

                await until(all_came)
                assert heard.endswith(data)
        await until(lambda: told and told[-1] == Note(told[-1].t_us, "the host left"))
        assert bytes_from(list(told), host=True) == heard


@needs_pty
async def test_what_went_over_the_line_is_in_the_file_at_once(terminal: Terminal, tmp_path: Path) -> None:
    file, offer = tmp_path / "a.pencap", TcpOffer()
    async with recording(SerialTransport(terminal.path), offer, file, "serial", lambda _: None):
        for number in range(1, 4):
            os.write(terminal.master, b"a word, and silence")
            await until(lambda: len(bytes_from(read(file), host=False)) == 19 * number)  # noqa: B023  # awaited here


async def test_a_disk_that_is_stuck_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("pen_controller.capture.recording.line_of", lambda entry: go_on.wait() and line_of(entry))
    file, offer = tmp_path / "a.pencap", TcpOffer()
    async with by_tcp() as sim, recording(transport_for(sim.url), offer, file, "socket", lambda _: None):
        try:
            async with connected(offer.url) as wire:
                for _ in range(20):
                    wire.say(AskIdentity())
                    await wire.hear(Identity)
                assert read(file) == []
        finally:
            go_on.set()
    assert [one.name for one in said_in(read(file))].count("Identity") == 20


def test_work_that_fails_or_hangs_is_told_at_the_end_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Piece | Note) -> None:
        raise OSError(28, "No space left on device")

    failing = Behind(full, "writing a")
    failing.put(Note(0, ""))
    failing.put(Note(1, ""))
    with pytest.raises(OSError, match="writing a has failed: No space left"), failing:
        pass
    monkeypatch.setattr(behind, "LEAVE_S", 0.01)
    go_on = threading.Event()
    stuck = Behind(lambda _: go_on.wait(), "b")
    stuck.put(Note(0, ""))
    with pytest.raises(TimeoutError, match="b is stuck"), stuck:
        pass
    go_on.set()
    stuck._thread.join()


async def test_one_host_at_a_time_which_may_leave_and_come_again() -> None:
    told: list[Piece | Note] = []
    async with by_tcp() as sim, Tap(transport_for(sim.url), offer := TcpOffer(), told.append):
        async with connected(offer.url) as wire:
            await wire.hear(State)
            async with connected(offer.url) as second:
                await second.ended()
            await wire.hear(State)
        await until(lambda: any(isinstance(one, Note) and one.note == "the host left" for one in told))
        async with connected(offer.url) as wire:
            await wire.hear(State)
    notes = [one.note for one in told if isinstance(one, Note)]
    assert notes == ["a host came", "a second host was turned away", "the host left", "a host came", "the host left"]


async def test_a_host_that_does_not_read_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "MAX_UNREAD_BYTES", 1 << 16)
    offer = TcpOffer()
    notes: list[str] = []
    await offer.open(lambda _: None, notes.append)
    async with connected(offer.url):
        await until(lambda: notes)
        for _ in range(200):
            offer.send(bytes(1 << 16))
        assert offer._host is not None
        assert offer._host.get_write_buffer_size() < 1 << 18
        await offer.close()


@needs_pty
async def test_a_terminal_gives_a_late_host_nothing_old_and_loses_nothing_of_a_burst() -> None:
    offer = offers.PtyOffer()
    notes: list[str] = []
    heard: list[bytes] = []
    await offer.open(heard.append, notes.append)
    try:
        for turn in (1, 2):
            offer.send(b"old" * 1000)
            ends = Ends()
            async with ends.of(SerialTransport(offer.url.removeprefix("serial://"))) as line:
                line.write(b"hello")
                await until(lambda: heard == [b"hello"] * turn)  # noqa: B023  # awaited here
                burst = bytes(range(256)) * 100
                offer.send(burst)
                await until(lambda: len(ends.data) >= len(burst), "the burst")  # noqa: B023  # awaited here
                assert ends.data == burst
            await until(lambda: len(notes) == 2 * turn)  # noqa: B023  # awaited here
    finally:
        await offer.close()
    assert notes == ["a host came", "the host left"] * 2
