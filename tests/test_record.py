"""`pen record`, `pen decode` and `pen-sim replay`: processes of their own, on real lines."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pen_controller import cli
from pen_controller.errors import LinkError
from pen_controller.pen import Pen
from pen_controller.transports import Transport, transport_for
from protocols.capture import Damage, Note, Piece, line_of
from protocols.framing import Decoder
from protocols.messages import Answer, AskIdentity, State, encode
from protocols.words import Cause, PenState, StateFlag
from simulator import __main__ as pen_sim
from tests.lines import PenSim, by_pty, by_tcp, needs_pty, run_needles
from tests.running import until
from tests.test_capture import FIRST, bytes_from, read, said_in
from tests.test_transports import Ends
from tests.wires import connected

PEN = [sys.executable, "-m", "pen_controller"]
SIM = [sys.executable, "-m", "simulator"]
PIPES: dict[str, Any] = {"stdout": PIPE, "stderr": PIPE}


class Recorder:
    """`pen record` in a process of its own."""

    def __init__(self, url: str, file: Path, *options: str) -> None:
        self.file = file
        command = [*PEN, "record", url, str(file), "--json", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]

    def end(self, number: int = signal.SIGINT) -> tuple[int, list[dict[str, Any]], str]:
        """End it; exit status, what it has shown, and its last words."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()], err


@contextlib.asynccontextmanager
async def recorded(sim: PenSim, file: Path, *options: str) -> AsyncIterator[Recorder]:
    recorder = await asyncio.to_thread(Recorder, sim.url, file, *options)
    try:
        yield recorder
    finally:
        if recorder.process.returncode is None:
            recorder.process.kill()
            recorder.process.communicate()


needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl-C here")
WAYS = [pytest.param(by_tcp, [], id="tcp"), pytest.param(by_pty, ["--pty"], id="pty", marks=needs_pty)]


@needs_signals
@pytest.mark.parametrize(("line", "options"), WAYS)
async def test_a_pen_runs_and_stops_through_a_recorder(line: Any, options: list[str], tmp_path: Path) -> None:
    async with line() as sim, recorded(sim, tmp_path / "a.pencap", *options) as recorder:
        assert recorder.url.startswith("serial:///dev/" if options else "socket://127.0.0.1:")
        async with Pen.open(transport_for(recorder.url)) as pen:
            await run_needles(pen)
            await until(lambda: pen.state.strokes > 50)
            await pen.stop()
            assert pen.state.cause is Cause.STOP
            last = pen.state
        status, shown, err = await asyncio.to_thread(recorder.end)
    entries = read(recorder.file)
    said = said_in(entries)
    assert status == 0
    assert re.search(r"a\.pencap: host: \d+ messages in [\d,]+ bytes; pen: \d+ messages in [\d,]+ bytes", err)
    assert [one for one in shown if "message" in one] == [json.loads(json.dumps(one.figures())) for one in said]
    assert all(one.message for one in said)
    names = [one.name for one in said if one.to_pen]
    assert {"Claim", "Arm", "Start", "Renew", "Stop"} <= set(names)
    assert last in [one.message for one in said]
    assert not [one for one in entries if isinstance(one, Damage)]


async def test_a_killed_recorder_leaves_all_that_was_said_and_the_pen_stops_by_itself(tmp_path: Path) -> None:
    async with by_tcp() as sim, recorded(sim, tmp_path / "a.pencap") as recorder:
        with contextlib.suppress(LinkError):
            async with Pen.open(transport_for(recorder.url)) as pen:
                await run_needles(pen)
                await until(lambda: pen.state.strokes > 50)
                seen = pen.state
                await until(lambda: any(one.message == seen for one in said_in(read(recorder.file))))
                recorder.process.kill()
                await until(lambda: not pen.connected)
        async with connected(sim.url) as wire:
            stopped = await wire.hear(State, lambda state: state.state is PenState.LATCHED)
            assert stopped.cause is Cause.LEASE_EXPIRED
    good = [one for one in read(recorder.file) if not isinstance(one, Damage)]
    assert [one.message for one in said_in(list(good)) if isinstance(one.message, Answer)]


async def test_it_ends_when_the_pen_s_line_ends_and_tells_why(tmp_path: Path) -> None:
    async with by_tcp() as sim, recorded(sim, tmp_path / "a.pencap") as recorder:
        async with connected(recorder.url) as wire:
            await wire.hear(State)
            await sim.unplug(60)
            await wire.ended()
        out, err = await asyncio.to_thread(recorder.process.communicate, timeout=20)
        assert recorder.process.returncode == 3
        assert "pen: socket://127.0.0.1" in err
        assert "the line is gone" in err
        last = read(recorder.file)[-1]
        assert isinstance(last, Note)
        assert last.note.startswith("the pen's line ended: the line is gone")
        assert json.loads(out.splitlines()[-1]) == {"t_us": last.t_us, "note": last.note}


