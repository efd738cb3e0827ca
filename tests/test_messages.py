"""Messages: the specification's tables against the code, and every message to bytes and back."""

import doctest
import re
from enum import Enum, IntFlag
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import framing, gatt, messages, words
from protocols.framing import Decoder, Frame, WireError
from protocols.messages import WRAP, Identity, Message, Renew, is_newer
from protocols.samples import MAX_SAMPLES, SAMPLE, SampleArray, Samples
from tests.golden import ENUM_FIELDS, LAYOUTS, README, WORDS

TYPES = messages.message_types()
WIRE_TYPES = {
    "B": "u8", "H": "u16", "h": "i16", "I": "u32", "i": "i32", "Q": "u64", "16s": "text16", "64s": "text64"
}  # fmt: skip


def _annotations(kind: type[Message]) -> dict[str, tuple[type, str]]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: get_args(hints[name]) for name in kind.NAMES}


def _identity(**changes: Any) -> Identity:
    fields = {name: "" if hint[0] is str else 0 for name, hint in _annotations(Identity).items()}
    return Identity(**(fields | changes))


# --- the specification -----------------------------------------------------------------------------------------------


def test_the_specification_knows_every_message_and_no_other() -> None:
    expected = {kind.__name__: type_ for type_, kind in TYPES.items()} | {"Samples": Samples.TYPE, "Sample": None}
    assert {name: layout.type for name, layout in LAYOUTS.items()} == expected


@pytest.mark.parametrize("kind", TYPES.values())
def test_the_specification_has_the_fields_of(kind: type[Message]) -> None:
    layout = LAYOUTS[kind.__name__]
    coded = {name: WIRE_TYPES[code] for name, (_, code) in _annotations(kind).items()}
    assert list(layout.wire_types.items()) == list(coded.items())
    assert layout.size == f"{kind.STRUCT.size} bytes"
    enums = {name: hint[0].__name__ for name, hint in _annotations(kind).items() if issubclass(hint[0], Enum)}
    enums = {name: enum for name, enum in enums.items() if not issubclass(getattr(words, enum), IntFlag)}
    assert enums == {field: enum for (name, field), enum in ENUM_FIELDS.items() if name == kind.__name__}


def test_the_specification_has_the_record_of_a_sample() -> None:
    assert SAMPLE.fields is not None
    coded = {name: SAMPLE[name].str.replace("<", "") for name in SAMPLE.names or ()}
    coded = {name: f"{code[0]}{8 * int(code[1:])}" for name, code in coded.items()}
    assert list(LAYOUTS["Sample"].wire_types.items()) == list(coded.items())
    assert LAYOUTS["Sample"].size == f"{SAMPLE.itemsize} bytes"
    assert LAYOUTS["Samples"].wire_types == {"first": "u32", "records": "Sample[n]"}
    assert LAYOUTS["Samples"].size == f"4 + {SAMPLE.itemsize} n bytes, n from 1 to {MAX_SAMPLES}"


@pytest.mark.parametrize("name", WORDS)
def test_the_specification_has_the_words_of(name: str) -> None:
    assert WORDS[name] == {word.name: word.value for word in getattr(words, name)}


def test_the_specification_leaves_out_no_words() -> None:
    enums = {name for name, kind in vars(words).items() if isinstance(kind, type) and kind.__module__ == words.__name__}
    assert set(WORDS) == enums


def test_the_specification_has_the_numbers_of_the_codec() -> None:
    text = README.read_text("utf-8")
    assert f"| frame | {framing.MAX_FRAME_BYTES} bytes |" in text
    assert f"one shorter than {framing.MIN_FRAME_BYTES}\n" in text
    uuids = re.findall(r"^\| `([0-9a-f-]{36})` \| (\w+)", text, re.MULTILINE)
    assert uuids == [(getattr(gatt, name), name) for name in ("PEN_SERVICE", "INFO", "CMD", "RSP", "TLM")]


def test_requirements_are_numbered_once() -> None:
    ids = re.findall(r"^- \*\*([A-Z]{3}-\d+)\*\*", README.read_text("utf-8"), re.MULTILINE)
    assert len(ids) == len(set(ids)) > 30
    by_group = {group: [int(i[4:]) for i in ids if i[:3] == group] for group in {i[:3] for i in ids}}
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_group.values())


def test_the_specification_s_python_runs() -> None:
    results = doctest.testfile(str(README), module_relative=False, encoding="utf-8")
    assert results.attempted > 3
    assert results.failed == 0


# --- there and back --------------------------------------------------------------------------------------------------


def _values(kind: type, code: str) -> st.SearchStrategy[Any]:
    if issubclass(kind, str):
        return st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=int(code[:-1]))
    if issubclass(kind, Enum) and not issubclass(kind, IntFlag):
        return st.sampled_from(kind)
    wire = WIRE_TYPES[code]
    bits = int(wire[1:])
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if wire[0] == "i" else (0, (1 << bits) - 1)
    return st.integers(low, high).map(kind)


def _any_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    return st.builds(kind, **{name: _values(*hint) for name, hint in _annotations(kind).items()})


