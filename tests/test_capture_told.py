"""What a capture tells a person, line by line, and what it tells a program."""

import numpy as np

from protocols.capture import Damage, Listener, Note, Piece, Said
from protocols.framing import encode as frame_of
from protocols.messages import AckEvents, Disarm, encode
from protocols.samples import SAMPLE, Samples


def heard(data: bytes, *, to_pen: bool = True) -> Said:
    (said,) = Listener().feed(Piece(1_500_000, to_pen, data))
    return said


def test_a_piece_and_a_note_are_a_line_each() -> None:
    assert str(Piece(1_500_000, True, b"\x00\xab", "a byte")) == "   1.500000 s -> 00 ab  a byte"
    assert str(Piece(1_500_000, False, b"\xff")) == "   1.500000 s <- ff"
    assert str(Note(2_000_000, "the cable was pulled")) == "   2.000000 s -- the cable was pulled"


def test_damage_names_its_line() -> None:
    damage = Damage(7, "no piece of a capture")
    assert str(damage) == "line 7: no piece of a capture"
    assert damage.figures() == {"damage": "no piece of a capture", "line": 7}


def test_a_message_is_told_with_its_fields_and_its_frame() -> None:
    said = heard(encode(AckEvents(9), epoch=3, counter=4))
    assert str(said) == "   1.500000 s -> AckEvents up_to=9  (epoch 3, counter 4)"
    told = {"t_us": 1_500_000, "from": "host", "message": "AckEvents", "epoch": 3, "counter": 4}
    assert said.figures() == told | {"fields": {"up_to": 9}}


def test_samples_are_told_by_their_number_and_in_full_to_a_program() -> None:
    said = heard(encode(Samples(40, np.zeros(2, SAMPLE)), epoch=3, counter=4), to_pen=False)
    assert str(said) == "   1.500000 s <- Samples first=40 records=2  (epoch 3, counter 4)"
    fields = said.figures()["fields"]
    assert (fields["first"], len(fields["records"])) == (40, 2)
    assert fields["records"][0] == dict.fromkeys(SAMPLE.names or (), 0)


def test_what_is_no_message_is_told_with_the_trouble() -> None:
    unknown = heard(frame_of(0xEE, 3, 4, b""))
    assert str(unknown) == f"   1.500000 s -> unreadable {unknown.trouble}  (epoch 3, counter 4)"
    assert unknown.figures()["trouble"] == unknown.trouble != ""
    sealed = encode(Disarm(1), epoch=3, counter=4)
    damaged = heard(sealed[:-2] + bytes([sealed[-2] ^ 0x55]) + b"\0")
    assert str(damaged) == "   1.500000 s -> unreadable dropped: crc"
    expected = {"t_us": 1_500_000, "from": "host", "message": "unreadable", "trouble": "dropped: crc"}
    assert damaged.figures() == expected
