"""A capture under way: the tap, its file, and whoever listens."""

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from pen_controller.capture.behind import Behind
from pen_controller.capture.offers import Offer
from pen_controller.capture.tap import Tap
from pen_controller.transports import Transport
from protocols.capture import Note, Piece, header, line_of


@contextlib.asynccontextmanager
async def recording(
    pen: Transport, offer: Offer, file: Path, kind: str, hear: Callable[[Piece | Note], None]
) -> AsyncIterator[Tap]:
    """Record while entered; what has gone over the line is in the file at once, whatever ends this process.

    Bytes go on if the file cannot be written: a recorder stops no needles.

    Args:
        pen: as of `Tap`.
        offer: as of `Tap`.
        file: to be made, once the pen's line is open.
        kind: of the line to the pen, for the file's first line.
        hear: gets each piece and note too, on the event loop; it must not wait.

    Raises:
        LinkError: the pen's line does not open.
        OSError: there is such a file already, the host's line cannot be had, or, on leaving, not all was written.
    """

    def write(line: str) -> None:
        left = line.encode()
        while left:
            left = left[output.write(left) :]

    writing = Behind(lambda entry: write(line_of(entry)), f"writing {file}")

    def tell(entry: Piece | Note) -> None:
        writing.put(entry)
        hear(entry)

    async with Tap(pen, offer, tell) as tap:
        with file.open("xb", buffering=0) as output:
            write(header(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", kind))
            with writing:
                yield tap
