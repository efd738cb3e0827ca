"""Drawings of a report as SVG: the face with what each zone was given, and depths side by side.

Their colours are attributes, for print; classes let a page give them others. Nothing is told by colour alone.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

MIRRORED = ' transform="matrix(-1 0 0 1 300 0)"'
SHADES = ("#e6ebea", "#c5e6df", "#97d2c6", "#69bbac", "#45a394")
"""By passes, the last for four and more."""
INK, QUIET, LINE, ALERT = "#10201e", "#50605d", "#9aa9a6", "#b3121d"


class Mark(NamedTuple):
    """What stands on a zone: passes and density, each as text, and whether a hard limit closed it."""

    passes: str
    density: str
    closed: bool


class Depth(NamedTuple):
    """Depths of one area."""

    label: str
    set_um: int
    deepest_um: int
    allowed_um: int


def face(marks: Mapping[str, Mark], *, sides: tuple[str, str]) -> str:
    """Draw the face as a person stands before us; zones by their names on the wire, others are left out.

    Args:
        marks: what stands on each zone.
        sides: words for the sides, as the picture has them from left to right.
    """
    shapes = _shapes()
    left, _, width, _ = map(int, shapes["view_box"].split())
    zones = [_zone(zone, marks.get(name)) for name, zone in shapes["zones"].items()]
    closed = [_halves(zone, "") for name, zone in shapes["zones"].items() if name in marks and marks[name].closed]
    texts = [_zone_texts(zone, marks[name]) for name, zone in shapes["zones"].items() if name in marks]
    features = [f'<path d="{d}"/><path d="{d}"{MIRRORED}/>' for d in shapes["features"]]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{shapes["view_box"]}">'
        f'<clipPath id="head-clip"><path d="{shapes["head"]}"/></clipPath>'
        f'<g clip-path="url(#head-clip)" stroke="#ffffff" stroke-width="1.5" class="zones">{"".join(zones)}</g>'
        f'<g clip-path="url(#head-clip)" fill="none" stroke="{ALERT}" stroke-width="3" stroke-dasharray="6 3"'
        f' class="closed">{"".join(closed)}</g>'
        f'<g fill="none" stroke="{LINE}" stroke-width="1.5">{"".join(features)}<path d="{shapes["mouth"]}"/></g>'
        f'<path d="{shapes["head"]}" fill="none" stroke="{QUIET}" stroke-width="2"/>'
        f'<g text-anchor="middle" fill="{INK}" class="ink">{"".join(texts)}</g>'
        f'<g font-size="10" fill="{QUIET}" class="quiet">{_text(left + 4, 18, sides[0])}'
        f"{_text(left + width - 4, 18, sides[1], 'end')}</g></svg>"
    )


def _zone(zone: dict[str, Any], mark: Mark | None) -> str:
    level = min(int(mark.passes), 4) if mark and mark.passes.isdecimal() else 0
    return _halves(zone, f'fill="{SHADES[level]}" class="passes-{level}"')


def _halves(zone: dict[str, Any], look: str) -> str:
    half = f'd="{zone["path"]}" {look}'
    return f"<path {half}/>" + (f"<path {half}{MIRRORED}/>" if zone.get("pair") else "")


def _zone_texts(zone: dict[str, Any], mark: Mark) -> str:
    x, y = zone["at"]
    places = [x, 300 - x] if zone.get("pair") else [x]
    return "".join(
        f'<text x="{at}" y="{y + 1}" font-size="15" font-weight="700">{escape(mark.passes)}</text>'
        f'<text x="{at}" y="{y + 11}" font-size="9">{escape(mark.density)}</text>'
        for at in places
    )


def depths(rows: Sequence[Depth], *, legend: tuple[str, str, str], decimal_sign: str) -> str:
    """Draw depth set, deepest measured and allowed, a line for each area.

    Args:
        rows: the areas.
        legend: words for the three marks, in that order.
        decimal_sign: of the scale.
    """
    left, width, step = 120, 450, 20
    most_mm = max(1, -(-max(max(row.allowed_um, row.deepest_um, row.set_um) for row in rows) // 500)) / 2
    scale = width / (most_mm * 1000)
    bottom = 26 + step * len(rows)
    ticks = [round(0.5 * i, 1) for i in range(int(most_mm * 2) + 1)]
    grid = "".join(f'<path d="M{left + mm * 1000 * scale:g} 24V{bottom}"/>' for mm in ticks)
    scale_texts = "".join(
        _text(left + mm * 1000 * scale, bottom + 13, f"{mm:g}".replace(".", decimal_sign), "middle") for mm in ticks
    )
    bars = "".join(_depth_row(row, left, 26 + step * (i + 0.5), scale) for i, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 36} {bottom + 18}" font-size="11">'
        f'<g fill="none" stroke="{LINE}" stroke-width=".5">{grid}</g>'
        f'<g fill="{QUIET}" font-size="10" class="quiet">{scale_texts}{_text(left + width + 14, bottom + 13, "mm")}</g>'
        f"{_depth_legend(legend, left)}{bars}</svg>"
    )


def _depth_legend(legend: tuple[str, str, str], left: int) -> str:
    parts = []
    for i, (mark, word) in enumerate(zip((_set_mark, _deepest_mark, _allowed_mark), legend, strict=True)):
        x = left + 8 + i * 170
        parts.append(mark(x, 10) + _text(x + 10, 14, word))
    return f'<g fill="{INK}" class="ink">{"".join(parts)}</g>'


def _depth_row(row: Depth, left: int, y: float, scale: float) -> str:
    reach, deepest = (left + um * scale for um in (row.set_um, row.deepest_um))
    return (
        f'<g fill="{INK}" class="ink">{_text(left - 8, y + 4, row.label, "end")}'
        f'<path d="M{left} {y:g}H{reach:g}" stroke="{SHADES[3]}" stroke-width="5" class="bar"/>'
        f"{_allowed_mark(left + row.allowed_um * scale, y)}{_set_mark(reach, y)}{_deepest_mark(deepest, y)}</g>"
    )


def _set_mark(x: float, y: float) -> str:
    return f'<path d="M{x:g} {y - 7:g}v14" stroke="{INK}" stroke-width="2.5" class="stroke"/>'


def _deepest_mark(x: float, y: float) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="3.6" fill="#ffffff" stroke="{INK}" stroke-width="1.6" class="dot"/>'


def _allowed_mark(x: float, y: float) -> str:
    return f'<path d="M{x:g} {y:g}l6 -6v12z" fill="{ALERT}" class="alert"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


@cache
def _shapes() -> dict[str, Any]:
    """Return the shapes that the dashboard's page draws too."""
    shapes: dict[str, Any] = json.loads((files("pen_controller") / "dashboard/static/face.json").read_text("utf-8"))
    return shapes
