"""Makes a script that fails shorter, as long as it still fails: what is left is what it takes."""

from collections.abc import Callable, Iterator

from tests.simulation.script import Act, Script

Fails = Callable[[Script], bool]


def shrink(script: Script, fails: Fails) -> Script:
    """Make a script as short as it gets; the same script and the same `fails` give the same result.

    Args:
        script: one that fails.
        fails: whether a script still fails in the same way.
    """
    while True:
        before = script
        for shorter in (_sooner, _fewer_acts, _fewer_areas, _simpler_acts):
            while (found := next(filter(fails, shorter(script)), None)) is not None:
                script = found
        if script == before:
            return script


def _sooner(script: Script) -> Iterator[Script]:
    for seconds in (script.seconds // 2, script.seconds - 1):
        if seconds >= 1:
            acts = tuple(act for act in script.acts if act.at_ms < seconds * 1000)
            yield _with(script, seconds=seconds, acts=acts)


def _fewer_acts(script: Script) -> Iterator[Script]:
    """Without half of the acts, a quarter, and so on, and at last without a single one (ddmin)."""
    acts, size = script.acts, len(script.acts)
    while size:
        for start in range(0, len(acts), size):
            yield _with(script, acts=acts[:start] + acts[start + size :])
        size //= 2


def _fewer_areas(script: Script) -> Iterator[Script]:
    if len(script.areas) > 1:
        for area in script.areas:
            yield _with(script, areas=(area,))


def _simpler_acts(script: Script) -> Iterator[Script]:
    for index, act in enumerate(script.acts):
        for simpler in _simpler(act):
            yield _with(script, acts=(*script.acts[:index], simpler, *script.acts[index + 1 :]))


def _simpler(act: Act) -> Iterator[Act]:
    changes: tuple[dict[str, object], ...] = (
        {"chance": 1.0},
        {"for_ms": act.for_ms // 2},
        {"at_ms": act.at_ms // 2},
        {"at_ms": act.at_ms // 100 * 100},
    )
    for change in changes:
        simpler = act.model_copy(update=change)
        if simpler != act:
            yield simpler


def _with(script: Script, **changes: object) -> Script:
    return script.model_copy(update=changes)
