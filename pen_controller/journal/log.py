"""Whether a journal that was not closed still has, in SQLite's log beside it, all that was committed.

SQLite takes a damaged end of its log for a commit that never came to its end, and drops it in silence: records that
`append` had returned for would be gone, and their numbers given to others. The index of the log (`-shm`) says how far
it was committed. Both formats are SQLite's own, as published in "WAL-mode File Format".
"""

import sys
from array import array
from pathlib import Path

HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
MAGIC = 0x377F0682  # its last bit tells the byte order of the checksums
WORD = 0xFFFFFFFF


def lost_frames(path: Path) -> int:
    """Return how many frames (pages) of the log were committed and cannot be read any more; 0 if all is well.

    Args:
        path: The journal, which nobody has open. There is no log beside one that was closed.

    Raises:
        OSError: The files beside it cannot be read.
    """
    committed, in_file, salts = _index(_read(path, "-shm"))
    log = _read(path, "-wal")
    if int.from_bytes(log[:4], "big") & ~1 != MAGIC:
        return committed - in_file
    if log[16:24] != salts:
        return 0  # the index is of an older log, all of which is in the file
    return committed - _whole_frames(log, committed)


def _read(path: Path, suffix: str) -> bytes:
    beside = path.with_name(path.name + suffix)
    return beside.read_bytes() if beside.exists() else b""


def _index(index: bytes) -> tuple[int, int, bytes]:
    """Return how many frames were committed, how many of these are in the file too, and which log it is of."""
    header, copy = index[:48], index[48:96]
    if header != copy:
        return 0, 0, b""  # it was being written
    return _number(header[16:20]), _number(index[96:100]), header[32:40]


def _number(word: bytes) -> int:
    return int.from_bytes(word, sys.byteorder)


def _whole_frames(log: bytes, most: int) -> int:
    """Return how many frames there are before the first one that is damaged, missing, or of an older log."""
    page_bytes = int.from_bytes(log[8:12], "big")
    swap = (log[3] & 1) != (sys.byteorder == "big")
    sums = _checksum(log[:24], (0, 0), swap=swap)
    if _sums(log[24:32]) != sums:
        return 0
    for number in range(most):
        start = HEADER_BYTES + number * (FRAME_HEADER_BYTES + page_bytes)
        page = start + FRAME_HEADER_BYTES
        frame = log[start : start + 8] + log[page : page + page_bytes]
        if len(frame) < 8 + page_bytes or log[start + 8 : start + 16] != log[16:24]:
            return number
        sums = _checksum(frame, sums, swap=swap)
        if _sums(log[start + 16 : page]) != sums:
            return number
    return most


def _sums(stored: bytes) -> tuple[int, int]:
    return int.from_bytes(stored[:4], "big"), int.from_bytes(stored[4:], "big")


def _checksum(data: bytes, sums: tuple[int, int], *, swap: bool) -> tuple[int, int]:
    words = array("I", data)
    if swap:
        words.byteswap()
    first, second = sums
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & WORD
        second = (second + odd + first) & WORD
    return first, second
