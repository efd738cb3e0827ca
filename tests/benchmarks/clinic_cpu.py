"""What the pages of the clinic's screen cost its server: `python -m tests.benchmarks.clinic_cpu [--pages 5] [--json]`.

The server runs in a process of its own with a pen whose needles run; its processor time is taken by turns with no page
and with 5, each of which is shown 20 snapshots a second and says five times a second that it is alive. What is judged
is the difference, of medians: the pages' own share. Exit status 0 only if that is within 5 % of one core.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time

from tests.benchmarks.clinic_load import Load, loaded
from tests.clinic_client import Browser

BAR_PCT = 5.0
ALIVE_EVERY_S = 0.2
LEAST_HZ = 15.0
"""Of the 20 snapshots a second, as many must come where the machine does other things as well."""


class Page(Browser):
    """Counts what it is shown."""

    count = 0

    async def _listen(self) -> None:
        async for _ in self._live:
            self.count += 1
            self.shown = {"n": self.count}

    async def _beat(self) -> None:
        while True:
            await self.send(alive=self.count, operating=True, hold=None)
            await asyncio.sleep(ALIVE_EVERY_S)


async def _share(load: Load, pages: int, seconds: float) -> tuple[float, float]:
    """The server's processor time in per cent of a core, and the snapshots a second of each page."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [Page(load.works.origin, load.works.http) for _ in range(pages)]
        for page in opened:
            await stack.enter_async_context(page.connected())
        counts = [page.count for page in opened]
        before_s, began_s = float(await load.ask("cpu")), time.monotonic()
        await asyncio.sleep(seconds)
        used_s, passed_s = float(await load.ask("cpu")) - before_s, time.monotonic() - began_s
        shown = [page.count - count for page, count in zip(opened, counts, strict=True)]
        return 100 * used_s / passed_s, min(shown, default=0) / passed_s


async def _measure(pages: int, rounds: int, seconds: float) -> dict[str, float | bool]:
    async with loaded(1) as load:
        await load.ask("run")
        without, with_pages, rates = [], [], []
        for _ in range(rounds):
            without.append((await _share(load, 0, seconds))[0])
            share, rate_hz = await _share(load, pages, seconds)
            with_pages.append(share)
            rates.append(rate_hz)
    own = statistics.median(with_pages) - statistics.median(without)
    return {
        "pages": pages,
        "snapshots_hz": round(min(rates), 1),
        "without_pages_pct": round(statistics.median(without), 2),
        "with_pages_pct": round(statistics.median(with_pages), 2),
        "pages_own_pct": round(own, 2),
        "bar_pct": BAR_PCT,
        "good": own <= BAR_PCT and min(rates) >= LEAST_HZ,
    }


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = asyncio.run(_measure(given.pages, given.rounds, given.seconds))
    print(json.dumps(figures) if given.json else "\n".join(f"{name:<20}{value}" for name, value in figures.items()))
    sys.exit(0 if figures["good"] else 1)


if __name__ == "__main__":
    main()
