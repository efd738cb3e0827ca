"""All damage of a small journal, bit by bit: `python -m tests.damage [--every N] [--draws N] [--seed N] [WHAT ...]`.

WHAT is `bits` and `cuts` of a journal that was closed, `log`, `log-cuts`, `index` and `index-cuts` of one whose program
was killed, `key`, and `power` lost at each moment; all of it, some hours long, if left out. Each case is looked at as
the product does: `pen verify`, `pen report` and opening it. Exit status 0 if each time what is read is what was
written, or somebody says that it is not; after a loss of power all that was promised must be there, and hold.

What nobody says, because nothing of the record is changed: bytes that SQLite does not use, and the publishers' places
(`cursor`), which are no part of the record.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pen_controller.journal import Journal, JournalError, Outlet, Record
from pen_controller.report import reading
from pen_controller.report.verifying import verified
from tests.power_loss import Op, losses, recording

SESSIONS = ("s1", "s2")
RECORDS = 6
FILES = ("", "-wal", "-shm", "-journal", ".key")
MEMORY = Path("/dev/shm")  # noqa: S108  # Linux's file system in memory: nothing here is about a real disk
WRONG = "WRONG:"
ONE_LINE = re.compile(r"journal [^\n:]*(:\\[^\n:]*)?: it[^\n:]*: [^\n]+")
"""What is said of a file: its name, what is wrong, what to do."""

Files = dict[str, bytes]
"""A journal and what is beside it: content by the end of its name."""


# --- a small journal --------------------------------------------------------------------------------------------------


async def write(path: Path, end: str) -> None:
    """Write six records of two sessions, each in an opening of its own; be killed in the second, if that is the end."""
    kinds: list[tuple[str, Outlet | None]] = [("treatment_begun", "event"), ("skin", None), ("pass", "pass")]
    for session in SESSIONS:
        async with Journal.open(path) as journal:
            for number, (kind, topic) in enumerate(kinds):
                body = {"number": number, "note": "Stirn – vorsichtig"}
                await journal.append(session, kind, body, pen="p1", pen_t_us=number, topic=topic)
            journal.move_cursor("publisher", number)
            await journal.flush()
            if (session, end) == (SESSIONS[-1], "killed"):
                os._exit(0)


WRITER = """
import asyncio, pathlib, sys
from tests import damage
asyncio.run(damage.write(pathlib.Path(sys.argv[1]), sys.argv[2]))
"""


def made(end: str) -> Files:
    """Return a small journal that was `closed`, or whose program was `killed`, half of it in its log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        command = [sys.executable, "-c", WRITER, str(path), end]
        subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[1])
        return {each: beside(path, each).read_bytes() for each in FILES if beside(path, each).exists()}


def beside(path: Path, name_end: str) -> Path:
    return path.with_name(path.name + name_end)


async def write_and_note(path: Path, synchronous: str = "FULL") -> tuple[list[Record], list[Op]]:
    """Write a journal in two openings, with records that nobody waits for; return them, and what SQLite did.

    Raises:
        OSError, AttributeError: this Python's SQLite cannot be watched.
    """
    with recording(path) as recorder:
        for opening in range(2):
            async with Journal.open(path) as journal:
                recorder.promise(len(journal.read("s1")))
                # The log is begun anew after so many pages, not 1,000: the same, but sooner.
                journal._db.executescript(f"PRAGMA wal_autocheckpoint = 20; PRAGMA synchronous = {synchronous}")
                for number in range(4):
                    for posted in range(number):
                        journal.post("s1", "pass", {"posted": posted, "text": "x" * 400}, pen="p1")
                    kind = "treatment_begun" if opening == number == 0 else "skin"
                    recorder.promise((await journal.append("s1", kind, {"number": number}, pen="p1")).id)
                    journal.move_cursor("publisher", number)
                records = journal.read("s1")
    return records, recorder.ops


