"""Pens over Bluetooth LE: MTUs, slow links, drops at every step, frozen pens, several pens.

In virtual time through bleak, HCI, L2CAP and ATT. What holds on every line: `test_pen.py`,
`test_host_killed.py`; several hosts: `test_ble_hosts.py`.
"""

import asyncio
import contextlib
import itertools
import signal
import sys
import time
from collections.abc import Callable

import pytest

from pen_controller.errors import LinkError, PenError
from pen_controller.pen import Pen
from pen_controller.transports import bumble_backend
from protocols.framing import Frame
from protocols.messages import AnyMessage, Arm, AskIdentity, Claim, Disarm, Renew, Set, Start, Stop, decode, encode
from protocols.words import Cause, EventKind, PenState
from tests.lines import TODAY, by_ble, grant_for, run_needles
from tests.running import in_virtual_time, until
from tests.safety_case.figures import measured
from tests.virtual_air import OpenAir, VirtualAir, open_air

__all__ = ["open_air"]  # a fixture

RATE_HZ = 100.0
ARM_BYTES = 46
"""The longest frame that a host sends."""
HOME_US = 250_000 + round(2e6 / RATE_HZ)
"""The standard bound: the lease, and two strokes."""


async def treat(pen: Pen) -> None:
    """Every command there is, with needles that go in."""
    samples = pen.samples()
    await pen.arm(await grant_for(pen), today=TODAY)
    await pen.start(1.0, RATE_HZ)
    numbers, times = [], []
    async for batch in samples:
        numbers.append(int(batch["strokes"][-1]))
        times += [int(t_us) for t_us in batch["t_us"]]
        if numbers[-1] - numbers[0] > 50:
            break
    await pen.set(0.8, 80.0)
    await pen.disarm()
    assert pen.state.state is PenState.IDLE
    assert {after - before for before, after in itertools.pairwise(times)} == {10_000}
    assert pen.lost_frames == 0


async def open_and_treat(bench: VirtualAir) -> None:
    async with Pen.open(bench.transport()) as pen:
        await treat(pen)
        await pen.cartridge()


def home(bench: VirtualAir) -> bool:
    """Whether the needles are in, by the body itself."""
    return bench.pen.body.retracted and bench.pen.firmware.state is not PenState.RUNNING


def commands(bench: VirtualAir, monkeypatch: pytest.MonkeyPatch, hear: Callable[[AnyMessage], None]) -> None:
    """Have `hear` called with each message that reaches the pen, before the pen takes it."""
    handle = bench.pen.handle

    def note(frame: Frame, clock_us: int) -> list[AnyMessage]:
        hear(decode(frame))
        return handle(frame, clock_us)

    monkeypatch.setattr(bench.pen, "handle", note)


