"""Frames: any cut, any garbage, any damaged byte; decoded right or dropped, counted, in bounded memory."""

import zlib
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import messages
from protocols.framing import MAX_BODY_BYTES, MAX_FRAME_BYTES, Decoder, Dropped, Frame, WireError, encode
from protocols.messages import Answer, Event, Renew, Stop
from protocols.samples import SAMPLE, Samples
from protocols.words import EventKind, PenLimit, Result
from tests import golden

LONGEST_PENDING_BYTES = 1029
LONGEST = encode(1, 0x01010101, 0x01010101, b"\x01" * MAX_BODY_BYTES)
"""No byte of it is zero, which COBS would have for nothing."""

STREAM = [
    messages.encode(Stop(), epoch=1, counter=1),
    messages.encode(Answer(3, 0x14, Result.OVER_LIMIT, PenLimit.ARM_DEPTH_CAP, 1000), epoch=901, counter=2),
    messages.encode(Samples(4, np.frombuffer(bytes(range(72)), SAMPLE)), epoch=901, counter=3),
    messages.encode(Event(7, 123_456, EventKind.STOPPED, -1, 0), epoch=901, counter=4),
    messages.encode(Renew(0xFFFFFFFF), epoch=901, counter=0xFFFFFFFF),
]


def _decode(data: bytes, cuts: list[int] | None = None) -> tuple[list[Frame], Dropped]:
    """Feed `data` cut at these places."""
    decoder = Decoder()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    frames = [frame for start, end in pairwise(places) for frame in decoder.feed(data[start:end])]
    return frames, decoder.dropped


def _is_subsequence(some: list[Frame], all_: list[Frame]) -> bool:
    rest = iter(all_)
    return all(any(frame == other for other in rest) for frame in some)


SENT, _ = _decode(b"".join(STREAM))


def test_all_frames_of_the_stream_arrive() -> None:
    assert [frame.counter for frame in SENT] == [1, 2, 3, 4, 0xFFFFFFFF]


# --- any cut, any garbage --------------------------------------------------------------------------------------------

FRAMES = st.builds(
    encode, st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=60)
)
NOISE = st.one_of(st.binary(max_size=40), st.just(b"\xaa" * 1100), st.just(b"\x01\0\x02x\0"))
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.tuples(NOISE, FRAMES), max_size=8), NOISE, CUTS)
def test_frames_between_garbage_arrive_however_the_stream_is_cut(
    parts: list[tuple[bytes, bytes]], rest: bytes, cuts: list[int]
) -> None:
    stream = b"".join(noise + frame for noise, frame in parts) + rest
    frames, dropped = _decode(stream, cuts)
    assert frames == [frame for _, sealed in parts for frame in _decode(sealed)[0]]
    assert len(frames) == len(parts)
    assert dropped == _decode(stream)[1]


@given(st.lists(FRAMES, max_size=5))
def test_a_stream_that_comes_byte_by_byte(sealed: list[bytes]) -> None:
    stream = b"".join(sealed)
    frames, dropped = _decode(stream, list(range(len(stream))))
    assert (frames, dropped) == _decode(stream)
    assert dropped.total == 0


@given(st.binary(max_size=2000), CUTS)
def test_garbage_alone_gives_nothing_and_raises_nothing(garbage: bytes, cuts: list[int]) -> None:
    frames, dropped = _decode(garbage, cuts)
    assert not frames
    assert dropped.total <= sum(1 for piece in garbage.split(b"\0") if piece)


# --- any damaged byte ------------------------------------------------------------------------------------------------


@pytest.mark.hazard("H07")
def test_one_changed_byte_costs_at_most_one_frame_and_makes_none() -> None:
    stream = b"".join(STREAM)
    for place, byte in enumerate(stream):
        for change in range(1, 256):
            # One zero more ends a last frame whose own zero was changed, so that it is judged as well.
            frames, dropped = _decode(stream[:place] + bytes([byte ^ change]) + stream[place + 1 :] + b"\0")
            assert _is_subsequence(frames, SENT), (place, change)
            assert len(frames) >= len(SENT) - 1, (place, change)
            assert len(frames) == len(SENT) or dropped.total, (place, change)


@pytest.mark.parametrize("added", [b"", b"\x01", b"\xff", b"\0"])
def test_one_byte_lost_or_added_costs_at_most_one_frame_and_makes_none(added: bytes) -> None:
    stream = b"".join(STREAM)
    for place in range(len(stream)):
        frames, _ = _decode(stream[:place] + added + stream[place + (not added) :])
        assert _is_subsequence(frames, SENT), place
        assert len(frames) >= len(SENT) - 1, place


