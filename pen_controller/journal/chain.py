"""The chain that shows every change of the record. Pure: no I/O.

The hash of a record is SHA-256 over the hash of the record before it and the record's fields as one JSON array (RFC
8785: no spaces, no escapes but those JSON needs, UTF-8). Before the first record stands a random number, which tells
this file from any other. So whatever is changed, left out, put in or moved changes all hashes that follow; checkpoints
sign some of them with an Ed25519 key. Who holds that key can make all of it anew: what cannot be made anew is a head
that somebody else has kept.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pen_controller.journal.record import NAME, Record

SIGNED_KINDS = frozenset({"treatment_begun", "summary"})
SIGNED_EVERY = 1000
HASH_BYTES = 32
PURPOSE = "pen-controller checkpoint 1"  # nothing else that this key may sign can pass for a checkpoint

# What is no text and no number, as in a file that somebody rebuilt, becomes a list: no stored field is one.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=list)


class Head(NamedTuple):
    """Where a chain stood at some moment: its newest record, by id, and that record's hash."""

    record_id: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.record_id}:{self.hash.hex()}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the head of its text, ID:HASH. Raises `ValueError`."""
        record_id, _, digits = text.strip().partition(":")
        try:
            head = cls(int(record_id), bytes.fromhex(digits))
        except ValueError:
            head = cls(0, b"")
        if head.record_id < 1 or len(head.hash) != HASH_BYTES:
            raise ValueError(f"head {text!r}: give ID:HASH as a report prints it, the hash in 64 hexadecimal digits")
        return head


class Checkpoint(NamedTuple):
    """A signed place of the chain, as it is stored: its fields are the columns.

    Attributes:
        record_id: The record it stands behind.
        hash: That record's.
        wall: When it was signed: UTC, ISO 8601.
        public_key: Ed25519, 32 bytes.
        signature: Over all but the key, 64 bytes.
    """

    record_id: int
    hash: bytes
    wall: str
    public_key: bytes
    signature: bytes

    @classmethod
    def sign(cls, key: Ed25519PrivateKey, head: Head, wall: str) -> Self:
        """Sign a head."""
        return cls(*head, wall, key.public_key().public_bytes_raw(), key.sign(_message(*head, wall)))

    def holds(self) -> bool:
        """Whether it was signed with the key it names."""
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public_key)
            key.verify(self.signature, _message(self.record_id, self.hash, self.wall))
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


class BrokenError(ValueError):
    """The chain does not hold at this record, nor is anything known of what follows.

    Attributes:
        record_id: The place in the file.
        record: What stands there, or next; None at the end of the file.
    """

    def __init__(self, record_id: int, record: Record | None, why: str) -> None:
        stands = f" ({_named(record)})" if record else ""
        super().__init__(f"record {record_id}{stands}: {why}")
        self.record_id, self.record = record_id, record


def link(before: bytes, fields: Sequence[int | str | None]) -> bytes:
    """Return the hash of a record.

    Args:
        before: the hash of the record before it, or what stands before the first.
        fields: its columns in their order, but for the hash, as they are stored.
    """
    return hashlib.sha256(before + _encoded(fields)).digest()


def is_signed(record_id: int, kind: str) -> bool:
    """Whether a checkpoint stands behind this record, whatever else was signed: the first record of a day, the last."""
    return kind in SIGNED_KINDS or record_id % SIGNED_EVERY == 0


def verify(
    rows: Iterable[tuple[Record, bytes]],
    checkpoints: Mapping[int, Checkpoint],
    *,
    before: Head,
    session: str | None = None,
    trusted: Collection[bytes] | None = None,
    witness: Head | None = None,
) -> Iterator[Head]:
    """Follow the chain, and yield each place up to which it holds.

    Args:
        rows: records with their hashes, by id, all from one on.
        checkpoints: by record, all that stand behind these records or beyond.
        before: the place before the first row.
        session: begins with the first row, if that is not the first of the file.
        trusted: public keys that may sign; None is the one that signed first.
        witness: a place that was kept elsewhere.

    Raises:
        BrokenError: at the first record that is not as it was written.
    """
    whole = before.record_id == 0
    last_seq = {session: 0}
    left = dict(checkpoints)
    for record, hash_ in rows:
        if record.id != before.record_id + 1:
            raise BrokenError(before.record_id + 1, None, f"it is missing; what follows is record {record.id}")
        if record.seq != last_seq.get(record.session, 0 if whole else record.seq - 1) + 1:
            raise BrokenError(record.id, record, "records of its session are missing before it")
        if hash_ != link(before.hash, record):
            raise BrokenError(record.id, record, "it was changed, moved or put in later")
        last_seq[record.session] = record.seq
        before = Head(record.id, hash_)
        if witness is not None and witness.record_id == record.id and witness != before:
            raise BrokenError(record.id, record, "the chain up to it is another than the one whose head was kept")
        if (checkpoint := left.pop(record.id, None)) is not None:
            trusted = trusted or (checkpoint.public_key,)
            _check(checkpoint, record, hash_, trusted)
        elif is_signed(record.id, record.kind):
            raise BrokenError(record.id, record, "its checkpoint is missing")
        yield before
    if witness is not None and witness.record_id > before.record_id:
        raise BrokenError(witness.record_id, None, "its hash was kept, and it is missing: the end is cut off")
    if left:
        raise BrokenError(min(left), None, "it was signed, and it is missing: the end is cut off")


def _check(checkpoint: Checkpoint, record: Record, hash_: bytes, trusted: Collection[bytes]) -> None:
    if checkpoint.public_key not in trusted:
        raise BrokenError(
            record.id, record, f"its checkpoint is signed with another key, {_hex(checkpoint.public_key)}"
        )
    if checkpoint.hash != hash_ or not checkpoint.holds():
        raise BrokenError(record.id, record, "its checkpoint does not fit: one of them was changed")


def _named(record: Record) -> str:
    session, kind = (each if NAME.fullmatch(str(each)) else ascii(each) for each in (record.session, record.kind))
    return f"session {session}, number {record.seq}, {kind}"


def _hex(key: object) -> str:
    return key.hex() if isinstance(key, bytes) else ascii(key)


def _message(record_id: int, hash_: bytes, wall: str) -> bytes:
    return _encoded((PURPOSE, record_id, hash_.hex(), wall))


def _encoded(fields: Sequence[int | str | None]) -> bytes:
    return _JSON.encode(fields).encode(errors="surrogateescape")
