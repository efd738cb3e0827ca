"""The lines that serve a pen: pseudo-terminals and TCP ports, in real time."""

import asyncio
import contextlib
import operator
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from protocols.framing import Decoder
from protocols.messages import Answer, AskIdentity, AskState, Claim, Identity, State, encode
from protocols.samples import Samples
from simulator.pen import SimulatedPen
from simulator.ports import Bench, Endpoint, Line, PtyLine, TcpLine, has_pseudo_terminals
from tests.wires import connected

needs_pty = pytest.mark.skipif(not has_pseudo_terminals(), reason="no pseudo-terminals here")
KINDS = [pytest.param("serial", marks=needs_pty), "socket"]


@contextlib.asynccontextmanager
async def served(kind: str, link: Path | None = None) -> AsyncIterator[tuple[SimulatedPen, Line, Bench]]:
    """A pen on a line of this kind, running in real time."""
    bench = Bench()
    pen = SimulatedPen(zone_cm2=0.5)
    line: Line = PtyLine(pen, bench.clock_us, link) if kind == "serial" else TcpLine(pen, bench.clock_us)
    bench.pens = [(pen, line)]
    await line.plug()
    running = asyncio.create_task(bench.run())
    try:
        yield pen, line, bench
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert line.urls == []


def test_an_endpoint_numbers_its_frames_without_gaps_however_the_bytes_are_cut() -> None:
    pen = SimulatedPen(zone_cm2=0.5)
    endpoint, decoder = Endpoint(pen), Decoder()
    asked = encode(AskIdentity()) + encode(AskState())
    said = endpoint.encode(pen.step(200_000))
    said += b"".join(endpoint.receive(asked[place : place + 1], 200_000) for place in range(len(asked)))
    frames = decoder.feed(said)
    assert [frame.counter for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame.type for frame in frames[-2:]] == [Identity.TYPE, State.TYPE]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_carries_answers_and_heartbeats(kind: str) -> None:
    async with served(kind) as (pen, line, _), connected(line.urls[0]) as wire:
        wire.say(AskIdentity())
        assert await wire.hear(Identity) == pen.firmware.identity
        first = await wire.hear(State)
        await wire.hear(State, lambda state: state.t_us >= first.t_us + 200_000)
        assert wire.lost_frames == 0
        assert wire.epoch == pen.firmware.epoch


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pulled_cable_ends_the_line_and_a_new_one_works(kind: str) -> None:
    async with served(kind) as (pen, line, bench):
        async with connected(line.urls[0]) as wire:
            await wire.hear(State)
            before = line.urls
            await line.unplug()
            await wire.ended()
        assert line.urls == []
        line.send(pen.step(bench.clock_us()))
        await line.unplug()
        await line.plug()
        assert kind == "serial" or line.urls == before
        async with connected(line.urls[0]) as wire:
            wire.say(AskIdentity())
            assert (await wire.hear(Identity)).serial == pen.serial


@needs_pty
async def test_a_link_leads_to_the_present_terminal(tmp_path: Path) -> None:
    link = tmp_path / "PEN-0001"
    link.symlink_to("left over from a crash")
    async with served("serial", link) as (_, line, _bench):
        assert line.urls == [f"serial://{link}"]
        for _ in range(2):
            async with connected(line.urls[0]) as wire:
                await wire.hear(State)
            await line.unplug()
            assert not link.is_symlink()
            await line.plug()
    assert not link.is_symlink()


@needs_pty
async def test_a_terminal_that_nobody_reads_blocks_nothing() -> None:
    async with served("serial") as (pen, line, _):
        for _ in range(2000):
            line.send([pen.firmware.identity])
        async with connected(line.urls[0]) as wire:
            wire.say(AskState())
            state = await wire.hear(State)
            await wire.hear(State, lambda later: later.t_us > state.t_us)
            assert wire.lost_frames > 0


async def test_a_host_that_does_not_read_fills_no_memory() -> None:
    async with served("socket") as (pen, line, _), connected(line.urls[0]) as wire:
        await wire.hear(State)
        assert isinstance(line, TcpLine)
        (writer,) = line._hosts
        for _ in range(100_000):
            line.send([pen.firmware.identity])
        assert 1 << 20 <= writer.transport.get_write_buffer_size() < 1 << 21


async def test_what_one_host_asks_takes_nothing_from_another() -> None:
    now_us = 0
    pen = SimulatedPen(zone_cm2=0.5)
    line = TcpLine(pen, lambda: now_us)
    await line.plug()
    async with connected(line.urls[0]) as owner, connected(line.urls[0]) as other:
        owner.say(Claim(1, 7, pen.firmware.epoch), counter=1)
        await owner.hear(Answer)
        for batch in range(1, 6):
            now_us = batch * 50_000
            other.say(AskState())
            assert (await owner.hear(Samples)).records["t_us"][-1] == now_us
            await other.hear(Samples)
        assert owner.lost_frames == 0
    await line.unplug()


async def test_a_host_that_resets_its_connection_hurts_nobody() -> None:
    async with served("socket") as (_, line, _bench), connected(line.urls[0]) as other:
        port = int(line.urls[0].rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(os.urandom(5000))
        writer.transport.abort()
        state = await other.hear(State)
        await other.hear(State, lambda later: later.t_us > state.t_us + 100_000)


async def test_bench_runs_pens_beside_each_other_in_real_time() -> None:
    bench = Bench()
    lines = []
    for number in range(1, 5):
        pen = SimulatedPen(number=number, zone_cm2=0.5)
        lines.append(TcpLine(pen, bench.clock_us))
        bench.pens.append((pen, lines[-1]))
        await lines[-1].plug()
    running = asyncio.create_task(bench.run())
    for number, line in enumerate(lines, 1):
        async with connected(line.urls[0]) as wire:
            wire.say(AskIdentity())
            assert (await wire.hear(Identity)).serial == f"PEN-{number:04d}"
            first = await wire.hear(State)
            assert first.t_us <= bench.clock_us()
            await wire.hear(State, partial(operator.ne, first))
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
