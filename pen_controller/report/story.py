"""The story of one treatment, told by its records. Pure: no I/O, and no word of any language.

It can be told of a treatment at any moment: under way, killed, taken up again, ended; with a preparation or without.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unicodedata import category

from pen_controller.journal import Record
from pen_controller.preparation import PRACTICE

Body = dict[str, Any]

US_WRAP = 1 << 32
"""The pen's own clock counts microseconds modulo this."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, and what was said later to correct it, the newest last; corrections have none of their own."""

    seq: int
    kind: str
    wall: str
    body: Body
    corrections: tuple["Entry", ...] = ()

    @property
    def now(self) -> Body | None:
        """What holds: the body as it was last corrected; None if it was taken back."""
        holds: Body | None = self.corrections[-1].body["body"] if self.corrections else self.body
        return holds


@dataclass(frozen=True, slots=True)
class AreaStory:
    """One area: what was planned, what was set, what came of it.

    Attributes:
        planned: Of the plan, if there was one: depth_um, rate_dhz, passes, size_cm2, indication.
        depths_um: Depths that the needles were set to, each once, in order.
        rates_dhz: Rates, likewise.
        deepest_um: The deepest that the pen's own sensor read while the tip was on the skin; samples are not kept.
        depth_cap_um: The deepest that was allowed.
        passes: Complete and over; None for a pen without a motion sensor.
        uncertain_punctures: The most there can have been beyond `punctures`.
        done: It was given what was wanted.
        closed: Name of the hard limit that closed it.
        each_pass: Bodies of the `pass` records, in order.
    """

    area: str
    planned: Body | None
    size_cm2: float
    needles: int
    depths_um: tuple[int, ...]
    rates_dhz: tuple[int, ...]
    deepest_um: int
    depth_cap_um: int
    passes: int | None
    glides: int
    strokes: int
    punctures: int
    uncertain_punctures: int
    density_per_cm2: float
    duration_s: float
    evenness_cv: float | None
    done: bool
    closed: str | None
    each_pass: tuple[Body, ...]


@dataclass(frozen=True, slots=True)
class AlertSum:
    """All alerts of one kind in one area. `worst` is the value farthest beyond the limit; `seconds` of those ended."""

    area: str
    fault: str
    severity: str
    times: int
    seconds: float
    worst: float
    limit: Body


@dataclass(frozen=True, slots=True)
class Story:
    """One treatment, as its records have it.

    Attributes:
        ended: Wall time of its end; None if it is under way or was never ended.
        last: Wall time of the newest record.
        model, firmware, udi: Of the pen, as it says; empty in records of before they were kept.
        practice: With a simulated pen: nobody was treated, whatever was entered.
        entries: All records but corrections, in order.
        corrections: All corrections, in order.
    """

    session: str
    pen: str
    model: str
    firmware: str
    udi: str
    begun: str
    last: str
    ended: str | None
    practice: bool
    indication: str
    fitzpatrick: int | None
    areas: tuple[AreaStory, ...]
    alerts: tuple[AlertSum, ...]
    entries: tuple[Entry, ...]
    corrections: tuple[Entry, ...]

    def of(self, *kinds: str) -> tuple[Entry, ...]:
        """Return the entries of these kinds, in order."""
        return tuple(entry for entry in self.entries if entry.kind in kinds)

    def holding(self, kind: str) -> Entry | None:
        """Return the last entry of a kind that was not taken back, if there is one."""
        return next((entry for entry in reversed(self.of(kind)) if entry.now is not None), None)


def told(records: Sequence[Record]) -> Story:
    """Tell the story of one session from its records, in order.

    Raises:
        ValueError: there are none.
    """
    if not records:
        raise ValueError("no records: choose a session of this journal")
    corrections, entries = _entries(records)
    begun = next((entry.body for entry in entries if entry.kind == "treatment_begun"), {})
    skin = next((entry.body for entry in entries if entry.kind == "skin"), {})
    ended = next((entry.wall for entry in entries if entry.kind == "summary"), None)
    return Story(
        session=records[0].session,
        pen=records[0].pen,
        model=begun.get("model", ""),
        firmware=begun.get("firmware", ""),
        udi=begun.get("udi", ""),
        begun=records[0].wall,
        last=records[-1].wall,
        ended=ended,
        practice=begun.get("practice", True) or begun.get("model") == PRACTICE,
        indication=skin.get("indication", ""),
        fitzpatrick=skin.get("fitzpatrick"),
        areas=_areas(entries),
        alerts=_alerts(entry.body for entry in entries if entry.kind == "alert"),
        entries=entries,
        corrections=corrections,
    )


