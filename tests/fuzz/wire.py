"""Targets: what comes over a line, to a pen and to its host."""

import asyncio
import contextlib
import io

from pen_controller.pen.link import Link
from pen_controller.transports import Lost, Receive
from protocols import framing
from protocols.capture import CaptureError, Listener, Note, Piece, header, line_of, parse
from protocols.framing import BODY_OFFSET, MAX_BODY_BYTES, Decoder, Frame, WireError
from protocols.messages import (
    WRAP,
    Answer,
    AnyMessage,
    Arm,
    Claim,
    Command,
    Event,
    Message,
    Renew,
    Set,
    Start,
    State,
    decode,
    message_types,
)
from protocols.samples import Samples
from protocols.words import PenState, Result
from tests.fuzz.taking import Taking
from tests.virtual_pen import LEASE_US, MS, Host, VirtualPen, stroke_us

MAX_PENDING_BYTES = 1029
MAX_PARTS = 40
SPOKEN = [kind for type_, kind in sorted(message_types().items()) if type_ < 0x80]
"""What hosts say."""
SLOWEST_DHZ = 200
MOST_RUN_US = 1_500 * MS
"""Of pen time in one script."""


def frames(data: bytes) -> None:
    """However a stream is cut, the decoder finds the same frames, those between garbage too, in bounded memory."""
    taking = Taking(data)
    cut_bytes = 1 + taking.number()
    stream, sealed = b"", list[bytes]()
    while taking:
        kind, part = taking.number(), taking.sized()
        if kind % 2:
            sealed.append(framing.encode(kind, len(sealed), 7, part, version=kind % 3))
            stream += sealed[-1]
        else:
            stream += part
    whole, cut = Decoder(), Decoder()
    found, pieces = whole.feed(stream), list[Frame]()
    for start in range(0, len(stream), cut_bytes):
        pieces += cut.feed(stream[start : start + cut_bytes])
        assert len(cut._pending or b"") <= MAX_PENDING_BYTES
    assert (found, whole.dropped) == (pieces, cut.dropped)
    again = [
        framing.encode(one.type, one.epoch, one.counter, one.raw[BODY_OFFSET:][: one.body_bytes], version=one.version)
        for one in found
    ]
    rest = iter(again)
    assert all(one in rest for one in sealed)  # in order; garbage may hold more
    assert Decoder().feed(b"".join(again)) == found


def messages(data: bytes) -> None:
    """A body of any bytes, under any type and version, is a message that is written as it was read, or a WireError."""
    taking = Taking(data)
    type_, version, body = taking.number(), taking.number(), taking.rest()[:MAX_BODY_BYTES]
    (frame,) = Decoder().feed(framing.encode(type_, 1, 2, body, version=version))
    try:
        message = decode(frame)
    except WireError:
        return
    assert (message.TYPE, version) == (type_, framing.VERSION)
    assert message.pack() == body


def capture(data: bytes) -> None:
    """A file of any bytes is no capture, or is read to its end; what is read is written as it was."""
    lines = list(io.BytesIO(data))
    try:
        entries = list(parse(lines))
    except CaptureError:
        return
    assert len(entries) == len(lines) - 1
    listener = Listener()
    for one in entries:
        said = listener.feed(one) if isinstance(one, Piece) else []
        assert all(str(each) and each.figures() for each in (one, *said))
    good = [one for one in entries if isinstance(one, Piece | Note)]
    assert list(parse([header("", "").encode(), *(line_of(one).encode() for one in good)])) == good


# --- the pen ---------------------------------------------------------------------------------------------------------


