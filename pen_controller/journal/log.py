"""Whether a journal that was not closed still has, in SQLite's log beside it, all that was committed.

SQLite takes a damaged end of its log for a commit that never came to its end, and drops it in silence: records that
`append` had returned for would be gone, and their numbers given to others. The index of the log (`-shm`) says how far
it was committed. Where that is gone or old, as after a loss of power, the log itself tells: each commit is synced
before the next one, so only the last can be torn. Both formats are SQLite's own, as published in "WAL-mode File
Format".
"""

import sys
from array import array
from pathlib import Path

HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
INDEX_HEADER_BYTES = 100
MAGIC = 0x377F0682  # its last bit tells the byte order of the checksums
WORD = 0xFFFFFFFF


def lost_frames(path: Path) -> int:
    """Return how many frames (pages) of the log were committed and cannot be read any more; 0 if all is well.

    Args:
        path: The journal. There is no log beside one that was closed. Where another program is writing it, and begins
            its log anew meanwhile, there may seem to be some: look again.

    Raises:
        OSError: The files beside it cannot be read.
    """
    committed, in_file, salts = _index(_read(path, "-shm", INDEX_HEADER_BYTES))
    log = _read(path, "-wal")
    if not _has_header(log):
        begun = len(log) > HEADER_BYTES + FRAME_HEADER_BYTES  # a header is synced before what follows it
        return max(committed - in_file, int(begun and not salts))
    if log[16:24] != salts:
        committed = 0  # the index is of an older log, all of which is in the file
    whole, commits = _frames(log)
    return max(committed - whole, int(commits > 1))


def _read(path: Path, suffix: str, most: int = -1) -> bytes:
    """Return the first bytes of a file beside the journal, and look at none beyond: on Windows, some are locked."""
    try:
        with path.with_name(path.name + suffix).open("rb", buffering=0) as file:
            return file.read(most)
    except FileNotFoundError:
        return b""


def _index(index: bytes) -> tuple[int, int, bytes]:
    """Return how many frames were committed, how many of these are in the file too, and which log it is of, if any."""
    header, copy = index[:48], index[48:96]
    if header != copy or not any(header[12:13]):
        return 0, 0, b""  # it was being written, or never was
    return _number(header[16:20]), _number(index[96:100]), header[32:40]


def _number(word: bytes) -> int:
    return int.from_bytes(word, sys.byteorder)


def _has_header(log: bytes) -> bool:
    if int.from_bytes(log[:4], "big") & ~1 != MAGIC or len(log) < HEADER_BYTES:
        return False
    return _sums(log[24:32]) == _checksum(log[:24], (0, 0), swap=_is_swapped(log))


def _frames(log: bytes) -> tuple[int, int]:
    """Return how many frames are whole, up to the first that is not, and how many commits end with it or after it."""
    frame_bytes = FRAME_HEADER_BYTES + int.from_bytes(log[8:12], "big")
    sums, swap, salts = _sums(log[24:32]), _is_swapped(log), log[16:24]
    whole, commits, torn = 0, 0, False
    for start in range(HEADER_BYTES, len(log), frame_bytes):
        page = start + FRAME_HEADER_BYTES
        is_ours = log[start + 8 : start + 16] == salts
        if not torn and is_ours and start + frame_bytes <= len(log):
            sums = _checksum(log[start : start + 8] + log[page : start + frame_bytes], sums, swap=swap)
            torn = _sums(log[start + 16 : page]) != sums
        else:
            torn = True
        whole += not torn
        commits += torn and is_ours and any(log[start + 4 : start + 8])
    return whole, commits


def _is_swapped(log: bytes) -> bool:
    return (log[3] & 1) != (sys.byteorder == "big")


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
