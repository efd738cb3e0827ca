"""Runs a script: a pen on its bench, a host's program, a person before it, on one virtual clock, before an observer."""

import asyncio
import random
from typing import Any, Protocol

from tests.simulation.bench import Bench
from tests.simulation.clock import Clock, WorldLoop
from tests.simulation.disk import Disk
from tests.simulation.happenings import HAPPENINGS
from tests.simulation.line import Line
from tests.simulation.person import Person
from tests.simulation.program import Program
from tests.simulation.script import TO_HOST, TO_PEN, Act, Script, What
from tests.simulation.seams import BEGINS, sealed
from tests.simulation.truth import Deed, Kind, Moment

ENDED_S = 60.0
"""A killed program's tasks unwind at once, but for those that wait for something that never comes."""
RESTART_MS = 1_000
"""How long a person takes to start a program again that could not go on."""


class Observer(Protocol):
    """Who watches a world."""

    def see(self, moment: Moment) -> None:
        """One judged step."""

    def note(self, deed: Deed) -> None:
        """One fact."""


class SimulationError(Exception):
    """Something broke that is no hazard: an error that nobody expected."""


def run(script: Script, observer: Observer) -> None:
    """Run a script to its end.

    Raises:
        SimulationError: the product raised what nobody expects.
        Exception: what the observer raises.
    """
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: WorldLoop(clock)) as runner:
        runner.run(_run(script, clock, observer))


async def _run(script: Script, clock: Clock, observer: Observer) -> None:
    world = _World(script, clock, observer)
    with sealed(world.chance, lambda: clock.now_us / 1e6 + world.jumped_s, world.disk):
        try:
            await world.go()
        finally:
            await world.end()
    if world.errors:
        raise SimulationError(f"seed {script.seed}: {world.errors[0]}")


class _World:
    def __init__(self, script: Script, clock: Clock, observer: Observer) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WorldLoop)
        loop.set_exception_handler(self._broke)
        self.script, self.clock, self.loop = script, clock, loop
        self.chance = random.Random(f"world {script.seed}")  # noqa: S311  # a simulation, not a secret
        self.disk = Disk(self.chance, used=BEGINS)
        self.jumped_s = 0.0
        self.errors: list[str] = []
        self.weather: dict[str, list[Act]] = {TO_PEN: [], TO_HOST: []}
        self.bench = Bench(clock, script.model, self.chance.getrandbits(31), observer.see, observer.note)
        self._person = Person(script, self.bench, lambda: self._crash(RESTART_MS))
        self._programs: list[Program] = []
        self._plugged = True

    async def go(self) -> None:
        """Run the script."""
        self._start()
        for act in self.script.acts:
            self.clock.after(act.at_ms, self._happen, act)
        over = self.loop.create_future()
        self.clock.after(self.script.seconds * 1000, over.set_result, None)
        await over

    async def end(self) -> None:
        """Nobody watches any more; let all tasks unwind."""
        self.bench.end()
        for program in self._programs:
            program.kill()
            try:
                async with asyncio.timeout(ENDED_S):
                    await program.ended()
            except TimeoutError:
                self.errors.append("a program that was killed goes on")

    def _broke(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(f"{context['message']}: {context.get('exception')!r}")

    def note(self, kind: Kind, **detail: Any) -> None:
        """A deed of now."""
        self.bench.note(kind, **detail)

    def _happen(self, act: Act) -> None:
        match act.what:
            case what if what in HAPPENINGS:
                HAPPENINGS[what](self, act)
            case What.UNPLUG:
                self._unplug(act)
            case What.HOST_STALL | What.SUSPEND:
                self.loop.call_soon(self._stall, act)
            case What.CRASH:
                self._crash(act.for_ms)
            case What.QUIT if self._program is not None:
                self.loop.call_soon(self._program.quit, lambda: self._gone(act.for_ms))
            case _:
                self._do(act)

    # --- the host ----------------------------------------------------------------------------------------------------

    @property
    def _program(self) -> Program | None:
        """The one that runs."""
        return self._programs[-1] if self._programs and not self._programs[-1].is_dead else None

    def _start(self) -> None:
        if self._program is not None:
            return
        host = self.chance.getrandbits(64)
        chance = random.Random(self.chance.getrandbits(63))  # noqa: S311  # as above
        latency_us = round(self.script.latency_ms * 1000)
        line = Line(self.bench, host, self.weather, latency_us, chance, plugged=self._plugged)
        self.note(Kind.HOST_STARTED, host=host, again=bool(self._programs))
        self._programs.append(Program(line, self.disk, host, self.note, self._person.work))

    def _crash(self, back_ms: float) -> None:
        """Kill the program; start it again after so long."""
        if self._program is not None:
            self._program.kill()
            self._gone(back_ms)

    def _gone(self, back_ms: float) -> None:
        self.note(Kind.HOST_KILLED)
        self.clock.after(back_ms, self.loop.call_soon, self._start)  # a program begins on its machine's loop

    def _stall(self, act: Act) -> None:
        asleep = act.what is What.SUSPEND
        self.note(Kind.HOST_STALLED, suspended=asleep)
        (self.loop.sleep if asleep else self.loop.block)(act.for_ms * 1000)
        self.note(Kind.HOST_WOKE)

    def _unplug(self, act: Act) -> None:
        if self._plugged:
            self._plugged = False
            self.note(Kind.LINK_LOST, by="cable")
            if self._program is not None:
                self._program.line.pull()
            self.clock.after(act.for_ms, self._plug)

    def _plug(self) -> None:
        self._plugged = True
        self.note(Kind.LINK_BACK, by="cable")
        if self._program is not None:
            self._program.line.plugged = True

    def _do(self, act: Act) -> None:
        """What a person does at the screen, the program takes when it can."""
        program = self._program
        if program is not None and program.desk is not None:
            if act.what is What.STOP:
                self.note(Kind.STOP_PRESSED)
            self.loop.call_soon(self._person.do, act, program)
