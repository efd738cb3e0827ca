"""Wrong about what a pen remembers: commands, events, samples."""
# ruff: noqa: ARG002, D102 - what a method is asked, and for what, is told where it is right

from dataclasses import replace

from protocols.messages import Answer, Event
from protocols.samples import Samples
from protocols.words import EventKind, PenLimit, Result
from simulator.memory import CommandMemory, EventMemory
from simulator.physics import Readings
from simulator.sampler import Sampler


class ForgetsAnswers(CommandMemory):
    """No answer is remembered."""

    def recall(self, command_id: int) -> Answer | None:
        return None


class ExecutesTwice(CommandMemory):
    """A command that is repeated is executed again."""

    def recall(self, command_id: int) -> Answer | None:
        return None

    def is_spent(self, command_id: int) -> bool:
        return False


class RemembersEight(CommandMemory):
    """Only the eight newest answers are remembered."""

    def remember(self, answer: Answer) -> None:
        super().remember(answer)
        self._answers = dict(list(self._answers.items())[-8:])


class ExecutesSpentIds(CommandMemory):
    """An id that is not above the highest seen is executed."""

    def is_spent(self, command_id: int) -> bool:
        return False


class SettlesWithoutMemory(CommandMemory):
    """Settle is answered NOT_EXECUTED, whatever became of the command."""

    def settle(self, command_id: int) -> Answer:
        return Answer(command_id, 0, Result.NOT_EXECUTED, PenLimit.NONE, 0)


class SettleVoidsNothing(CommandMemory):
    """A command that was settled as NOT_EXECUTED is executed when it still comes."""

    def settle(self, command_id: int) -> Answer:
        highest = self._highest
        answer = super().settle(command_id)
        self._highest = highest
        return answer


class AnswersOutliveClaim(CommandMemory):
    """A new claim does not forget the answers of the one before."""

    def restart(self, answer: Answer) -> None:
        self._highest = 0
        self.remember(answer)


class EventsRenumbered(EventMemory):
    """Events that are asked for are numbered anew, from 1."""

    def after(self, number: int) -> list[Event]:
        return [replace(event, number=index) for index, event in enumerate(super().after(number), 1)]


class EventsOnlyOnce(EventMemory):
    """An event is not sent again."""

    def after(self, number: int) -> list[Event]:
        return []


class EventsWithGaps(EventMemory):
    """Every other number is left out."""

    def add(self, t_us: int, kind: EventKind, a: int, b: int) -> Event:
        self.last += 1
        return super().add(t_us, kind, a, b)


class EventsNeverForgotten(EventMemory):
    """Events that were acknowledged are kept."""

    def forget(self, up_to: int) -> None:
        pass


class KeepsFewEvents(EventMemory):
    """Only 64 events are kept."""

    def add(self, t_us: int, kind: EventKind, a: int, b: int) -> Event:
        event = super().add(t_us, kind, a, b)
        self.forget(event.number - 64)
        return event


class SamplesWithGaps(Sampler):
    """Now and then a batch is lost, and its numbers with it."""

    def take(self, now_us: int, readings: Readings, crest_um: int, *, running: bool, wanted: bool) -> Samples | None:
        batch = super().take(now_us, readings, crest_um, running=running, wanted=wanted)
        return None if batch and batch.first // batch.records.size % 7 == 0 else batch


class GapsUnmarked(Sampler):
    """Now and then a sample is lost, and the next one has its number."""

    def take(self, now_us: int, readings: Readings, crest_um: int, *, running: bool, wanted: bool) -> Samples | None:
        if now_us // self.period_us % 10 == 0:
            return None
        return super().take(now_us, readings, crest_um, running=running, wanted=wanted)


class SamplesForNobody(Sampler):
    """Samples are sent though nobody owns the pen."""

    def take(self, now_us: int, readings: Readings, crest_um: int, *, running: bool, wanted: bool) -> Samples | None:
        return super().take(now_us, readings, crest_um, running=running, wanted=True)


class SamplesCountedWhileClaimed(Sampler):
    """Samples are numbered only while somebody owns the pen."""

    def take(self, now_us: int, readings: Readings, crest_um: int, *, running: bool, wanted: bool) -> Samples | None:
        number = self._number
        batch = super().take(now_us, readings, crest_um, running=running, wanted=wanted)
        if not wanted:
            self._number = number
        return batch
