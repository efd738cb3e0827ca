"""How a long-lived program fares: memory, tasks and files, at its begin, half way and at its end."""

import asyncio
import contextlib
import ctypes
import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RESIDENT, DESCRIPTORS = Path("/proc/self/statm"), Path("/dev/fd")
PAGE_MB = 4096 / 1e6
TAKEN_AT = (1 / 8, 1 / 2, 1)
"""Shares of the time; at the first, all is warm."""
NOT_STORED = "records that no recorder has"
MOST_TRACED_MB, MOST_RESIDENT_MB = 2.0, 16.0
"""Growth that is still flat: what the allocators and SQLite's page cache take once."""


def _trim() -> None:
    """Have the C library give back what it keeps in reserve, in an arena for each thread: that is no growth."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only glibc has this
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True, slots=True)
class Vitals:
    """At one moment; what this system does not tell is 0.

    Attributes:
        at_s: since the begin.
        resident_mb: of the process.
        traced_mb: of Python's objects.
        tasks: of the event loop.
        files: open handles.
        journal_mb: its file.
        records: in it.
    """

    at_s: float
    resident_mb: float
    traced_mb: float
    tasks: int
    files: int
    journal_mb: float
    records: int


@dataclass
class Watch:
    """Takes the vitals, three times over so long."""

    duration_s: float
    taken: list[Vitals] = field(default_factory=list)

    def is_due(self, at_s: float) -> bool:
        """Whether it is time to take them."""
        return at_s >= self.duration_s * TAKEN_AT[len(self.taken)]

    @property
    def is_over(self) -> bool:
        """Whether all are taken."""
        return len(self.taken) == len(TAKEN_AT)

    def take(self, at_s: float, journal_mb: float, records: int) -> None:
        """Take them, of the running loop and its process."""
        gc.collect()
        _trim()
        files = len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.is_dir() else 0
        resident_mb = int(RESIDENT.read_text().split()[1]) * PAGE_MB if RESIDENT.exists() else 0.0
        traced_mb = tracemalloc.get_traced_memory()[0] / 1e6
        tasks = len(asyncio.all_tasks())
        self.taken.append(Vitals(at_s, resident_mb, traced_mb, tasks, files, journal_mb, records))

    def missed(self) -> Iterator[str]:
        """Say which bars are missed."""
        first, *_, last = self.taken
        if last.traced_mb - first.traced_mb > MOST_TRACED_MB:
            yield f"Python's objects grew by {last.traced_mb - first.traced_mb:.1f} MB"
        if last.resident_mb - first.resident_mb > MOST_RESIDENT_MB:
            yield f"resident memory grew by {last.resident_mb - first.resident_mb:.1f} MB"
        if last.tasks > first.tasks:
            yield f"{last.tasks - first.tasks} tasks leaked"
        if last.files > first.files:
            yield f"{last.files - first.files} file handles leaked"