def typed(*arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors of `pen`, or with `sim` of `pen-sim`."""
    app = pen_sim.app if arguments[0] == "replay" else cli.app
    done = CliRunner().invoke(app, [*arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Heartbeats and a question."""
    states = [State(1, t_us, PenState.IDLE, Cause.NONE, 0, StateFlag(0), *[0] * 12) for t_us in range(50, 1050, 50)]
    beats = [Piece(900_000 + one.t_us * 1000, False, encode(one, counter=one.t_us)) for one in states]
    asked = Piece(960_000, True, encode(AskIdentity(), counter=1))
    file = tmp_path / "a.pencap"
    file.write_bytes(FIRST + "".join(map(line_of, [beats[0], asked, *beats[1:]])).encode())
    return file


def test_a_capture_is_decoded_to_text_and_to_json(capture: Path) -> None:
    status, out, err = typed("decode", str(capture))
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 21)
    assert lines[0].startswith("   0.950000 s <- State boot_id=1 t_us=50 state=IDLE cause=NONE latch_id=0 flags=0")
    assert lines[1] == "   0.960000 s -> AskIdentity  (epoch 0, counter 1)"
    assert re.fullmatch(rf"{capture}: host: 1 messages in 17 bytes; pen: 20 messages in [\d,]+ bytes\n", err)
    figures = [json.loads(line) for line in typed("decode", "--json", str(capture))[1].splitlines()]
    assert [one["fields"]["t_us"] for one in figures if one["from"] == "pen"] == list(range(50, 1050, 50))
    with_bytes = typed("decode", "--bytes", str(capture))[1].splitlines()
    asked = encode(AskIdentity(), counter=1).hex(" ")
    assert with_bytes[2:4] == [f"   0.960000 s -> {asked}  AskIdentity", lines[1]]


def test_of_a_damaged_capture_all_else_is_shown_and_one_line_tells_which(capture: Path) -> None:
    lines = capture.read_bytes().splitlines(keepends=True)
    capture.write_bytes(b"".join([*lines[:4], b'{"t_us": 902000, "fr\n', *lines[5:-1], lines[-1][:30]]))
    status, out, err = typed("decode", str(capture))
    assert (status, len(out.splitlines())) == (2, 21)  # two of them say which lines
    assert err.splitlines()[-1] == f"pen: {capture}: line 5: no piece of a capture (and 1 more such lines)"


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("decode {folder}/none.pencap", 2, "No such file"),
        ("decode {folder}/other.toml", 2, "other.toml: no capture"),
        ("record socket://127.0.0.1:1 {folder}/new.pencap", 3, "nothing listens there"),
        ("record none:// {folder}/new.pencap", 2, "names no pen"),
        ("replay {folder}/none.pencap", 2, "cannot play"),
        ("replay {folder}/other.toml", 2, "no capture"),
        ("replay {folder}/mute.pencap", 2, "the pen says nothing in it, up to line 2"),
        ("replay {folder}/mute.pencap --seed 1", 2, "leave out the file"),
        ("replay --fast", 2, "name its file"),
        ("replay {folder}/mute.pencap --pty --port 9", 2, "leave out one"),
    ],
)
def test_errors_are_one_clear_line(tmp_path: Path, command: str, status: int, words: str) -> None:
    (tmp_path / "other.toml").write_text("site = 'x'\n", "utf-8")
    (tmp_path / "mute.pencap").write_bytes(FIRST + b"x")
    seen, out, err = typed(*(part.format(folder=tmp_path) for part in command.split()))
    assert (seen, out, len(err.splitlines())) == (status, "", 1)
    assert words in err
    assert not (tmp_path / "new.pencap").exists()


async def test_no_file_is_overwritten(capture: Path) -> None:
    before = read(capture)
    async with by_tcp() as sim:
        status, _, err = await asyncio.to_thread(typed, "record", sim.url, str(capture))
    assert (status, read(capture)) == (2, before)
    assert "is not overwritten" in err


# --- playback --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def played(file: Path, *options: str) -> AsyncIterator[tuple[Process, Ends, Transport]]:
    """A capture that is played, and a host that listens."""
    process = await asyncio.create_subprocess_exec(*SIM, "replay", str(file), "--json", *options, **PIPES)
    assert process.stdout is not None
    ends, line = Ends(), transport_for(json.loads(await process.stdout.readline())["url"])
    await line.open(ends.receive, ends.lost.append)
    try:
        yield process, ends, line
    finally:
        await line.close()
        await process.communicate()


@pytest.mark.parametrize("options", [[], ["--fast"], pytest.param(["--pty"], marks=needs_pty)], ids=" ".join)
async def test_what_is_played_is_what_was_captured(capture: Path, options: list[str]) -> None:
    told = bytes_from(read(capture), host=False)
    async with played(capture, *options) as (process, ends, line):
        line.write(encode(AskIdentity()))
        await until(lambda: len(ends.data) >= len(told))
        if options != ["--pty"]:
            await until(lambda: ends.lost, "the end of the line")
    assert (process.returncode, ends.data) == (0, told)


async def test_a_damaged_capture_is_played_up_to_its_damage(capture: Path) -> None:
    lines = capture.read_bytes().splitlines(keepends=True)  # noqa: ASYNC240  # a small one
    capture.write_bytes(b"".join([*lines[:6], b"?\n", *lines[7:]]))  # noqa: ASYNC240  # likewise
    async with played(capture) as (process, ends, _):
        assert process.stderr is not None
        said = (await process.stderr.readline()).decode()
        assert said == f"pen-sim: {capture}: line 7: no piece of a capture; what is before it is played\n"
        await until(lambda: ends.lost, "the end of the line")
    assert len(Decoder().feed(ends.data)) == 4


async def test_a_host_that_leaves_a_playback_ends_it_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "long.pencap"
    beats = [line_of(Piece(1000 * number, False, bytes(60_000))) for number in range(200)]
    file.write_bytes(FIRST + "".join(beats).encode())  # not that long
    async with played(file) as (process, ends, line):
        await until(lambda: ends.data)
        await line.close()
        _, err = await process.communicate()
    assert (process.returncode, err) == (2, b"pen-sim: the host left before the end\n")