# --- what is made of it -----------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What the product makes of some files: content, or the error that says why there is none."""

    verified: Any
    """How many records hold; or what does not."""
    reported: Any
    opened: Any

    def reported_by(self) -> str:
        """Who says that the files are damaged, in words."""
        sayers = [name for name, said in zip(("verify", "report", "open"), self, strict=True) if is_error(said)]
        return ", ".join(sayers) or "nobody: the record is as it was written"


def is_error(said: object) -> bool:
    return isinstance(said, Exception)


class Bench:
    """A folder in which files are looked at, again and again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"

    def put(self, files: Files) -> Path:
        """Lay files there, and nothing else; return the journal."""
        for name_end in FILES:
            if name_end in files:
                beside(self.path, name_end).write_bytes(files[name_end])
            else:
                beside(self.path, name_end).unlink(missing_ok=True)
        return self.path

    async def see(self, files: Files) -> Seen:
        """Look at files as the product does, in the order that leaves most of them as they are.

        Raises whatever is no proper error of the product's.
        """
        self.put(files)
        return Seen(_said(self._verify), _said(self._report), await self._open())

    def _verify(self) -> int:
        verdict = verified(self.path)
        if verdict.broken is not None:
            raise verdict.broken
        return verdict.records

    def _report(self) -> Any:
        return [reading.records(self.path, session) for session in SESSIONS], reading.sessions(self.path)

    async def _open(self) -> Any:
        try:
            async with Journal.open(self.path) as journal:
                seen = [journal.read(session) for session in SESSIONS]
                known = journal.sessions(), journal.head(), journal.published_after(0, pen="p1")
                one_more = await journal.append("s3", "x", {}, pen="p1")
                return seen, *known, one_more[:8], journal.read("s3") == [one_more]
        except JournalError as error:
            return error


@contextlib.contextmanager
def benched() -> Iterator[Bench]:
    """A bench in memory, if the system has files there."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Bench(Path(folder))


