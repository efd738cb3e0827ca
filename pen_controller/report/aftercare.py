"""The sheet that a patient takes home: plain words on a page of its own."""

from collections.abc import Mapping

from pen_controller.config.questions import Advice, worded
from pen_controller.config.texts import texts
from pen_controller.report.blocks import Block, Bullets, Heading, Paragraph


def sheet(advice: Mapping[str, Advice], language: str) -> tuple[Block, ...]:
    """Lay out the sheet, in the order of the configuration. Raises `ValueError` for a language that is not there."""
    said = {key: texts(language)[f"aftercare_sheet.{key}"] for key in ("title", "intro", "contact", "not_advice")}
    return (
        Heading(said["title"]),
        Paragraph(said["intro"]),
        Bullets(tuple(worded("aftercare", name, entry, language) for name, entry in advice.items())),
        Paragraph(f"{said['contact']} ______________________________"),
        Paragraph(said["not_advice"], "quiet"),
    )
