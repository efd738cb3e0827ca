"""`pen-sim` as its users meet it: a process of its own."""

import asyncio
import contextlib
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocols.messages import AskCartridge, AskIdentity, Cartridge, Identity, State
from protocols.words import Cause, PenState
from simulator.pen import SimulatedPen
from simulator.ports import has_pseudo_terminals
from simulator.profiles import PROFILES
from tests.wires import BOUND_S, connected

needs_pty = pytest.mark.skipif(not has_pseudo_terminals(), reason="no pseudo-terminals here")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl-C here")


@contextlib.asynccontextmanager
async def pen_sim(*arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    assert process.stdout
    async with asyncio.timeout(BOUND_S):
        return (await process.stdout.readline()).decode().rstrip()


async def end_of(process: Process) -> tuple[int | None, str, str]:
    """Exit code, and the rest of output and errors."""
    async with asyncio.timeout(BOUND_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def identity_at(url: str) -> Identity:
    async with connected(url) as wire:
        wire.say(AskIdentity())
        return await wire.hear(Identity)


@needs_pty
@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_a_path_serves_it_and_ends_cleanly(number: signal.Signals) -> None:
    async with pen_sim("serial") as process:
        said = await line_of(process)
        match = re.fullmatch(r"(/dev/\S+)  PEN-0001  try: pen info (serial://\1)", said)
        assert match
        assert (await identity_at(match[2])).serial == "PEN-0001"
        process.send_signal(number)
        assert await end_of(process) == (0, "", "")


@needs_signals
async def test_it_serves_tcp_and_ends_cleanly_with_a_host_connected() -> None:
    async with pen_sim("tcp", "--json") as process:
        url = json.loads(await line_of(process))["url"]
        async with connected(url) as wire:
            await wire.hear(State)
            process.send_signal(signal.SIGINT)
            await wire.ended()
        assert await end_of(process) == (0, "", "")


@pytest.mark.parametrize("kind", [pytest.param("serial", marks=needs_pty), "tcp"])
async def test_several_pens_have_a_line_each(kind: str) -> None:
    async with pen_sim(kind, "--pens", "3", "--json", "--rate", "250", "--seed", "5", "--profile", "exceed") as process:
        said = [json.loads(await line_of(process)) for _ in range(3)]
        assert [one["serial"] for one in said] == ["PEN-0001", "PEN-0002", "PEN-0003"]
        identities = [await identity_at(one["url"]) for one in said]
        assert [one.serial for one in identities] == ["PEN-0001", "PEN-0002", "PEN-0003"]
        assert {one.sample_rate_hz for one in identities} == {250}
        assert {one.max_depth_um for one in identities} == {PROFILES["exceed"].depth_um[1]}
        assert len({one.boot_id for one in identities}) == 3


async def test_a_seed_gives_the_same_pen() -> None:
    boot_ids = []
    for seed in ("3", "3", "4"):
        async with pen_sim("tcp", "--json", "--seed", seed) as process:
            boot_ids.append((await identity_at(json.loads(await line_of(process))["url"])).boot_id)
    assert boot_ids[0] == boot_ids[1] != boot_ids[2]


def test_the_hand_takes_up_another_zone() -> None:
    pen = SimulatedPen(zone_cm2=4.0)
    before_us = pen.clinician.hand.duration_us
    pen.change_zone(16.0)
    assert pen.clinician.hand.duration_us > 2 * before_us


@needs_pty
async def test_control_unplugs_reboots_presses_and_ends() -> None:
    async with pen_sim("serial", "--pens", "2", "--json", "--control") as process:
        assert process.stdin
        assert process.stderr
        urls = [json.loads(await line_of(process))["url"] for _ in range(2)]
        async with connected(urls[0]) as wire, connected(urls[1]) as other:
            boot_id = (await wire.hear(State)).boot_id
            process.stdin.write(b"reboot PEN-0001\n")
            await wire.hear(State, lambda state: state.boot_id != boot_id)
            process.stdin.write(b"button PEN-0001\n")
            state = await wire.hear(State, lambda state: state.state is PenState.LATCHED)
            assert state.cause is Cause.BUTTON
            assert (await other.hear(State)).state is PenState.IDLE
            wire.say(AskCartridge())
            before = await wire.hear(Cartridge)
            process.stdin.write(b"cartridge PEN-0001\n")
            after = before
            while after == before:
                wire.say(AskCartridge())
                after = await wire.hear(Cartridge)
            assert after.needles == before.needles
            process.stdin.write(b"unplug 0.1 PEN-0001\n")
            await wire.ended()
        again = json.loads(await line_of(process))
        assert again["serial"] == "PEN-0001"
        assert (await identity_at(again["url"])).serial == "PEN-0001"
        for wrong in (b"fly", b"unplug soon", b"button PEN-0009", b""):
            process.stdin.write(wrong + b"\n")
            async with asyncio.timeout(BOUND_S):
                assert b"pen-sim: cannot" in await process.stderr.readline()
        process.stdin.write(b"unplug 100\n")
        process.stdin.close()
        assert await end_of(process) == (0, "", "")


@needs_pty
@needs_signals
async def test_links_lead_to_the_terminals_and_go_with_them(tmp_path: Path) -> None:
    async with pen_sim("serial", "--link", str(tmp_path)) as process:
        await line_of(process)
        link = tmp_path / "PEN-0001"
        assert (await identity_at(f"serial://{link}")).serial == "PEN-0001"
        process.send_signal(signal.SIGTERM)
        assert (await end_of(process))[0] == 0
        assert not link.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("tcp", "--profile", "nail_gun"), "nail_gun"),
        (("tcp", "--pens", "0"), "--pens"),
        (("tcp", "--rate", "1001"), "--rate"),
        (("tcp", "--port", "65535", "--pens", "2"), "65535"),
        pytest.param(("serial", "--link", "/nowhere/at/all"), "/nowhere/at/all", marks=needs_pty),
        (("teleport",), "teleport"),
    ],
)
async def test_wrong_usage_exits_2_and_names_what_is_wrong(arguments: tuple[str, ...], names: str) -> None:
    async with pen_sim(*arguments) as process:
        code, out, err = await end_of(process)
        assert (code, out) == (2, "")
        assert names in err
        assert "Traceback" not in err


async def test_a_port_that_is_taken_exits_2() -> None:
    async with pen_sim("tcp", "--json") as first:
        port = json.loads(await line_of(first))["url"].rpartition(":")[2]
        async with pen_sim("tcp", "--port", port) as second:
            code, _, err = await end_of(second)
            assert code == 2
            assert port in err
            assert "Traceback" not in err


async def test_help_teaches() -> None:
    for arguments in (("--help",), ("serial", "--help"), ("tcp", "--help")):
        async with pen_sim(*arguments) as process:
            code, out, err = await end_of(process)
            assert (code, err) == (0, "")
            assert "pen" in out
