"""The golden frames beside the specification, against the codec both ways."""

import json
from typing import Any

import numpy as np
import pytest

from protocols import messages
from protocols.framing import Decoder, Dropped, Frame, WireError
from protocols.messages import AnyMessage, Message, NewerProtocolError
from protocols.samples import SAMPLE, Samples
from tests import golden

V1 = json.loads(golden.V1.read_text("utf-8"))["frames"]
INVALID = json.loads(golden.INVALID.read_text("utf-8"))
REASONS = {
    "version": "protocol version",
    "type": "unknown message type",
    "length": "of [0-9]+ bytes",
    "enum": "is not a valid",
    "text": "printable|ascii",
}


def _named(cases: list[golden.Fields]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


def _message(case: golden.Fields) -> AnyMessage:
    fields = case["fields"]
    if case["message"] == "Samples":
        rows = [tuple(record[name] for name in SAMPLE.names or ()) for record in fields["records"]]
        return Samples(fields["first"], np.array(rows, SAMPLE))
    return messages.message_types()[case["type"]](**fields)


def _one_frame(sealed_hex: str) -> Frame:
    decoder = Decoder()
    (frame,) = decoder.feed(bytes.fromhex(sealed_hex))
    assert decoder.dropped == Dropped()
    return frame


def _plain(message: AnyMessage) -> golden.Fields:
    if isinstance(message, Samples):
        names = SAMPLE.names or ()
        rows = [dict(zip(names, row, strict=True)) for row in message.records.tolist()]
        return {"first": message.first, "records": rows}
    return {name: getattr(message, name) for name in message.NAMES}


def test_the_files_are_what_the_specification_makes() -> None:
    assert golden.V1.read_text("utf-8") == golden.text({"protocol": 1, "frames": golden.good()})
    expected = {"protocol": 1, "damaged": golden.damaged(), "refused": golden.refused()}
    assert golden.INVALID.read_text("utf-8") == golden.text(expected)


def test_every_message_has_vectors() -> None:
    types: list[type[Message] | type[Samples]] = [*messages.message_types().values(), Samples]
    for kind in types:
        assert sum(case["type"] == kind.TYPE for case in V1) >= 2, kind.__name__


@pytest.mark.parametrize("case", _named(V1))
def test_fields_to_bytes(case: golden.Fields) -> None:
    message = _message(case)
    assert type(message).__name__ == case["message"]
    assert message.pack().hex() == case["body_hex"]
    assert messages.encode(message, epoch=case["epoch"], counter=case["counter"]).hex() == case["frame_hex"]


@pytest.mark.parametrize("case", _named(V1))
def test_bytes_to_fields(case: golden.Fields) -> None:
    frame = _one_frame(case["frame_hex"])
    assert (frame.version, frame.type, frame.epoch, frame.counter) == (1, case["type"], case["epoch"], case["counter"])
    message = messages.decode(frame)
    assert type(message).__name__ == case["message"]
    assert _plain(message) == case["fields"]


@pytest.mark.parametrize("case", _named(INVALID["damaged"]))
def test_damage_is_dropped_and_counted_by_cause(case: golden.Fields) -> None:
    decoder = Decoder()
    frames = decoder.feed(bytes.fromhex(case["stream_hex"]))
    assert frames == [_one_frame(sealed_hex) for sealed_hex in case["frames_hex"]]
    assert decoder.dropped == Dropped(**case["dropped"])


@pytest.mark.parametrize("case", _named(INVALID["refused"]))
def test_a_message_that_does_not_follow_the_protocol_is_refused(case: golden.Fields) -> None:
    frame = _one_frame(case["frame_hex"])
    with pytest.raises(WireError, match=REASONS[case["reason"]]) as caught:
        messages.decode(frame)
    assert isinstance(caught.value, NewerProtocolError) == (case["reason"] == "version")
