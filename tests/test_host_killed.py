"""H03 and H04 over a real line: the host dies or freezes in mid-treatment, and the pen's own record says what it did.

The host is a process of its own, this file run as a program: it treats, changing set-points, until it is killed.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable
from datetime import date

import numpy as np
import pytest

from pen_controller import config, limits
from pen_controller.pen import Pen, reported
from protocols.messages import AskEvents, AskState, Event, State
from protocols.words import Cause, EventKind, PenState
from simulator.ports import has_pseudo_terminals
from tests.safety_case.figures import measured
from tests.wires import BOUND_S, connected

if not has_pseudo_terminals():
    pytest.skip("no pseudo-terminals here", allow_module_level=True)

LEASE_US = 250_000
HOST_ID = 7
RATES_HZ = (20.0, 50.0, 100.0)


async def treat(url: str, rate_hz: float) -> None:
    """Arm, start, say so, and change the set-point until the process is killed."""
    today = date.today()  # noqa: DTZ011  # the clinic's own date
    async with Pen.open(url, host_id=HOST_ID) as pen:
        if pen.state.state is PenState.LATCHED:
            await pen.clear(pen.state.latch_id)
        own = pen.identity
        grant = limits.authorize(
            limits.Request("cheek", "fine_lines", 2, 1.0, rate_hz, 1, 6.0),
            config=config.load(),
            envelope=reported.envelope(own),
            pen_profile="simulated",
            cartridge=reported.tag(await pen.cartridge()),
            treatment=7,
            today=today,
            delivered=limits.Delivered(),
        )
        assert isinstance(grant, limits.Grant), grant
        await pen.arm(grant, today=today)
        await pen.start(1.0, rate_hz)
        print("running", flush=True)
        while True:
            for depth_mm in (0.5, 1.0):
                await pen.set(depth_mm, rate_hz)


@contextlib.asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[Process]:
    running = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def line_of(running: Process) -> str:
    assert running.stdout
    async with asyncio.timeout(BOUND_S):
        return (await running.stdout.readline()).decode().strip()


async def stopped(url: str, after: int) -> tuple[Event, Event]:
    """Wait until the pen is latched; return the last events of its stop and of its needles' return."""
    async with connected(url) as wire:
        wire.say(AskState())
        state = await wire.hear(State, lambda state: state.state is PenState.LATCHED)
        assert state.cause is Cause.LEASE_EXPIRED
        wire.say(AskEvents(after))
        stop = await wire.hear(Event, lambda event: event.number > after and event.kind is EventKind.STOPPED)
        home = await wire.hear(Event, lambda event: event.number > stop.number and event.kind is EventKind.RETRACTED)
        assert home.number == state.last_event
        return stop, home


def check(stop: Event, home: Event, rate_hz: float) -> None:
    assert (stop.a, stop.b) == (Cause.LEASE_EXPIRED, LEASE_US)
    measured("home", (home.a - LEASE_US) * rate_hz / 1e6)
    assert home.a <= LEASE_US + 2e6 / rate_hz
    assert home.b <= 2


async def kill_again_and_again(url: str, moments_s: Iterable[float]) -> None:
    after = 0
    for moment_s, rate_hz in zip(moments_s, itertools.cycle(RATES_HZ), strict=False):
        async with process("-m", "tests.test_host_killed", url, str(rate_hz)) as host:
            assert await line_of(host) == "running"
            await asyncio.sleep(moment_s)
            host.kill()
        stop, home = await stopped(url, after)
        check(stop, home, rate_hz)
        after = home.number


LINES = pytest.mark.parametrize("line", [["serial"], ["ble", "--hci", "tcp-server:127.0.0.1:0"]], ids=["pty", "ble"])


@pytest.mark.hazard("H03")
@LINES
async def test_a_host_killed_at_any_moment_leaves_the_needles_home_within_the_bound(line: list[str]) -> None:
    moments_s = np.random.default_rng(3).uniform(0, 0.4, 10)
    async with process("-m", "simulator", *line, "--json", "--pens", "2") as simulator:
        urls = [json.loads(await line_of(simulator))["url"] for _ in range(2)]
        await asyncio.gather(*(kill_again_and_again(url, moments_s[lane::2]) for lane, url in enumerate(urls)))


@pytest.mark.hazard("H04")
@LINES
async def test_a_host_that_freezes_is_left_behind_and_does_not_resume(line: list[str]) -> None:
    async with process("-m", "simulator", *line, "--json") as simulator:
        url = json.loads(await line_of(simulator))["url"]
        async with process("-m", "tests.test_host_killed", url, "100") as host:
            assert await line_of(host) == "running"
            host.send_signal(signal.SIGSTOP)
            stop, home = await stopped(url, 0)
            check(stop, home, 100)
            host.send_signal(signal.SIGCONT)
            async with asyncio.timeout(BOUND_S):
                assert await host.wait() != 0
        async with connected(url) as wire:
            wire.say(AskState())
            state = await wire.hear(State)
            assert (state.state, state.latch_id) == (PenState.LATCHED, 1)


if __name__ == "__main__":
    asyncio.run(treat(sys.argv[1], float(sys.argv[2])))
