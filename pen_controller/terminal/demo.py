"""`pen demo`: a whole treatment on real parts, each figure of it checked.

A simulated pen in a process of its own behind a real line, a real broker, this controller, and an independent
subscriber in a fourth process. The demonstration stands in for the person: it confirms each area, asks once for too
much, and resumes after the cable was pulled.
"""

import asyncio
import contextlib
import itertools
import json
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pen_controller import config as configuration
from pen_controller.config import Config, Plan, PlanArea
from pen_controller.journal import Journal, Record
from pen_controller.meanwhile import meanwhile
from pen_controller.practice import READY_S, SimulatedLine, python, simulated
from pen_controller.service import Service, broker_for, treatment_service
from pen_controller.telemetry.broker import BrokerError
from pen_controller.telemetry.watch import LISTENING
from pen_controller.terminal.console import report, run_plan, table_of
from pen_controller.treatment.counts import Live
from pen_controller.treatment.outcomes import RefusedError
from protocols.words import Cause

UNPLUGGED_S = 1.0
PULL_AT_PASSES = 1
TOO_DEEP_MM = 0.6
LEASE_BOUND_US = 250_000


@dataclass(slots=True)
class _Cable:
    """What was seen when the line was pulled."""

    area: str = ""
    pulled: bool = False
    noticed_ms: float | None = None
    resumed_by: str = ""


class _Script:
    """Stands in for the person, and pulls the cable once."""

    def __init__(self, simulator: SimulatedLine, plan: Plan, say: Callable[[str], None]) -> None:
        self.cable = _Cable()
        self._simulator, self._say = simulator, say
        self._pull_in = plan.areas[min(1, len(plan.areas) - 1)].area
        self._pulled_s = 0.0
        self._tries = 0

    async def ready(self, area: PlanArea, warnings: Sequence[str]) -> bool:
        return bool(area) and not warnings

    def watch(self, live: Live) -> None:
        if not self.cable.pulled and live.area.area == self._pull_in and (live.area.passes or 0) >= PULL_AT_PASSES:
            self.cable.pulled, self.cable.area = True, live.area.area
            self._pulled_s = time.monotonic()
            self._simulator.tell(f"unplug {UNPLUGGED_S}")

    async def reconnect(self, reason: str) -> bool:
        self.cable.noticed_ms = round((time.monotonic() - self._pulled_s) * 1000, 1)
        self._say(f"Cable pulled: {reason}. The pen stops itself; a person puts it back.")
        await asyncio.sleep(UNPLUGGED_S + 1.5)
        self._tries += 1
        return self._tries == 1

    async def resume(self, area: PlanArea, reason: str) -> bool:
        self._say(f"A person is shown why: {reason}. They resume {area.area}.")
        self.cable.resumed_by = "demonstration"
        return self.cable.pulled and self._tries == 1


async def run_demo(
    console: Console,
    *,
    seed: int,
    broker: str | None,
    journal: Path,
    ble: bool = False,
    home_assistant: bool | None = None,
) -> dict[str, Any]:
    """Run the demonstration; return its figures, `good` among them.

    Args:
        console: for progress and words to people.
        seed: of the simulated pen and hand.
        broker: a broker's URL; None starts the embedded one.
        journal: where the record goes.
        ble: reach the pen over Bluetooth LE, without a radio.
        home_assistant: see `treatment_service`.

    Raises:
        PenError, BrokerError, ImportError: a part does not start.
    """
    began_s = time.monotonic()
    config = configuration.load()
    plan = configuration.load_plan(files("configs") / "plans" / "demo.toml", config)

    def say(text: str) -> None:
        console.print(text, style="bold", highlight=False)

    async with contextlib.AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(simulated(seed, zone_cm2=plan.areas[0].size_cm2, ble=ble))
        say(f"Simulated pen in a process of its own: {simulator.url}")
        broker_url = await stack.enter_async_context(broker_for(broker, say))
        subscriber = await stack.enter_async_context(_subscriber(broker_url))
        script = _Script(simulator, plan, say)
        async with treatment_service(
            simulator.url,
            journal,
            config,
            broker=broker_url,
            indication=plan.indication,
            fitzpatrick=plan.fitzpatrick,
            home_assistant=home_assistant,
        ) as service:
            service.treatment.watchers.append(script.watch)
            await _ask_too_much(service, config, plan, say)
            await run_plan(service, plan, script, console)
            figures = report(service)
        async with _reopened(service) as records:
            await subscriber.until(service.treatment.session, sum(record.out_seq is not None for record in records))
            figures |= _checked(figures, plan, script.cable, records, subscriber)
    figures["seconds"] = round(time.monotonic() - began_s, 1)
    figures["checks"]["under 60 s"] = figures["seconds"] < 60
    figures["good"] = all(figures["checks"].values())
    return figures


async def _ask_too_much(service: Service, config: Config, plan: Plan, say: Callable[[str], None]) -> None:
    thin = min(plan.areas, key=lambda area: config.areas[area.area].depth_mm.hard)
    try:
        await service.treatment.check(thin.model_copy(update={"depth_mm": TOO_DEEP_MM}))
    except RefusedError as refused:
        say(f"Refused, as it must be: {refused}")


@contextlib.asynccontextmanager
async def _reopened(service: Service) -> AsyncIterator[list[Record]]:
    """The session's records, read by a journal opened anew: what counts is what is on the disk."""
    async with Journal.open(service.journal.path) as journal:
        yield journal.read(service.treatment.session, limit=1_000_000)


