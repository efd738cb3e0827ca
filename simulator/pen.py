"""A whole pen: firmware, body, the skin under it and the hand that holds it, on one clock from power-on."""

import math
import random
from dataclasses import replace

from protocols.framing import Decoder, Frame
from protocols.messages import AnyMessage
from protocols.words import PenState
from simulator import profiles
from simulator.firmware import Firmware
from simulator.hand import STEADY, Hand, Style
from simulator.physics import DEFAULT_SKIN, SKINS, Body, Parameters, Readings, Touch

REACTION_US = 300_000
"""From hearing the motor to setting the pen down; assumed."""


class Clinician:
    """A person who sets the pen on skin when the needles run, treats a square zone, and lifts it when they stop."""

    def __init__(self, zone_cm2: float, seed: int, style: Style = STEADY) -> None:
        side_mm = math.sqrt(zone_cm2 * 100)
        self.hand = Hand(side_mm, side_mm, passes=4, seed=seed, style=style)
        self._motion, self._lasts_us = self.hand.motion, self.hand.duration_us
        self._began_us: int | None = None

    def touch(self, now_us: int, *, running: bool) -> Touch:
        """What the hand does now. It goes on for as long as the needles run, beginning again after its last pass."""
        if not running:
            self._began_us = None
            return self._motion.at(-1)
        if self._began_us is None:
            self._began_us = now_us + REACTION_US
        since_us = now_us - self._began_us
        return self._motion.at(since_us % self._lasts_us if since_us >= 0 else -1)


class SimulatedPen:
    """The firmware's hardware, and all that it stands in. The same arguments give the same pen.

    Args:
        model: a key of `profiles.PROFILES`.
        number: gives the serial number `PEN-0001`.
        seed: of sensors, hand, boot ids and cartridge.
        sample_rate_hz: of telemetry, 1 to 1000.
        zone_cm2: the square of skin that the hand treats.
        style: how the hand treats it.
    """

    def __init__(
        self,
        model: str = "simulated",
        number: int = 1,
        *,
        seed: int = 0,
        sample_rate_hz: int = 100,
        zone_cm2: float = 6.0,
        style: Style = STEADY,
    ) -> None:
        self._chance = random.Random(f"{seed}/{number}")  # noqa: S311  # a simulation, not a secret
        self._identity = profiles.identity(model, number, self._chance.getrandbits(32) or 1, sample_rate_hz)
        cartridge = profiles.fresh_cartridge(model, self._chance.getrandbits(63) | 1)
        self._style = style
        self.clinician = Clinician(zone_cm2, self._chance.getrandbits(31), style)
        self.body = Body(self._chance.getrandbits(31), Parameters(needles=cartridge.needles))
        self._booted_us = 0
        self.firmware = Firmware(self, self._identity, cartridge)

    @property
    def serial(self) -> str:
        """Serial number, as the pen reports it."""
        return self._identity.serial

    def new_decoder(self) -> Decoder:
        """What finds the frames on the pen's end of a line."""
        return Decoder()

    def handle(self, frame: Frame, clock_us: int) -> list[AnyMessage]:
        """Take one frame; `clock_us` is time since the simulation began, across reboots. Returns what the pen says."""
        return self.firmware.handle(frame, clock_us - self._booted_us)

    def step(self, clock_us: int) -> list[AnyMessage]:
        """Let time pass; returns what the pen says."""
        return self.firmware.step(clock_us - self._booted_us)

    @property
    def next_due_us(self) -> int:
        """When `step` has something to do again, on the simulation's clock."""
        return self.firmware.next_due_us + self._booted_us

    def reboot(self, clock_us: int) -> None:
        """Take the power away and give it back: the spring pulls the needles in, and the firmware begins anew."""
        self.step(clock_us)  # what it says meanwhile is lost with the power
        self.body.advance(clock_us)
        self.body.power_on()
        self._booted_us = clock_us
        self._identity = replace(self._identity, boot_id=self._chance.getrandbits(32) or 1)
        self.firmware = Firmware(self, self._identity, self.firmware.cartridge, self.firmware.used_cartridges)

    def change_cartridge(self) -> None:
        """Pull the cartridge out and put a fresh one of the same kind in."""
        self.firmware.cartridge = profiles.fresh_cartridge(self._identity.model, self._chance.getrandbits(63) | 1)

    def change_zone(self, zone_cm2: float) -> None:
        """Have the hand treat a square of another size, beginning anew. May be called from another thread."""
        self.clinician = Clinician(zone_cm2, self._chance.getrandbits(31), self._style)

    def advance(self, now_us: int) -> None:
        """Let hand and body run up to pen time `now_us` (the firmware's side)."""
        running = self.firmware.state is PenState.RUNNING
        if running:
            self.body.skin = SKINS.get(self.firmware.area, DEFAULT_SKIN)
        self.body.touch(self.clinician.touch(now_us, running=running))
        self.body.advance(now_us + self._booted_us)

    def read(self) -> Readings:
        """All sensors (the firmware's side)."""
        return self.body.read()

    def drive(self, rate_hz: float, depth_um: int) -> None:
        """Motor and sleeve (the firmware's side)."""
        self.body.drive(rate_hz, depth_um)

    def retract(self) -> None:
        """Spring and brake (the firmware's side)."""
        self.body.retract()
