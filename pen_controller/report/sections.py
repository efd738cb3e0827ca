"""The sections of a report that tell what records say; each is there only if there is something to tell."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pen_controller.report.blocks import Block, Bullets, Facts, Heading, Paragraph, Table
from pen_controller.report.story import Entry, Story
from pen_controller.report.words import Words

STOPS = (
    "stop", "interrupted", "pen_event", "area_closed", "counts_uncertain", "reconnected", "treatment_restored",
    "resume",
)  # fmt: skip
PREPARED = ("screening", "checked", "cartridge")
DASH = "\N{EN DASH}"


def alerts(story: Story, words: Words) -> Iterator[Block]:
    """What was done wrong, summed up by area and kind, with the worst."""
    rows = (
        (
            words.name("area", alert.area),
            f"{words.name('report.fault', alert.fault)} ({words(alert.severity)})",
            words.number(alert.times),
            words.number(alert.seconds, 1) if alert.seconds else DASH,
            f"{words.rounded(alert.worst)} {words.unit(alert.limit['unit'])}",
            words.limit(alert.limit),
        )
        for alert in story.alerts
    )
    heads = words.heads("area", "alert", "times", "seconds", "worst", "limit")
    yield from _section(words("alerts"), Table(heads, tuple(rows), frozenset({2, 3}), (0, 0, 0, 0, 0, 1)))


def refusals(story: Story, words: Words) -> Iterator[Block]:
    """What was asked for and not allowed."""
    yield from _section(words("refusals"), _course(story.of("refusal"), words))


def stops(story: Story, words: Words) -> Iterator[Block]:
    """What stopped the needles, and who let them go on."""
    yield from _section(words("stops"), _course(story.of(*STOPS), words))


def notes(story: Story, words: Words) -> Iterator[Block]:
    """What a person noted."""
    yield from _section(words("notes"), _course(story.of("note", "aftercare", "override"), words))


def passes(story: Story, words: Words) -> Iterator[Block]:
    """Each pass of each area."""
    rows = tuple(_pass(area.area, one, words) for area in story.areas for one in area.each_pass)
    heads = words.heads("area", "number", "strokes", "punctures", "density", "deepest", "coverage", "seconds", "way")
    yield from _section(words("each_pass"), Table(heads, rows, frozenset(range(1, 8)), (1, *[0] * 7, 1)))


def _pass(area: str, one: dict[str, Any], words: Words) -> tuple[str, ...]:
    low, high = (words.number(100 * one["coverage"][end]) for end in ("low", "high"))
    family, direction_deg = words.name("report.family", one["family"]), one["direction_deg"]
    return (
        words.name("area", area),
        str(one["pass_index"]),
        words.number(one["strokes"]),
        words.number(one["punctures"]),
        words.number(one["density_per_cm2"]),
        words.number(one["deepest_um"] / 1000, 2),
        f"{low} %" if low == high else f"{low}{DASH}{high} %",
        words.number(one["duration_s"], 1),
        family if direction_deg is None else f"{family} {words.number(direction_deg)}°",
    )


def corrections(story: Story, words: Words) -> Iterator[Block]:
    """What was corrected, beneath what it corrects."""
    corrected = [entry for entry in story.entries if entry.corrections]
    if corrected:
        yield Heading(words("corrections"))
        yield Bullets(
            tuple(
                _with_corrections(entry, words("was", number=entry.seq, was=words.line(entry) or entry.kind), words)
                for entry in corrected
            )
        )


def preparation(story: Story, words: Words) -> Iterator[Block]:
    """What was answered before needles were armed."""
    if not story.of(*PREPARED):
        return
    yield Heading(words("preparation"))
    yield from _screening(story.of("screening"), words)
    if steps := story.of("checked"):
        yield Heading(words("checklist"), 3)
        named = ((words.name("checklist", entry.body["step"]), _step(entry, words)) for entry in steps)
        yield Facts(tuple(named))
    for entry in story.of("cartridge"):
        yield Heading(words("cartridge"), 3)
        yield Facts(tuple(_cartridge(entry, words)))


def _screening(entries: Sequence[Entry], words: Words) -> Iterator[Block]:
    if entries:
        yield Heading(words("screening"), 3)
        rows = tuple(
            (
                words.name("screening", entry.body["question"]),
                words.name("report", entry.body["kind"] or DASH),
                _with_corrections(entry, _answer(entry, words), words),
                words.time(entry.wall),
                str(entry.body["source"]),
            )
            for entry in entries
        )
        heads = words.heads("question", "kind", "answer", "when", "source")
        yield Table(heads, rows, widths=(4, 0, 4, 0, 4))


def _answer(entry: Entry, words: Words) -> str:
    answer = words.name("report", entry.body["answer"])
    override = entry.body.get("override")
    return f"{answer}\n{words('overridden', by=words.by(override), reason=override['reason'])}" if override else answer


def _step(entry: Entry, words: Words) -> str:
    agent, done = words.agent(entry.body.get("value")), _noted(entry, words)
    return _with_corrections(entry, f"{agent}; {done}" if agent else done, words)


def _noted(entry: Entry, words: Words) -> str:
    return words("at_by", when=words.time(entry.wall), by=words.by(entry.body))


def _cartridge(entry: Entry, words: Words) -> Iterator[tuple[str, str]]:
    body = entry.body
    for key in ("lot", "expiry", "needles", "udi"):
        if body.get(key) is not None:
            yield words(f"cartridge_label.{key}"), str(body[key])
    if tag := body.get("tag"):
        yield words("cartridge_label.tag"), words.labelled("cartridge", tag)
    yield words("cartridge_label.noted"), _with_corrections(entry, _noted(entry, words), words)


def timeline(story: Story, words: Words) -> Iterator[Block]:
    """All that happened, in order, but for what is told elsewhere."""
    table = _course((entry for entry in story.entries if entry.kind not in PREPARED), words)
    yield from _section(words("timeline"), table)
    count = words.number(len(story.entries) + len(story.corrections))
    yield Paragraph(words("timeline_note", told=len(table.rows), count=count, day=words.day(story.begun)), "quiet")


def _course(entries: Iterable[Entry], words: Words) -> Table:
    """Number, time and words of each entry that has words of its own."""
    rows = (
        (str(entry.seq), words.time(entry.wall), _with_corrections(entry, line, words))
        for entry in entries
        if (line := words.line(entry)) is not None
    )
    return Table(words.heads("number", "when", "what"), tuple(rows), frozenset({0}), (0, 0, 1))


def _with_corrections(entry: Entry, text: str, words: Words) -> str:
    return "\n".join([text, *words.corrected(entry)])


def _section(title: str, table: Table) -> Iterator[Block]:
    """A heading with a table, if it has rows."""
    if table.rows:
        yield Heading(title)
        yield table
