"""A pen and its hosts in virtual time: all they say goes through the real codec, and nothing sleeps."""

from dataclasses import dataclass

from pen_controller import config
from protocols.framing import Decoder
from protocols.messages import (
    WRAP,
    Answer,
    AnyMessage,
    Arm,
    AskState,
    Claim,
    Command,
    Event,
    Message,
    Renew,
    Set,
    Start,
    State,
    decode,
    encode,
)
from protocols.samples import Samples
from protocols.words import EventKind, PenState, Result
from simulator.pen import SimulatedPen
from simulator.physics import Body, Parameters, Touch
from simulator.ports import Endpoint

MS = 1_000
SECOND = 1_000_000
RENEW_US = 50 * MS
LEASE_US = 250 * MS
HARD_UM = {area.code: round(area.depth_mm.hard * 1000) for area in config.load().areas.values() if area.depth_mm.hard}
"""The deepest that the clinic allows, by area code."""


def stroke_us(rate_dhz: int) -> float:
    """How long one stroke takes: the S of the hazard table."""
    return 1e7 / rate_dhz


class TracedBody(Body):
    """Notes the truth of when the needles came home, and where the crank was when the spring was let go."""

    def __init__(self, seed: int, parameters: Parameters) -> None:
        self.clock_us = 0
        self.home_us: int | None = 0
        self.retracts: list[tuple[int, float]] = []
        self.driven: list[tuple[float, int]] = []
        super().__init__(seed, parameters)

    def advance(self, now_us: int) -> None:
        super().advance(now_us)
        self.clock_us = now_us
        if self._sleeve_mm > 1e-6:  # a nanometre: what rounding leaves is home
            self.home_us = None
        elif self.home_us is None:
            self.home_us = now_us

    def drive(self, rate_hz: float, depth_um: int) -> None:
        self.driven.append((rate_hz, depth_um))
        super().drive(rate_hz, depth_um)

    def retract(self) -> None:
        self.retracts.append((self.clock_us, self.phase))
        super().retract()


class StillHand:
    """A hand that holds the pen in the air, or still on the skin, while the needles run."""

    def __init__(self, force_n: float = 0.0) -> None:
        self.force_n = force_n

    def touch(self, _now_us: int, *, running: bool) -> Touch:
        return Touch(0, 0, 0, self.force_n if running else 0.0)


@dataclass
class Host:
    """What a host keeps of itself and of its claim."""

    host_id: int = 0xA
    epoch: int = 0
    counter: int = 0
    command_id: int = 0
    arm_epoch: int = 0


