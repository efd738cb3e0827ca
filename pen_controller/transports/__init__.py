"""Lines to a pen: bytes out, bytes in. Nothing above this folder knows which kind it has."""

from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from pen_controller.errors import LinkError

Receive = Callable[[bytes], None]
Lost = Callable[[str], None]


class Transport(Protocol):
    """One line to one pen. Opened once, closed once; a reconnection is a new object."""

    @property
    def name(self) -> str:
        """The line as a person would name it."""

    async def open(self, receive: Receive, lost: Lost) -> None:
        """Open the line.

        Bytes come by `receive`, on the event loop. When the line breaks `lost` is called once with the reason.

        Raises:
            LinkError: in one line, why the line cannot be opened and what to do.
        """

    def write(self, data: bytes, *, urgent: bool = False) -> None:
        """Send bytes without waiting. Urgent bytes go ahead of all that has not yet left.

        A line that is not open, or is lost, takes the bytes and drops them: `lost` has told.
        """

    async def close(self) -> None:
        """Close the line; quiet if it is closed or lost."""


def transport_for(url: str) -> Transport:
    """The transport that a pen's URL names: `serial:///dev/ttyUSB0`, `serial:COM3`, `socket://host:port`.

    Raises:
        LinkError: the URL has another form.
    """
    scheme = urlsplit(url).scheme
    if scheme == "serial":
        device = url.removeprefix("serial:").removeprefix("//")
        if device:
            from pen_controller.transports.serial import SerialTransport  # noqa: PLC0415  # only what is used is loaded

            return SerialTransport(device)
    if scheme in ("socket", "rfc2217"):
        from pen_controller.transports.serial import SerialTransport  # noqa: PLC0415

        return SerialTransport(url)
    raise LinkError(f"{url!r} names no pen: use serial:///dev/ttyUSB0, serial:COM3 or socket://HOST:PORT")
