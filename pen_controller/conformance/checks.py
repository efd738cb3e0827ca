"""What a check is."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pen_controller.conformance.host import Host

Run = Callable[[Host], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a pen must do, and the ids in `protocols/README.md` that ask for it.

    `run` finds the pen IDLE, ours and without a lease. It raises `BrokenRuleError` or `NotApplicableError`.
    """

    name: str
    what: str
    rules: tuple[str, ...]
    needles: bool
    """Whether the needles of a pen move, or those of a pen that breaks the rule might."""
    run: Run


def check(*rules: str, needles: bool = False) -> Callable[[Run], Check]:
    """Make a coroutine function the check of these rules: an id, or one step of it as `CLM-2.3`."""

    def make(run: Run) -> Check:
        return Check(run.__name__.replace("_", "-"), (run.__doc__ or "").strip().rstrip("."), rules, needles, run)

    return make