U32S = st.integers(0, WRAP - 1)


def _there_and_back(message: messages.AnyMessage, epoch: int, counter: int) -> messages.AnyMessage:
    (frame,) = Decoder().feed(messages.encode(message, epoch=epoch, counter=counter))
    assert (frame.epoch, frame.counter, frame.type) == (epoch, counter, message.TYPE)
    return messages.decode(frame)


@pytest.mark.parametrize("kind", TYPES.values())
def test_every_message_comes_back_as_it_went(kind: type[Message]) -> None:
    @given(_any_of(kind), U32S, U32S)
    def comes_back(message: Message, epoch: int, counter: int) -> None:
        back = _there_and_back(message, epoch, counter)
        assert back == message
        assert all(type(getattr(back, name)) is hint[0] for name, hint in _annotations(kind).items())

    comes_back()


@given(U32S, st.integers(1, MAX_SAMPLES).flatmap(lambda n: st.binary(min_size=36 * n, max_size=36 * n)))
def test_samples_come_back_as_they_went(first: int, records: bytes) -> None:
    back = _there_and_back(Samples(first, np.frombuffer(records, SAMPLE)), 1, 2)
    assert isinstance(back, Samples)
    assert back.first == first
    assert back.records.tobytes() == records


@given(st.integers(0, 255), st.sampled_from([1, 1, 1, 2]), st.binary(max_size=framing.MAX_BODY_BYTES))
def test_a_frame_of_anything_decodes_or_raises_wire_error(type_: int, version: int, body: bytes) -> None:
    (frame,) = Decoder().feed(framing.encode(type_, 0, 0, body, version=version))
    try:
        message = messages.decode(frame)
    except WireError:
        return
    assert (message.TYPE, version) == (type_, 1)
    assert message.pack().rstrip(b"\0") == body.rstrip(b"\0")


@pytest.mark.parametrize("kind", TYPES.values())
@given(data=st.data())
def test_a_body_of_the_right_length_decodes_to_itself_or_raises_wire_error(
    kind: type[Message], data: st.DataObject
) -> None:
    size = kind.STRUCT.size
    body = data.draw(st.binary(min_size=size, max_size=size))
    (frame,) = Decoder().feed(framing.encode(kind.TYPE, 0, 0, body))
    try:
        message = messages.decode(frame)
    except WireError:
        return
    assert message.pack() == body


def test_samples_are_read_in_place() -> None:
    (frame,) = Decoder().feed(messages.encode(Samples(5, np.zeros(10, SAMPLE))))
    batch = messages.decode(frame)
    assert isinstance(batch, Samples)
    assert np.shares_memory(batch.records, np.frombuffer(frame.raw, np.uint8))
    assert not batch.records.flags.writeable


# --- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Renew(-1),
        Renew(WRAP),
        Renew(1.5),  # type: ignore[arg-type]  # what a careless caller might pass
        _identity(serial="seventeen letters"),
        _identity(serial="Ä"),
        _identity(serial="SIM\n1"),
        _identity(serial="SIM\0"),
        _identity(serial=None),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_never_cut(message: Message) -> None:
    with pytest.raises(WireError, match=type(message).__name__):
        messages.encode(message)


@pytest.mark.parametrize(
    "records",
    [
        np.zeros(0, SAMPLE),
        np.zeros(MAX_SAMPLES + 1, SAMPLE),
        np.zeros((2, MAX_SAMPLES), SAMPLE),
        np.zeros(1, np.uint32),
        np.zeros(1, SAMPLE.newbyteorder(">")),
    ],
)
def test_samples_that_do_not_fit_are_refused(records: SampleArray) -> None:
    with pytest.raises(WireError, match="1 to 27 records"):
        Samples(0, records).pack()


def test_firmware_is_written_as_people_write_it() -> None:
    assert _identity(firmware_major=1, firmware_minor=20, firmware_patch=3).firmware == "1.20.3"


@pytest.mark.parametrize(
    ("state", "flags", "stopped"),
    [
        (state, flags, state in (0, 1, 4) and flags == 1)
        for state in words.PenState
        for flags in (words.StateFlag(0), words.StateFlag.RETRACTED)
    ],
)
def test_a_pen_is_stopped_when_its_needles_are_in_and_stay_in(
    state: words.PenState, flags: words.StateFlag, stopped: bool
) -> None:
    fields: dict[str, Any] = dict.fromkeys(messages.State.NAMES, 0)
    assert messages.State(**(fields | {"state": state, "flags": flags})).stopped is stopped


@given(U32S, st.integers(1, WRAP // 2 - 1))
def test_counters_are_compared_around_the_wrap(counter: int, step: int) -> None:
    later = (counter + step) % WRAP
    assert is_newer(later, counter)
    assert not is_newer(counter, later)
    assert not is_newer(counter, counter)
    assert not is_newer((counter + WRAP // 2) % WRAP, counter)


def test_a_frame_knows_the_length_of_its_body() -> None:
    (frame,) = Decoder().feed(framing.encode(1, 2, 3, b"four"))
    assert isinstance(frame, Frame)
    assert frame.body_bytes == 4