class VirtualPen:
    """A pen on one line. `now_us` is the simulation's clock; `host` is who speaks where nobody else is named."""

    def __init__(self, model: str = "simulated", *, seed: int = 0, sample_rate_hz: int = 100) -> None:
        self.pen = SimulatedPen(model, seed=seed, sample_rate_hz=sample_rate_hz, zone_cm2=0.5)
        self.pen.clinician = StillHand()  # type: ignore[assignment]  # a stand-in
        self.body = self.pen.body = TracedBody(seed, self.pen.body.parameters)
        self.endpoint = Endpoint(self.pen)
        self.decoder = Decoder()
        self.host = Host()
        self.now_us = 0
        self.renewed_us = 0
        self.seen_t_us = 0
        self.seen_epoch = 0
        self.heard: list[AnyMessage] = []
        self.sent: list[bytes] = []
        """Every frame that a host sent, as it went over the line."""
        self.run(0)

    # --- the line ----------------------------------------------------------------------------------------------------

    def hear(self, data: bytes) -> list[AnyMessage]:
        """Take the pen's bytes off the line."""
        heard = []
        for frame in self.decoder.feed(data):
            message = decode(frame)
            self.seen_epoch = frame.epoch
            if isinstance(message, State | Event):
                self.seen_t_us = message.t_us
            heard.append(message)
        assert not self.decoder.dropped.total
        self.heard += heard
        return heard

    def put(self, data: bytes) -> list[AnyMessage]:
        """Put bytes on the line; returns what the pen says at once."""
        return self.hear(self.endpoint.receive(data, self.now_us))

    def say(self, message: Message, host: Host | None = None) -> list[AnyMessage]:
        """Say something in a frame of its own."""
        host = host or self.host
        host.counter = (host.counter + 1) % WRAP
        data = encode(message, epoch=host.epoch, counter=host.counter)
        self.sent.append(data)
        return self.put(data)

    def run(self, for_us: float, *, every_us: int = 5 * MS, renew: bool = True) -> None:
        """Let time pass, calling the pen every so often, and renew every 50 ms if there is a claim."""
        end_us = self.now_us + round(for_us)
        while True:
            self.hear(self.endpoint.encode(self.pen.step(self.now_us)))
            self.body.advance(self.now_us)  # the truth is looked at as often as the pen is called
            if renew and self.host.epoch and self.now_us - self.renewed_us >= RENEW_US:
                self.renew()
            if self.now_us >= end_us:
                return
            self.now_us = min(end_us, self.now_us + every_us)

    # --- what a host says --------------------------------------------------------------------------------------------

    def ask(self, command: Command, host: Host | None = None) -> Answer:
        """Say a command, and return the one answer to it."""
        answers = [said for said in self.say(command, host) if isinstance(said, Answer)]
        assert [answer.command_id for answer in answers] == [command.command_id]
        return answers[0]

    def next_id(self, host: Host | None = None) -> int:
        host = host or self.host
        host.command_id += 1
        return host.command_id

    def claim(self, host: Host | None = None) -> Answer:
        host = host or self.host
        answer = self.ask(Claim(self.next_id(host), host.host_id, self.seen_epoch), host)
        if answer.result is Result.OK:
            host.epoch = self.seen_epoch
            self.renewed_us = self.now_us
        return answer

    def renew(self) -> list[AnyMessage]:
        self.renewed_us = self.now_us
        return self.say(Renew(self.seen_t_us))

    def arm(
        self,
        *,
        area: int = 8,
        depth_um: int = 2500,
        rate_dhz: int = 1500,
        force_mn: int = 5000,
        budget: int = 1_000_000,
        cartridge_id: int | None = None,
        treatment: int = 7,
        today_days: int = 20_000,
    ) -> Answer:
        if cartridge_id is None:
            cartridge_id = self.pen.firmware.cartridge.cartridge_id
        caps = (area, depth_um, rate_dhz, force_mn, budget, cartridge_id, treatment, today_days)
        answer = self.ask(Arm(self.next_id(), *caps))
        if answer.result is Result.OK:
            self.host.arm_epoch = answer.value
        return answer

    def start(self, depth_um: int = 1000, rate_dhz: int = 1000) -> Answer:
        return self.ask(Start(self.next_id(), self.host.arm_epoch, depth_um, rate_dhz))

    def set(self, depth_um: int, rate_dhz: int) -> Answer:
        return self.ask(Set(self.next_id(), self.host.arm_epoch, depth_um, rate_dhz))

    # --- what a host sees --------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the pen answers to a stranger's question."""
        return next(said for said in reversed(self.put(encode(AskState(), epoch=0xDEAD))) if isinstance(said, State))

    def events(self, kind: EventKind) -> list[Event]:
        """The events of this kind that were heard so far."""
        return [said for said in self.heard if isinstance(said, Event) and said.kind is kind]

    def samples(self) -> list[Samples]:
        """The batches that were heard so far."""
        return [said for said in self.heard if isinstance(said, Samples)]


def armed(virtual: VirtualPen | None = None, **caps: int) -> VirtualPen:
    """A pen that is claimed, renewed and armed; caps as for `VirtualPen.arm`."""
    virtual = virtual or VirtualPen()
    if not virtual.host.epoch:
        assert virtual.claim().result is Result.OK
    virtual.renew()
    assert virtual.arm(**caps).result is Result.OK
    return virtual


def running(
    at_um: int = 1000, at_dhz: int = 1000, virtual: VirtualPen | None = None, *, for_us: int = 500 * MS, **caps: int
) -> VirtualPen:
    """A pen that has been running for a while; caps as for `VirtualPen.arm`."""
    virtual = armed(virtual, **caps)
    assert virtual.start(at_um, at_dhz).result is Result.OK
    virtual.run(for_us)
    assert virtual.state.state is PenState.RUNNING
    return virtual
