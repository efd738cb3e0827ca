"""A cartridge's UDI as its barcode or label gives it: GS1 element strings. Pure.

Other issuing agencies (HIBCC, ICCBBA) are not read: the label's lot and expiry are then typed.
"""

import re
from dataclasses import dataclass
from datetime import date

import biip
from biip import ParseConfig
from biip.gs1_messages import GS1Message

_DEVICE, _LOT, _EXPIRY, _SERIAL = "01", "10", "17", "21"
SEPARATORS = ("\x1d", "|", "~", "^")
"""FNC1 within a scanned text: GS, or what scanners type in its place; no GS1 value may hold the others."""

_SYMBOLOGY = re.compile(r"^\](C1|e0|d2|Q3|J1)")
"""What scanners put in front of GS1's element strings: GS1-128, DataBar, DataMatrix, QR, DotCode."""


class UdiError(ValueError):
    """A text that is no UDI; one line that says why."""


@dataclass(frozen=True, slots=True)
class Udi:
    """What a UDI says, where it says it.

    Attributes:
        text: all of it as on a label: `(01)09506000134352(17)271231(10)A1`; as it is scanned, with `|`, where a lot or
            serial holds brackets, for on a label nobody can tell which. It reads the same again.
        device: the device identifier, a GTIN of 14 digits.
        lot: of the batch.
        expiry: the last day of use.
        serial: of the piece.
    """

    text: str
    device: str
    lot: str | None
    expiry: date | None
    serial: str | None


def read_udi(text: str) -> Udi:
    """Read a UDI.

    Args:
        text: scanned (`]d2`, `]C1` or GS in front, or none; `SEPARATORS` within) or typed as on the label:
            `(01)09506000134352(17)271231(10)A1`. Without a separator nobody can tell where a scanned lot ends.

    Raises:
        UdiError: it is no GS1 element string, has no device identifier, a wrong check digit or an impossible date.
    """
    text = text.strip(" \t\r\n")
    message = _message(text)
    elements = {each.ai.ai: each for each in message.element_strings}
    if len(elements) < len(message.element_strings):
        raise UdiError(f"UDI {text!r}: it says something twice: scan one label only")
    if empty := [ai for ai, each in elements.items() if not each.value]:
        raise UdiError(f"UDI {text!r}: it says nothing after ({empty[0]}): scan or type all of it")
    device = elements.get(_DEVICE)
    if device is None:
        raise UdiError(f"UDI {text!r}: it has no device identifier, (01) and 14 digits: scan or type all of it")
    if device.gtin_error:
        raise UdiError(f"UDI {text!r}: {device.gtin_error} Type it again.")
    lot, expiry, serial = (elements.get(each) for each in (_LOT, _EXPIRY, _SERIAL))
    return Udi(
        text=_text(message),
        device=device.value,
        lot=lot.value if lot else None,
        expiry=expiry.date if expiry else None,
        serial=serial.value if serial else None,
    )


def _text(message: GS1Message) -> str:
    if any(bracket in each.value for each in message.element_strings for bracket in "()"):
        return message.value.replace("\x1d", "|")
    return message.as_hri()


def _message(text: str) -> GS1Message:
    try:
        return _typed(text) if text.startswith("(") else _scanned(text)
    except biip.ParseError as error:
        raise UdiError(f"UDI {text!r}: it is not in GS1's form, (01)...(17)...(10)... ({error})") from None


def _typed(text: str) -> GS1Message:
    message = GS1Message.parse_hri(text)
    if message.as_hri() != "".join(text.split()):  # what does not fit the form is passed over there
        raise biip.ParseError("a part of it does not fit")
    return message


def _scanned(text: str) -> GS1Message:
    elements = _SYMBOLOGY.sub("", text).lstrip("".join(SEPARATORS))
    return GS1Message.parse(elements, config=ParseConfig(separator_chars=SEPARATORS))