def _said(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except UnicodeDecodeError:  # a ValueError, but not one for a person
        raise
    except (JournalError, ValueError) as error:
        return error


def fault(seen: Seen, whole: Seen) -> str:
    """Return what the product did wrong; nothing if it did not."""
    for said in seen:
        if isinstance(said, JournalError) and not ONE_LINE.fullmatch(str(said)):
            return f"no clear line: {said}"
    if is_error(seen.verified):
        return ""
    if (seen.verified, seen.reported) != (whole.verified, whole.reported):
        return f"passes as verified: {seen.reported}"
    if not is_error(seen.opened) and seen.opened != whole.opened:
        return f"is opened, and verified, and other: {seen.opened}"
    return ""


# --- all that can be damaged ------------------------------------------------------------------------------------------


class Damage(NamedTuple):
    """One bit that is another (at a byte), or one file cut off (before a byte)."""

    name_end: str
    at: int
    bit: int | None

    def done_to(self, files: Files) -> Files:
        content = bytearray(files[self.name_end])
        if self.bit is None:
            del content[self.at :]
        else:
            content[self.at] ^= 1 << self.bit
        return files | {self.name_end: bytes(content)}


def bits(files: Files, name_end: str) -> Iterator[Damage]:
    return (Damage(name_end, at, bit) for at in range(len(files[name_end])) for bit in range(8))


def cuts(files: Files, name_end: str) -> Iterator[Damage]:
    return (Damage(name_end, at, None) for at in range(len(files[name_end])))


KINDS: dict[str, tuple[str, str, Callable[[Files, str], Iterator[Damage]]]] = {
    "bits": ("closed", "", bits),
    "cuts": ("closed", "", cuts),
    "key": ("closed", ".key", bits),
    "log": ("killed", "-wal", bits),
    "log-cuts": ("killed", "-wal", cuts),
    "index": ("killed", "-shm", bits),
    "index-cuts": ("killed", "-shm", cuts),
}


async def look_at_all(bench: Bench, kind: str, every: int, chance: random.Random) -> Counter[str]:
    """Do all damage of one kind, or one in so many, with a bar; count who reports it, or what is wrong."""
    end, name_end, all_of = KINDS[kind]
    files = made(end)
    damages = [damage for damage in all_of(files, name_end) if every == 1 or chance.randrange(every) == 0]
    counts: Counter[str] = Counter()
    whole = await bench.see(files)
    for damage in track(damages, kind, console=Console(stderr=True)):
        try:
            seen = await bench.see(damage.done_to(files))
            wrong = fault(seen, whole)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
            wrong = repr(error)
        counts[f"{WRONG} {damage}: {wrong}" if wrong else seen.reported_by()] += 1
    return counts


Lost = Iterable[tuple[int | None, dict[str, bytes]]]
"""What losses of power have left; see `power_loss.losses`."""


async def lose_power(bench: Bench, written: list[Record], lost: Lost, key: bytes) -> AsyncIterator[str]:
    """Open what each loss of power has left; yield each time what is wrong, or nothing."""
    for promised, left in lost:
        path = bench.put(left if promised is None else left | {".key": key})
        try:
            async with Journal.open(path) as journal:
                records = journal.read("s1")
            broken = verified(path).broken
        except JournalError as error:
            yield f"{promised} promised: {error}"
            continue
        if records != written[: len(records)] or len(records) < (promised or 0) or broken:
            yield f"{promised} promised, {len(records)} there: {broken}"
        else:
            yield ""


async def lose_power_again(bench: Bench, lost: Lost, key: bytes, chance: random.Random) -> AsyncIterator[str]:
    """Open what each loss of power has left, write on, and lose power again meanwhile."""
    for promised, left in lost:
        if promised is None:
            continue
        files = left | {".key": key}
        with recording(bench.put(files)) as recorder:
            async with Journal.open(bench.path) as journal:
                await journal.append("s1", "skin", {"again": True}, pen="p1")
                written = journal.read("s1")
                recorder.promise(len(written))
        async for wrong in lose_power(bench, written, losses(recorder.ops, chance, 1, files, promised), key):
            yield wrong


async def lose_power_often(bench: Bench, draws: int, chance: random.Random) -> Counter[str]:
    """Do that with a new journal; count what is wrong."""
    written, ops = await write_and_note(bench.path)
    key = beside(bench.path, ".key").read_bytes()
    with Console(stderr=True).status("power"):
        found = [wrong async for wrong in lose_power(bench, written, losses(ops, chance, draws), key)]
        some = chance.sample(list(losses(ops, chance, 1)), 10 * draws)
        found += [wrong async for wrong in lose_power_again(bench, some, key, chance)]
    return Counter(f"{WRONG} {wrong}" if wrong else "nobody: what was promised is there" for wrong in found)


def main() -> int:
    """Do it; the exit status says whether all damage was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.damage", description=__doc__)
    kinds = (*KINDS, "power")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(kinds)} (default all)")
    parser.add_argument("--every", type=int, default=1, help="do one in so many, by chance (default 1: all)")
    parser.add_argument(
        "--draws", type=int, default=10, help="ways of each kind to lose power at a moment (default 10)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all chance (default 1)")
    options = parser.parse_args()
    if options.every < 1 or options.draws < 0:
        parser.error("--every: give 1 or more; --draws: 0 or more")
    if unknown := set(options.what) - set(kinds):
        parser.error(f"{', '.join(unknown)}: use {', '.join(kinds)}")
    table, good = Table("damage", "reported by", "cases"), True
    for kind in options.what or kinds:
        chance = random.Random(options.seed)  # noqa: S311  # a simulation, not a secret
        with benched() as bench:
            doing = (
                look_at_all(bench, kind, options.every, chance)
                if kind in KINDS
                else lose_power_often(bench, options.draws, chance)
            )
            counts = asyncio.run(doing)
        for said, cases in sorted(counts.items()):
            table.add_row(kind, said, str(cases))
            good = good and not said.startswith(WRONG)
    Console().print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
