"""Whatever becomes of a journal on its disk: what is read is what was written, or somebody says that it is not.

A sample of it; all of it by `python -m tests.damage`.
"""

import itertools
import os
import random
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pen_controller import files
from pen_controller.journal import Journal, JournalError, Record
from pen_controller.report import reading
from pen_controller.report.verifying import verified
from pen_controller.service import treatment_service
from tests.damage import (
    RECORDS,
    SESSIONS,
    Bench,
    Damage,
    Files,
    benched,
    beside,
    fault,
    lose_power,
    lose_power_again,
    made,
    write_and_note,
)
from tests.lines import CONFIG, by_tcp
from tests.power_loss import Op, losses

PAGE_BYTES, PAGE_HEADER_BYTES, FILE_HEADER_BYTES = 4096, 12, 100
LOG_HEADER_BYTES, FRAME_HEADER_BYTES, INDEX_HEADER_BYTES = 32, 24, 136
NOBODY = "nobody: the record is as it was written"


@pytest.fixture(scope="module")
def closed() -> Files:
    return made("closed")


@pytest.fixture(scope="module")
def killed() -> Files:
    return made("killed")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with benched() as bench:
        yield bench


@pytest.fixture
def chance() -> random.Random:
    return random.Random(1)  # noqa: S311  # chance in a test, no secret


async def reported(bench: Bench, files: Files, damages: Iterable[Damage]) -> Counter[str]:
    """Do each damage; fail where it is overlooked; count who reports it."""
    whole = await bench.see(files)
    assert whole.reported_by() == NOBODY
    counts: Counter[str] = Counter()
    for damage in damages:
        seen = await bench.see(damage.done_to(files))
        assert not (wrong := fault(seen, whole)), (damage, wrong)
        counts[seen.reported_by()] += 1
    return counts


