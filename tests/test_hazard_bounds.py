"""Bounds of the safety case that need a whole host: its screen, record, clock and broker, with a pen in the process."""

import asyncio
import contextlib
import errno
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiomqtt
import pytest

from pen_controller.clinic.access import Keys, Screen
from pen_controller.clinic.accounts import Accounts
from pen_controller.clinic.desk import Desk, NotNowError
from pen_controller.clinic.jobs import Jobs
from pen_controller.clinic.lag import Lag
from pen_controller.clinic.live import Lives
from pen_controller.journal import Journal, JournalError
from pen_controller.meanwhile import meanwhile
from pen_controller.pen import Pen
from pen_controller.telemetry.publisher import Publisher
from pen_controller.treatment import Treatment
from pen_controller.treatment.outcomes import RefusedError, StoppedError
from protocols.messages import AckEvents, Arm, Renew, Start, Stop
from protocols.words import EventKind, PenState
from tests.brokers import broker, free_port
from tests.brokers import until as until_real
from tests.lines import CONFIG, VirtualPen, in_process, run_needles
from tests.running import in_virtual_time, until
from tests.safety_case.figures import measured
from tests.virtual_treatment import CHEEK, FOREHEAD, ROOMY, MemoryJournal, Treating, bench_of, treating, truth

MANY = CHEEK.model_copy(update={"passes": 5})

# --- another area ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at_the_desk() -> AsyncIterator[tuple[Desk, Treating]]:
    """A desk with a treatment whose needles run in the cheek."""
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        desk = Desk(journal, ROOMY)
        desk.pen, desk.treatment = now.pen, now.treatment
        await desk.start(MANY)
        await now.strokes(100)
        try:
            yield desk, now
        finally:
            await desk._leave()


@pytest.mark.hazard("H02")
@in_virtual_time
async def test_another_area_is_not_begun_while_needles_run() -> None:
    async with at_the_desk() as (desk, now):
        asked = len(now.bench.cables[0].asked)
        with pytest.raises(NotNowError, match="finish that area first"):
            await desk.start(FOREHEAD)
        began = [message for message in now.bench.cables[0].asked[asked:] if isinstance(message, Arm | Start)]
        measured("unarmed", len(began))
        assert began == []
        assert now.pen.state.state is PenState.RUNNING


@pytest.mark.hazard("H02")
@in_virtual_time
async def test_another_area_armed_behind_the_desk_stops_the_needles_and_is_not_begun() -> None:
    async with at_the_desk() as (_, now):
        with pytest.raises(StoppedError):
            await now.treatment.treat(FOREHEAD)
        await until(lambda: now.pen.state.state is PenState.LATCHED, "the latch")
        stopped, home = (
            next(event for event in reversed(now.bench.events) if event.kind is kind)
            for kind in (EventKind.STOPPED, EventKind.RETRACTED)
        )
        measured("home", (home.t_us - stopped.t_us) / (1e6 / MANY.rate_hz))
        assert home.t_us - stopped.t_us <= 2e6 / MANY.rate_hz
        assert sum(event.kind is EventKind.STARTED for event in now.bench.events) == 1


# --- the screen ------------------------------------------------------------------------------------------------------

MOMENTS_S = tuple(0.4 + 0.017 * moment for moment in range(12))
"""Through the phases of the screen's tick of 50 ms."""
TWO_HEARTBEATS_MS = 100


class Page:
    """A page that only listens, and notes when it was shown what."""

    def __init__(self, screen: Screen) -> None:
        self.state = SimpleNamespace(screen=screen)
        self.shown: list[tuple[float, Any]] = []

    async def accept(self) -> None:
        pass

    async def receive(self) -> Any:
        await asyncio.Event().wait()

    async def send_text(self, text: str) -> None:
        self.shown.append((asyncio.get_running_loop().time(), json.loads(text)["pen"]))

    async def after(self, since_s: float, state: str) -> float:
        """Wait until the pen is shown in this state; return how many milliseconds that took."""
        await until(lambda: self.shown and self.shown[-1][1]["state"] == state, f"{state!r} on the screen")
        return next((at_s - since_s) * 1000 for at_s, pen in self.shown if at_s >= since_s and pen["state"] == state)


@contextlib.asynccontextmanager
async def screen(folder: Path) -> AsyncIterator[tuple[VirtualPen, Pen, Page]]:
    """A pen, the clinic's service without its sockets, and a page."""
    async with in_process() as bench, Pen.open(bench.transport()) as pen:
        desk = Desk(MemoryJournal(), CONFIG)
        desk.pen = pen
        keys = Keys(asyncio.get_running_loop().time)
        lives = Lives(desk, keys, Accounts.open(folder / "accounts"), Lag(), Jobs(folder, folder, None, desk.changed))
        let_in = keys.screen(keys.let_in(keys.launch()) or "")
        assert let_in is not None
        page = Page(let_in)
        async with meanwhile(lives.tell(), "tell"), meanwhile(lives.serve(page), "page"):  # type: ignore[arg-type]  # as a page
            yield bench, pen, page


