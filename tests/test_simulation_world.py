"""The simulated world's own parts: its clock, its line with every fault, its disk. What they say happened, happened."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pen_controller.journal import JournalError, Record
from tests.simulation.clock import Clock, WorldLoop
from tests.simulation.disk import Disk, VirtualJournal
from tests.simulation.script import TO_PEN, Act, What
from tests.simulation.seams import BEGINS
from tests.simulation.way import Way

FRAMES = [b"\0" + bytes([1 + n % 250]) * (10 + n % 7) + bytes([1 + n // 250]) + b"\0" for n in range(400)]
LATENCY_US = 1_000


def seeded() -> random.Random:
    return random.Random(1)  # noqa: S311  # a simulation, not a secret


def in_world(test: Callable[[Clock], Coroutine[Any, Any, None]]) -> None:
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: WorldLoop(clock)) as runner:
        runner.run(test(clock))


# --- clock -----------------------------------------------------------------------------------------------------------


def test_things_happen_in_the_order_of_their_times_and_then_as_asked() -> None:
    clock, said = Clock(), list[tuple[int, str]]()
    for t_us, word in ((30, "c"), (10, "a"), (30, "d"), (20, "b")):
        clock.at(t_us, lambda each: said.append((clock.now_us, each)), word)
    clock.run(25)
    assert (clock.now_us, said) == (25, [(10, "a"), (20, "b")])
    clock.run(40)
    assert said[2:] == [(30, "c"), (30, "d")]


def test_a_blocked_host_wakes_late_and_a_sleeping_machine_does_not_know_how_late() -> None:
    async def test(clock: Clock) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WorldLoop)
        seen: list[int] = []
        clock.after(500, lambda: seen.append(clock.now_us))
        loop.call_soon(loop.block, 2_000_000)
        await asyncio.sleep(1)
        assert (loop.time(), clock.now_us, seen) == (2.0, 2_000_000, [500_000])
        loop.call_soon(loop.sleep, 5_000_000)
        await asyncio.sleep(1)
        assert (loop.time(), clock.now_us) == (3.0, 8_000_000)

    in_world(test)


# --- line ------------------------------------------------------------------------------------------------------------


class Tried:
    """A way with one fault, and what came out at its other end."""

    def __init__(self, what: What | None, chance: float = 1.0, figure: float = 0.0) -> None:
        self.clock = Clock()
        self.came: list[tuple[int, bytes]] = []
        self.lost: list[bytes] = []
        self.damaged = 0
        faults = [] if what is None else [Act(at_ms=0, what=what, way=TO_PEN, chance=chance, figure=figure)]
        self.way = Way(self.clock, seeded(), faults, LATENCY_US, self._come, self._damage, self.lost.append)

    def _come(self, data: bytes) -> None:
        self.came.append((self.clock.now_us, data))

    def _damage(self) -> None:
        self.damaged += 1

    def send_all(self) -> "Tried":
        for frame in FRAMES:
            self.way.send(frame)
            self.clock.run(self.clock.now_us + 5_000)
        self.clock.run(self.clock.now_us + 10_000_000)
        return self

    @property
    def frames(self) -> list[bytes]:
        return [data for _, data in self.came]


def test_a_line_without_fault_is_late_by_its_latency_and_no_more() -> None:
    tried = Tried(None).send_all()
    assert tried.came == [(5_000 * n + LATENCY_US, frame) for n, frame in enumerate(FRAMES)]
    assert tried.lost == []


@pytest.mark.parametrize("what", [What.DROP, What.RADIO_GONE])
def test_what_is_lost_does_not_come_and_is_known_to_be_lost(what: What) -> None:
    tried = Tried(what).send_all()
    assert (tried.frames, tried.lost) == ([], FRAMES)


def test_some_are_dropped_and_the_others_come() -> None:
    tried = Tried(What.DROP, 0.3).send_all()
    assert sorted(tried.frames + tried.lost) == sorted(FRAMES)
    assert 80 < len(tried.lost) < 160


def test_corrupt_frames_come_otherwise() -> None:
    tried = Tried(What.CORRUPT).send_all()
    assert set(tried.frames) & set(FRAMES) == set()
    assert tried.lost == FRAMES
    assert tried.damaged == len(tried.came)


@pytest.mark.parametrize("what", [What.SPLIT, What.MERGE, What.DELAY])
def test_bytes_keep_their_order_however_they_are_cut_or_late(what: What) -> None:
    tried = Tried(what, 0.5).send_all()
    joined, sent = b"".join(tried.frames), b"".join(FRAMES)
    assert sent.startswith(joined)
    assert len(sent) - len(joined) <= max(map(len, FRAMES)), "but for one that waits for the next"
    assert tried.frames != FRAMES or [t_us for t_us, _ in tried.came] != [5_000 * n + LATENCY_US for n in range(400)]


def test_duplicates_come_again_up_to_seconds_later() -> None:
    tried = Tried(What.DUPLICATE).send_all()
    assert sorted(tried.frames) == sorted(FRAMES * 2)
    first: dict[bytes, int] = {}
    apart = [t_us - first[data] for t_us, data in tried.came if first.setdefault(data, t_us) != t_us]
    assert min(apart) < 5_000
    assert max(apart) > 2_000_000


def test_reordered_frames_all_come_in_another_order() -> None:
    tried = Tried(What.REORDER, 0.3).send_all()
    assert sorted(tried.frames) == sorted(FRAMES)
    assert tried.frames != FRAMES


def test_on_a_squeezed_line_stop_overtakes_and_of_the_latest_only_one_waits() -> None:
    tried = Tried(What.SQUEEZE, figure=1_000.0)
    tried.way.send(b"x" * 100)
    for n in range(3):
        tried.way.send(b"renew %d" % n, latest=True)
    tried.way.send(b"other")
    tried.way.send(b"stop", urgent=True)
    tried.clock.run(10_000_000)
    assert tried.frames == [b"x" * 100, b"stop", b"renew 2", b"other"]
    assert tried.came[1][0] == 100_000 + LATENCY_US


def test_nothing_comes_out_of_a_line_that_was_cut() -> None:
    tried = Tried(None)
    tried.way.send(FRAMES[0])
    tried.way.cut()
    tried.clock.run(1_000_000)
    assert tried.frames == []


# --- disk ------------------------------------------------------------------------------------------------------------


def journal_on(disk: Disk, written: list[Record]) -> VirtualJournal:
    return VirtualJournal(disk, written.append)


async def write(journal: VirtualJournal, kind: str) -> Record:
    return await journal.append("s", kind, {}, pen="PEN-0001")


@pytest.mark.parametrize(("killed_after_ms", "kept"), [(1, 0), (3, 0), (5, 1)])
def test_a_killed_program_has_written_what_was_committed_and_no_more(killed_after_ms: float, kept: int) -> None:
    async def test(_: Clock) -> None:
        disk, written = Disk(seeded(), used=BEGINS), list[Record]()
        journal = journal_on(disk, written)
        task = asyncio.create_task(write(journal, "first"))
        await asyncio.sleep(killed_after_ms / 1000)
        journal.die()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        again = journal_on(disk, written)
        assert len(again.read("s")) == len(written) == kept
        assert (await write(again, "next")).seq == kept + 1

    in_world(test)


def test_what_is_posted_waits_a_little_and_is_committed_in_order() -> None:
    async def test(_: Clock) -> None:
        written: list[Record] = []
        journal = journal_on(Disk(seeded(), used=BEGINS), written)
        for kind in ("one", "two"):
            journal.post("s", kind, {}, pen="PEN-0001")
        assert (await write(journal, "three")).seq == 3
        assert [record.kind for record in written] == ["one", "two", "three"]

    in_world(test)


def test_a_full_disk_ends_the_journal_until_it_is_opened_anew() -> None:
    async def test(_: Clock) -> None:
        disk, written = Disk(seeded(), used=BEGINS), list[Record]()
        journal = journal_on(disk, written)
        disk.full = True
        with pytest.raises(JournalError, match="the disk is full"):
            await write(journal, "lost")
        disk.full = False
        with pytest.raises(JournalError):
            await write(journal, "still")
        assert (await write(journal_on(disk, written), "first")).seq == 1
        assert [record.kind for record in written] == ["first"]

    in_world(test)
