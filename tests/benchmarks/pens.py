"""Many pens on one controller: `python -m tests.benchmarks.pens [--pens 16] [--seconds 60] [--json] [--seed N]`.

One `pen-sim serial` process serves the pens behind pseudo-terminals; this process drives all of them at once, reads
every sample and guards it. POSIX only. Exit status 0 only if no lease was lost: every pen ran from its start to its
end.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from pen_controller.errors import PenError
from pen_controller.pen import Pen
from protocols.words import PenState
from tests.lines import TODAY, grant_for

RATE_HZ = 100.0
DEPTH_MM = 1.0
CM2_PER_S = 0.25
"""Skin to be treated, so that the stroke budget outlasts the run."""
TICK_S = 0.01


@dataclass
class Tally:
    """What one pen's run came to."""

    samples: int = 0
    missing_samples: int = 0
    lost_frames: int = 0
    trouble: str = ""


@contextlib.contextmanager
def pen_sim(pens: int, seed: int, *line: str) -> Iterator[list[str]]:
    """Serve so many pens, on pseudo-terminals or another kind of line; yields their URLs."""
    command = [sys.executable, "-m", "simulator", *(line or ["serial"]), "--json", "--control"]
    with subprocess.Popen(
        [*command, "--pens", str(pens), "--seed", str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield [json.loads(process.stdout.readline())["url"] for _ in range(pens)]
        finally:
            process.stdin.close()


async def treat(url: str, seconds: float, tally: Tally) -> None:
    """Run one pen for so long, reading its samples."""
    try:
        async with Pen.open(url) as pen:
            await pen.arm(await grant_for(pen, size_cm2=max(6.0, CM2_PER_S * seconds)), today=TODAY)
            samples = pen.samples()
            await pen.start(DEPTH_MM, RATE_HZ)
            reading = asyncio.create_task(read(samples, 1_000_000 // pen.identity.sample_rate_hz, tally))
            await asyncio.sleep(seconds)
            if pen.state.state is not PenState.RUNNING:
                tally.trouble = pen.stop_reason or pen.state.cause.name
            reading.cancel()
            tally.lost_frames = pen.lost_frames
            await pen.disarm()
    except PenError as error:
        tally.trouble = tally.trouble or str(error)


async def read(samples: Any, period_us: int, tally: Tally) -> None:
    """Count samples, and by their times those that are missing."""
    last_us: int | None = None
    async for batch in samples:
        tally.samples += len(batch)
        if last_us is not None:
            tally.missing_samples += (int(batch["t_us"][0]) - last_us) // period_us - 1
        last_us = int(batch["t_us"][-1])


async def watch_lag(worst_s: list[float]) -> None:
    """Note by how much the event loop is late, at worst."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        worst_s[0] = max(worst_s[0], loop.time() - due_s)


async def drive(urls: list[str], seconds: float) -> tuple[list[Tally], float]:
    """Drive all pens at once; what each run came to, and the worst lag of the loop in seconds."""
    tallies, worst_s = [Tally() for _ in urls], [0.0]
    watching = asyncio.create_task(watch_lag(worst_s))
    async with asyncio.TaskGroup() as group:
        for url, tally in zip(urls, tallies, strict=True):
            group.create_task(treat(url, seconds, tally))
    watching.cancel()
    return tallies, worst_s[0]


def measure(pens: int, seconds: float, seed: int) -> dict[str, Any]:
    """Run it all; the figures."""
    start_s = time.perf_counter()
    with pen_sim(pens, seed) as urls:
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        tallies, lag_s = asyncio.run(drive(urls, seconds))
        wall_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    others_s, others = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    lost = [f"{url}: {tally.trouble}" for url, tally in zip(urls, tallies, strict=True) if tally.trouble]
    return {
        "pens": pens,
        "seconds": seconds,
        "cores": os.cpu_count(),
        "samples": sum(tally.samples for tally in tallies),
        "missing_samples": sum(tally.missing_samples for tally in tallies),
        "lost_frames": sum(tally.lost_frames for tally in tallies),
        "controller_cpu_pct": round(100 * cpu_s / wall_s, 1),
        "pen_sim_cpu_pct": round(100 * (others.ru_utime + others.ru_stime) / others_s, 1),
        "worst_loop_lag_ms": round(lag_s * 1000, 1),
        "stopped": lost,
        "leases_lost": len(lost),
        "bar": "leases_lost = 0",
        "passed": not lost,
    }


def main() -> int:
    """Run the benchmark; the exit status says whether every pen kept its lease."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pens", description=__doc__)
    parser.add_argument("--pens", type=int, default=16, help="how many (default 16)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the needles run (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated pens (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    figures = measure(options.pens, options.seconds, options.seed)
    if options.json:
        print(json.dumps(figures))
    else:
        table = Table("figure", "value")
        for name, value in figures.items():
            table.add_row(name.replace("_", " "), "\n".join(value) if isinstance(value, list) else str(value))
        Console().print(table)
    return 0 if figures["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
