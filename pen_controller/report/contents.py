"""What the report says, section by section; how it looks is for `html` and `pdf`."""

from collections.abc import Iterator, Sequence

from pen_controller.report import drawings, sections
from pen_controller.report.blocks import (
    Block,
    Document,
    Facts,
    Figure,
    Heading,
    Pair,
    Paragraph,
    Sheet,
    Table,
)
from pen_controller.report.story import AreaStory, Story
from pen_controller.report.verifying import Verdict
from pen_controller.report.words import Words

TYPES = {1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI"}
GIVEN = (
    "area", "passes", "density", "punctures", "depth_set", "deepest", "depth_allowed", "rate", "time", "result",
)  # fmt: skip
"""Heads of the table of what was given."""
DASH = "\N{EN DASH}"


def report(
    story: Story, words: Words, language: str, *, sheet: Sequence[Block] = (), verdict: Verdict | None = None
) -> Document:
    """Lay out the report of one treatment.

    Args:
        story: of the treatment.
        words: of the language.
        language: its ISO 639 code.
        sheet: the aftercare sheet, which goes on a page of its own.
        verdict: whether the record is as it was written; None is not looked at.
    """
    blocks = [
        Heading(words("title"), 1),
        *_broken(verdict, words),
        *_warnings(story, words),
        Pair((_head(story, words),), (_map(story, words),)),
        *_given(story, words),
        *sections.notes(story, words),
        *sections.alerts(story, words),
        *sections.refusals(story, words),
        *sections.stops(story, words),
        *sections.preparation(story, words),
        *sections.corrections(story, words),
        *sections.passes(story, words),
        *sections.timeline(story, words),
        *_record(verdict, words),
        *([Sheet(tuple(sheet))] if sheet else []),
    ]
    code = _case_code(story)
    footer = f"{words('session')} {story.session}"
    if code:
        footer = f"{words('case')} {code} · {footer}"
    return Document(f"{words('title')} {code or story.session}", language, footer, tuple(blocks))


# --- what a reader wants first ---------------------------------------------------------------------------------------


def _warnings(story: Story, words: Words) -> Iterator[Block]:
    if story.practice:
        yield Paragraph(words("practice"), "loud")
    if story.ended is None:
        yield Paragraph(words("not_ended", when=words.moment(story.last)), "loud")
    yield Paragraph(words("disclaimer"), "quiet")


def _broken(verdict: Verdict | None, words: Words) -> Iterator[Block]:
    if verdict and verdict.broken:
        yield Paragraph(words("broken", number=verdict.broken.record_id), "red")


def _record(verdict: Verdict | None, words: Words) -> Iterator[Block]:
    """What somebody needs to check the record later: where it stands, and who signed it."""
    if verdict and verdict.head:
        signed = verdict.signed
        rows = [(words("record_head"), str(verdict.head))]
        rows += [(words("record_key"), key) for key in verdict.keys]
        rows += [(words("record_signed"), words.moment(signed.wall) if signed else DASH)]
        yield Heading(words("record"))
        yield Facts(tuple(rows))
        yield Paragraph(words("record_note"), "quiet")


def _case_code(story: Story) -> str:
    case = story.holding("case")
    return str(case.now["code"]) if case and case.now else ""


def _head(story: Story, words: Words) -> Facts:
    case = story.holding("case")
    body = (case and case.now) or {}
    indications = body.get("indications") or ([story.indication] if story.indication else [])
    skin = body.get("fitzpatrick") or story.fitzpatrick
    concerns = body.get("concerns") or []
    rows = [
        (words("case"), _case_code(story)),
        (words("age_band"), words.name("age_band", body["age_band"]) if body.get("age_band") else ""),
        (words("skin"), words("fitzpatrick", type=TYPES.get(skin, skin)) if skin else ""),
        (words("indications"), ", ".join(words.name("indication", each) for each in indications)),
        (words("concerns"), ", ".join(words.name("area", each) for each in concerns)),
        (words("previous"), str(body.get("previous_treatment") or (words("none") if case else ""))),
        (words("begun"), words.moment(story.begun)),
        (words("ended"), words.moment(story.ended) if story.ended else DASH),
        (words("needles_ran"), _minutes(sum(area.duration_s for area in story.areas))),
        (
            words("pen"),
            f"{story.pen} ({story.model}, {words('firmware')} {story.firmware})" if story.model else story.pen,
        ),
        (words("pen_udi"), story.udi),
        (words("session"), story.session),
    ]
    if case:
        rows += [(words("corrections"), line) for line in words.corrected(case)]
    return Facts(tuple(row for row in rows if row[1]))


def _map(story: Story, words: Words) -> Figure:
    """The face with what each zone was given; what is said of it holds the zones of the rest of the body too."""
    given = [area for area in story.areas if area.strokes]
    marks = {
        area.area: drawings.Mark(_passes_text(area), words.number(area.density_per_cm2), area.closed is not None)
        for area in given
    }
    said = [
        words("map_zone", area=words.name("area", area.area), passes=_passes_text(area),
              density=words.number(area.density_per_cm2))
        for area in given
    ]  # fmt: skip
    face = drawings.face(marks, sides=(words("right_side"), words("left_side")))
    return Figure(face, f"{words('map')}: {'; '.join(said) or words('none')}", words("map_legend"), "narrow")


def _passes_text(area: AreaStory) -> str:
    return DASH if area.passes is None else str(area.passes)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def _given(story: Story, words: Words) -> Iterator[Block]:
    yield Heading(words("given"))
    if not story.areas:
        yield Paragraph(words("nothing_given"))
        return
    rows = tuple(_given_row(area, words) for area in story.areas)
    yield Table(words.heads(*GIVEN), rows, frozenset(range(1, 9)), (1, *[0] * 8, 1))
    if begun := [area for area in story.areas if area.depths_um]:
        yield _depths(begun, words)


def _depths(areas: Sequence[AreaStory], words: Words) -> Figure:
    """Depth set, deepest measured and allowed, side by side."""
    depths = [
        drawings.Depth(words.name("area", area.area), area.depths_um[-1], area.deepest_um, area.depth_cap_um)
        for area in areas
    ]
    said = "; ".join(
        words("depth_zone", area=depth.label, set=words.mm(depth.set_um), deepest=words.mm(depth.deepest_um),
              allowed=words.mm(depth.allowed_um))
        for depth in depths
    )  # fmt: skip
    set_, deepest, allowed = (head.replace("\n", " ") for head in words.heads(*GIVEN[4:7]))
    drawn = drawings.depths(depths, legend=(set_, deepest, allowed), decimal_sign=words("decimal_sign"))
    return Figure(drawn, f"{words('depths')}: {said}", words("measured"), "wide")


def _given_row(area: AreaStory, words: Words) -> tuple[str, ...]:
    planned = area.planned or {}
    passes = _passes_text(area)
    if wanted := planned.get("passes"):
        passes = words("of", given=passes, wanted=wanted)
    punctures = words.number(area.punctures)
    if area.uncertain_punctures:
        punctures += "\n" + words("uncertain", most=words.number(area.uncertain_punctures))
    depth = ", ".join(words.number(um / 1000, 2) for um in area.depths_um) or DASH
    if planned and area.depths_um and planned["depth_um"] not in area.depths_um:
        depth += "\n" + words("planned", value=words.number(planned["depth_um"] / 1000, 2))
    return (
        words.name("area", area.area),
        passes,
        words.number(area.density_per_cm2),
        punctures,
        depth,
        words.number(area.deepest_um / 1000, 2) if area.deepest_um else DASH,
        words.number(area.depth_cap_um / 1000, 2) if area.depth_cap_um else DASH,
        ", ".join(words.figure(dhz / 10) for dhz in area.rates_dhz) or DASH,
        _minutes(area.duration_s).removesuffix(" min"),
        _result(area, words),
    )


def _result(area: AreaStory, words: Words) -> str:
    if area.closed:
        return words("result.closed", limit=words.name("report.limit", area.closed))
    if area.done:
        return words("result.done")
    return words("result.unfinished" if area.depths_um else "result.not_begun")
