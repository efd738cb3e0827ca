"""Heavy work, each piece in a process of its own, so that the control loop goes on: reports."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

NICE = 10
MOST_JOBS = 20
"""Of which the page is told; and so many may wait."""


class BusyError(Exception):
    """Too much is being made already."""


@dataclass(slots=True)
class Job:
    """One report: `url` once it is there, or `error`, one line."""

    id: int
    session: str
    url: str | None = None
    error: str | None = None


class Jobs:
    """Reports, made one after the other.

    Args:
        journal: of which they tell.
        folder: where they lie, as SESSION.html and SESSION.pdf.
        config: folder of configuration files, if not the shipped ones.
        changed: is called when one begins, and when it has ended.
    """

    def __init__(self, journal: Path, folder: Path, config: Path | None, changed: Callable[[], None]) -> None:
        self.folder = folder
        self.all: list[Job] = []
        self._journal, self._config, self._changed = journal, config, changed
        self._one = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def report(self, session: str, language: str) -> Job:
        """Begin to make a report. Raises `BusyError`."""
        if len(self._tasks) >= MOST_JOBS:
            raise BusyError(f"{MOST_JOBS} reports are being made: wait for them")
        job = Job(1 + (self.all[-1].id if self.all else 0), session)
        self.all = [*self.all, job][-MOST_JOBS:]
        task = asyncio.create_task(self._make(job, language), name=f"report {session}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._changed()
        return job

    def told(self) -> list[dict[str, object]]:
        """All of which the page is told, the newest last."""
        return [asdict(job) for job in self.all]

    async def close(self) -> None:
        """End what is still being made."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _make(self, job: Job, language: str) -> None:
        async with self._one:
            config = [] if self._config is None else ["--config", str(self._config)]
            arguments = ["--journal", str(self._journal), "--out", str(self.folder), "--language", language, *config]
            try:
                job.error = await _run("report", *arguments, "--", job.session)
            except OSError as error:
                job.error = f"cannot begin it: {error.strerror}"
            if job.error is None:
                job.url = f"/report/{job.session}.html"
            self._changed()


def _begin(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Begin a command of `pen`, which leaves the processor to the pen first. It takes its time: call it in a thread."""
    line = [sys.executable, "-m", "pen_controller", *arguments]
    if sys.platform == "win32":
        flags = subprocess.BELOW_NORMAL_PRIORITY_CLASS
        return subprocess.Popen(line, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, creationflags=flags)  # noqa: S603  # our own command, no shell
    process = subprocess.Popen(line, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)  # noqa: S603  # our own command, no shell
    with contextlib.suppress(OSError):  # it is over already
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    return process


async def _run(*arguments: str) -> str | None:
    """Run a command of `pen`; return what it complained of, if it failed."""
    process = await asyncio.to_thread(_begin, list(arguments))
    try:
        _, said = await asyncio.to_thread(process.communicate)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    lines = said.decode(errors="replace").strip().splitlines()
    return None if process.returncode == 0 else (lines[-1] if lines else f"ended with {process.returncode}")
