"""A second host with a line of its own: it wants the pen for itself, drowns it in questions, or stops it."""

import random

from protocols.messages import (
    WRAP,
    Arm,
    AskIdentity,
    AskState,
    Claim,
    Clear,
    Message,
    Release,
    Renew,
    Start,
    Stop,
    encode,
)
from simulator.ports import Endpoint
from tests.simulation.bench import Bench
from tests.simulation.truth import Kind

EVERY_MS = {"claim": 40, "bombard": 1, "stop": 700}
"""How often it speaks, by what it wants."""


class Rival:
    """Speaks to the pen until a time.

    Args:
        bench: where the pen is.
        chance: what it says.
        wants: "claim", "bombard" or "stop".
    """

    def __init__(self, bench: Bench, chance: random.Random, wants: str) -> None:
        self._bench, self._chance, self._wants = bench, chance, wants
        self._host = chance.getrandbits(64)
        self._endpoint = Endpoint(bench.pen)
        self._counter = chance.getrandbits(20)
        self._epoch = chance.getrandbits(32)
        bench.note(Kind.RIVAL, host=self._host, choice=wants)

    def speak(self, until_us: int) -> None:
        """Say something, now and again."""
        if self._bench.clock.now_us < until_us:
            for message in self._words():
                self._say(message)
            self._bench.clock.after(EVERY_MS[self._wants], self.speak, until_us)

    def _say(self, message: Message) -> None:
        self._counter = (self._counter + 1) % WRAP
        data = encode(message, epoch=self._epoch, counter=self._counter)
        self._bench.remember(data, self._host)
        self._bench.receive(self._endpoint, data)

    def _words(self) -> list[Message]:
        firmware, number = self._bench.pen.firmware, self._chance.randrange(1, 1_000)
        match self._wants:
            case "bombard":
                return [AskState(), AskIdentity()]
            case "stop":
                return [Stop()]
        # Its claim may be good once the pen has no owner. It never learns its epoch, so nothing else that it says is.
        return [
            Claim(number, self._host, self._chance.choice((firmware.epoch, self._epoch))),
            Renew(0),
            Clear(number + 1, 1),
            Start(number + 2, 1, 500, 800),
            Arm(number + 3, 8, 2_500, 1_500, 5_000, 100_000, firmware.cartridge.cartridge_id, 7, 20_000),
            Start(number + 4, 1, 2_500, 1_500),
            Release(number + 5),
        ]
