"""What a scan has found, for people and for scripts."""

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pen_controller.pen.scan import Found, scan

COLUMNS = {"name": 16, "signal": 7, "serial": 8, "firmware": 8, "battery": 7, "in use": 6}
"""Headings, with their widths."""


async def show(console: Console, *, bluetooth: bool, hci: str | None) -> list[Found]:
    """Scan, and show what is found as it is found. Arguments and errors as of `scan`."""
    found: dict[str, Found] = {}
    with Live(table_of([]), console=console) as live:

        def say(one: Found) -> None:
            found[one.url] = one
            live.update(table_of(list(found.values())))

        await scan(say, bluetooth=bluetooth, hci=hci)
    return list(found.values())


def table_of(found: list[Found]) -> Group:
    """A row for each place, and below it its URL, which so is whole in a narrow terminal too, and what is wrong."""
    lines: list[RenderableType] = [_row(list(COLUMNS), style="bold")]
    for one in found:
        figures = figures_of(one)
        cells = [
            one.name,
            "" if one.signal_dbm is None else f"{one.signal_dbm} dBm",
            figures["serial"] or ("" if one.trouble else "..."),
            figures["firmware"] or "",
            "" if figures["battery_pct"] is None else f"{figures['battery_pct']} %",
            {None: "", True: "in use", False: "free"}[one.in_use],
        ]
        lines.append(_row(cells))
        if one.is_place:
            lines.append(Padding.indent(Text(one.url, overflow="fold"), 2))
        if one.trouble:
            lines.append(Padding.indent(Text(one.short_trouble, style="dim"), 2))
    return Group(*lines)


def _row(cells: list[str], style: str = "") -> Table:
    row = Table.grid(padding=(0, 2, 0, 0))
    for width in COLUMNS.values():
        row.add_column(width=width, no_wrap=True)
    row.add_row(*map(Text, cells), style=style)
    return row


def figures_of(found: Found) -> dict[str, Any]:
    """All that is known of a place, by name, as JSON takes it."""
    identity, state, cartridge = found.identity, found.state, found.cartridge
    return {
        "url": found.url,
        "name": found.name,
        "signal_dbm": found.signal_dbm,
        "trouble": found.trouble or None,
        "serial": identity and identity.serial,
        "model": identity and identity.model,
        "udi": identity and identity.udi,
        "firmware": identity and identity.firmware,
        "sensors": identity and [one.name.lower() for one in identity.capabilities if one.name],
        "depth_mm": identity and [identity.min_depth_um / 1000, identity.max_depth_um / 1000],
        "rate_hz": identity and [identity.min_rate_dhz / 10, identity.max_rate_dhz / 10],
        "max_force_n": identity and identity.max_force_mn / 1000,
        "lease_ms": identity and identity.lease_ms,
        "state": state and state.state.name.lower(),
        "cause": state and state.cause.name.lower(),
        "in_use": found.in_use,
        "battery_pct": state and state.battery_pct,
        "temperature_c": state and state.temperature_dc / 10,
        "strokes": state and state.strokes,
        "cartridge": cartridge and (str(cartridge.cartridge_id) if cartridge.cartridge_id else "none"),
        "needles": cartridge and cartridge.needles,
        "cartridge_used": cartridge and bool(cartridge.used_by),
    }
