"""`pen selftest`: a good pen passes, and each check fails on a pen that does not do what it says."""

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from bumble.gatt import Characteristic

from pen_controller.pen.selftest import Check, selftest
from protocols.messages import Clear, Event, Message, Stop, decode
from protocols.samples import Samples
from protocols.words import EventKind, PenState
from simulator import firmware, ownership
from simulator.firmware import Firmware
from simulator.pen import SimulatedPen
from simulator.peripheral import _Host
from simulator.sampler import Sampler
from tests.lines import by_ble
from tests.running import in_virtual_time, until
from tests.virtual_air import OpenAir, open_air

__all__ = ["open_air"]  # a fixture

URL = "ble:PEN-0001?hci=air"
NAMES = [
    "identity",
    "heartbeat",
    "sample rate",
    "samples missing",
    "round trip",
    "events",
    "STOP",
    "clear",
    "lost frames",
    "claim lapses unrenewed",
]


def failing(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.good]


@pytest.mark.parametrize(("mtu", "interval_ms"), [(517, 0), (23, 15), (185, 30)])
@in_virtual_time
async def test_a_good_pen_passes_without_moving_its_needles(open_air: OpenAir, mtu: int, interval_ms: float) -> None:
    async with open_air(mtu=mtu, interval_ms=interval_ms) as bench:
        checks = await selftest(URL)
        assert ([check.name for check in checks], failing(checks)) == (NAMES, [])
        assert bench.pen.read().strokes == 0
        assert bench.pen.firmware.state is PenState.IDLE


@in_virtual_time
async def test_a_latch_that_was_there_before_is_left_for_a_person(open_air: OpenAir) -> None:
    async with open_air() as bench:
        bench.pen.firmware.button()
        await until(lambda: bench.pen.firmware.state is PenState.LATCHED)
        checks = await selftest(URL, seconds=1.0)
        assert ([check.name for check in checks], failing(checks)) == ([n for n in NAMES if n != "clear"], [])
        assert bench.pen.firmware.state is PenState.LATCHED


def deaf_to(kind: type[Message]) -> Callable[[pytest.MonkeyPatch], None]:
    """A pen that does not take such messages."""

    def break_it(monkeypatch: pytest.MonkeyPatch) -> None:
        handle = SimulatedPen.handle
        monkeypatch.setattr(
            SimulatedPen,
            "handle",
            lambda pen, frame, now: [] if isinstance(decode(frame), kind) else handle(pen, frame, now),
        )

    return break_it


def silent_on(wrong: Callable[[object], bool]) -> Callable[[pytest.MonkeyPatch], None]:
    """A pen that does not say such things."""

    def break_it(monkeypatch: pytest.MonkeyPatch) -> None:
        sent = Firmware._sent
        monkeypatch.setattr(Firmware, "_sent", lambda pen: [message for message in sent(pen) if not wrong(message)])

    return break_it


def slow_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "HEARTBEAT_US", 80_000)


def long_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "CLAIM_HOLD_US", 4_000_000)


def short_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "CLAIM_HOLD_US", 1_000_000)


def other_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.profiles.LEASE_MS", 500)


def other_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "Sampler", lambda _: Sampler(90))


def lossy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An air that loses one batch of samples on its way."""
    notify, number = _Host._notify, itertools.count()

    def lose(host: _Host, characteristic: Characteristic[bytes], data: bytes) -> None:
        if characteristic is not host._tlm or next(number) != 10:
            notify(host, characteristic, data)

    monkeypatch.setattr(_Host, "_notify", lose)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the pen's fault; and an answer takes longer than an event."""
    monkeypatch.setattr("pen_controller.pen.selftest.ANSWER_S", -1.0)


def forgets_a_batch() -> Callable[[pytest.MonkeyPatch], None]:
    number = itertools.count()
    return silent_on(lambda said: isinstance(said, Samples) and next(number) == 10)


@pytest.mark.parametrize(
    ("break_it", "fails"),
    [
        (lossy, ["samples missing", "lost frames"]),
        (impatient, ["round trip", "events", "STOP"]),
        (forgets_a_batch(), ["samples missing"]),
        (slow_heart, ["heartbeat"]),
        (long_hold, ["claim lapses unrenewed"]),
        (short_hold, ["claim lapses unrenewed"]),
        (other_lease, ["identity"]),
        (other_rate, ["sample rate"]),
        (silent_on(lambda said: isinstance(said, Event) and said.kind is EventKind.CLAIMED), ["events"]),
        (deaf_to(Stop), ["STOP"]),
        (deaf_to(Clear), ["clear"]),
    ],
)
@in_virtual_time
async def test_what_a_pen_does_not_do_is_named(
    open_air: OpenAir,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch], None],
    fails: list[str],
) -> None:
    break_it(monkeypatch)
    async with open_air():
        assert failing(await selftest(URL, seconds=1.0)) == fails


async def test_the_command_says_all_and_its_exit_status_says_whether() -> None:
    command = [sys.executable, "-m", "pen_controller", "selftest"]
    async with by_ble() as sim:
        run = await asyncio.to_thread(
            subprocess.run, [*command, sim.url, "--json"], stdout=subprocess.PIPE, check=False
        )
        figures = json.loads(run.stdout)
        assert [check["name"] for check in figures] == NAMES
        assert (run.returncode == 0) == all(check["good"] for check in figures)
    gone = await asyncio.to_thread(subprocess.run, [*command, sim.url], stderr=subprocess.PIPE, check=False)
    assert gone.returncode == 3
    assert b"is 'pen-sim ble' running there" in gone.stderr
