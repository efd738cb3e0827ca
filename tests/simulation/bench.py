"""The pen's side of the world: the real simulated pen, stepped when it is due, and the truth of what its body does."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from protocols.framing import Decoder, Frame, WireError
from protocols.messages import WRAP, Answer, AnyMessage, Arm, Cartridge, Command, Renew, Stop, decode
from protocols.words import Result
from simulator.ports import Endpoint
from tests.lines import CONFIG
from tests.simulation.clock import Clock
from tests.simulation.staged import NANOMETRE_MM, StagedPen
from tests.simulation.truth import Deed, Kind, Moment

HOME_US, OUT_US = 10_000, 1_000
"""How often a pen without power is looked at, while its needles are in and while they are out."""
SWAP_MS = 400
"""How long a pen is without a cartridge when that is changed."""
ACCEPTED = frozenset({"claim", "release", "arm", "disarm", "clear"})
"""Commands whose first OK is told."""
AREA_NAMES = {area.code: name for name, area in CONFIG.areas.items()}


@dataclass(slots=True)
class Sent:
    """A frame that a host sent, and how it fared."""

    host: int
    number: int
    t_us: int
    arrived: bool = False


class Bench:
    """The pen, and whoever is connected to it.

    Args:
        clock: the world's.
        model: which pen.
        seed: of it.
        see: is shown each moment.
        note: is told each deed.
    """

    def __init__(
        self, clock: Clock, model: str, seed: int, see: Callable[[Moment], None], note: Callable[[Deed], None]
    ) -> None:
        self.clock = clock
        self.met: dict[str, Any] | None = None
        """What is known of the frame that the pen handles now: host, name, command_id, age_us, touched."""
        self.listeners: list[Callable[[list[AnyMessage]], None]] = []
        """Who hears what the pen says of its own accord."""
        self.pen = StagedPen(self, model, seed)
        self._see, self._note = see, note
        self._sent: dict[bytes, Sent] = {}
        self._last: dict[int, int] = {}
        self._message: AnyMessage
        self._accepted: set[tuple[int, AnyMessage]] = set()
        self._numbers = 0
        self._strokes = self._contact_strokes = 0
        self._armed_area = 0
        self._out = False
        """Whether needles were out when last shown."""
        self._shown_us = -1
        self._due_us = 0
        """When it is to be stepped next; -1 when never again."""
        self.told_cartridge(used=False, expired=False)
        self._step()

    def note(self, kind: Kind, **detail: Any) -> None:
        """A deed of now."""
        self._note(Deed(self.clock.now_us, kind, detail))

    # --- frames ------------------------------------------------------------------------------------------------------

    def remember(self, data: bytes, host: int) -> None:
        """A host has sent this, however it will fare."""
        self._numbers += 1
        for frame in Decoder().feed(data):
            self._sent[frame.raw] = Sent(host, self._numbers, self.clock.now_us)

    def meet(self, frame: Frame) -> None:
        """A frame has reached the pen intact, and is to be handled."""
        sent = self._sent.get(frame.raw)
        if sent is None:
            return
        try:
            message = decode(frame)
        except WireError:
            return
        last = self._last.get(sent.host, 0)
        touched = "repeated" if sent.arrived else "out of order" if sent.number < last else None
        sent.arrived = True
        self._last[sent.host] = max(sent.number, last)
        self.met = {
            "host": sent.host,
            "name": type(message).__name__.lower(),
            "command_id": message.command_id if isinstance(message, Command) else None,
            "age_us": self.clock.now_us - sent.t_us,
        }
        if touched:
            self.note(Kind.TOUCHED, how=touched, **self.met)
        self.met["touched"] = touched
        self._message = message
        if isinstance(message, Stop):
            self.note(Kind.STOP_ARRIVED, host=sent.host)
        elif frame.epoch == self.pen.firmware.epoch and not touched:
            self._tell(message)

    def _tell(self, message: AnyMessage) -> None:
        """What it is that the owner says."""
        assert self.met is not None
        if isinstance(message, Renew):
            quoted_us = (self.pen.now_us(self.clock.now_us) - message.seen_t_us) % WRAP
            self.note(Kind.RENEWAL_ARRIVED, host=self.met["host"], age_us=self.met["age_us"], quoted_us=quoted_us)
        elif isinstance(message, Arm) and message.area != self._armed_area:
            self._armed_area = message.area
            self.note(Kind.AREA_CHANGED, area=AREA_NAMES.get(message.area))

    def part(self, said: list[AnyMessage]) -> None:
        """The frame is handled; this is what the pen says to it."""
        met, self.met = self.met, None
        if met is None or met["name"] not in ACCEPTED or (met["host"], self._message) in self._accepted:
            return
        for answer in said:
            if isinstance(answer, Answer) and (answer.command_id, answer.result) == (met["command_id"], Result.OK):
                if met["name"] == "claim":
                    self._accepted.clear()  # ids begin anew: the same words may be another command
                self._accepted.add((met["host"], self._message))
                self.note(Kind.ACCEPTED, **met)
                return

    def driven(self, rate_hz: float, depth_um: int) -> None:
        """The firmware has told motor and sleeve to run."""
        if self.met is not None:
            self.note(Kind.EXECUTED, **self.met, depth_mm=depth_um / 1000, rate_hz=rate_hz)

    def receive(self, endpoint: Endpoint, data: bytes) -> bytes:
        """Have bytes reach the pen; returns its answers."""
        if self.pen.dead:
            return b""
        self.say()
        answers = endpoint.receive(data, self.clock.now_us)
        self._due()
        return answers

    # --- time --------------------------------------------------------------------------------------------------------

    def say(self) -> None:
        """Step the pen up to now, and show it if needles were out, or are."""
        messages = self.pen.step(self.clock.now_us)
        if messages:
            for listener in list(self.listeners):
                listener(messages)
        if self._out or not self.pen.body.home:
            self.look()

    def end(self) -> None:
        """Let the pen be; nothing more is shown."""
        self._see, self._note = (lambda _: None), (lambda _: None)
        self.pen.dead = True
        self._due_us = -1

    def _due(self) -> None:
        """See to it that the pen is stepped when it is next due."""
        now_us = self.clock.now_us
        if self._due_us < 0:
            return
        home = self.pen.body.home
        due_us = now_us + HOME_US if self.pen.dead else max(self.pen.next_due_us, now_us + 200)
        if not home and not self.pen.body.driven:
            due_us = min(due_us, now_us + OUT_US)
        if due_us < self._due_us or self._due_us <= now_us:
            self._due_us = due_us
            self.clock.at(due_us, self._step, due_us)

    def _step(self, due_us: int = 0) -> None:
        if due_us != self._due_us:
            return  # it was due earlier
        self.say()
        if self._shown_us < self.clock.now_us:
            self.look()
        self._due()

    def look(self) -> None:
        """Show how the pen is now."""
        pen, body = self.pen, self.pen.body
        body.advance(self.clock.now_us)
        self._out, self._shown_us = not body.home, self.clock.now_us
        deepest_um = body.deepest_extension_um
        strokes = body.earlier_strokes + body.true_strokes
        if strokes != self._strokes and body.in_skin:
            self._contact_strokes += strokes - self._strokes
        self._strokes = strokes
        self._see(
            Moment(
                self.clock.now_us,
                deepest_um if deepest_um > NANOMETRE_MM * 1000 else 0.0,
                body.home,
                body.rate_hz,
                body.driven,
                pen.area if body.touched else None,
                strokes,
                self._contact_strokes,
                pen.firmware.cartridge.cartridge_id,
            )
        )
        body.reset_truth()

    # --- what happens to a pen ---------------------------------------------------------------------------------------

    def reboot(self, off_us: int) -> None:
        """Take the power away, and give it back after so long."""
        if self.pen.dead:
            return
        self.say()
        self.pen.dead = True
        self.pen.body.power_on()
        self.note(Kind.PEN_REBOOTED, back_us=self.clock.now_us + off_us)
        self.clock.at(self.clock.now_us + off_us, self._boot)
        self._due()

    def _boot(self) -> None:
        self.pen.reboot(self.clock.now_us)
        self.pen.dead = False
        self._armed_area = 0
        self._due()

    def button(self) -> None:
        """The person presses the pen's own button."""
        if not self.pen.dead:
            self.note(Kind.BUTTON_PRESSED)
            self.say()
            self.pen.firmware.button()
            self._due()

    def swap_cartridge(self, kind: str, today_days: int) -> None:
        """Pull the cartridge out, and put another in: fresh, used, expired, needles, or wiped."""
        old = self.pen.firmware.cartridge
        self.pen.change_cartridge()
        new = self.pen.firmware.cartridge
        changes: dict[str, dict[str, int]] = {
            "used": {"used_by": 0x5EED},
            "expired": {"expiry_days": today_days - 1},
            "needles": {"needles": new.needles + 7},
            "wiped": {"cartridge_id": old.cartridge_id},
        }
        self._insert(Cartridge(0, 0, 0, 0))
        put_in = replace(new, **changes.get(kind, {}))
        self.clock.after(SWAP_MS, self._insert, put_in, kind == "used", kind == "expired")

    def _insert(self, cartridge: Cartridge, used: bool = False, expired: bool = False) -> None:
        self.pen.firmware.cartridge = cartridge
        self.told_cartridge(used=used, expired=expired)

    def told_cartridge(self, *, used: bool, expired: bool) -> None:
        """Note which cartridge is in."""
        tag = self.pen.firmware.cartridge
        self.note(
            Kind.CARTRIDGE_CHANGED, cartridge_id=tag.cartridge_id, used=used, expired=expired, needles=tag.needles
        )