# --- the subscriber ---------------------------------------------------------------------------------------------


class _Subscriber:
    """What the independent subscriber (`pen watch --json`) has received."""

    def __init__(self, process: Process) -> None:
        self.seen: dict[str, list[int]] = {}
        """Sequence numbers received, by session, duplicates and all."""
        self.passes = 0
        self._process = process
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        if self._process.stdout is None:
            return
        async for line in self._process.stdout:
            payload = json.loads(line)["payload"]
            if payload["seq"] is not None:
                self.seen.setdefault(payload["session"], []).append(payload["seq"])
                self.passes += "pass_index" in payload
            self._changed.set()

    async def until(self, session: str, count: int) -> None:
        """Wait until that many records have arrived; give up after a while, and let the figures tell."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while len(set(self.seen.get(session, []))) < count:
                    self._changed.clear()
                    await self._changed.wait()


@contextlib.asynccontextmanager
async def _subscriber(broker_url: str) -> AsyncIterator[_Subscriber]:
    async with python("pen_controller", "watch", "--json", "--broker", broker_url, stderr=PIPE) as process:
        await _listening(process)
        subscriber = _Subscriber(process)
        async with meanwhile(subscriber.listen(), "listen to the subscriber"):
            yield subscriber


async def _listening(process: Process) -> None:
    """Wait until the subscriber says that it misses nothing any more."""
    said: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while process.stderr is not None and (line := await process.stderr.readline()):
                said.append(line.decode().strip())
                if said[-1] == LISTENING:
                    return
    raise BrokerError(f"the subscriber cannot listen: {' '.join(said)}")


# --- the figures -----------------------------------------------------------------------------------------------------


def _checked(
    figures: dict[str, Any], plan: Plan, cable: _Cable, records: list[Record], subscriber: _Subscriber
) -> dict[str, Any]:
    """The figures of the line, the stop and the telemetry, and whether each holds."""
    session, slowest_hz = figures["session"], min(area.rate_hz for area in plan.areas)
    published = sorted(record.out_seq for record in records if record.out_seq is not None)
    received = subscriber.seen.get(session, [])
    events = [record.body for record in records if record.kind == "pen_event"]
    kinds = [event["event"] for event in events]
    lease_stop = _lease_stop(events)
    passes = sum(record.kind == "pass" for record in records)
    areas = figures["areas"]
    bound_us = LEASE_BOUND_US + 2 * 1_000_000 // slowest_hz
    return {
        "refused": [refusal["message"] for refusal in figures["refusals"]],
        "cable": {
            "pulled_in": cable.area,
            "noticed_after_ms": cable.noticed_ms,
            "stopped_by_pen_after_ms": None if lease_stop is None else round(lease_stop["stopped_us"] / 1000, 1),
            "needles_home_after_ms": None if lease_stop is None else round(lease_stop["home_us"] / 1000, 1),
            "resumed_by": cable.resumed_by,
        },
        "records": {
            "written": len(records),
            "published": len(published),
            "received": len(set(received)),
            "duplicates": len(received) - len(set(received)),
            "passes_written": passes,
            "passes_received": subscriber.passes,
        },
        "checks": {
            "three areas treated": len(areas) >= 3 and all(area["passes"] >= 1 for area in areas),
            "never deeper than the limit": all(area["deepest_um"] <= area["depth_cap_um"] for area in areas),
            "needles in skin in every area": all(area["punctures"] > 0 for area in areas),
            "too deep was refused": len(figures["refusals"]) == 1,
            "cable pulled, and the pen stopped by its own lease": lease_stop is not None
            and LEASE_BOUND_US <= lease_stop["stopped_us"] <= lease_stop["home_us"] <= bound_us,
            "resumed only by a person": kinds.count("started") == len(areas) + 1 and kinds.count("cleared") == 1,
            "every record received": sorted(set(received)) == published,
            "every pass received": passes == subscriber.passes > 0,
        },
    }


def _lease_stop(events: list[dict[str, Any]]) -> dict[str, int] | None:
    """When the pen stopped by its lease and had its needles home, in microseconds after the last renewal."""
    for event, following in itertools.pairwise(events):
        if (event["event"], event["a"], following["event"]) == ("stopped", Cause.LEASE_EXPIRED, "retracted"):
            return {"stopped_us": event["b"], "home_us": following["a"]}
    return None


def show(figures: dict[str, Any], console: Console) -> None:
    """Print the figures as a person would read them."""
    console.print()
    console.print(table_of(figures))
    cable, records = figures["cable"], figures["records"]
    console.print(
        f"Cable pulled in {cable['pulled_in']}: noticed after {cable['noticed_after_ms']} ms; the pen stopped itself "
        f"{cable['stopped_by_pen_after_ms']} ms after the last renewal, needles home after "
        f"{cable['needles_home_after_ms']} ms.",
        highlight=False,
    )
    console.print(
        f"Records written {records['written']}, published {records['published']}, received by the independent "
        f"subscriber {records['received']} (passes {records['passes_received']} of {records['passes_written']}).",
        highlight=False,
    )
    checks = Table(show_header=False, box=None)
    for name, good in figures["checks"].items():
        checks.add_row("[green]holds[/]" if good else "[bold red]FAILS[/]", name)
    console.print(checks)
    console.print(f"The record lies in {figures['journal']}", soft_wrap=True, highlight=False)
