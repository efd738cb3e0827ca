"""The chain by itself: what a hash is made of, what a checkpoint signs, and what following them finds."""

import hashlib
import re
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.journal import chain
from pen_controller.journal.chain import BrokenError, Checkpoint, Head
from pen_controller.journal.record import Record

GENESIS = Head(0, bytes(32))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WALL = "2026-11-22T12:00:00.000+00:00"
FIELDS = st.tuples(*[st.one_of(st.none(), st.integers(), st.text())] * 10)


def record(number: int, session: str = "s1", seq: int | None = None, kind: str = "x") -> Record:
    return Record(
        number, session, seq or number, "event", 1, kind, "p1", None, WALL, '{"note":"Stirn – \\"vorsichtig\\""}'
    )


def chained(records: list[Record]) -> list[tuple[Record, bytes]]:
    rows, before = [], GENESIS.hash
    for each in records:
        before = chain.link(before, each)
        rows.append((each, before))
    return rows


def broken(rows: list[tuple[Record, bytes]], *marks: Checkpoint, witness: Head | None = None) -> str:
    """What is said of a chain; nothing if it holds."""
    try:
        for _ in chain.verify(rows, {each.record_id: each for each in marks}, before=GENESIS, witness=witness):
            pass
    except BrokenError as error:
        return str(error)
    return ""


def test_a_hash_is_what_the_documentation_says() -> None:
    """In bytes, so that somebody else can check a record with another program."""
    array = '[7,"s1",7,"event",1,"x","p1",null,"' + WALL + r'","{\"note\":\"Stirn – \\\"vorsichtig\\\"\"}"]'
    assert chain.link(b"before", record(7)) == hashlib.sha256(b"before" + array.encode()).digest()


@given(FIELDS, FIELDS, st.binary(min_size=32, max_size=32))
def test_no_two_records_have_the_same_hash(one: tuple[int, ...], other: tuple[int, ...], before: bytes) -> None:
    same = one == other
    assert (chain.link(before, one) == chain.link(before, other)) == same
    assert chain.link(before, one) != chain.link(before[::-1] + b"x", one)


@pytest.mark.hazard("H23")
def test_a_checkpoint_holds_only_as_it_was_signed() -> None:
    signed = Checkpoint.sign(KEY, Head(7, bytes(32)), WALL)
    assert signed.holds()
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    for change in (
        {"record_id": 8}, {"hash": bytes(31) + b"x"}, {"wall": ""}, {"public_key": other}, {"public_key": b"short"},
        {"signature": bytes(64)}, {"signature": b""},
    ):  # fmt: skip
        assert not signed._replace(**change).holds(), change


def test_a_session_begins_treatment_and_summary_and_every_thousandth_are_signed() -> None:
    assert [chain.is_signed(7, kind) for kind in ("treatment_begun", "summary", "pass")] == [True, True, False]
    assert [number for number in range(1, 3001) if chain.is_signed(number, "x")] == [1000, 2000, 3000]


@pytest.mark.parametrize(
    "text", ["", "7", "7:", "x:" + "00" * 32, "7:" + "00" * 31, "0:" + "00" * 32, "7:" + "zz" * 32]
)
def test_a_head_that_is_none_is_one_clear_error(text: str) -> None:
    with pytest.raises(ValueError, match="give ID:HASH as a report prints it"):
        Head.read(text)


def test_a_head_is_read_as_it_is_printed() -> None:
    head = Head(12, bytes(range(32)))
    assert Head.read(f" {head}\n") == head


def _wrong() -> Iterator[tuple[str, str]]:
    rows = chained([record(1), record(2), record(3, "s2", 1), record(4, kind="treatment_begun")._replace(seq=3)])
    mark = Checkpoint.sign(KEY, Head(4, rows[3][1]), WALL)
    assert broken(rows, mark, witness=Head(3, rows[2][1])) == ""
    yield broken(rows), r"record 4 \(session s1, number 3, treatment_begun\): its checkpoint is missing"
    yield broken(rows[:3], mark), "record 4: it was signed, and it is missing: the end is cut off"
    yield broken(rows[1:], mark), "record 1: it is missing; what follows is record 2"
    yield broken([rows[0], *rows[2:]], mark), "record 2: it is missing; what follows is record 3"
    yield broken([rows[0], (rows[1][0], rows[0][1]), *rows[2:]], mark), "record 2 .* was changed, moved or put in later"
    yield broken(rows, mark._replace(hash=bytes(32))), "record 4 .* its checkpoint does not fit"
    yield broken(rows, mark, witness=Head(5, bytes(32))), "record 5: its hash was kept, and it is missing"
    yield broken(rows, mark, witness=Head(2, bytes(32))), "record 2 .* another than the one whose head was kept"
    skipped = chained([record(1), record(2, seq=3)])
    yield broken(skipped), "record 2 .* records of its session are missing before it"
    strange = chained([record(1, session="\x1b[2Jé")])
    yield broken([(strange[0][0], b"")]), r"record 1 \(session '\\x1b\[2J\\xe9', number 1, x\)"
    first, other = (Checkpoint.sign(key, Head(n, rows[n - 1][1]), WALL) for key, n in ((KEY, 1), (_other(), 4)))
    yield broken(rows, first, other), "record 4 .* its checkpoint is signed with another key"


def _other() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.mark.hazard("H23")
def test_the_first_record_that_does_not_hold_is_named_and_why() -> None:
    for said, wanted in _wrong():
        assert re.match(wanted, said), said
