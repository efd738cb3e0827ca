"""The person in the world: prepares, treats the areas of a plan one by one, and does the foolish things of a script."""

import asyncio
from collections.abc import Callable

from pen_controller import limits
from pen_controller.clinic.desk import Desk
from pen_controller.config import PlanArea
from pen_controller.limits import Delivered, Grant
from pen_controller.pen import reported
from pen_controller.preparation.answers import Case
from pen_controller.treatment.outcomes import ClosedError, RefusedError
from tests import prepared
from tests.lines import CONFIG, TODAY
from tests.simulation.bench import Bench
from tests.simulation.program import TOLD, WHO, Program
from tests.simulation.script import Act, Script, What
from tests.simulation.truth import Kind

GLANCE_S = 0.2
"""How often a person looks whether there is something to do."""
READING_S = 1.2
HASTE_S = 0.02
FIRST = "fine_lines"
CASE = {"indications": [FIRST, "acne_scars", "striae"]}
REFUSALS = 3
"""So often refused, a person leaves an area."""


class Person:
    """Who works at the desk, over all runs of the program."""

    def __init__(self, script: Script, bench: Bench, restart: Callable[[], None]) -> None:
        self.script, self.bench, self._restart = script, bench, restart
        self._left = list(script.areas)
        self._refused = 0
        self._hasty = False
        self._labelled = 0
        """The cartridge whose label was entered last."""
        self._answered = False
        """Whether all else was answered for this patient."""
        bench.pen.hold(script.areas[0].area)  # a hand that is on skin is somewhere, also before the first area is begun

    # --- the plan ----------------------------------------------------------------------------------------------------

    async def work(self, program: Program, desk: Desk) -> None:
        """Do what is next; after one patient comes another, with the same plan."""
        while True:
            try:
                await self._next(program, desk)
            except TOLD:
                await asyncio.sleep(READING_S)
            if desk.journal.failed is not None:
                await asyncio.sleep(READING_S)
                self._restart()
            await asyncio.sleep(GLANCE_S)

    async def _next(self, program: Program, desk: Desk) -> None:
        treatment = desk.treatment
        if treatment is None:
            await self._begin(program, desk)
        elif desk.pen is not None and not desk.pen.connected:
            await desk.reconnect()
        elif desk.is_treating and not desk.stopped:
            return
        elif treatment.interrupted or desk.stopped:
            await self._resume(program, desk)
        elif not self._left:
            await self._end(program, desk)
        elif treatment.is_done(self._left[0]):
            self._left.pop(0)
        else:
            await self._start(program, desk, self._left[0])

    async def _begin(self, program: Program, desk: Desk) -> None:
        if desk.unended is not None:
            await desk.take_up(desk.unended, WHO)
        else:
            case = prepared.fitted("case", prepared.CASE | CASE | {"fitzpatrick": self.script.fitzpatrick})
            assert isinstance(case, Case)
            await desk.begin(case, WHO)
        if self.script.prepared and not self._answered:
            for answer in prepared.everything()[1:-1]:
                await desk.enter(answer)
            self._answered = True
            await self._label(program, desk)

    async def _label(self, program: Program, desk: Desk) -> None:
        """Enter what the cartridge's label says, which is last on the checklist."""
        cartridge = self.bench.pen.firmware.cartridge
        await desk.enter(prepared.fitted("cartridge", prepared.LABEL | {"needles": cartridge.needles}))
        self._labelled = cartridge.cartridge_id
        program.note(Kind.PREPARED)

    async def _start(self, program: Program, desk: Desk, wanted: PlanArea) -> None:
        if self._answered and self._labelled != self.bench.pen.firmware.cartridge.cartridge_id:
            await self._label(program, desk)
        self.bench.pen.hold(wanted.area)
        self.bench.pen.change_zone(wanted.size_cm2)
        self._approve(program, wanted)
        try:
            await desk.start(wanted)
            self._refused = 0
        except RefusedError as error:
            self._refused += 1
            if error.refusal.limit.layer == "cartridge":
                self.bench.swap_cartridge("fresh", 0)
            elif self._refused >= REFUSALS:
                self._leave_area()
            raise
        except ClosedError:
            self._leave_area()
            raise

    def _leave_area(self) -> None:
        self._refused = 0
        if self._left:
            self._left.pop(0)

    def _approve(self, program: Program, wanted: PlanArea) -> None:
        program.note(
            Kind.APPROVED,
            area=wanted.area,
            indication=wanted.indication or FIRST,
            fitzpatrick=self.script.fitzpatrick,
            depth_mm=wanted.depth_mm,
            rate_hz=wanted.rate_hz,
            passes=wanted.passes,
            size_cm2=wanted.size_cm2,
        )

    async def _resume(self, program: Program, desk: Desk) -> None:
        assert desk.pen is not None
        await asyncio.sleep(HASTE_S if self._hasty else READING_S)
        program.note(Kind.RESUMED)
        await desk.resume(desk.pen.state.latch_id, WHO)

    async def _end(self, program: Program, desk: Desk) -> None:
        treatment = desk.need_treatment()
        await desk.end()
        program.note(Kind.ENDED, area=None, areas=treatment.summaries())
        self._left, self._answered = list(self.script.areas), False

    # --- foolish things ----------------------------------------------------------------------------------------------

    def do(self, act: Act, program: Program) -> None:
        """Do what a script says, at the desk, if there is one by now with a treatment."""
        desk = program.desk
        if desk is None or desk.treatment is None:
            return
        wanted = self._left[0] if self._left else self.script.areas[-1]
        match act.what:
            case What.STOP:
                desk.stop(WHO.name)
            case What.START:
                self._approve(program, wanted)
                program.ask(lambda: desk.start(wanted))
            case What.TOO_MUCH:
                deep = wanted.model_copy(update={"depth_mm": act.figure})
                self._approve(program, deep)
                program.ask(lambda: desk.start(deep))
            case What.CHANGE:
                self._approve(program, wanted.model_copy(update={"depth_mm": act.figure}))
                program.ask(lambda: desk.change(act.figure, wanted.rate_hz))
            case What.FINISH:
                program.ask(lambda: desk.finish(WHO))
            case What.HASTY:
                self._hasty = True
            case What.CLOSE:
                self._left.clear()
            case What.OTHER_AREA:
                program.ask(lambda: self._other_area(act, desk))

    async def _other_area(self, act: Act, desk: Desk) -> None:
        """Choose another area, which the plan may not have."""
        other = PlanArea(area="chin", depth_mm=0.5, rate_hz=80.0, passes=1, size_cm2=2.0)
        if act.choice == "finish":
            await desk.finish(WHO)
            self._left.insert(0, other)
            return
        pen = desk.pen
        if pen is None or not desk.is_treating:
            return  # the arm goes past the checklist, which is the treatment's
        tag = reported.tag(await pen.cartridge())
        verdict = limits.authorize(
            limits.Request("chin", FIRST, self.script.fitzpatrick, 0.5, 80.0, 1, 2.0),
            config=CONFIG,
            envelope=reported.envelope(pen.identity),
            pen_profile=pen.identity.model,
            cartridge=tag,
            treatment=desk.need_treatment().token,
            today=TODAY,
            delivered=Delivered(),
        )
        if isinstance(verdict, Grant):
            await pen.arm(verdict, today=TODAY)