async def is_shown_in_time(
    folder: Path, happens: Callable[[VirtualPen], Awaitable[None]], why: str | None = None
) -> None:
    """See that the screen says so, and why if that is given: whenever it happens, needles running or not."""
    for number, moment_s in enumerate(MOMENTS_S):
        async with screen(folder) as (bench, pen, page):
            if number % 2:
                await run_needles(pen)
            await asyncio.sleep(moment_s)
            happened_s = asyncio.get_running_loop().time()
            await happens(bench)
            shown_ms = await page.after(happened_s, "link_lost")
            measured("shown", shown_ms)
            assert shown_ms <= TWO_HEARTBEATS_MS
            assert why in (None, page.shown[-1][1]["stop_reason"])


@pytest.mark.hazard("H06")
@in_virtual_time
async def test_a_pulled_cable_is_on_the_screen_in_a_tenth_of_a_second(tmp_path: Path) -> None:
    await is_shown_in_time(tmp_path, lambda bench: bench.unplug(60))


@pytest.mark.hazard("H10")
@in_virtual_time
async def test_a_reboot_is_on_the_screen_in_two_heartbeats(tmp_path: Path) -> None:
    await is_shown_in_time(tmp_path, lambda bench: bench.reboot(), why="the pen has rebooted")


# --- the disk --------------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H19")
@pytest.mark.parametrize("moment", range(5))
@in_virtual_time
async def test_needles_whose_record_fails_are_home_within_a_second(moment: int) -> None:
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        treat = asyncio.create_task(now.treatment.treat(CHEEK))
        await now.strokes(100)
        await asyncio.sleep(moment * 0.023)
        failed_us = bench.clock_us()
        journal.failed = _full(journal)
        with pytest.raises(JournalError, match="full"):
            await treat
        await until(lambda: now.pen.state.state is PenState.LATCHED, "the latch")
        (home,) = (event for event in bench.events if event.kind is EventKind.RETRACTED)
        measured("home", (home.t_us - failed_us) / 1e6)
        assert home.t_us - failed_us <= 1_000_000


class FullJournal(MemoryJournal):
    """A journal that takes nothing more, from some record on."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self._last = last

    async def append(self, *what: Any, **how: Any) -> Any:
        self.failed = self.failed or (self.records[-1:] and self.records[-1].kind == self._last and _full(self)) or None
        if self.failed is not None:
            raise self.failed
        return await super().append(*what, **how)


def _full(journal: Journal) -> JournalError:
    return JournalError.of(journal.path, OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.hazard("H19")
@in_virtual_time
async def test_without_a_record_the_pen_is_not_even_asked() -> None:
    """The disk is full from the treatment's beginning on, or from before the start of the needles."""
    for last in ("skin", "grant", "progress"):
        async with bench_of() as bench:
            with contextlib.suppress(JournalError):
                async with treating(bench, FullJournal(last)) as now:
                    with contextlib.suppress(JournalError):
                        await now.treatment.treat(CHEEK)
            measured("starts", truth(bench)[0])
            assert truth(bench)[0] == 0
            assert not any(event.kind is EventKind.STARTED for event in bench.events)


# --- the clock -------------------------------------------------------------------------------------------------------


class Wall(datetime):
    """A wall clock that can be set."""

    jumped = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.now(tz) + cls.jumped


def hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all of the product tell the time by this clock."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("pen_controller", "protocols", "simulator")) and getattr(module, "datetime", 0) is datetime:
            monkeypatch.setattr(module, "datetime", Wall)
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + Wall.jumped.total_seconds())
    monkeypatch.setattr(Wall, "jumped", timedelta())
    monkeypatch.setattr(secrets, "randbits", lambda _: 7)  # the treatment's number, which the pen repeats


async def treated(jump: timedelta) -> list[tuple[str, int | None, Any]]:
    """All that a treatment records, with a clock that jumps in the midst."""
    Wall.jumped = timedelta()
    journal = MemoryJournal()
    async with bench_of() as bench, treating(bench, journal, config=ROOMY) as now:
        treat = asyncio.create_task(now.treatment.treat(CHEEK))
        await now.strokes(200)
        Wall.jumped = jump
        await treat
    return [(record.kind, record.pen_t_us, record.body) for record in journal.records]


