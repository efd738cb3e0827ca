"""What went over a line between a host and a pen: in a file, a JSON object a line, and in words for a person.

`capture.md` is the format. Like all of this folder it does no I/O: lines come in, lines go out.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from protocols.framing import VERSION, Decoder, Frame, WireError
from protocols.messages import AnyMessage, decode
from protocols.samples import Samples

FORMAT = 1
"""Version of the file, in its first line."""
MAX_PIECE_BYTES = 65_536
"""Most bytes that one line holds."""
MAX_LINE_BYTES = 4 * MAX_PIECE_BYTES
"""A longer line is damage; who reads a file need not keep more."""
_END_US = 1 << 63


class CaptureError(ValueError):
    """A file that is no capture, or one of a later version; the text says which."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes as they went over the line; `str()` is one line for a person.

    Attributes:
        t_us: Monotonic time since the capture began.
        to_pen: Whether the host said them; else the pen did.
        data: The bytes.
        what: What is in them, in words, where somebody has said so.
    """

    t_us: int
    to_pen: bool
    data: bytes
    what: str = ""

    def __str__(self) -> str:
        return f"{_when(self.t_us, self.to_pen)} {self.data.hex(' ')}  {self.what}".rstrip()

    def figures(self) -> dict[str, Any]:
        """The piece as it stands in a file."""
        what = {"what": self.what} if self.what else {}
        return {"t_us": self.t_us, "from": _who(self.to_pen), "hex": self.data.hex(), **what}


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened to the line: a host came, a cable was pulled."""

    t_us: int
    note: str

    def __str__(self) -> str:
        return f"{self.t_us / 1e6:11.6f} s -- {self.note}"

    def figures(self) -> dict[str, Any]:
        """The note as it stands in a file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Damage:
    """A line of a file that cannot be read."""

    line: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"

    def figures(self) -> dict[str, Any]:
        """The same for a program."""
        return {"damage": self.why, "line": self.line}


def header(began: str, line: str) -> str:
    """The first line of a file.

    Args:
        began: Date and time, for people.
        line: Kind of the line to the pen, as `serial`; not its address, which may tell whose it is.
    """
    return json.dumps({"pen_capture": FORMAT, "protocol": VERSION, "began": began, "line": line}) + "\n"


def line_of(entry: Piece | Note) -> str:
    """The line of a file that holds this."""
    return json.dumps(entry.figures()) + "\n"


def parse(lines: Iterable[bytes]) -> Iterator[Piece | Note | Damage]:
    """Read a file's lines, the first one included; what is damaged is told in its place, and reading goes on.

    Raises:
        CaptureError: The first line is none of a capture that this program reads.
    """
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, b""))
    match _json(first):
        case {"pen_capture": int(version)}:
            if version != FORMAT:
                raise CaptureError(f"a capture of version {version}; this program reads {FORMAT}: update it")
        case _:
            raise CaptureError('no capture, which would begin {"pen_capture": 1; "pen record" writes one')
    before_us = 0
    for number, line in numbered:
        entry = _entry(_json(line))
        if entry is None:
            cut = "" if line.endswith(b"\n") else "; it is cut off, as when a recorder is killed"
            yield Damage(number, f"no piece of a capture{cut}")
        elif entry.t_us < before_us:
            yield Damage(number, f"its time, {entry.t_us} us, is before that of the line before it")
        else:
            before_us = entry.t_us
            yield entry


def _json(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _entry(found: object) -> Piece | Note | None:
    match found:
        case {"t_us": int(t_us), "note": str(note)} if 0 <= t_us < _END_US:
            return Note(t_us, note)
        case {"t_us": int(t_us), "from": "host" | "pen" as who, "hex": str(text), **rest} if 0 <= t_us < _END_US:
            try:
                data = bytes.fromhex(text)
            except ValueError:
                return None
            return Piece(t_us, who == "host", data, str(rest.get("what", "")))
    return None


# --- what the bytes say ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """One frame of either side, read; `str()` is one line for a person.

    Attributes:
        t_us: When its last byte came, as of `Piece`.
        to_pen: As of `Piece`.
        frame: None for one that was dropped.
        message: None for one that cannot be read.
        trouble: Why not; else empty.
    """

    t_us: int
    to_pen: bool
    frame: Frame | None
    message: AnyMessage | None
    trouble: str = ""

    @property
    def name(self) -> str:
        """The kind of message, or `unreadable`."""
        return type(self.message).__name__ if self.message is not None else "unreadable"

    def __str__(self) -> str:
        said = self.trouble
        if isinstance(self.message, Samples):
            said = f"first={self.message.first} records={len(self.message.records)}"
        elif self.message is not None:
            said = " ".join(f"{name}={value}" for name, value in fields_of(self.message).items())
        where = f"  (epoch {self.frame.epoch}, counter {self.frame.counter})" if self.frame else ""
        return f"{_when(self.t_us, self.to_pen)} {self.name} {said}".rstrip() + where

    def figures(self) -> dict[str, Any]:
        """The same for a program."""
        told: dict[str, Any] = {"t_us": self.t_us, "from": _who(self.to_pen), "message": self.name}
        if self.frame is not None:
            told |= {"epoch": self.frame.epoch, "counter": self.frame.counter}
        if self.message is not None:
            return told | {"fields": fields_of(self.message)}
        return told | {"trouble": self.trouble}


def fields_of(message: AnyMessage) -> dict[str, Any]:
    """A message's fields as plain values: enums and flags by name, samples as an object each."""
    if isinstance(message, Samples):
        names = message.records.dtype.names or ()
        return {
            "first": message.first,
            "records": [dict(zip(names, one, strict=True)) for one in message.records.tolist()],
        }
    values = {name: getattr(message, name) for name in message.NAMES}
    return {name: (value.name or 0) if isinstance(value, Enum) else value for name, value in values.items()}


@dataclass(slots=True)
class Listener:
    """Puts together and reads the frames of both sides.

    Attributes:
        counts: How many of each kind were heard, by (`to_pen`, name).
        heard_bytes: How many bytes, by `to_pen`.
    """

    counts: Counter[tuple[bool, str]] = field(default_factory=Counter)
    heard_bytes: Counter[bool] = field(default_factory=Counter)
    _decoders: dict[bool, Decoder] = field(default_factory=lambda: {True: Decoder(), False: Decoder()})

    def feed(self, piece: Piece) -> list[Said]:
        """Take the next piece; return what it completes, dropped frames last. Never raises."""
        decoder = self._decoders[piece.to_pen]
        before = asdict(decoder.dropped)
        said = [_read(piece, frame) for frame in decoder.feed(piece.data)]
        for cause, dropped in asdict(decoder.dropped).items():
            said += [Said(piece.t_us, piece.to_pen, None, None, f"dropped: {cause}")] * (dropped - before[cause])
        self.heard_bytes[piece.to_pen] += len(piece.data)
        self.counts.update((one.to_pen, one.name) for one in said)
        return said


def _read(piece: Piece, frame: Frame) -> Said:
    try:
        return Said(piece.t_us, piece.to_pen, frame, decode(frame))
    except WireError as error:
        return Said(piece.t_us, piece.to_pen, frame, None, str(error))


def _who(to_pen: bool) -> str:
    return "host" if to_pen else "pen"


def _when(t_us: int, to_pen: bool) -> str:
    return f"{t_us / 1e6:11.6f} s {'->' if to_pen else '<-'}"
