"""A cartridge's UDI, scanned by a keyboard wedge or typed from the label."""

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.preparation.answers import CartridgeLabel, read_answer
from pen_controller.preparation.udi import Udi, UdiError, read_udi

DEVICE = "09506000134352"
WHOLE = Udi(f"(01){DEVICE}(17)261231(10)LOT123(21)SER", DEVICE, "LOT123", date(2026, 12, 31), "SER")


@pytest.mark.parametrize(
    "text",
    [
        f"]d201{DEVICE}1726123110LOT123\x1d21SER",
        f"]C101{DEVICE}1726123110LOT123\x1d21SER",
        f"\x1d01{DEVICE}1726123110LOT123\x1d21SER",
        f"01{DEVICE}1726123110LOT123\x1d21SER\r\n",
        f"01{DEVICE}1726123110LOT123|21SER",
        f"01{DEVICE}1726123110LOT123~21SER",
        f"01{DEVICE}1726123110LOT123^21SER",
        f"(01){DEVICE}(17)261231(10)LOT123(21)SER",
        f" (01) {DEVICE} (17) 261231 (10) LOT123 (21) SER ",
    ],
)
def test_every_form_says_the_same(text: str) -> None:
    assert read_udi(text) == WHOLE


@pytest.mark.parametrize("lot", ["A(B", "A)B", "A(21)B", "(", "()"])
def test_brackets_in_a_lot_or_serial_are_a_part_of_it(lot: str) -> None:
    for scanned in (f"01{DEVICE}10{lot}\x1d21SER", f"01{DEVICE}21SER\x1d10{lot}"):
        udi = read_udi(scanned)
        assert (udi.device, udi.lot, udi.serial) == (DEVICE, lot, "SER")
        assert read_udi(udi.text) == udi
    answer = {"lot": lot, "expiry": "2039-06-30", "needles": 12, "udi": f"01{DEVICE}10{lot}", "by": "nurse-1"}
    assert isinstance(read_answer("cartridge", answer), CartridgeLabel)


def test_a_day_of_00_is_the_last_of_the_month() -> None:
    assert read_udi(f"(01){DEVICE}(17)280200").expiry == date(2028, 2, 29)


def test_what_is_not_there_is_none() -> None:
    assert read_udi(f"(01){DEVICE}") == Udi(f"(01){DEVICE}", DEVICE, None, None, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"01{DEVICE[:-1]}31726123110LOT", "check digit"),
        (f"(01){DEVICE[:-1]}3(17)261231", "check digit"),
        (f"01{DEVICE}17260230", "date"),
        (f"(01){DEVICE}(17)261331", "pattern"),
        (f"(01){DEVICE}(17)(10)L", "does not fit"),
        (f"01{DEVICE}1727121130", r"nothing after \(30\)"),
        (f"(01){DEVICE}x", "pattern"),
        (f"(01){DEVICE}(10)A(10)B", "twice"),
        ("(17)261231(10)L", "no device identifier"),
        ("", "no device identifier"),
        (DEVICE, "GS1's form"),
        ("+A999BC/$$3", "GS1's form"),
        ("hello", "GS1's form"),
    ],
)
def test_a_wrong_one_says_why(text: str, why: str) -> None:
    with pytest.raises(UdiError, match=why) as refused:
        read_udi(text)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=60) | st.text("0123456789()]dC~|ABab \x1d", max_size=60))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UdiError):
        udi = read_udi(text)
        assert len(udi.device) == 14
        assert read_udi(udi.text) == udi
