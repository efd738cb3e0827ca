"""What a document is made of, whatever it is printed as.

Texts are plain, and who prints them escapes them. A line break begins a new line.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a document (level 1), of a section (2) or of a part (3)."""

    text: str
    level: Literal[1, 2, 3] = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph: plain, quiet (small and pale), one that must not be overlooked, or one in red that forbids."""

    text: str
    look: Literal["plain", "quiet", "loud", "red"] = "plain"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; each row has a cell for each head.

    Attributes:
        numeric: Columns that stand right-aligned.
        widths: Shares of the page's width, for print; 0 is as wide as needed.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    widths: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing (SVG text of our own making), what it shows in words for who cannot see it, and a line beneath."""

    svg: str
    description: str
    caption: str
    width: Literal["narrow", "wide"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two groups of blocks side by side, where there is room."""

    left: tuple["Block", ...]
    right: tuple["Block", ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Blocks on a page of their own, in large print."""

    blocks: tuple["Block", ...]


Block = Heading | Paragraph | Bullets | Facts | Table | Figure | Pair | Sheet


@dataclass(frozen=True, slots=True)
class Document:
    """A whole document. `footer` stands on each page of it in print; `language` is an ISO 639 code."""

    title: str
    language: str
    footer: str
    blocks: tuple[Block, ...]