@pytest.mark.hazard("H20")
@pytest.mark.parametrize(
    "jump", [timedelta(days=365), timedelta(days=-365), timedelta(hours=1), timedelta(hours=-1)], ids=str
)
@in_virtual_time
async def test_a_wall_clock_that_jumps_changes_nothing(jump: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    hang_up(monkeypatch)
    steady, jumping = await treated(timedelta()), await treated(jump)
    changed = sum(one != other for one, other in zip(steady, jumping, strict=False))
    measured("changed", changed + abs(len(steady) - len(jumping)), of=len(steady))
    assert steady == jumping
    assert len(steady) > 20


@pytest.mark.hazard("H15")
async def test_a_clock_set_back_a_year_makes_no_cartridge_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang_up(monkeypatch)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    async with Journal.open(tmp_path / "journal.sqlite") as journal:
        await journal.append("laptop", "login", {}, pen="laptop", topic=None)
    Wall.jumped = timedelta(days=-365)
    async with (
        Journal.open(tmp_path / "journal.sqlite") as journal,
        in_process() as bench,
        Pen.open(bench.transport()) as pen,
        Treatment(pen, journal, CONFIG, "fine_lines", 2) as treatment,
    ):
        firmware = bench.pen.firmware
        firmware.cartridge = replace(firmware.cartridge, expiry_days=(yesterday - date(1970, 1, 1)).days)
        granted = []
        with contextlib.suppress(RefusedError):
            granted = [await treatment.check(CHEEK)]
        measured("starts", len(granted))
        assert not granted
        assert [refusal.limit.layer for _, refusal in treatment.refusals] == ["cartridge"]
        (caution,) = treatment.intake.cautions()
        assert "clock" in caution.text


# --- the broker ------------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H18")
async def test_stop_waits_for_no_broker(tmp_path: Path) -> None:
    async with (
        Journal.open(tmp_path / "journal.sqlite") as journal,
        Publisher(journal, f"mqtt://127.0.0.1:{free_port()}", "clinic", "PEN-0001") as sender,
        in_process() as bench,
        Pen.open(bench.transport()) as pen,
    ):
        await run_needles(pen)
        for number in range(5000):
            journal.post("s1", "tick", {"number": number}, pen="PEN-0001")
            if number % 100 == 0:
                await asyncio.sleep(0)  # else the lease ends meanwhile on a busy machine
        await until_real(lambda: sender.trouble)
        asked = bench.cables[0].asked
        before = len(asked)
        pen.stop_now("STOP")
        measured("waits", 0 if asked[before:] == [Stop()] else 1)
        assert asked[before:] == [Stop()], "sent before anything could be waited for"
        await until_real(lambda: pen.state.state is PenState.LATCHED)
        await until_real(lambda: sender.status.backlog > 0)


HOSTILE_TOPICS = (
    *(f"pen/v1/clinic/PEN-0001/{kind}" for kind in ("command", "stop", "start", "arm", "set", "status", "state")),
    *("pen/v1/clinic/PEN-0001/event/s1", "ack/v1/clinic/PEN-0001/r1/s1", "ack/v1/clinic/PEN-0001/stop/now"),
    *("pen/v1/clinic/PEN-0001/command/s1", "homeassistant/switch/PEN-0001/set", "pen/stop", "STOP"),
)
HOSTILE_WORDS = (b"", b"STOP", b"-1", b"999999999999", b"\xff\x00" * 500, b'{"command": "stop", "depth_mm": 3}')


@pytest.mark.hazard("H21")
async def test_nothing_that_is_said_over_mqtt_reaches_a_pen(tmp_path: Path) -> None:
    """All that the pen hears meanwhile is its owner's renewals and acknowledgements."""
    async with (
        Journal.open(tmp_path / "journal.sqlite") as journal,
        broker("nats", tmp_path / "broker") as url,
        Publisher(journal, url, "clinic", "PEN-0001") as sender,
        in_process() as bench,
        Pen.open(bench.transport()),
    ):
        await until_real(lambda: sender.status.connected)
        asked = bench.cables[0].asked
        before = len(asked)
        async with aiomqtt.Client(url.host, url.port, identifier="stranger") as stranger:
            for topic in HOSTILE_TOPICS:
                for word in HOSTILE_WORDS:
                    await stranger.publish(topic, word, qos=1, retain=bool(len(word) % 2))
            ignored = sender.status.ignored_acks
            await stranger.publish("ack/v1/clinic/PEN-0001/r1/s1", b"last", qos=1)
        await until_real(lambda: sender.status.ignored_acks > ignored, "the last word to be heard")
        await until_real(lambda: isinstance(asked[-1], Renew) and len(asked) > before + 3)
        strange = [message for message in asked[before:] if not isinstance(message, Renew | AckEvents)]
        measured("reached", len(strange), of=len(HOSTILE_TOPICS) * len(HOSTILE_WORDS))
        assert strange == []
        assert bench.pen.firmware.state is PenState.IDLE
        assert bench.pen.body.true_strokes == 0