def _entries(records: Iterable[Record]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Return the corrections, and all else with the corrections that belong to it."""
    told = [Entry(each.seq, each.kind, each.wall, visible(each.body)) for each in records]
    corrections = [entry for entry in told if entry.kind == "correction"]
    of: dict[int, tuple[Entry, ...]] = {}
    for correction in corrections:
        seq = correction.body["of_seq"]
        of[seq] = (*of.get(seq, ()), correction)
    entries = (replace(entry, corrections=of.get(entry.seq, ())) for entry in told if entry.kind != "correction")
    return tuple(corrections), tuple(entries)


def visible(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Return a JSON value whose texts show all they hold.

    Control, direction and zero-width characters are spelt out, line breaks too: a text cannot look like another.
    """
    if isinstance(value, dict):
        return {visible(key): visible(each) for key, each in value.items()}
    if isinstance(value, list):
        return [visible(each) for each in value]
    if not isinstance(value, str):
        return value
    return "".join(each if each.isprintable() or category(each) == "Zs" else f"[U+{ord(each):04X}]" for each in value)


_FIGURES = (
    "deepest_um", "passes", "glides", "strokes", "punctures", "uncertain_punctures", "density_per_cm2", "duration_s",
    "evenness_cv",
)  # fmt: skip

# --- areas -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Area:
    """What has been read of one area so far."""

    area: str
    planned: Body | None = None
    armed: Body | None = None
    depths_um: list[int] = field(default_factory=list)
    rates_dhz: list[int] = field(default_factory=list)
    given: Body = field(default_factory=dict)
    summed: Body | None = None
    each_pass: list[Body] = field(default_factory=list)
    done: bool = False
    closed: str | None = None


def _areas(entries: Iterable[Entry]) -> tuple[AreaStory, ...]:
    """Tell of each area that was planned or armed, in the order they were begun; those never begun come last."""
    found: dict[str, _Area] = {}
    plan: dict[str, Body] = {}
    for entry in entries:
        if entry.kind == "plan":
            plan |= {wanted["area"]: wanted for wanted in entry.body["areas"]}
        else:
            _read(found, entry.kind, entry.body)
    for name in plan:
        found.setdefault(name, _Area(name)).planned = plan[name]
    return tuple(_area_story(area) for area in found.values())


def _read(found: dict[str, _Area], kind: str, body: Body) -> None:
    """Take in a record that tells of an area; others are of no interest here."""
    if kind == "summary":
        for summed in body["areas"]:
            found[summed["area"]].summed = summed
        return
    if kind == "intent" and body["command"] == "arm":
        found.setdefault(body["area"], _Area(body["area"])).armed = body
    area = found.get(body.get("area", ""))
    if area is None:
        return
    if kind == "intent" and body["command"] in ("start", "set"):
        _once(area.depths_um, body["depth_um"])
        _once(area.rates_dhz, body["rate_dhz"])
    elif kind == "progress":
        area.given, area.summed = body["given"], None
    elif kind == "pass":
        area.each_pass.append(body)
    elif kind == "area_done":
        area.summed, area.done = body, True
    elif kind == "area_closed":
        area.closed = body["limit"]["name"]


def _once(values: list[int], value: int) -> None:
    if value not in values:
        values.append(value)


def _area_story(read: _Area) -> AreaStory:
    """Put together what is known: the sum where there is one, else what was counted last, and the passes recorded."""
    armed: Body = read.armed or {}
    size_cm2, needles = ((read.planned or {}) | armed)["size_cm2"], armed.get("needles", 0)
    given: Body = {"passes": 0, "glides": 0, "strokes": 0, "contact_strokes": 0, "uncertain_strokes": 0, **read.given}
    punctures = given["contact_strokes"] * needles
    counted: Body = {
        "deepest_um": 0,
        "duration_s": 0.0,
        "evenness_cv": None,
        **given,
        "passes": max([given["passes"], *(one["pass_index"] for one in read.each_pass)]),
        "punctures": punctures,
        "uncertain_punctures": given["uncertain_strokes"] * needles,
        "density_per_cm2": round(punctures / size_cm2, 1),
    }
    figures = counted | (read.summed or {})
    return AreaStory(
        area=read.area,
        planned=read.planned,
        size_cm2=size_cm2,
        needles=needles,
        depths_um=tuple(read.depths_um),
        rates_dhz=tuple(read.rates_dhz),
        depth_cap_um=armed.get("depth_cap_um", 0),
        done=read.done,
        closed=read.closed,
        each_pass=tuple(read.each_pass),
        **{name: figures[name] for name in _FIGURES},
    )


# --- alerts ----------------------------------------------------------------------------------------------------------


def _alerts(bodies: Iterable[Body]) -> tuple[AlertSum, ...]:
    """Sum up by area and fault. An alert is recorded when it is raised, and again when it has ended."""
    groups: dict[tuple[str, str], list[Body]] = {}
    for body in bodies:
        groups.setdefault((body["area"], body["fault"]), []).append(body)
    return tuple(_alert_sum(area, fault, group) for (area, fault), group in groups.items())


def _alert_sum(area: str, fault: str, group: Sequence[Body]) -> AlertSum:
    ended = [body for body in group if body["ended_us"] is not None]
    worst = max(group, key=lambda body: abs(body["value"] - body["limit"]["value"]))
    return AlertSum(
        area,
        fault,
        group[0]["severity"],
        times=len(group) - len(ended),
        seconds=sum((body["ended_us"] - body["raised_us"]) % US_WRAP for body in ended) / 1e6,
        worst=worst["value"],
        limit=worst["limit"],
    )
