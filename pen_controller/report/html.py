"""A document as one self-contained HTML file: no script, no outside request, a style of its own for print."""

import base64
import hashlib
from functools import cache
from html import escape
from importlib.resources import files

from pen_controller.report.blocks import (
    Block,
    Bullets,
    Document,
    Facts,
    Figure,
    Heading,
    Pair,
    Paragraph,
    Sheet,
    Table,
)


def html(document: Document) -> str:
    """Return the whole file. Every text of the document is escaped; only drawings are taken as they are."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        f'<!doctype html>\n<html lang="{_text(document.language)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(document.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        f"{_blocks(document.blocks)}\n</main>\n<footer>{_text(document.footer)}</footer>\n</body>\n</html>\n"
    )


def _blocks(blocks: tuple[Block, ...]) -> str:
    return "\n".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_text(text)}</h{level}>"
        case Paragraph(text, look):
            return f'<p class="{look}">{_lines(text)}</p>'
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{_lines(item)}</li>' for item in items)}</ul>"
        case Facts(rows):
            pairs = "".join(f"<div><dt>{_text(name)}</dt><dd>{_lines(value)}</dd></div>" for name, value in rows)
            return f"<dl>{pairs}</dl>"
        case Table():
            return _table(block)
        case Figure(svg, description, caption, width):
            drawing = svg.replace("<svg", f'<svg role="img" aria-label="{_text(description)}"', 1)
            return f'<figure class="{width}">{drawing}<figcaption>{_text(caption)}</figcaption></figure>'
        case Pair(left, right):
            return f'<div class="pair"><div>{_blocks(left)}</div><div>{_blocks(right)}</div></div>'
        case Sheet(blocks):
            return f'<section class="sheet">{_blocks(blocks)}</section>'


def _table(table: Table) -> str:
    def cell(tag: str, column: int, text: str, scope: str = "") -> str:
        look = ' class="number"' if column in table.numeric else ""
        return f"<{tag}{scope}{look}>{_lines(text)}</{tag}>"

    heads = "".join(cell("th", i, head, ' scope="col"') for i, head in enumerate(table.heads))
    rows = "".join(f"<tr>{''.join(cell('td', i, text) for i, text in enumerate(row))}</tr>\n" for row in table.rows)
    body = f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{_text(table.heads[0])}">{body}</div>'


def _lines(text: str) -> str:
    """Each line isolated, so that no script's direction reaches beyond it."""
    return "<br>".join(f"<bdi>{_text(line)}</bdi>" for line in text.split("\n"))


def _text(text: str) -> str:
    return escape(text)


@cache
def _style() -> str:
    return (files("pen_controller.report") / "report.css").read_text("utf-8")
