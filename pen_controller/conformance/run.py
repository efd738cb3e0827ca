"""Runs the checks on a pen, one after the other, each from the same beginning."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from pen_controller.conformance import arming, commands, frames, lease, running, speaking, stopping, telling
from pen_controller.conformance.checks import Check
from pen_controller.conformance.host import Host
from pen_controller.conformance.unseen import UNSEEN
from pen_controller.conformance.wire import BrokenRuleError, NotApplicableError, Wire
from pen_controller.errors import LinkError
from pen_controller.transports import Transport
from protocols.capture import Piece
from protocols.messages import Cartridge, Identity, Release, Stop

CHAPTERS = (frames, speaking, commands, lease, arming, running, stopping, telling)
CHECKS = [one for chapter in CHAPTERS for one in vars(chapter).values() if isinstance(one, Check)]
"""All checks, in the order in which they run."""
CHECK_S = 20.0
"""No check takes half as long, with a pen that answers."""


class Status(Enum):
    """How a check came out."""

    PASSED = "pass"
    FAILED = "fail"
    NOT_APPLICABLE = "not applicable"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check came out: `why` says what was seen, and `traffic` is all that went over the line, if it failed."""

    check: Check
    status: Status
    why: str = ""
    traffic: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A pen held against the specification."""

    identity: Identity
    cartridge: Cartridge
    outcomes: list[Outcome]

    @property
    def counts(self) -> dict[Status, int]:
        """How many checks came out how, where any did."""
        counted = Counter(outcome.status for outcome in self.outcomes)
        return {status: counted[status] for status in Status if counted[status]}

    @property
    def failed(self) -> list[Outcome]:
        """The checks that failed."""
        return [outcome for outcome in self.outcomes if outcome.status is Status.FAILED]


def chosen(only: Iterable[str]) -> list[Check]:
    """The checks of these rules: ids (`CLM-2`), steps (`CLM-2.3`), chapters (`CLM`) or names of checks; all if none.

    Raises:
        ValueError: a name is none of these, or of a rule that has no check; the text says why.
    """
    wanted = list(only)
    for name in wanted:
        if not any(_concerns(one, name) for one in CHECKS):
            why = UNSEEN.get(name, "see the ids in protocols/README.md")
            raise ValueError(f"no check of {name!r}: {why}")
    return [one for one in CHECKS if not wanted or any(_concerns(one, name) for name in wanted)]


async def conform(
    transport: Transport, checks: Iterable[Check], *, needles: bool, say: Callable[[Outcome], None] = lambda _: None
) -> Report:
    """Hold a pen against these checks. It is left IDLE and unclaimed if it can be, or else told to stop.

    Args:
        transport: an unopened line to the pen.
        checks: see `chosen`.
        needles: whether its needles may run, in the air.
        say: is told each outcome as it comes.

    Returns:
        All outcomes. A check in which the line is lost has failed, and those after it are not run.

    Raises:
        LinkError: the line does not open, or another program has the pen.
        BrokenRuleError: nobody there says who it is.
    """
    wire = Wire(transport)
    await wire.open()
    host = Host(wire)
    try:
        await host.meet()
        report = Report(host.identity, host.cartridge, [])
        for one in checks:
            outcome = await _outcome(one, host, needles=needles)
            report.outcomes.append(outcome)
            say(outcome)
    except asyncio.CancelledError:
        host.say(Stop())
        raise
    else:
        return report
    finally:
        await _leave(host)
        await wire.close()


async def _outcome(one: Check, host: Host, *, needles: bool) -> Outcome:
    if host.wire.lost is not None:
        return Outcome(one, Status.NOT_RUN, host.wire.lost)
    if one.needles and not needles:
        return Outcome(one, Status.NOT_APPLICABLE, "needles were not to run")
    try:
        async with asyncio.timeout(CHECK_S):
            host.wire.begin()
            await host.reset()
            host.wire.begin()
            await one.run(host)
    except NotApplicableError as reason:
        return Outcome(one, Status.NOT_APPLICABLE, str(reason))
    except (BrokenRuleError, LinkError) as seen:
        return Outcome(one, Status.FAILED, str(seen), tuple(host.wire.traffic))
    except TimeoutError:
        return Outcome(one, Status.FAILED, f"not done within {CHECK_S:g} s", tuple(host.wire.traffic))
    return Outcome(one, Status.PASSED)


async def _leave(host: Host) -> None:
    """Leave the pen at rest and unclaimed. One that cannot be is told to stop, which latches it.

    A pen that never was ours is left alone: another program may be treating with it.
    """
    if not host.has_owned:
        return
    try:
        async with asyncio.timeout(CHECK_S):
            await host.reset()
            host.say(Release(host.next_id()))
    except (BrokenRuleError, TimeoutError, LinkError):
        host.say(Stop())


def _concerns(one: Check, name: str) -> bool:
    return one.name == name or any(rule == name or rule.startswith((f"{name}.", f"{name}-")) for rule in one.rules)