async def test_no_changed_bit_passes_for_what_was_written(bench: Bench, closed: Files, chance: random.Random) -> None:
    """Of all bytes of the headers, a fifth of the content, and a few of those that are not used, one bit each."""
    content = closed[""]
    headers = [at for at in range(len(content)) if at % PAGE_BYTES < PAGE_HEADER_BYTES or at < FILE_HEADER_BYTES]
    used = [at for at, byte in enumerate(content) if byte]
    places = {*headers, *chance.sample(used, len(used) // 5), *chance.sample(range(len(content)), 200)}
    counts = await reported(bench, closed, [Damage("", at, chance.randrange(8)) for at in sorted(places)])
    assert {"verify", "open", "verify, report, open", NOBODY} <= counts.keys()


async def test_no_journal_that_was_cut_off_passes_for_a_shorter_one(
    bench: Bench, closed: Files, chance: random.Random
) -> None:
    size = len(closed[""])
    pages = {at + more for at in range(0, size, PAGE_BYTES) for more in (0, 1, PAGE_BYTES - 1)}
    cuts = sorted(pages | {*range(FILE_HEADER_BYTES), *chance.sample(range(size), 150)})
    assert NOBODY not in await reported(bench, closed, [Damage("", at, None) for at in cuts])


async def test_a_damaged_key_is_no_key_or_another_one(bench: Bench, closed: Files) -> None:
    """Every bit of it: some make no key of the file, one the name of another kind of key."""
    damages = [Damage(".key", at, bit) for at in range(len(closed[".key"])) for bit in range(8)]
    cuts = [Damage(".key", at, None) for at in range(len(closed[".key"]) - 1)]
    counts = await reported(bench, closed, damages + cuts)
    assert counts[NOBODY] <= len(damages) // 90, "line ends, and bits that no key is made of"


async def test_no_damaged_log_passes_for_a_shorter_one(bench: Bench, killed: Files, chance: random.Random) -> None:
    """Each header, and of each page some bytes; also cut off in each."""
    size = len(killed["-wal"])
    frames = range(LOG_HEADER_BYTES, size, FRAME_HEADER_BYTES + PAGE_BYTES)
    places = {*range(LOG_HEADER_BYTES), *chance.sample(range(size), 60)}
    for frame in frames:
        places |= {frame + chance.randrange(8 * part, 8 * part + 8) for part in range(3)}
    damages = [Damage("-wal", at, chance.randrange(8)) for at in sorted(places)]
    cuts = [Damage("-wal", at, None) for at in [0, 1, *frames, *chance.sample(range(size), 20)]]
    assert set(await reported(bench, killed, damages + cuts)) == {"verify, report, open"}


async def test_a_damaged_index_of_the_log_costs_nothing(bench: Bench, killed: Files, chance: random.Random) -> None:
    """Nor does it raise a false alarm, but where it says by itself what it never said."""
    places = [*range(0, INDEX_HEADER_BYTES, 2), *chance.sample(range(len(killed["-shm"])), 30)]
    cuts = [Damage("-shm", at, None) for at in (0, 1, 47, 48, 95, 96, 99, 100, 136, 4096, 32767)]
    counts = await reported(bench, killed, [Damage("-shm", at, chance.randrange(8)) for at in places] + cuts)
    assert set(counts) == {NOBODY}


async def test_looking_at_a_damaged_log_does_not_wipe_out_that_it_is(bench: Bench, killed: Files) -> None:
    """SQLite makes the index anew when it opens a file, also to read it only, and then nobody knows of the end."""
    path = bench.put(Damage("-wal", len(killed["-wal"]) - 100, 3).done_to(killed))
    for _ in range(2):
        for look in (verified, reading.sessions, reading.records):
            with pytest.raises(JournalError, match=r"its log journal\.db-wal has lost records"):
                look(path)
        with pytest.raises(JournalError, match=r"its log journal\.db-wal has lost records"):
            async with Journal.open(path):
                pass


async def test_a_verdict_that_is_kept_keeps_no_file_open(bench: Bench) -> None:
    """Else the log of a journal that is open meanwhile could not be begun anew, nor be taken away at its end."""
    async with Journal.open(bench.path) as journal:
        for number in range(3):
            await journal.append("s1", "skin", {"number": number}, pen="p1")
    bench.path.write_bytes(bench.path.read_bytes().replace(b'"number":1', b'"number":7'))
    async with Journal.open(bench.path):
        verdict = verified(bench.path)
    assert verdict.broken is not None
    assert not beside(bench.path, "-wal").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no folder")
def test_the_name_of_a_key_is_on_the_disk_before_anything_is_signed_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal whose key is gone would be signed with another one from then on."""
    done: list[str] = []
    synced, replace = os.fsync, Path.replace

    def sync(file: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        synced(file)

    def name(part: Path, to: Path) -> Path:
        done.append("named")
        return replace(part, to)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", name)
    files.save(tmp_path / "key", b"key")
    assert done == ["file", "named", "folder"]


async def test_without_its_index_a_log_that_is_whole_is_read_and_one_that_is_gone_is_missed(
    bench: Bench, killed: Files
) -> None:
    whole = await bench.see(killed)
    assert await bench.see(_without(killed, "-shm")) == whole
    seen = await bench.see(_without(killed, "-wal"))
    assert seen.reported_by() == "verify, report, open"


async def test_without_its_index_no_damage_of_a_log_costs_more_than_the_last_commit(
    bench: Bench, killed: Files, chance: random.Random
) -> None:
    """A last commit that is torn is what a loss of power leaves of one that nobody was told is durable."""
    bare, size = _without(killed, "-shm"), len(killed["-wal"])
    places = [*range(LOG_HEADER_BYTES), *range(LOG_HEADER_BYTES, size, 331)]
    damages = [Damage("-wal", at, chance.randrange(8)) for at in places]
    counts: Counter[object] = Counter()
    for damage in damages:
        seen = await bench.see(damage.done_to(bare))
        counts[seen.verified if seen.reported_by() == NOBODY else "reported"] += 1
    assert counts.keys() <= {"reported", RECORDS, RECORDS - 1}
    assert counts["reported"] > len(damages) / 2


async def test_a_log_that_is_gone_with_its_index_needs_a_witness(bench: Bench, killed: Files) -> None:
    """It is the journal as it was before: whoever has kept a head can tell."""
    head = verified(bench.put(killed)).head
    seen = await bench.see(_without(killed, "-shm", "-wal"))
    assert seen.verified == RECORDS / 2
    bench.put(_without(killed, "-shm", "-wal"))
    assert "the end is cut off" in str(verified(bench.path, witness=head).broken)


def _without(files: Files, *gone: str) -> Files:
    return {name_end: content for name_end, content in files.items() if name_end not in gone}


async def test_a_log_and_its_index_both_damaged_leave_what_was_before_the_damage(
    bench: Bench, killed: Files, chance: random.Random
) -> None:
    """Then only who has kept a head can tell that the end is cut off; of what is there nothing is other."""
    whole = list(itertools.chain(*(await bench.see(killed)).reported[0]))
    kept = Counter[str]()
    for _ in range(60):
        index = Damage("-shm", chance.randrange(48), chance.randrange(8))
        log = Damage("-wal", chance.randrange(len(killed["-wal"])), chance.randrange(8))
        path = bench.put(log.done_to(index.done_to(killed)))
        try:
            verdict = verified(path)
            async with Journal.open(path) as journal:
                records = [record for session in SESSIONS for record in journal.read(session)]
        except JournalError as error:
            kept[str(error)] += 1
            continue
        assert verdict.broken is None
        kept["a part"] += 1
        assert records == whole[: len(records)]
    assert kept


async def test_an_empty_file_beside_a_key_has_lost_its_records(bench: Bench, closed: Files) -> None:
    path = bench.put(closed | {"": b""})
    for _ in range(2):
        with pytest.raises(JournalError, match=r"it is empty, but a key is beside it: put back a copy of what it was"):
            async with Journal.open(path):
                pass
    path.unlink()  # as a person does who begins a new one
    async with Journal.open(path) as journal:
        assert journal.sessions() == []


async def test_what_was_promised_is_there_after_a_loss_of_power_at_any_moment(
    bench: Bench, chance: random.Random
) -> None:
    written, ops, key = await noted(bench, "FULL")
    assert {("write", ""), ("write", "-wal"), ("delete", "-wal")} <= {(op.kind, op.name_end) for op in ops}
    wrong = [wrong async for wrong in lose_power(bench, written, losses(ops, chance, 1), key)]
    assert len(wrong) > 3 * len(ops)
    assert not any(wrong), list(filter(None, wrong))


async def test_and_after_another_loss_while_what_the_first_has_left_is_read(
    bench: Bench, chance: random.Random
) -> None:
    """What a torn commit has left in the log is no damage, the second time either."""
    _, ops, key = await noted(bench, "FULL")
    some = chance.sample(list(losses(ops, chance, 1)), 8)
    wrong = [wrong async for wrong in lose_power_again(bench, some, key, chance)]
    assert wrong
    assert not any(wrong), list(filter(None, wrong))


async def test_a_loss_of_power_shows_what_was_promised_and_not_synced(bench: Bench, chance: random.Random) -> None:
    """That the tests before this one can fail."""
    written, ops, key = await noted(bench, "NORMAL")
    assert any([wrong async for wrong in lose_power(bench, written, losses(ops[:80], chance, 0), key)])


async def noted(bench: Bench, synchronous: str) -> tuple[list[Record], list[Op], bytes]:
    """Write a journal; return its records, what SQLite did, and the key."""
    try:
        written, ops = await write_and_note(bench.path, synchronous)
    except (OSError, AttributeError) as error:
        pytest.skip(f"this Python hides its SQLite, and what it does cannot be noted: {error}")
    return written, ops, beside(bench.path, ".key").read_bytes()


async def test_a_treatment_is_not_taken_up_by_a_record_that_was_changed(bench: Bench) -> None:
    async with Journal.open(bench.path) as journal:
        body = {"treatment": 7, "boot_id": 5, "practice": True}
        await journal.append("s1", "treatment_begun", body, pen="PEN-0001")
    bench.path.write_bytes(bench.path.read_bytes().replace(b'"treatment":7', b'"treatment":8'))
    async with by_tcp() as sim:
        with pytest.raises(JournalError, match=r"it does not hold: record 1 .*; begin a new treatment"):
            async with treatment_service(sim.url, bench.path, CONFIG, broker=None, resume="s1"):
                pass
