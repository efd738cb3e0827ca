"""How to take away each control: what the controls of `tests/hazards.toml` are without. For tests only.

A control of the pen is taken away by one of the wrong parts that the conformance kit has to find (`simulator.defects`),
another by a function or a figure of the product put out of action. The product itself knows of none of this.
"""

import contextlib
import gc
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import pytest

from pen_controller.clinic.access import Access, Keys
from pen_controller.clinic.desk import Desk
from pen_controller.journal import file as journal_file
from pen_controller.journal import journal
from pen_controller.pen import Pen
from pen_controller.pen.link import Link
from pen_controller.preparation import preparation
from pen_controller.telemetry.publisher import Publisher
from pen_controller.transports.pumps import LoopPump
from pen_controller.treatment.minutes import Minutes
from pen_controller.treatment.treatment import Treatment
from protocols.framing import Decoder
from protocols.messages import Answer, Command, Settle
from simulator.defects import DEFECTS
from simulator.firmware import Firmware
from simulator.limits import cartridge_breaks
from simulator.pen import SimulatedPen
from simulator.physics import Body

Seam = Callable[[pytest.MonkeyPatch], None]
"""Takes a control away, until the patches are undone."""

NEVER = 1e9
SHORT_S = 3.0
"""Long enough to wait, over real lines, for a stop that does not come; with the control it takes less than one."""


def defect(name: str) -> Seam:
    """Every pen has this wrong part."""

    def seam(patch: pytest.MonkeyPatch) -> None:
        part = DEFECTS[name]
        if issubclass(part, Decoder):
            patch.setattr("simulator.pen.Decoder", part)
        elif issubclass(part, Firmware):
            patch.setattr("simulator.pen.Firmware", part)
        else:
            patch.setattr(f"simulator.firmware.{part.__bases__[0].__name__}", part)

    return seam


def instead(target: str, value: Any) -> Seam:
    """This stands where the dotted name leads."""
    return lambda patch: patch.setattr(target, value)


def answering(target: str, answer: Any) -> Seam:
    """The function always answers this."""
    return instead(target, lambda *_, **__: answer)


def held_at(owner: type, name: str, value: Any) -> Seam:
    """The attribute of each instance stays at this, whatever it is set to."""
    return lambda patch: patch.setattr(owner, name, property(lambda _: value, lambda *_: None), raising=False)


class Anything:
    """Holds everything."""

    def __contains__(self, _: object) -> bool:
        return True


