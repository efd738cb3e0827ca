"""How a long-lived program fares: memory, tasks and files, at its begin, half way and at its end."""

import asyncio
import ctypes
import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

RESIDENT, DESCRIPTORS = Path("/proc/self/statm"), Path("/dev/fd")
PAGE_MB = 4096 / 1e6
TAKEN_AT = (1 / 8, 1 / 2, 1)
"""Shares of the time; at the first, all is warm."""
NOT_STORED = "records that no recorder has"
MOST_BLOCKS, MOST_IN_USE_MB, MOST_TRACED_MB = 20_000, 4.0, 2.0
"""Growth that is still flat: 2 MB each of small and of large objects, and SQLite's page cache of as much."""
MOST_RESIDENT_MB = 16.0
"""In half an hour. What is not in use the C library keeps, torn into pieces, in an arena for each thread."""


_MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Malloc(ctypes.Structure):
    """What `mallinfo2` of glibc returns, in bytes."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO2.split())


def _in_use_mb() -> float:
    """What the program has asked the C library for and not given back; 0 where that is not glibc."""
    try:
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _Malloc
    except (OSError, AttributeError, TypeError):
        return 0.0
    library.malloc_trim(0)  # for the resident memory, which is measured after this
    said = library.mallinfo2()
    return float(said.uordblks + said.hblkhd) / 1e6


@dataclass(frozen=True, slots=True)
class Vitals:
    """At one moment; what this system does not tell is 0.

    Attributes:
        at_s: since the begin.
        resident_mb: of the process.
        in_use_mb: what it has from the C library: large objects, SQLite.
        blocks: what it has of Python's own allocator: objects up to 512 bytes.
        traced_mb: of Python's objects.
        tasks: of the event loop.
        files: open handles.
        journal_mb: its file.
        records: in it.
    """

    at_s: float
    resident_mb: float
    in_use_mb: float
    blocks: int
    traced_mb: float
    tasks: int
    files: int
    journal_mb: float
    records: int


@dataclass
class Watch:
    """Takes the vitals, three times over so long, and tells which share of it is over."""

    duration_s: float
    taken: list[Vitals] = field(default_factory=list)
    tell: Callable[[float], None] = lambda _: None

    def is_due(self, at_s: float) -> bool:
        """Whether it is time to take them."""
        self.tell(min(1.0, at_s / self.duration_s))
        return at_s >= self.duration_s * TAKEN_AT[len(self.taken)]

    @property
    def is_over(self) -> bool:
        """Whether all are taken."""
        return len(self.taken) == len(TAKEN_AT)

    def take(self, at_s: float, journal_mb: float, records: int) -> None:
        """Take them, of the running loop and its process."""
        gc.collect()
        in_use_mb = _in_use_mb()
        files = len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.is_dir() else 0
        resident_mb = int(RESIDENT.read_text().split()[1]) * PAGE_MB if RESIDENT.exists() else 0.0
        traced_mb = tracemalloc.get_traced_memory()[0] / 1e6
        tasks = len(asyncio.all_tasks())
        blocks = sys.getallocatedblocks()
        self.taken.append(Vitals(at_s, resident_mb, in_use_mb, blocks, traced_mb, tasks, files, journal_mb, records))

    def missed(self) -> Iterator[str]:
        """Say which bars are missed."""
        first, *_, last = self.taken
        if last.blocks - first.blocks > MOST_BLOCKS:
            yield f"{last.blocks - first.blocks} small objects leaked"
        if last.in_use_mb - first.in_use_mb > MOST_IN_USE_MB:
            yield f"memory in use grew by {last.in_use_mb - first.in_use_mb:.1f} MB"
        if last.traced_mb - first.traced_mb > MOST_TRACED_MB:
            yield f"Python's objects grew by {last.traced_mb - first.traced_mb:.1f} MB"
        if last.resident_mb - first.resident_mb > MOST_RESIDENT_MB:
            yield f"resident memory grew by {last.resident_mb - first.resident_mb:.1f} MB"
        if last.tasks > first.tasks:
            yield f"{last.tasks - first.tasks} tasks leaked"
        if last.files > first.files:
            yield f"{last.files - first.files} file handles leaked"
