"""Disks that are full, read-only or damaged, clocks that jump: a named error, and nothing lost that was promised."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pen_controller.config import PlanArea
from pen_controller.journal import Journal, JournalError, Record
from pen_controller.journal import file as journal_file
from pen_controller.journal import record as journal_record
from pen_controller.pen import Pen
from pen_controller.treatment import Treatment, recovery
from protocols.words import PenState
from tests.lines import CONFIG, PenSim, by_tcp
from tests.running import until

PAGE_BYTES = 4096
LONG = PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=1, size_cm2=40.0)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something on a folder; skip where nobody lets us."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run([mount, *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([umount, "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write in a folder: root by a mount, others by its mode."""
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            stack.enter_context(mounted(folder, "--bind", "-o", "ro", str(folder)))
        else:
            folder.chmod(0o500)
            stack.callback(folder.chmod, 0o700)
        yield


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=512k", "tmpfs"):
        yield folder


def fill(disk: Path) -> Path:
    """Fill the disk to the last byte; return the file that does, to be deleted."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(PAGE_BYTES)):
            pass
    return filler


async def all_seqs(path: Path) -> list[int]:
    async with Journal.open(path) as journal:
        return [record.seq for record in journal.read("s1", limit=100_000)]


async def test_on_a_full_disk_no_journal_opens(disk: Path) -> None:
    filler = fill(disk)
    for _ in range(2):
        with pytest.raises(JournalError, match=r"journal\.db: the disk is full: make room, then start again"):
            async with Journal.open(disk / "journal.db"):
                pass
    filler.unlink()
    assert await all_seqs(disk / "journal.db") == []


@pytest.mark.hazard("H19", "H17")
async def test_what_was_promised_is_there_when_the_disk_has_room_again(disk: Path) -> None:
    promised: list[int] = []

    async def append_for_ever(journal: Journal) -> None:
        while True:
            promised.append((await journal.append("s1", "x", {"text": "x" * 500}, pen="p1")).seq)

    async with Journal.open(disk / "journal.db") as journal:
        await journal.append("s1", "x", {}, pen="p1")
        filler = fill(disk)
        with pytest.raises(JournalError, match="the disk is full"):
            await append_for_ever(journal)
        journal.post("s1", "stop", {}, pen="p1")  # the path of STOP is not disturbed
        filler.unlink()
        with pytest.raises(JournalError, match="the disk is full"):  # it stays so: there would be a gap
            await journal.append("s1", "x", {}, pen="p1")
    assert await all_seqs(disk / "journal.db") == [1, *promised]


@pytest.mark.hazard("H19")
async def test_a_disk_that_fills_up_stops_the_needles_and_the_treatment_can_be_taken_up(disk: Path) -> None:
    promised: list[Record] = []

    async def fill_the_disk(sim: PenSim) -> None:
        async with (
            Journal.open(disk / "journal.db") as journal,
            Pen.open(sim.transport()) as pen,
            Treatment(pen, journal, CONFIG, "fine_lines", 2) as treatment,
        ):
            treating = asyncio.create_task(treatment.treat(LONG))
            await until(lambda: pen.state.state is PenState.RUNNING, "the needles to run")
            await until(lambda: treatment.areas["cheek"].punctures > 0, "the needles to touch the skin")
            promised.extend(journal.read(treatment.session))
            fill(disk)
            with pytest.raises(JournalError, match="the disk is full"):
                await treating
            await until(lambda: pen.state.stopped, "the needles to stop")

    async with by_tcp() as sim:
        with pytest.raises(JournalError, match="the disk is full"):
            await fill_the_disk(sim)
        (disk / "filler").unlink()
        session = promised[0].session
        async with Journal.open(disk / "journal.db") as journal, Pen.open(sim.transport()) as pen:
            assert journal.read(session, limit=len(promised)) == promised
            async with Treatment.restore(pen, journal, CONFIG, session) as again:
                assert again.interrupted
                assert again.areas["cheek"].punctures > 0


@pytest.mark.skipif(sys.platform == "win32", reason="a folder is made read-only in other ways on Windows")
async def test_a_folder_that_is_read_only_is_said_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with Journal.open(folder / "old.db") as journal:
        await journal.append("s1", "x", {}, pen="p1")
    with read_only(folder):
        for name in ("new.db", "old.db"):
            with pytest.raises(JournalError, match=rf"{name}: it .* writable"):
                async with Journal.open(folder / name):
                    pass
    assert await all_seqs(folder / "old.db") == [1]


async def test_a_program_that_does_not_let_go_of_the_file_is_said_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "journal.db"
    async with Journal.open(path) as journal:
        await journal.append("s1", "x", {}, pen="p1")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match=r"journal\.db: another process has it: close that one"):
                await journal.append("s1", "x", {}, pen="p1")
        with pytest.raises(JournalError, match="another process has it"):
            await journal.flush()
    assert await all_seqs(path) == [1]


@pytest.mark.hazard("H23")
async def test_no_damaged_page_passes_for_a_record_or_for_none(tmp_path: Path) -> None:
    """Each page in turn, the last one too: what is read is what was written, or an error that says so."""
    whole = tmp_path / "whole.db"
    async with Journal.open(whole) as journal:
        for number in range(60):
            journal.post("s1", "x", {"number": number, "text": "x" * 700}, pen="p1")
    content, path = whole.read_bytes(), tmp_path / "damaged.db"
    pages = len(content) // PAGE_BYTES
    refused: dict[int, str] = {}
    for page in range(pages):
        at = page * PAGE_BYTES
        path.write_bytes(content[:at] + b"\xff" * PAGE_BYTES + content[at + PAGE_BYTES :])
        try:
            async with Journal.open(path) as journal:
                assert [record.body["number"] for record in journal.read("s1")] == list(range(60))
                assert [record.out_seq for record in journal.published_after(0, pen="p1")] == list(range(1, 61))
                assert (await journal.append("s1", "x", {}, pen="p1")).seq == 61
        except JournalError as error:
            refused[page] = str(error)
    assert {0, pages - 1} <= refused.keys()
    assert all("damaged.db: it is" in error for error in refused.values()), refused
    assert len(refused) > pages - 3, "a page that nobody reads"


KILLED = """
    import asyncio, os, sys
    from pen_controller.journal import Journal
    async def main():
        async with Journal.open(sys.argv[1]) as journal:
            for _ in range(20):
                await journal.append("s1", "x", {}, pen="p1")
            os._exit(1)
    asyncio.run(main())
