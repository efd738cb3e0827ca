"""One direction of a line, with latency, and with the faults of a script while they last."""

import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tests.simulation.clock import Clock
from tests.simulation.script import Act, What

MOST_WAITING_BYTES = 8_192
"""A squeezed line drops what it cannot hold."""


class Waiting(NamedTuple):
    """A frame that has not left yet; `latest` ones replace each other."""

    data: bytes
    latest: bool


class Way:
    """One direction of a line.

    Args:
        clock: the world's.
        chance: decides what happens to which frame.
        faults: those that last now, kept up to date from outside.
        latency_us: of every frame.
        arrive: takes bytes at the other end.
        damaged: is told when bytes that were changed arrive.
        lost: is told of each frame that will not arrive as it was sent.
    """

    def __init__(
        self,
        clock: Clock,
        chance: random.Random,
        faults: list[Act],
        latency_us: int,
        arrive: Callable[[bytes], None],
        damaged: Callable[[], None] = lambda: None,
        lost: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._clock, self._chance, self._faults, self._latency_us = clock, chance, faults, latency_us
        self._arrive, self._damaged, self._lost = arrive, damaged, lost
        self._last_us = 0
        self._held = b""
        self._queue: deque[Waiting] = deque()
        self._sending = False

    def send(self, data: bytes, *, urgent: bool = False, latest: bool = False) -> None:
        """Send a frame; see `Transport.write`."""
        if latest and self._queue:
            self._queue = deque(each for each in self._queue if not each.latest)
        if urgent:
            self._queue.appendleft(Waiting(data, latest))
        elif sum(len(each.data) for each in self._queue) < MOST_WAITING_BYTES:
            self._queue.append(Waiting(data, latest))
        else:
            self._lost(data)
        if not self._sending:
            self._next()

    def cut(self) -> None:
        """What is on the way is lost, and what waits."""
        self._queue.clear()
        self._held = b""
        self._arrive = lambda _: None

    def _fault(self, what: What) -> Act | None:
        """The fault of this kind that befalls the frame now, if one does."""
        for act in self._faults:
            if act.what is what and self._chance.random() < act.chance:
                return act
        return None

    def _next(self) -> None:
        """Send what waits; a squeezed line takes its time."""
        self._sending = False
        while self._queue:
            data, _ = self._queue.popleft()
            squeezed = self._fault(What.SQUEEZE)
            self._spoil(data)
            if squeezed:
                self._sending = True
                self._clock.after(1e3 * len(data) / squeezed.figure, self._next)
                return

    def _spoil(self, data: bytes) -> None:
        if not self._faults and not self._held:
            self._pass_on(data)
            return
        if self._fault(What.DROP):
            self._lost(data)
            return
        changed = self._corrupt(data) if self._fault(What.CORRUPT) else data
        if changed != data:
            self._lost(data)
        pieces = self._pieces(changed)
        wait_us = self._chance.randint(1_000, 400_000) if self._fault(What.DELAY) else 0
        overtaken = self._fault(What.REORDER) is not None
        if overtaken:
            wait_us += self._chance.randint(2_000, 120_000)
        for piece in pieces:
            self._pass_on(piece, wait_us, overtaken=overtaken, damaged=changed != data)
        if self._fault(What.DUPLICATE):
            again_us = round(10 ** self._chance.uniform(3, 6.7))  # 1 ms to 5 s
            self._pass_on(data, again_us, overtaken=True)

    def _corrupt(self, data: bytes) -> bytes:
        """Flip some bits, or lose some bytes, or have noise among them."""
        place = self._chance.randrange(len(data))
        match self._chance.randrange(3):
            case 0:
                spoiled = bytearray(data)
                for _ in range(self._chance.randint(1, 3)):
                    spoiled[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
                return bytes(spoiled)
            case 1:
                return data[:place]
        return data[:place] + self._chance.randbytes(self._chance.randint(1, 40)) + data[place:]

    def _pieces(self, data: bytes) -> list[bytes]:
        if self._held:
            data, self._held = self._held + data, b""
        elif self._fault(What.MERGE):
            self._held = data
            return []
        if len(data) > 1 and self._fault(What.SPLIT):
            place = self._chance.randrange(1, len(data))
            return [data[:place], data[place:]]
        return [data]

    def _pass_on(self, data: bytes, wait_us: int = 0, *, overtaken: bool = False, damaged: bool = False) -> None:
        arrives_us = self._clock.now_us + self._latency_us + wait_us
        if not overtaken:  # then bytes keep their order
            arrives_us = self._last_us = max(arrives_us, self._last_us)
        self._clock.at(arrives_us, self._come, data, damaged)

    def _come(self, data: bytes, damaged: bool) -> None:
        if any(fault.what is What.RADIO_GONE for fault in self._faults):
            self._lost(data)
            return
        if damaged:
            self._damaged()
        self._arrive(data)
