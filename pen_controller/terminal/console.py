"""A treatment at a terminal: the person's questions, the progress, the tables."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pen_controller.config import Plan, PlanArea
from pen_controller.errors import LinkError
from pen_controller.service import Service
from pen_controller.treatment import Treatment
from pen_controller.treatment.counts import AreaCount, Live
from pen_controller.treatment.outcomes import ClosedError, StoppedError
from protocols.words import PenState


class Person(Protocol):
    """Whoever decides."""

    async def ready(self, area: PlanArea, warnings: Sequence[str]) -> bool:
        """Whether to treat this area now; False leaves it out."""

    async def reconnect(self, reason: str) -> bool:
        """The line is lost for this reason: whether to try again."""

    async def resume(self, area: PlanArea, reason: str) -> bool:
        """The needles stopped for this reason: whether to let them run again in this area."""


class NobodyError(Exception):
    """A question was asked, and nobody is there to answer it."""


class Typist:
    """A person at the keyboard.

    Args:
        console: where the questions go.
        go_on: do not ask before each area. Resuming after a stop is asked all the same.

    Raises:
        NobodyError: standard input has ended.
    """

    def __init__(self, console: Console, *, go_on: bool) -> None:
        self._console, self._go_on = console, go_on

    async def ready(self, area: PlanArea, warnings: Sequence[str]) -> bool:
        """See `Person.ready`."""
        for warning in warnings:
            self._console.print(f"Warning: {warning}", style="yellow", highlight=False)
        if self._go_on:
            return True
        what = (
            f"{area.area}: {area.depth_mm:g} mm, {area.rate_hz:g} Hz, {area.passes} passes over {area.size_cm2:g} cm2"
        )
        return (await self.ask(f"Next {what}. Enter starts the needles, s skips: ")).lower() != "s"

    async def reconnect(self, reason: str) -> bool:
        """See `Person.reconnect`."""
        self._say_stopped(reason)
        return (await self.ask("Put the line right. Enter tries again, q ends the treatment: ")).lower() != "q"

    async def resume(self, area: PlanArea, reason: str) -> bool:
        """See `Person.resume`."""
        self._say_stopped(reason)
        question = f"Resume {area.area} with what is left of it? y resumes, Enter ends the treatment: "
        return (await self.ask(question)).lower() == "y"

    def _say_stopped(self, reason: str) -> None:
        self._console.print("[bold red]Stopped[/]:", reason, highlight=False)

    async def ask(self, question: str) -> str:
        """Read one line, without the blanks around it.

        A thread waits for it, so that the lease goes on; it does not keep the program alive.
        """
        _forget_typed()
        self._console.print(question, end="")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def give(line: str) -> None:
            if not answer.done():
                answer.set_result(line)

        def read() -> None:
            line = sys.stdin.readline()
            with contextlib.suppress(RuntimeError):  # the program has ended meanwhile
                loop.call_soon_threadsafe(give, line)

        threading.Thread(target=read, daemon=True).start()
        line = await answer
        if not line:
            raise NobodyError(
                "nobody answers at standard input; --prepared answers what is asked before, --yes starts areas, "
                "but after a stop a person resumes"
            )
        return line.strip()


def _forget_typed() -> None:
    """Throw away what was typed before the question stood there: it answers something else."""
    with contextlib.suppress(ImportError):
        import termios  # noqa: PLC0415  # POSIX only

        if sys.stdin.isatty():
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


@contextlib.contextmanager
def _progress_of(service: Service, area: PlanArea, console: Console) -> Iterator[None]:
    """Show a bar for the area under way, with what the pen does now; it stays as a line when the area is done."""
    before = service.treatment.areas.get(area.area)
    said = len(before.warnings) if before else 0
    with Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[given]}"),
        TextColumn("{task.fields[now]}"),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        bar = progress.add_task(area.area, total=1.0, given="", now="")

        def show(live: Live) -> None:
            nonlocal said
            for text in live.area.warnings[said:]:
                console.print(f"[yellow]Warning[/]: {text}", highlight=False)
                said += 1
            share, given = _given(live.area)
            progress.update(bar, completed=share, given=given, now=_now(live))

        service.treatment.watchers.append(show)
        try:
            yield
        finally:
            service.treatment.watchers.remove(show)
            progress.update(bar, now="")


def _given(count: AreaCount) -> tuple[float, str]:
    """The share of what is wanted that an area has been given, and in words: passes, and how far the next one is."""
    if count.passes is None:
        given_per_cm2, wanted_per_cm2 = count.density_per_cm2, count.density_of(count.wanted_passes)
        return given_per_cm2 / wanted_per_cm2, f"{given_per_cm2:.0f}/{wanted_per_cm2:.0f} per cm2, no passes"
    low, high = count.figures.coverage or (0.0, 0.0)
    next_one = f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low * 100:.0f}-{high:.0%}"
    return (count.passes + low) / count.wanted_passes, f"{count.passes}/{count.wanted_passes} passes, next {next_one}"


def _now(live: Live) -> str:
    """What the person should do about it, or else what the pen measures."""
    if live.alert is not None:
        return f"[bold yellow]{live.alert.advice}[/]"
    sample = live.sample
    depth_mm, rate_hz, force_n = sample["depth_um"] / 1000, sample["rate_dhz"] / 10, sample["force_mn"] / 1000
    return f"{depth_mm:4.2f} mm {rate_hz:3.0f} Hz {force_n:3.1f} N"


def _reservations(how: Iterable[str]) -> str:
    """What cannot be told, or is estimated, of how figures were got."""
    return "; ".join(sorted({text for text in how if text.startswith(("none", "estimated"))}))


async def run_plan(service: Service, plan: Plan, person: Person, console: Console) -> bool:
    """Treat the areas of a plan in order, as the person decides. True if every area was given what was planned.

    An area that is done is skipped, and so is one that a hard limit closed.

    Raises:
        ClosedError: a hard limit closed an area before it was done; all others were gone through.
        RefusedError: a limit forbids an area; those before it are done.
        PenError: the pen or its line is lost, and the person gives up.
    """
    treatment = service.treatment
    complete = True
    for area in plan.areas:
        complete = await _treat(service, area, person, console) and complete
    for area in plan.areas:
        count = treatment.areas.get(area.area)
        if count is not None and count.closed is not None and not treatment.is_done(area):
            raise ClosedError(area.area, count.closed)
    return complete


async def _treat(service: Service, area: PlanArea, person: Person, console: Console) -> bool:
    """Treat an area until it is done or closed, or the person leaves it out. True if it was given what was planned."""
    treatment = service.treatment
    why = treatment.interrupted
    while not _is_over(treatment, area):
        try:
            await _recover(service, area, person, why)
            if _is_over(treatment, area):
                break
            grant = await treatment.check(area)
        except LinkError as lost:
            why = str(lost)
            continue
        if not why and not await person.ready(area, grant.warnings):
            return False
        try:
            with _progress_of(service, area, console):
                count = await treatment.treat(area)
            if reservations := _reservations(count.figures.how.values()):
                console.print(f"{area.area}: {reservations}", style="yellow", highlight=False)
        except ClosedError as closed:
            console.print("[bold red]Closed[/]:", str(closed), highlight=False)
        except StoppedError as stopped:
            why = str(stopped)
    return treatment.is_done(area)


def _is_over(treatment: Treatment, area: PlanArea) -> bool:
    count = treatment.areas.get(area.area)
    return treatment.is_done(area) or (count is not None and count.closed is not None)


async def _recover(service: Service, area: PlanArea, person: Person, why: str) -> None:
    """Have the pen back, unlatched, if the person wants it so. Raises `StoppedError` if not."""
    pen, treatment = service.pen, service.treatment
    while not pen.connected:
        if not await person.reconnect(why or pen.stop_reason or "the line is lost"):
            raise StoppedError(why)
        with contextlib.suppress(LinkError):
            await treatment.reconnect()
    state, why = pen.state, why or treatment.interrupted
    if state.state is not PenState.LATCHED and not why:
        return
    cause = f"the pen latched: {state.cause.name.lower().replace('_', ' ')}" if state.state is PenState.LATCHED else ""
    reason = "; ".join(filter(None, [why or pen.stop_reason, cause]))
    if not await person.resume(area, reason):
        raise StoppedError(reason)
    await treatment.resume("clinician", state.latch_id)


def report(service: Service) -> dict[str, Any]:
    """The figures of the treatment so far, ready for JSON."""
    treatment = service.treatment
    return {
        "session": treatment.session,
        "pen": service.pen.identity.serial,
        "areas": treatment.summaries(),
        "refusals": [
            {"area": area, "message": refusal.message, "limit": refusal.limit.name, "value": refusal.limit.value,
             "unit": refusal.limit.unit, "source": refusal.limit.source}
            for area, refusal in treatment.refusals
        ],
        "journal": str(service.journal.path),
    }  # fmt: skip


def table_of(figures: dict[str, Any]) -> Table:
    """The areas of a report as a table."""
    title = f"Treatment {figures['session']}, pen {figures['pen']}"
    table = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("area", "passes", "punctures", "per\ncm2", "deepest\nmm", "limit\nmm", "s", "refused"):
        table.add_column(head, justify="left" if head == "area" else "right", no_wrap=True)
    for area in figures["areas"]:
        table.add_row(
            area["area"],
            "-" if area["passes"] is None else str(area["passes"]),
            f"{area['punctures']:,}",
            f"{area['density_per_cm2']:,.0f}",
            f"{area['deepest_um'] / 1000:.2f}",
            f"{area['depth_cap_um'] / 1000:.2f}",
            f"{area['duration_s']:.1f}",
            str(area["refusals"]),
        )
    closed = [f"Closed: {area['closed']}" for area in figures["areas"] if area["closed"]]
    reserved = _reservations(text for area in figures["areas"] for text in area["how"].values())
    table.caption = "\n".join([*closed, *([reserved] if reserved else [])]) or None
    return table
