"""One script run before the oracle: what it found, and how often each thing happened."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import process_time

from pen_controller.pen.link import ANSWER_S
from simulator.profiles import PROFILES
from tests.simulation.oracle import Facts, Measure, Oracle, differs
from tests.simulation.script import Script, What
from tests.simulation.truth import Deed, Kind, Moment, Violation
from tests.simulation.world import run


@dataclass(slots=True)
class Tally:
    """What some scripts came to, added up. `worst` is the figure nearest to its bound, or farthest beyond it."""

    scripts: int = 0
    steps: int = 0
    world_s: float = 0.0
    cpu_s: float = 0.0
    kinds: Counter[Kind] = field(default_factory=Counter)
    acts: Counter[What] = field(default_factory=Counter)
    measured: dict[str, Measure] = field(default_factory=dict)
    violations: list[tuple[Script, Violation]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in what others came to."""
        self.scripts += other.scripts
        self.steps += other.steps
        self.world_s += other.world_s
        self.cpu_s += other.cpu_s
        self.kinds += other.kinds
        self.acts += other.acts
        self.violations += other.violations
        for hazard, measure in other.measured.items():
            self.measured[hazard] = worse(self.measured.get(hazard), measure)


def worse(one: Measure | None, other: Measure) -> Measure:
    """Both measures of a hazard in one: what was provoked together, and the figure that is nearer to its bound."""
    if one is None:
        return other
    provoked = one.provoked + other.provoked
    if one.worst is None or one.bound is None:
        return other._replace(provoked=provoked)
    if other.worst is None or other.bound is None or other.bound - other.worst >= one.bound - one.worst:
        return one._replace(provoked=provoked)
    return other._replace(provoked=provoked)


class _Watch:
    """Shows the oracle all, and counts."""

    def __init__(self, oracle: Oracle) -> None:
        self.see_it, self.note_it = oracle.see, oracle.note
        self.steps = self.t_us = 0
        self.kinds: Counter[Kind] = Counter()

    def see(self, moment: Moment) -> None:
        self.steps += 1
        self.t_us = moment.t_us
        self.see_it(moment)

    def note(self, deed: Deed) -> None:
        self.kinds[deed.kind] += 1
        self.note_it(deed)


class Trace:
    """Keeps every moment, and a digest of all that it is shown."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._hash = hashlib.sha256()

    def see(self, moment: Moment) -> None:
        self.moments.append(moment)
        self._hash.update(repr(tuple(moment)).encode())

    def note(self, deed: Deed) -> None:
        self._hash.update(repr((deed.t_us, deed.kind.value, sorted(deed.detail.items()))).encode())

    @property
    def digest(self) -> str:
        """Of all moments and deeds, to the last bit."""
        return self._hash.hexdigest()


def facts(script: Script) -> Facts:
    """What the oracle is told of a script before it begins."""
    envelope = PROFILES[script.model]
    return Facts(
        pen=script.model,
        envelope_depth_mm=envelope.depth_um[1] / 1000,
        envelope_rate_hz=envelope.rate_dhz[1] / 10,
        latency_us=round(script.latency_ms * 1000),
        round_trip_us=round(ANSWER_S * 1e6),
    )


def judge(script: Script) -> Tally:
    """Run one script before the oracle; one in which the clock jumps, also as it would be without the jump."""
    began_s = process_time()
    oracle = Oracle(facts(script))
    watch = _Watch(oracle)
    try:
        run(script, watch)
        found = oracle.finish() + _jumped(script)
    except Exception as error:  # noqa: BLE001  # whatever it is, the script is to be kept, made short and replayed
        said = f"{type(error).__name__}: {error}"
        found = [*oracle.finish(), Violation("broke", watch.t_us, said.partition("\n")[0])]
    return Tally(
        scripts=1,
        steps=watch.steps,
        world_s=script.seconds,
        cpu_s=process_time() - began_s,
        kinds=watch.kinds,
        acts=Counter(act.what for act in script.acts),
        measured=oracle.measured() | _jumps(script, found),
        violations=[(script, violation) for violation in found],
    )


def judge_all(scripts: Iterable[Script]) -> Tally:
    """Run scripts one after the other, and add up."""
    tally = Tally()
    for script in scripts:
        tally.add(judge(script))
    return tally


def _jumped(script: Script) -> list[Violation]:
    """H20: what differs from the same world without jumps of the clock."""
    calm = script.model_copy(update={"acts": tuple(act for act in script.acts if act.what is not What.CLOCK_JUMP)})
    if calm == script:
        return []
    traces = Trace(), Trace()
    for each, trace in zip((calm, script), traces, strict=True):
        run(each, trace)
    return differs(traces[0].moments, traces[1].moments)


def _jumps(script: Script, found: list[Violation]) -> dict[str, Measure]:
    jumps = sum(act.what is What.CLOCK_JUMP for act in script.acts)
    worst = sum(violation.hazard == "H20" for violation in found)
    return {"H20": Measure(jumps, worst, 0, "differences")} if jumps else {}
