"""Wrong about who is heard, and what is said."""
# ruff: noqa: D102 - what a method is asked, and for what, is told where it is right

from dataclasses import replace

from protocols.framing import VERSION, Frame
from protocols.messages import (
    Answer,
    AnyMessage,
    AskCartridge,
    AskEvents,
    Cartridge,
    Command,
    Event,
    Identity,
    State,
    Stop,
)
from protocols.words import Cause, EventKind, PenLimit, PenState
from simulator.firmware import Firmware
from simulator.needles import Hardware, Verdict


class StopLostWhenBusy(Firmware):
    """STOP is not heard when it comes together with another frame."""

    _heard_us = -1

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        busy, self._heard_us = now_us == self._heard_us, now_us
        return [] if busy and frame.type == Stop.TYPE else super().handle(frame, now_us)


class StopOnlyFromOwner(Firmware):
    """STOP is taken under the epoch of the claim only."""

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        foreign = frame.type == Stop.TYPE and frame.epoch != self.epoch
        return [] if foreign else super().handle(frame, now_us)


class AnswersOnlyOwner(Firmware):
    """Questions for events are answered under the epoch of the claim only."""

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        foreign = frame.type == AskEvents.TYPE and frame.epoch != self.epoch
        return [] if foreign else super().handle(frame, now_us)


class AnyVersion(Firmware):
    """Frames of other versions are read as if they were of this one."""

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        frame.version = VERSION
        return super().handle(frame, now_us)


class AnyLength(Firmware):
    """Bytes after the end of a question are not looked at."""

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        if frame.type == AskCartridge.TYPE:
            frame = Frame(frame.raw[:10] + frame.raw[-4:])
        return super().handle(frame, now_us)


class SlowClock(Firmware):
    """The pen's clock goes at half the speed of time."""

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        return super().handle(frame, now_us // 2)

    def step(self, now_us: int) -> list[AnyMessage]:
        return super().step(now_us // 2)


class LateHeartbeat(Firmware):
    """A State comes every 150 ms."""

    def _tick(self, due_us: int) -> None:
        before_us = self._next_heartbeat_us
        super()._tick(due_us)
        self._next_heartbeat_us += 2 * (self._next_heartbeat_us - before_us)


class SilentUnclaimed(Firmware):
    """No heartbeat while nobody owns the pen."""

    def step(self, now_us: int) -> list[AnyMessage]:
        said = super().step(now_us)
        return said if self._owner.claimed else [one for one in said if not isinstance(one, State)]


class EpochOfBoot(Firmware):
    """Frames carry the boot id as their epoch, after a claim too."""

    @property
    def epoch(self) -> int:
        return self.identity.boot_id


class LongerLeasePromised(Firmware):
    """Identity tells of a lease of 500 ms."""

    def __init__(self, hardware: Hardware, identity: Identity, cartridge: Cartridge, used: dict[int, int]) -> None:
        super().__init__(hardware, identity, cartridge, used)
        self.identity = replace(identity, lease_ms=2 * identity.lease_ms)


class RefusesWithoutLimit(Firmware):
    """A refusal does not tell which limit refused, nor its value."""

    def _answer(self, command: Command, verdict: Verdict) -> Answer:
        return replace(super()._answer(command, verdict), limit=PenLimit.NONE)


class RefusesWithoutEvent(Firmware):
    """A refusal makes no event."""

    def _event(self, kind: EventKind, a: int = 0, b: int = 0) -> None:
        if kind is not EventKind.REFUSED:
            super()._event(kind, a, b)


class EventsOnlyWhenAsked(Firmware):
    """Events are sent when they are asked for, and not before."""

    def step(self, now_us: int) -> list[AnyMessage]:
        return [one for one in super().step(now_us) if not isinstance(one, Event)]


class StopUnsaid(Firmware):
    """STOP is obeyed, and no State tells of it before the next heartbeat."""

    def handle(self, frame: Frame, now_us: int) -> list[AnyMessage]:
        said = super().handle(frame, now_us)
        if frame.type == Stop.TYPE:
            said = [one for one in said if not isinstance(one, State)]
        return said


class ClaimKeepsRunning(Firmware):
    """An accepted claim neither stops the needles nor disarms."""

    def _begin_epoch(self, answer: Answer) -> None:
        self._commands.restart(answer)
        self._event(EventKind.CLAIMED)
        self._out.append(answer)
        self._say_state()


class ReleaseKeepsArm(Firmware):
    """A pen that is released stays armed."""

    def _release(self, *, lapsed: bool) -> None:
        self._owner.release()
        self._event(EventKind.RELEASED, int(lapsed))


class ReleaseClearsLatch(Firmware):
    """A latch ends with the claim."""

    def _release(self, *, lapsed: bool) -> None:
        super()._release(lapsed=lapsed)
        if self._needles.state is PenState.LATCHED:
            self._needles.state, self._needles.cause = PenState.IDLE, Cause.NONE


class ReleasesSilently(Firmware):
    """The end of a claim makes no event."""

    def _event(self, kind: EventKind, a: int = 0, b: int = 0) -> None:
        if kind is not EventKind.RELEASED:
            super()._event(kind, a, b)