@pytest.mark.hazard("H07")
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=2, max_size=20), CUTS)
def test_many_changed_bytes_make_no_frame(changes: list[tuple[int, int]], cuts: list[int]) -> None:
    stream = bytearray(b"".join(STREAM))
    for place, byte in changes:
        stream[place % len(stream)] = byte
    frames, _ = _decode(bytes(stream), cuts)
    assert _is_subsequence(frames, SENT)


@pytest.mark.parametrize(
    ("damaged", "once"),
    [
        (b"\xaa" * 1100, Dropped(too_long=1)),
        (b"\x05ab", Dropped(cobs=1)),
        (b"\x03ab", Dropped(too_short=1)),
        (golden.cobs(b"fourteen bytes"), Dropped(crc=1)),
    ],
)
def test_every_damaged_frame_is_counted(damaged: bytes, once: Dropped) -> None:
    decoder = Decoder()
    for times in range(1, 4):
        decoder.feed(b"\0" + damaged + b"\0")
        assert decoder.dropped.total == times
        assert asdict(decoder.dropped) == {cause: n * times for cause, n in asdict(once).items()}


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 1000, 65_536])
def test_memory_is_bounded_while_no_zero_comes(size: int) -> None:
    decoder = Decoder()
    for _ in range(min(10_000_000 // size, 5000)):
        assert decoder.feed(b"\xaa" * size) == []
        assert len(decoder._pending or b"") <= LONGEST_PENDING_BYTES
    assert decoder.dropped == Dropped(too_long=1)
    assert decoder.feed(STREAM[0]) == SENT[:1]
    assert decoder.dropped == Dropped(too_long=1)


def test_one_feed_of_ten_megabytes_leaves_nothing_behind() -> None:
    decoder = Decoder()
    decoder.feed(b"\xaa" * 10_000_000)
    assert len(decoder._pending or b"") <= LONGEST_PENDING_BYTES


@pytest.mark.parametrize("byte", [0x00, 0x01, 0xFF])
def test_the_longest_frame_fits_and_one_byte_more_does_not(byte: int) -> None:
    body = bytes([byte]) * MAX_BODY_BYTES
    (frame,), dropped = _decode(encode(1, 2, 3, body))
    assert (len(frame.raw), frame.raw[10:-4], dropped.total) == (MAX_FRAME_BYTES, body, 0)
    with pytest.raises(WireError, match="a body of 1011 bytes: at most 1010"):
        encode(1, 2, 3, body + b"\0")


def test_the_longest_frame_may_wait_for_its_last_byte() -> None:
    decoder = Decoder()
    assert decoder.feed(LONGEST[:-1]) == []
    assert len(decoder._pending or b"") == LONGEST_PENDING_BYTES
    assert [frame.counter for frame in decoder.feed(LONGEST[-1:])] == [0x01010101]
    assert decoder.dropped.total == 0


def test_the_longest_frame_damaged_is_not_too_long() -> None:
    assert _decode(LONGEST[:500] + b"\x02" + LONGEST[501:]) == ([], Dropped(crc=1))


@pytest.mark.parametrize("byte", [0x00, 0x01])
def test_a_frame_one_byte_too_long_is_dropped_as_too_long(byte: int) -> None:
    frames, dropped = _decode(golden.frame(1, bytes([byte]) * (MAX_BODY_BYTES + 1)))
    assert (frames, dropped) == ([], Dropped(too_long=1))


@pytest.mark.parametrize("header", [(256, 0, 0, 1), (-1, 0, 0, 1), (1, 1 << 32, 0, 1), (1, 0, -1, 1), (1, 0, 0, 256)])
def test_a_header_out_of_range_is_refused(header: tuple[int, int, int, int]) -> None:
    type_, epoch, counter, version = header
    with pytest.raises(WireError, match="header"):
        encode(type_, epoch, counter, b"", version=version)


@given(st.integers(0, 255), st.binary(max_size=MAX_BODY_BYTES))
def test_frames_are_those_of_the_specification(type_: int, body: bytes) -> None:
    assert encode(type_, 7, 9, body) == golden.frame(type_, body)


def test_the_crc_is_the_one_named_in_the_specification() -> None:
    assert golden.crc32(b"123456789") == zlib.crc32(b"123456789") == 0xCBF43926
    content = b"anything"
    assert zlib.crc32(content + zlib.crc32(content).to_bytes(4, "little")) == 0x2144DF1C
