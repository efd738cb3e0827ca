"""The simulated pen as the world has it: on skin that the world chooses, with nothing of it unnoticed."""

from typing import Protocol

from protocols.framing import Frame
from protocols.messages import AnyMessage
from protocols.words import PenState
from simulator.pen import SimulatedPen
from simulator.physics import DEFAULT_SKIN, SKINS, Body, Parameters
from tests.lines import CONFIG

NANOMETRE_MM = 1e-6
"""What rounding leaves of a sleeve that is home."""


class Notices(Protocol):
    """Who is told what the pen meets and does."""

    def meet(self, frame: Frame) -> None:
        """A frame has reached the pen intact, and is to be handled."""

    def part(self, said: list[AnyMessage]) -> None:
        """The frame is handled; this is what the pen says to it."""

    def look(self) -> None:
        """Show how the pen is now."""

    def driven(self, rate_hz: float, depth_um: int) -> None:
        """The firmware has told motor and sleeve to run."""


class TrueBody(Body):
    """Counts over all boots, and knows whether the motor is powered."""

    driven = False
    earlier_strokes = 0

    def power_on(self) -> None:
        self.earlier_strokes += getattr(self, "_strokes", 0)
        super().power_on()

    def drive(self, rate_hz: float, depth_um: int) -> None:
        super().drive(rate_hz, depth_um)
        self.driven = rate_hz > 0

    def retract(self) -> None:
        super().retract()
        self.driven = False

    @property
    def home(self) -> bool:
        return self._sleeve_mm <= NANOMETRE_MM

    @property
    def in_skin(self) -> bool:
        """Whether a stroke would enter skin now."""
        return self._touch.force_n > 0 and self._press(self._sleeve_mm)[0] > 0

    @property
    def touched(self) -> bool:
        return self._touch.force_n > 0

    @property
    def reading_um(self) -> int:
        """What a stuck depth sensor goes on to say."""
        return self._seen_depth_um

    @property
    def sleeve_um(self) -> float:
        return self._sleeve_mm * 1000


class StagedPen(SimulatedPen):
    """A simulated pen on skin that the world chooses, and whose every frame and movement is noticed."""

    def __init__(self, bench: Notices, model: str, seed: int) -> None:
        self.bench = bench
        self.area: str | None = None
        """Where the person holds the pen, whatever the firmware takes it for."""
        self.skin = DEFAULT_SKIN
        self.dead = False
        """Without power."""
        super().__init__(model, seed=seed, zone_cm2=1.0)
        self.body: TrueBody = TrueBody(seed, Parameters(needles=self.firmware.cartridge.needles))

    def handle(self, frame: Frame, clock_us: int) -> list[AnyMessage]:
        self.bench.meet(frame)
        said = super().handle(frame, clock_us)
        self.bench.part(said)
        return said

    def step(self, clock_us: int) -> list[AnyMessage]:
        return [] if self.dead else super().step(clock_us)

    def hold(self, area: str) -> None:
        """The person holds the pen to this area from now on."""
        self.area, self.skin = area, SKINS.get(CONFIG.areas[area].code, DEFAULT_SKIN)

    def advance(self, now_us: int) -> None:
        """As the simulated pen, but on the skin that is truly there."""
        self.body.skin = self.skin
        self.body.touch(self.clinician.touch(now_us, running=self.firmware.state is PenState.RUNNING))
        self.body.advance(now_us + self._booted_us)

    def drive(self, rate_hz: float, depth_um: int) -> None:
        self.bench.look()  # at how it was until now
        super().drive(rate_hz, depth_um)
        self.bench.driven(rate_hz, depth_um)

    def now_us(self, clock_us: int) -> int:
        """The pen's own time."""
        return clock_us - self._booted_us