def no_memory_of_cartridges(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("simulator.needles.cartridge_breaks", lambda caps, tag, _: cartridge_breaks(caps, tag, {}))


def no_spring(patch: pytest.MonkeyPatch) -> None:
    """Nor does the firmware pull the needles in when it boots."""
    power_on, retract = Body.power_on, Body.retract

    def stay_out(body: Body) -> None:
        patch.setattr(Body, "retract", lambda _: None)
        power_on(body)

    def made(body: Body, *args: Any, **kwargs: Any) -> None:
        patch.setattr(Body, "retract", retract)
        patch.setattr(Body, "power_on", power_on)
        begin(body, *args, **kwargs)
        patch.setattr(Body, "power_on", stay_out)

    begin = Body.__init__
    patch.setattr(Body, "__init__", made)


def one_boot_id(patch: pytest.MonkeyPatch) -> None:
    reboot = SimulatedPen.reboot

    def again(pen: SimulatedPen, clock_us: int) -> None:
        boot_id = pen.firmware.identity.boot_id
        with pytest.MonkeyPatch.context() as within:
            within.setattr(pen._chance, "getrandbits", lambda _: boot_id)
            reboot(pen, clock_us)

    patch.setattr(SimulatedPen, "reboot", again)


def renewed_by_a_thread(patch: pytest.MonkeyPatch) -> None:
    opened = Pen._connect

    async def connect(pen: Pen) -> None:
        await opened(pen)

        def renew() -> None:
            while pen.connected:
                pen._link.renew()
                time.sleep(0.05)

        threading.Thread(target=renew, daemon=True).start()

    patch.setattr(Pen, "_connect", connect)
    patch.setattr("tests.running.BOUND_S", SHORT_S)


def nothing_settled(patch: pytest.MonkeyPatch) -> None:
    answer = Link._answer

    async def answer_commands(link: Link, message: Command, command_id: int) -> Answer:
        if isinstance(message, Settle):
            raise TimeoutError
        return await answer(link, message, command_id)

    patch.setattr(Link, "_answer", answer_commands)


def commands_unlocked(patch: pytest.MonkeyPatch) -> None:
    held_at(Link, "_one_command", contextlib.nullcontext())(patch)


def any_layer(patch: pytest.MonkeyPatch) -> None:
    """The widest layer counts, and not the least."""
    patch.setattr("pen_controller.layers.min", max, raising=False)


def stop_waits_its_turn(patch: pytest.MonkeyPatch) -> None:
    stop = Link.stop
    patch.setattr(Link, "stop", lambda link: link._loop.call_soon(stop, link))


def stop_waits_in_line(patch: pytest.MonkeyPatch) -> None:
    write = LoopPump.write
    patch.setattr(LoopPump, "write", lambda pump, data, **_: write(pump, data, urgent=False))


def timed_by_the_wall(patch: pytest.MonkeyPatch) -> None:
    watch, ahead_s = Pen._watch, time.time() - time.monotonic()
    patch.setattr(Pen, "_watch", lambda pen, now_s: watch(pen, now_s + time.time() - time.monotonic() - ahead_s))


def records_unwritten(patch: pytest.MonkeyPatch) -> None:
    """What cannot be written is passed over."""
    write = Minutes.write

    async def try_to_write(minutes: Minutes, *what: Any, **how: Any) -> Any:
        with contextlib.suppress(Exception):
            return await write(minutes, *what, **how)

    patch.setattr(Minutes, "write", try_to_write)


def commands_by_mqtt(patch: pytest.MonkeyPatch) -> None:
    """What a publisher hears stops every pen of this program."""
    hear = Publisher._hear

    def stop_and_hear(publisher: Publisher, topic: str, word: bytes, *, retained: bool) -> None:
        for pen in [each for each in gc.get_objects() if isinstance(each, Pen)]:
            pen._link._loop.call_soon_threadsafe(pen.stop_now)
        hear(publisher, topic, word, retained=retained)

    patch.setattr(Publisher, "_hear", stop_and_hear)


def the_clocks_own_day(patch: pytest.MonkeyPatch) -> None:
    """By the name that the product has for its clock: a test may have put another one there."""
    patch.setattr(journal.Journal, "today", lambda _: vars(journal)["datetime"].now(UTC).date())


def no_triggers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal_file, "SCHEMA", re.sub(r"CREATE TRIGGER .*?END;", "", journal_file.SCHEMA, flags=re.DOTALL))


def any_page_is_alive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("pen_controller.clinic.live.Lives._is_alive", lambda *_: True)
    patch.setattr("tests.running.BOUND_S", SHORT_S)


def any_host(patch: pytest.MonkeyPatch) -> None:
    held_at(Access, "_hosts", Anything())(patch)


def any_page(patch: pytest.MonkeyPatch) -> None:
    held_at(Access, "_origins", Anything())(patch)


def any_cookie(patch: pytest.MonkeyPatch) -> None:
    screen = Keys.screen

    def newest(keys: Keys, cookie: str) -> Any:
        found = screen(keys, cookie)
        worker = next((one for one in keys._screens.values() if one.account == "clinician-1"), None)
        return found or worker

    patch.setattr(Keys, "screen", newest)


def any_cartridge_for_the_one_entered(patch: pytest.MonkeyPatch) -> None:
    missing = preparation.missing
    patch.setattr(preparation, "missing", lambda *what, **how: missing(*what, **how | {"cartridge_id": None}))


