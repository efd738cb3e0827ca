"""How much faster than life the simulation is: `python -m tests.benchmarks.simulation_speed [--json] [--as-is]`.

One pen that samples 100 times a second and treats skin, under `Pen` and `Treatment`, in virtual time: first both ends,
then the pen alone, to which the same frames are said at the same times. What counts is processor time, so that a busy
machine hurts little; the best of some rounds. It is measured in Python, and with the same code compiled
(`tests/compiled.py`), which is held to the bar. Both have to come to the same, to the last bit of each sensor. Exit
status 0 only if both ends together reach the bar.
"""

import argparse
import asyncio
import gc
import hashlib
import json
import sys
from collections.abc import Callable
from time import process_time
from typing import Any

from rich.console import Console
from rich.table import Table

from pen_controller.config import PlanArea
from pen_controller.pen import Pen
from pen_controller.transports import Lost, Receive
from pen_controller.transports.inprocess import InProcessTransport
from pen_controller.treatment import Treatment
from protocols.words import PenState
from simulator.pen import SimulatedPen
from simulator.physics import Readings
from simulator.ports import Endpoint
from tests import compiled
from tests.compiled import CompileError
from tests.lines import CONFIG
from tests.running import until
from tests.simulation.clock import Clock, WorldLoop
from tests.virtual_treatment import MemoryJournal

SECONDS = 60
ROUNDS = 3
BAR = 300.0
ZONE_CM2 = 60.0
WANTED = PlanArea(area="cheek", depth_mm=1.0, rate_hz=100.0, passes=4, size_cm2=ZONE_CM2)
"""More than a minute's work."""

Said = list[tuple[int, bytes]]
"""What the host said, with the pen's time."""
Figures = dict[str, Any]


def new_pen() -> SimulatedPen:
    """The same one every time."""
    return SimulatedPen(seed=1, zone_cm2=ZONE_CM2)


class End:
    """The pen's end of a line without a fault (a `PenEnd`), which notes what the host says."""

    def __init__(self, clock: Clock) -> None:
        self.said: Said = []
        self._clock, self._pen = clock, new_pen()
        self._endpoint = Endpoint(self._pen)
        self._receive: Receive | None = None

    def connect(self, receive: Receive, _lost: Lost) -> None:
        self._receive = receive
        self._pass_time()

    def take(self, data: bytes) -> None:
        self.said.append((self._clock.now_us, data))
        self._say(self._endpoint.receive(data, self._clock.now_us))

    def disconnect(self) -> None:
        self._receive = None

    def _pass_time(self) -> None:
        while self._receive is not None:
            if messages := self._pen.step(self._clock.now_us):
                self._say(self._endpoint.encode(messages))
            if messages or not self._clock.skip_to(self._pen.next_due_us):
                self._clock.at(self._pen.next_due_us, self._pass_time)
                return

    def _say(self, data: bytes) -> None:
        if data and self._receive is not None:
            self._receive(data)


async def treat(clock: Clock, note: Callable[[float, Said], None]) -> None:
    """Treat for `SECONDS`; note the processor time that it took, and all that the host said until then."""
    end = End(clock)
    async with (
        Pen.open(InProcessTransport(end)) as pen,
        Treatment(pen, MemoryJournal(), CONFIG, "fine_lines", 2) as now,
    ):
        treating = asyncio.create_task(now.treat(WANTED))
        await until(lambda: now.running)
        began_s = process_time()
        await asyncio.sleep(SECONDS)
        note(process_time() - began_s, end.said.copy())
        if pen.state.state is not PenState.RUNNING:
            raise RuntimeError(f"the needles do not run: {pen.stop_reason or pen.state.cause.name}")
        now.leave("benchmark", "measured")
        await treating


def both_ends() -> tuple[float, Said]:
    """Processor time of both, and what the host said."""
    noted: list[tuple[float, Said]] = []
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: WorldLoop(clock)) as runner:
        gc.collect()
        runner.run(treat(clock, lambda *figures: noted.append(figures)))
    (only,) = noted
    return only


def pen_alone(said: Said) -> tuple[float, Readings]:
    """Processor time of a pen that hears the same, and how it ends. What it says is framed, and nobody listens."""
    pen = new_pen()
    endpoint = Endpoint(pen)
    gc.collect()
    began_s = process_time()
    for t_us, data in said:
        while (due_us := pen.next_due_us) < t_us:
            if messages := pen.step(due_us):
                endpoint.encode(messages)
        endpoint.receive(data, t_us)
    cpu_s = process_time() - began_s
    if pen.firmware.state is not PenState.RUNNING:
        raise RuntimeError("the needles do not run")
    return cpu_s, pen.read()


def measure() -> Figures:
    """Simulated seconds for a second of processor time, the best of all rounds; and how it went, in one number.

    What the pen reads at the end, to the last bit, follows from all that happened; the host's names differ each time.
    """
    rounds = []
    for _ in range(ROUNDS):
        both_s, said = both_ends()
        pen_s, readings = pen_alone(said)
        rounds.append((both_s, pen_s))
    both_s, pen_s = map(min, zip(*rounds, strict=True))
    course = hashlib.sha256(repr(([t_us for t_us, _ in said], readings)).encode()).hexdigest()
    return {"both_ends": SECONDS / both_s, "pen_alone": SECONDS / pen_s, "course": course}


def measure_compiled() -> Figures:
    """The same of the compiled copy. Raises `CompileError`."""
    done = compiled.run("tests.benchmarks.simulation_speed", "--as-is", "--json")
    try:
        figures: Figures = json.loads(done.stdout)["python"]
    except json.JSONDecodeError:
        raise CompileError(f"the compiled copy ended with exit status {done.returncode}, without figures") from None
    return figures


def main() -> int:
    """Measure and print; the exit status says whether the bar was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures for a script")
    parser.add_argument("--as-is", action="store_true", help="compile nothing")
    options = parser.parse_args()
    figures = {"python": measure()}
    if not options.as_is:
        try:
            figures["compiled"] = measure_compiled()
        except CompileError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    same = len({each["course"] for each in figures.values()}) == 1
    met = same and figures.get("compiled", figures["python"])["both_ends"] >= BAR
    if options.json:
        print(json.dumps(figures | {"bar": BAR, "same": same, "bar_met": met}))
    else:
        _print(figures)
        print(f"bar: {BAR:.0f}, {'met' if met else 'missed' if same else 'void: the two come to different things'}")
    return 0 if met else 1


def _print(figures: dict[str, Figures]) -> None:
    table = Table("times real time", *figures, title=f"{SECONDS} simulated seconds, one core, best of {ROUNDS}")
    for name in ("pen_alone", "both_ends"):
        table.add_row(name.replace("_", " "), *(f"{each[name]:.0f}" for each in figures.values()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