# --- MTU and speed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mtu", [23, 24, 185, 247, 517])
@in_virtual_time
async def test_a_whole_treatment_at_any_mtu(open_air: OpenAir, mtu: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write, lengths = bumble_backend.BumbleClient.write_gatt_char, []

    async def measured(self: object, characteristic: object, data: bytes, response: bool) -> None:
        lengths.append(len(data))
        assert response
        await write(self, characteristic, data, response)  # type: ignore[arg-type]  # as it is called

    monkeypatch.setattr(bumble_backend.BumbleClient, "write_gatt_char", measured)
    async with open_air(mtu=mtu) as bench, Pen.open(bench.transport()) as pen:
        await treat(pen)
    assert max(lengths) == min(mtu - 3, ARM_BYTES)


@pytest.mark.parametrize(
    ("interval_ms", "mtu", "missed"), [(30, 185, 0.1), (30, 517, 0.0), (7.5, 23, 0.2), (15, 23, 0.05)]
)
@in_virtual_time
async def test_a_slow_link_keeps_lease_and_samples(
    open_air: OpenAir, interval_ms: float, mtu: int, missed: float
) -> None:
    async with open_air(mtu=mtu, interval_ms=interval_ms, missed=missed) as bench, Pen.open(bench.transport()) as pen:
        await treat(pen)
        await run_needles(pen)
        await asyncio.sleep(20.0)
        assert (pen.state.state, pen.lost_frames) == (PenState.RUNNING, 0)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert (await pen.stop()).cause is Cause.STOP
        assert loop.time() - began_s < 8 * interval_ms / 1000 / (1 - missed)


@in_virtual_time
async def test_on_a_slow_link_renewals_do_not_pile_up(open_air: OpenAir, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 50 ms a write takes 100 ms, and a renewal is due every 50 ms."""
    late_us: list[int] = []
    async with open_air(interval_ms=50) as bench, Pen.open(bench.transport()) as pen:

        def hear(message: AnyMessage) -> None:
            if isinstance(message, Renew):
                late_us.append(bench.clock_us() - message.seen_t_us)

        commands(bench, monkeypatch, hear)
        await asyncio.sleep(10.0)
        assert pen.connected
    assert len(late_us) > 50
    assert max(late_us) < 350_000


@pytest.mark.hazard("H25")
@in_virtual_time
async def test_stop_overtakes_all_that_waits_but_cuts_no_frame(
    open_air: OpenAir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H25: a frame takes several writes here, and a write two intervals."""
    heard: list[AnyMessage] = []
    async with open_air(interval_ms=15, mtu=23) as bench:
        line = bench.transport()
        await line.open(lambda _: None, pytest.fail)
        commands(bench, monkeypatch, heard.append)
        claim = encode(Claim(1, 1, 1), epoch=0, counter=1)
        assert len(claim) > 20
        for _ in range(10):
            line.write(claim)
        await asyncio.sleep(0.02)  # the first is on its way
        for counter in range(3):
            line.write(encode(Stop(), epoch=0, counter=counter), urgent=True)
        await until(lambda: len(heard) == 11)
        measured("before", heard.index(Stop()) - 1)
        assert [type(message) for message in heard[:3]] == [Claim, Stop, Claim]
        await line.close()


@in_virtual_time
async def test_a_pen_that_takes_nothing_is_given_up(open_air: OpenAir) -> None:
    lost: list[str] = []
    async with open_air() as bench:
        line = bench.transport()
        await line.open(lambda _: None, lost.append)
        bench.frozen = True
        for _ in range(300):
            line.write(b"\0")
        assert lost == ["the pen no longer takes bytes"]
        line.write(b"\0")  # dropped
        await line.close()
        await line.close()
    assert len(lost) == 1


@in_virtual_time
async def test_what_was_written_before_closing_still_leaves(open_air: OpenAir, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[AnyMessage] = []
    lost: list[str] = []
    async with open_air(interval_ms=30) as bench:
        line = bench.transport()
        await line.open(lambda _: None, lost.append)
        commands(bench, monkeypatch, heard.append)
        line.write(encode(AskIdentity(), epoch=0, counter=1))
        await line.close()
        assert heard == [AskIdentity()]
    assert lost == []  # closed is not lost


@in_virtual_time
async def test_a_write_that_cannot_be_cancelled_does_not_keep_a_lost_line_from_closing(
    open_air: OpenAir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stack may make of a write whose answer comes together with the news that the line is lost."""
    written: list[object] = []

    async def answered_all_the_same(*_: object) -> None:
        written.append(_)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    lost = asyncio.Event()
    async with open_air() as bench:
        line = bench.transport()
        await line.open(lambda _: None, lambda _: lost.set())
        monkeypatch.setattr(bumble_backend.BumbleClient, "write_gatt_char", answered_all_the_same)
        line.write(b"\1\0")
        line.write(b"\2\0")
        await until(lambda: written)
        bench.air.drop(bench.line._controller)
        await lost.wait()
        async with asyncio.timeout(5):
            await line.close()
    assert len(written) == 1


@pytest.mark.parametrize("mtu", [23, 247])
@in_virtual_time
async def test_notifications_handed_over_out_of_step_lose_nothing(
    open_air: OpenAir, mtu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BlueZ hands over each characteristic by a socket of its own, and a busy loop reads them in any order."""
    start_notify = bumble_backend.BumbleClient.start_notify
    pace_s = itertools.cycle([0.003, 0.002])  # of reading RSP and TLM, one notification at a time

    async def slow(self: object, characteristic: object, callback: Callable[..., None], **options: object) -> None:
        loop, pace, free_s = asyncio.get_running_loop(), next(pace_s), 0.0

        def later(data: bytearray) -> None:
            nonlocal free_s
            free_s = max(free_s, loop.time()) + pace
            loop.call_at(free_s, callback, data)

        await start_notify(self, characteristic, later, **options)  # type: ignore[arg-type]  # as it is called

    monkeypatch.setattr(bumble_backend.BumbleClient, "start_notify", slow)
    async with open_air(mtu=mtu) as bench, Pen.open(bench.transport()) as pen:
        await treat(pen)


# --- drops, silence, death -------------------------------------------------------------------------------------------


@pytest.mark.hazard("H05")
@pytest.mark.parametrize("taken", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [AskIdentity, Claim, Arm, Start, Set, Disarm, Renew])
@in_virtual_time
async def test_a_drop_at_any_step_leaves_the_needles_home_and_the_pen_disarmed(
    open_air: OpenAir, monkeypatch: pytest.MonkeyPatch, step: type, taken: bool
) -> None:
    """H05, with the drop before or after the pen has taken the step."""
    async with open_air(interval_ms=7.5) as bench:
        dropped = False

        def drop() -> None:
            bench.air.drop(bench.line._controller)

        def hear(message: AnyMessage) -> None:
            nonlocal dropped
            if isinstance(message, step) and not dropped:
                dropped = True
                (asyncio.get_running_loop().call_soon if taken else lambda now: now())(drop)

        commands(bench, monkeypatch, hear)
        with pytest.raises(PenError):
            await open_and_treat(bench)
        await asyncio.sleep(2.5)
        assert home(bench)
        assert bench.pen.firmware.area == 0
        async with Pen.open(bench.transport()) as pen:
            assert pen.state.state in (PenState.IDLE, PenState.LATCHED)
            events = pen.events()
            async for event in events:
                if event.kind is EventKind.RETRACTED:
                    measured("home", (event.a - 250_000) * RATE_HZ / 1e6)
                    assert event.a <= HOME_US
                if event.number == pen.state.last_event:
                    break


@in_virtual_time
async def test_a_frozen_pen_is_noticed_and_stops_by_its_own_lease(open_air: OpenAir) -> None:
    """Connected, but silent: no supervision timeout, so that only silence shows it."""
    async with open_air() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        loop = asyncio.get_running_loop()
        bench.frozen = True
        began_s = loop.time()
        await until(lambda: not pen.connected)
        assert loop.time() - began_s < 1.2
        assert "silent" in str(pen.stop_reason)
        with pytest.raises(LinkError):
            await pen.reconnect()
        assert loop.time() - began_s < 25
        bench.frozen = False
        await asyncio.sleep(0.5)
        assert home(bench)
        await pen.reconnect()
        assert (pen.state.state, pen.state.cause) == (PenState.LATCHED, Cause.LEASE_EXPIRED)


@pytest.mark.skipif(sys.platform == "win32", reason="this system cannot freeze a process")
async def test_a_frozen_process_is_noticed_and_comes_back_latched() -> None:
    async with by_ble() as sim, Pen.open(sim.transport()) as pen:
        await run_needles(pen)
        sim.process.send_signal(signal.SIGSTOP)
        await until(lambda: not pen.connected)
        assert "silent" in str(pen.stop_reason)
        sim.process.send_signal(signal.SIGCONT)
        await pen.reconnect()
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert pen.state.cause in (Cause.LEASE_EXPIRED, Cause.CLAIM_LOST, Cause.STOP)


async def test_a_killed_pen_is_noticed_at_once_and_is_not_there_any_more() -> None:
    async with by_ble() as sim, Pen.open(sim.transport()) as pen:
        samples = pen.samples()
        await run_needles(pen)
        sim.process.kill()
        with pytest.raises(LinkError, match="gone"):
            async for _ in samples:
                pass
        with pytest.raises(LinkError, match="is 'pen-sim ble' running there"):
            await pen.reconnect()


@pytest.mark.hazard("H04")
async def test_a_blocked_event_loop_stops_the_pen() -> None:
    """H04: the lease is renewed by the loop itself, so nothing renews it now."""
    async with by_ble() as sim, Pen.open(sim.transport()) as pen:
        await run_needles(pen)
        time.sleep(0.6)  # noqa: ASYNC251  # the fault itself
        await until(lambda: pen.state.state is PenState.LATCHED or not pen.connected)
        assert (pen.connected, pen.state.cause) == (True, Cause.LEASE_EXPIRED)


# --- several ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_four_pens_at_100_hz_lose_no_sample(open_air: OpenAir) -> None:
    async def one(bench: VirtualAir, number: int) -> None:
        async with Pen.open(bench.transport(f"PEN-000{number}")) as pen:
            assert pen.identity.serial == f"PEN-000{number}"
            await treat(pen)

    async with open_air(pens=4, mtu=185, interval_ms=15) as bench, asyncio.TaskGroup() as group:
        for number in range(1, 5):
            group.create_task(one(bench, number))


@in_virtual_time
async def test_connections_are_opened_one_at_a_time(open_air: OpenAir, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, most = 0, 0

    def counted(method: Callable[..., object], change: int) -> Callable[..., object]:
        def call(*args: object) -> object:
            nonlocal busy, most
            busy += change
            most = max(most, busy)
            return method(*args)

        return call

    scanner = bumble_backend.BumbleScanner
    monkeypatch.setattr(scanner, "start", counted(scanner.start, 1))
    monkeypatch.setattr(scanner, "stop", counted(scanner.stop, -1))
    async with open_air(pens=3) as bench:
        lines = [bench.transport(f"PEN-000{number}") for number in (1, 2, 3)]
        await asyncio.gather(*(line.open(lambda _: None, pytest.fail) for line in lines))
        for line in lines:
            await line.close()
    assert (busy, most) == (0, 1)