class Watched(VirtualPen):
    """A pen on a line where all is overheard: what was asked for, what was granted, when the lease was renewed."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[int, Command]] = {}
        self._answered: set[tuple[int, int]] = set()
        self._claimed: set[int] = set()
        self.granted: dict[int, Arm] = {}
        """The arms that the pen has answered with OK, by arm epoch."""
        self.strokes_before: dict[int, int] = {}
        self.said_renew_us = -(1 << 40)
        self._overhear = Decoder()
        super().__init__(seed=1)

    def put(self, data: bytes) -> list[AnyMessage]:
        for frame in self._overhear.feed(data):
            with contextlib.suppress(WireError):
                message = decode(frame)
                if isinstance(message, Command):
                    self._asked[message.command_id] = frame.epoch, message
                elif isinstance(message, Renew):
                    self.said_renew_us = self.now_us
        heard = super().put(data)
        for one in heard:
            if isinstance(one, Answer) and one.result is Result.OK:
                self._was_done(one)
        return heard

    def _was_done(self, answer: Answer) -> None:
        """What must be true of a command that was done just now, and not once before."""
        epoch, command = self._asked[answer.command_id]
        if (self.seen_epoch, answer.command_id) in self._answered:
            return
        self._answered.add((self.seen_epoch, answer.command_id))
        if isinstance(command, Claim):
            self._claimed.add(self.seen_epoch)
        elif isinstance(command, Arm | Start | Set):
            assert epoch == self.seen_epoch in self._claimed, "a command of no owner was done"
        if isinstance(command, Arm):
            self.granted[answer.value] = command
            self.strokes_before[answer.value] = self.body.true_strokes
        elif isinstance(command, Start | Set):
            assert command.arm_epoch == max(self.granted, default=None), "under another arm than the last"
            assert self.now_us - self.said_renew_us <= LEASE_US, "without a lease"

    def must_hold(self) -> None:
        """What must be true of the needles, whoever has said what."""
        needles, body, own = self.pen.firmware._needles, self.body, self.pen.firmware.identity
        if not body.retracted:
            assert needles.state in (PenState.RUNNING, PenState.STOPPING), f"needles out, {needles.state.name}"
            assert self.now_us - self.said_renew_us <= LEASE_US + 2 * stroke_us(SLOWEST_DHZ), "the lease has run out"
        if arm := self.granted.get(needles.arm_epoch):
            strokes = body.true_strokes - self.strokes_before[needles.arm_epoch]
            assert strokes <= arm.stroke_budget, "more strokes than were granted"
        if needles.state is PenState.RUNNING:
            arm = self.granted[needles.arm_epoch]
            assert body.deepest_extension_um <= arm.depth_cap_um + 0.1, "deeper than was granted"
            assert needles.set_point.depth_um <= min(arm.depth_cap_um, own.max_depth_um)
            assert needles.set_point.rate_dhz <= min(arm.rate_cap_dhz, own.max_rate_dhz)
            assert self.pen.firmware.cartridge.used_by == arm.treatment != 0, "an unmarked cartridge"


def firmware(data: bytes) -> None:
    """Whatever two hosts say, and whatever else is on the line, the needles hold to what was granted."""
    taking, pen = Taking(data), Watched()
    hosts = [Host(host_id=1), Host(host_id=2)]
    for _ in range(MAX_PARTS):
        if not taking or pen.now_us >= MOST_RUN_US:
            return
        what = taking.number()
        pen.host = hosts[what % 8 == 7]
        if what // 8 < len(SPOKEN):
            _say(pen, SPOKEN[what // 8], taking)
        else:
            pen.put(taking.sized())
        pen.body.reset_truth()
        pen.run(taking.number() * MS, every_us=2 * MS, renew=what % 2 == 0)
        pen.must_hold()


def _say(pen: Watched, kind: type[Message], taking: Taking) -> None:
    """Say a message whose fields make sense, but for those of which the bytes say otherwise."""
    state, host, other = pen.state, pen.host, taking.number()
    sense = {
        "command_id": host.command_id + 1, "host_id": host.host_id, "seen_epoch": pen.seen_epoch,
        "cartridge_id": pen.pen.firmware.cartridge.cartridge_id, "treatment": 7, "today_days": 20_000,
        "arm_epoch": state.arm_epoch, "latch_id": state.latch_id, "seen_t_us": pen.seen_t_us, "depth_um": 1000,
        "depth_cap_um": 1500, "rate_dhz": 1000, "rate_cap_dhz": 1500, "force_cap_mn": 5000, "stroke_budget": 60,
    }  # fmt: skip
    values = [
        taking.number(2) if other & (1 << index % 7) else sense.get(name, 0) for index, name in enumerate(kind.NAMES)
    ]
    host.epoch = pen.seen_epoch if other < 128 else taking.number()
    with contextlib.suppress(WireError):  # a value that does not fit its field is never said
        pen.say(kind(*values), host)
        host.command_id = max(host.command_id, getattr(kind(*values), "command_id", 0)) % WRAP


# --- its host --------------------------------------------------------------------------------------------------------


class _Line:
    """A line that takes every byte."""

    name = "a line"

    async def open(self, receive: Receive, lost: Lost) -> None:
        """See `Transport.open`."""

    def write(self, data: bytes, *, urgent: bool = False, latest: bool = False) -> None:
        """See `Transport.write`."""

    async def close(self) -> None:
        """See `Transport.close`."""


def link(data: bytes) -> None:
    """Whatever a pen says, in frames or not, its host hears whole messages and goes on."""

    async def heard() -> None:
        lost: list[str] = []
        taking, said = Taking(data), list[AnyMessage]()
        one = Link(_Line(), 1, said.append, lost.append)
        while taking:
            kind, counter, part = taking.number(), taking.number(), taking.sized()
            one._receive(framing.encode(kind, 900, counter, part) if kind else part)
            if kind % 16 == 1:
                one.renew()
                one.stop()
        assert len(lost) <= 1
        assert all(isinstance(each, State | Event | Samples) for each in said)
        await one.close()

    asyncio.run(heard())
