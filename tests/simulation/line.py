"""A line between one host and the pen: what the host's program opens, and what becomes of what is said on it."""

import asyncio
import random
import struct
from collections.abc import Mapping

from pen_controller.errors import LinkError
from pen_controller.transports import Lost, Receive
from protocols.framing import BODY_OFFSET, Decoder, Frame
from protocols.messages import Answer, AnyMessage, Arm, Disarm, Set, Start, State, Stop, decode
from protocols.words import StateFlag
from simulator.ports import Endpoint
from tests.simulation.bench import Bench
from tests.simulation.script import TO_HOST, TO_PEN, Act
from tests.simulation.truth import Kind
from tests.simulation.way import Way

Weather = Mapping[str, list[Act]]
"""Faults that last now, by way."""
HALTS = {Stop.TYPE: "stop", Disarm.TYPE: "disarm"}
SETTLED = frozenset({Start.TYPE, Set.TYPE, Arm.TYPE})
"""Commands that move needles, or are about to: what became of one must become known."""
_ID = struct.Struct("<I")


def command_id(frame: Frame) -> int:
    """Of a command or an answer."""
    (number,) = _ID.unpack_from(frame.raw, BODY_OFFSET)
    return int(number)


class Line:
    """What a host's program opens to reach the pen (a `Transport`), as often as it likes.

    Args:
        bench: where the pen is.
        host: who opens it, as a number.
        weather: kept up to date from outside.
        latency_us: each way.
        chance: decides what becomes of each frame.
        plugged: whether the cable is in.
    """

    name = "the line"

    def __init__(
        self, bench: Bench, host: int, weather: Weather, latency_us: int, chance: random.Random, *, plugged: bool
    ) -> None:
        self.bench, self.host, self.weather = bench, host, weather
        self.latency_us, self.chance = latency_us, chance
        self.plugged = plugged
        self.dead = False
        """Whether the program that would use it is."""
        self._connection: Connection | None = None

    async def open(self, receive: Receive, lost: Lost) -> None:
        """See `Transport.open`."""
        if self.dead or not self.plugged:
            raise LinkError("the line: the cable is pulled; plug it in")
        self._lost = lost
        self._connection = Connection(self, receive)

    def write(self, data: bytes, *, urgent: bool = False, latest: bool = False) -> None:
        """See `Transport.write`."""
        if self._connection is not None and not self.dead:
            self._connection.write(data, urgent=urgent, latest=latest)

    async def close(self) -> None:
        """See `Transport.close`."""
        self.leave()

    def leave(self) -> None:
        """The host has no connection any more; what it has sent still arrives."""
        if self._connection is not None:
            self._connection.leave()
            self._connection = None

    def pull(self) -> None:
        """The cable is pulled out: what is on the line is lost, and the host's system knows at once."""
        self.plugged = False
        if self._connection is not None:
            self._connection.cut()
            self.leave()
            asyncio.get_running_loop().call_soon(self._lost, "the line is gone: cable pulled, or the pen switched off")


class Connection:
    """A line while it is open: both of its ways, and which answers are still to come."""

    def __init__(self, line: Line, receive: Receive) -> None:
        self._bench, self._host, self._receive = line.bench, line.host, receive
        self._loop = asyncio.get_running_loop()
        self._endpoint = Endpoint(line.bench.pen)
        self._witness = Decoder()
        self._open = True
        self._asked: set[int] = set()
        """Ids of commands whose answer has not come."""
        clock, chance, latency_us = line.bench.clock, line.chance, line.latency_us
        self._to_pen = Way(clock, chance, line.weather[TO_PEN], latency_us, self._arrive, self._damaged)
        self._to_host = Way(clock, chance, line.weather[TO_HOST], latency_us, self._heard, lost=self._lose)
        self._bench.listeners.append(self._hear)

    def leave(self) -> None:
        """Nothing comes to the host any more."""
        self._open = False
        self._bench.listeners.remove(self._hear)
        self._to_host.cut()

    def cut(self) -> None:
        """Nothing comes to the pen any more."""
        self._to_pen.cut()

    # --- to the pen --------------------------------------------------------------------------------------------------

    def write(self, data: bytes, *, urgent: bool, latest: bool) -> None:
        """The host sends one frame."""
        self._bench.remember(data, self._host)
        for frame in Decoder().feed(data):
            if frame.type in HALTS:
                self._bench.note(Kind.HALT_SENT, name=HALTS[frame.type])
            elif frame.type in SETTLED:
                self._asked.add(command_id(frame))
        self._to_pen.send(data, urgent=urgent, latest=latest)

    def _arrive(self, data: bytes) -> None:
        self._say(self._bench.receive(self._endpoint, data))

    def _damaged(self) -> None:
        self._bench.note(Kind.TOUCHED, how="damaged", host=self._host)

    # --- to the host -------------------------------------------------------------------------------------------------

    def _hear(self, messages: list[AnyMessage]) -> None:
        self._say(self._endpoint.encode(messages))

    def _say(self, data: bytes) -> None:
        for each in filter(None, data.split(b"\0")):
            self._to_host.send(b"\0" + each + b"\0")

    def _heard(self, data: bytes) -> None:
        self._loop.call_soon(self._deliver, data)  # the host takes it when it can

    def _deliver(self, data: bytes) -> None:
        if self._open:
            for frame in self._witness.feed(data):
                self._tell(frame, Kind.ANSWERED)
            self._receive(data)

    def _lose(self, data: bytes) -> None:
        for frame in Decoder().feed(data):
            self._tell(frame, Kind.ANSWER_LOST)

    def _tell(self, frame: Frame, kind: Kind) -> None:
        """What became of an answer: it has arrived, or it will not."""
        if frame.type == Answer.TYPE:
            ids = {command_id(frame)} & self._asked
        elif frame.type == State.TYPE and kind is Kind.ANSWERED and self._asked:
            message = decode(frame)
            assert isinstance(message, State)
            ids = set() if StateFlag.CLAIMED in message.flags else self._asked.copy()
        else:
            return
        for each in sorted(ids):
            self._bench.note(kind, host=self._host, command_id=each)
        if kind is Kind.ANSWERED:
            self._asked -= ids