SEAMS: dict[str, Seam] = {
    # the wire
    "checksum": defect("any-checksum"),
    "protocol-version": defect("any-version"),
    # the pen
    "lease": defect("lease-never-ends"),
    "fresh-renewals": defect("renews-on-any-time"),
    "claim-stops": defect("claim-keeps-running"),
    "latch": defect("stops-without-latch"),
    "latch-number": defect("clears-any-latch"),
    "arm-caps": answering("simulator.needles.set_point_breaks", None),
    "envelope": answering("simulator.needles.arm_breaks", None),
    "over-depth-check": answering("simulator.selfcheck.SelfCheck._depth", 0),
    "drift-check": instead("simulator.selfcheck.DEPTH_STROKES", NEVER),
    "stuck-check": instead("simulator.selfcheck.STUCK_US", NEVER),
    "frozen-check": instead("simulator.selfcheck.FROZEN_US", NEVER),
    "stall-check": instead("simulator.selfcheck.STALL_STROKES", NEVER),
    "rate-check": instead("simulator.selfcheck.RATE_TOLERANCE", NEVER),
    "other-area-stops": defect("arms-while-running"),
    "arm-epoch": defect("stale-arms-start"),
    "stroke-budget": defect("overspends-budget"),
    "cartridge-rules": answering("simulator.needles.cartridge_breaks", None),
    "use-mark": defect("marks-nothing"),
    "cartridge-memory": no_memory_of_cartridges,
    "command-memory": defect("executes-twice"),
    "void-when-settled": defect("settle-voids-nothing"),
    "one-owner": defect("second-host-takes-over"),
    "owner-only": defect("anyone-commands"),
    "claim-epoch": defect("stale-epochs-command"),
    "frame-counter": defect("old-frames-command"),
    "spring": no_spring,
    "boot-id": one_boot_id,
    "stop-from-anyone": defect("stop-only-from-owner"),
    "stop-when-busy": defect("stop-lost-when-busy"),
    # the host
    "least-layer": any_layer,
    "no-figure-permits-nothing": answering("pen_controller.limits._refuse_malformed", None),
    "grant": answering("pen_controller.limits.Grant.refuse_setpoint", None),
    "guard": answering("pen_controller.pen.guard.Guard.check", None),
    "guard-budget": answering("pen_controller.pen.guard.Guard._motion", None),
    "renewed-by-the-loop": renewed_by_a_thread,
    "no-renewal-when-deaf": instead("pen_controller.pen.pen.DEAF_S", NEVER),
    "lost-line-disarms": answering("pen_controller.pen.pen.Pen._disarmed", None),
    "a-person-resumes": held_at(Treatment, "interrupted", ""),
    "settling": nothing_settled,
    "one-command": commands_unlocked,
    "uncertain-stops": answering("pen_controller.pen.link.Link.stop", None),
    "lost-claim-noticed": answering("pen_controller.pen.link.Link._is_ours", answer=True),
    "reboot-noticed": held_at(Link, "_boot_id", None),
    "hard-limits": instead("pen_controller.treatment.counts.AreaCount.reached", None),
    "unseen-strokes": answering("pen_controller.treatment.counts.AreaCount.catch_up", None),
    "cartridge-limits": answering("pen_controller.limits._refuse_cartridge", None),
    "days-go-forward": the_clocks_own_day,
    "preparation": answering("pen_controller.treatment.intake.Intake.refuse", None),
    "cartridge-entered": any_cartridge_for_the_one_entered,
    "stop-at-once": stop_waits_its_turn,
    "stop-lane": stop_waits_in_line,
    "stop-repeated": instead("pen_controller.pen.pen.STOP_EVERY_S", 1.0),
    "failed-record-stops": held_at(Minutes, "trouble", None),
    "record-before-needles": records_unwritten,
    "no-wall-clock": timed_by_the_wall,
    # the record, and telemetry
    "outbox": instead("pen_controller.telemetry.acks.Place.acked_id", property(lambda place: place.sent_id)),
    "sent-again": answering("pen_controller.telemetry.acks._Recorder.has", answer=True),
    "words-that-can-be-true": answering("pen_controller.telemetry.acks.Place._find", (SimpleNamespace(seq=0), None)),
    "no-commands": commands_by_mqtt,
    "stored-once": instead(
        "sqlalchemy.dialects.sqlite.Insert.on_conflict_do_nothing", lambda insert: insert.prefix_with("OR REPLACE")
    ),
    "append-only": no_triggers,
    "chain": answering("pen_controller.journal.chain.link", bytes(32)),
    "checkpoints": answering("pen_controller.journal.chain.Checkpoint.holds", answer=True),
    # the clinic's server, and its screen
    "told-at-once": answering("pen_controller.clinic.live.Lives._glance", ()),
    "page-alive": any_page_is_alive,
    "one-area-at-a-time": held_at(Desk, "is_treating", value=False),
    "own-address": any_host,
    "own-page": any_page,
    "cookie": any_cookie,
}
"""By the control's name."""