"""


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """A journal of 20 records whose program was killed: they are in its log."""
    path = tmp_path / "journal.db"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    await asyncio.to_thread(subprocess.run, command, timeout=30, check=False)
    return path


@pytest.mark.parametrize("damage", ["last page", "cut off", "middle", "header", "sums", "gone"])
async def test_a_damaged_log_is_not_taken_for_a_shorter_one(killed: Path, damage: str) -> None:
    log = killed.with_name("journal.db-wal")
    content = bytearray(log.read_bytes())
    at = {"last page": -100, "middle": len(content) // 2, "header": 0, "sums": 24}.get(damage)
    if at is not None:
        content[at] ^= 0xFF
    log.write_bytes(content[:-1] if damage == "cut off" else content)
    if damage == "gone":
        log.unlink()
    for _ in range(2):  # the refusal leaves what is to be examined
        with pytest.raises(JournalError, match=r"its log journal\.db-wal has lost records: keep journal\.db and what"):
            async with Journal.open(killed):
                pass


async def test_a_whole_log_is_read_and_so_is_one_with_an_end_that_was_never_committed(killed: Path) -> None:
    log = killed.with_name("journal.db-wal")
    with log.open("ab") as file:  # as a loss of power leaves it
        file.write(log.read_bytes()[32 : 32 + 24 + 1000])
    assert await all_seqs(killed) == list(range(1, 21))


async def test_a_log_whose_index_is_of_an_earlier_one_is_read(killed: Path) -> None:
    """The index is not synced: after a loss of power it may be an old one."""
    index = killed.with_name("journal.db-shm")
    header = bytearray(index.read_bytes()[:48])
    header[32:40] = b"old salt"
    header[16:20] = (10_000).to_bytes(4, sys.byteorder)
    index.write_bytes(bytes(header) * 2 + index.read_bytes()[96:])
    assert await all_seqs(killed) == list(range(1, 21))


async def test_a_torn_index_is_no_evidence(killed: Path) -> None:
    index = killed.with_name("journal.db-shm")
    index.write_bytes(bytes(48) + index.read_bytes()[48:])
    assert await all_seqs(killed) == list(range(1, 21))


@pytest.mark.hazard("H20")
async def test_a_clock_that_is_set_back_a_year_changes_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    async with Journal.open(path) as journal:
        await journal.append("s1", "treatment_begun", {}, pen="p1")
        monkeypatch.setattr(journal_record, "utc_now", lambda: "2025-01-01T00:00:00.000+00:00")
        await journal.append("s1", "summary", {}, pen="p1")
    async with Journal.open(path) as journal:
        await journal.append("s2", "treatment_begun", {}, pen="p1")
        assert [record.seq for record in journal.read("s1")] == [1, 2]
        assert journal.read("s1")[0].wall > journal.read("s1")[1].wall
        assert [record.session for record in journal.published_after(0, pen="p1")] == ["s1", "s1", "s2"]
        assert [info.session for info in journal.sessions()] == ["s1", "s2"]
        assert recovery.unended(journal, "p1") == "s2"
