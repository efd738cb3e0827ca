"""Lines to a pen: bytes out, bytes in. Nothing above this folder knows which kind it has."""

from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from pen_controller.errors import LinkError, UrlError

Receive = Callable[[bytes], None]
Lost = Callable[[str], None]


class Transport(Protocol):
    """One line to one pen. Once closed, it may be opened again."""

    @property
    def name(self) -> str:
        """The line as a person would name it."""

    async def open(self, receive: Receive, lost: Lost) -> None:
        """Open the line, within a time that the line's kind bounds: two seconds for a cable, 15 for a radio.

        Bytes come by `receive`, on the event loop. When the line breaks `lost` is called once with the reason.

        Raises:
            LinkError: in one line, why the line cannot be opened and what to do.
        """

    def write(self, data: bytes, *, urgent: bool = False, latest: bool = False) -> None:
        """Send bytes without waiting.

        Urgent bytes go ahead of all that has not yet left. On a slow line the latest bytes of their kind take the
        place, at the end, of earlier ones that still wait; a fast one sends them all.

        A line that is not open, or is lost, takes the bytes and drops them: `lost` has told.
        """

    async def close(self) -> None:
        """Close the line; quiet if it is closed or lost."""


def transport_for(url: str) -> Transport:
    """The transport that a pen's URL names: `serial:///dev/ttyUSB0`, `serial:COM3`, `socket://host:port`, `ble:NAME`.

    Raises:
        UrlError: the URL has another form.
        LinkError: the packages for its kind of line are not installed.
    """
    scheme, _, rest = url.partition(":")
    device = rest.removeprefix("//")
    if (scheme == "serial" and device) or (scheme in ("socket", "rfc2217") and _has_address(url)):
        from pen_controller.transports.serial import SerialTransport  # noqa: PLC0415  # only what is used is loaded

        return SerialTransport(device if scheme == "serial" else url)
    if scheme == "ble" and device:
        try:
            from pen_controller.transports.ble import BleTransport  # noqa: PLC0415  # an extra
        except ImportError:
            raise LinkError("Bluetooth needs one more package: python -m pip install 'pen-controller[ble]'") from None
        return BleTransport(url)
    raise UrlError(f"{url!r} names no pen: use serial:///dev/ttyUSB0, serial:COM3, socket://HOST:PORT or ble:NAME")


def _has_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.port)
    except ValueError:
        return False
