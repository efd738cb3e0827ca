"""A document as a tagged PDF for the archive: PDF/A-2a and PDF/UA-1, set by Typst with the fonts that it carries."""

import json
from dataclasses import asdict
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import typst

from pen_controller.report.blocks import Block, Document, Pair, Sheet


def pdf(document: Document, *, made: datetime) -> bytes:
    """Return the PDF, with the moment at which it was made; the same each time.

    A text in letters that no font at hand has cannot be archived as the standards ask: the file is tagged all the same.
    """
    content = json.dumps({**asdict(document), "blocks": [_block(block) for block in document.blocks]})
    try:
        return _set(content, made, archived=True)
    except typst.TypstError:
        return _set(content, made, archived=False)


def _set(content: str, made: datetime, *, archived: bool) -> bytes:
    return typst.compile(
        _template(),
        format="pdf",
        sys_inputs={"document": content},
        pdf_standards=["a-2a", "ua-1"] if archived else [],
        timestamp=made.replace(microsecond=0),  # of which it takes none
    )


def _block(block: Block) -> dict[str, Any]:
    """Return a block as JSON with its kind."""
    if isinstance(block, Pair):
        return {"kind": "Pair", "left": [*map(_block, block.left)], "right": [*map(_block, block.right)]}
    if isinstance(block, Sheet):
        return {"kind": "Sheet", "blocks": [*map(_block, block.blocks)]}
    content = asdict(block)
    if "numeric" in content:
        content["numeric"] = sorted(content["numeric"])
    return {"kind": type(block).__name__, **content}


@cache
def _template() -> bytes:
    return (files("pen_controller.report") / "report.typ").read_bytes()
