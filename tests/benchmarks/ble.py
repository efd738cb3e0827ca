"""Pens over Bluetooth LE, without a radio: `python -m tests.benchmarks.ble [--seconds 20] [--cycles 0] [--json]`.

- A command's round trip through bleak, Bumble, HCI, L2CAP and ATT to `pen-sim ble` in another process, against a bare
  write and notification between two processes of Bumble. They take turns, so that a slow moment hits both.
- Four pens at 100 Hz on one controller process: samples, and the share of a core.
- With `--cycles 200`: connect, treat, drop, reconnect, again and again; what is left behind.

The exit status is 0 only if every bar is met.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from contextlib import AsyncExitStack
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from protocols.messages import Disarm, encode
from tests.benchmarks.ble_bare import bare_trip
from tests.benchmarks.ble_cycles import cycles
from tests.benchmarks.pens import drive, pen_sim
from tests.benchmarks.round_trip import Trip, measure, pen_trip

ROUNDS = 15
BAR = 2.0
"""Our median over the bare one's."""
PENS = 4
IN_THE_AIR = ["ble", "--hci", "tcp-server:127.0.0.1:0"]

Section = dict[str, Any]


async def rounds(url: str) -> dict[str, list[list[float]]]:
    """For ours and the bare one the seconds of each trip of each round."""
    async with AsyncExitStack() as stack:
        trips: dict[str, Trip] = {
            "pen": await stack.enter_async_context(pen_trip(url)),
            "bare": await stack.enter_async_context(bare_trip(encode(Disarm(1), epoch=1, counter=1))),
        }
        for trip in trips.values():
            await measure(trip)
        seconds: dict[str, list[list[float]]] = {name: [] for name in trips}
        for _ in range(ROUNDS):
            for name, trip in trips.items():
                seconds[name].append(await measure(trip))
        return seconds


def round_trip(seed: int) -> Section:
    """A command to the pen, against a bare write and notification."""
    with pen_sim(1, seed, *IN_THE_AIR) as (url,):
        seconds = asyncio.run(rounds(url))
    ratio = median(median(ours) / median(bare) for ours, bare in zip(seconds["pen"], seconds["bare"], strict=True))
    figures: Section = {"title": "Command round trip, against a bare write and notification"}
    for name, taken in seconds.items():
        percent = quantiles((second for one in taken for second in one), n=100)
        figures |= {f"{name}_p50_us": round(percent[49] * 1e6), f"{name}_p99_us": round(percent[98] * 1e6)}
    return figures | {"ratio": round(ratio, 2), "bar": f"ratio <= {BAR:g}", "passed": ratio <= BAR}


def four_pens(seconds: float, seed: int) -> Section:
    """Four pens running at once, every sample read and guarded."""
    start_s, before = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with pen_sim(PENS, seed, *IN_THE_AIR) as urls:
        begun_s, cpu_s = perf_counter(), time.process_time()
        tallies, lag_s = asyncio.run(drive(urls, seconds))
        wall_s, cpu_s = perf_counter() - begun_s, time.process_time() - cpu_s
    others_s, after = perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    others_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lost = sum(tally.lost_frames + tally.missing_samples for tally in tallies)
    stopped = [tally.trouble for tally in tallies if tally.trouble]
    return {
        "title": f"{PENS} pens at 100 Hz for {seconds:g} s",
        "samples": sum(tally.samples for tally in tallies),
        "missing_samples": sum(tally.missing_samples for tally in tallies),
        "lost_frames": sum(tally.lost_frames for tally in tallies),
        "controller_core_pct": round(100 * cpu_s / wall_s, 1),
        "pen_sim_core_pct": round(100 * others_cpu_s / others_s, 1),
        "worst_loop_lag_ms": round(lag_s * 1000, 1),
        "stopped": ", ".join(stopped),
        "bar": "no sample lost, no pen stopped",
        "passed": not lost and not stopped,
    }


def main() -> int:
    """Run the benchmark; the exit status says whether every bar is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ble", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long four pens run (default 20)")
    parser.add_argument("--cycles", type=int, default=0, help="how many cycles of reconnection, 200 for the bar")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated pens (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON array and nothing else")
    options = parser.parse_args()
    sections = [round_trip(options.seed), four_pens(options.seconds, options.seed)]
    if options.cycles:
        sections.append(cycles(options.cycles, options.seed))
    if options.json:
        print(json.dumps(sections))
    else:
        for section in sections:
            table = Table(show_header=False, title=section["title"])
            for name, value in section.items():
                if name != "title":
                    table.add_row(name.replace("_", " "), str(value))
            Console().print(table)
    return 0 if all(section["passed"] for section in sections) else 1


if __name__ == "__main__":
    sys.exit(main())
