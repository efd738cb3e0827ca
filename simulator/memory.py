"""What the firmware remembers: the answers it gave, and the events not yet acknowledged."""

from collections import deque

from protocols.messages import Answer, Event
from protocols.words import EventKind, PenLimit, Result

COMMANDS_KEPT = 32
EVENTS_KEPT = 256


class CommandMemory:
    """Sees to it that a command id is executed at most once within an epoch, and can always be settled."""

    def __init__(self) -> None:
        self._answers: dict[int, Answer] = {}
        self._highest = self.last_executed = 0

    def restart(self, answer: Answer) -> None:
        """Begin a new epoch with the answer to its claim."""
        self._answers.clear()
        self._highest = 0
        self.remember(answer)

    def recall(self, command_id: int) -> Answer | None:
        """The answer that was given to this id, if it is still known."""
        return self._answers.get(command_id)

    def is_spent(self, command_id: int) -> bool:
        """Whether this id, or a later one, was executed or made void."""
        return command_id <= self._highest

    def remember(self, answer: Answer) -> None:
        """Keep the answer to an id that was now decided."""
        self._highest = max(self._highest, answer.command_id)
        self.last_executed = answer.command_id
        self._answers[answer.command_id] = answer
        if len(self._answers) > COMMANDS_KEPT:
            del self._answers[next(iter(self._answers))]

    def settle(self, command_id: int) -> Answer:
        """Say what became of an id. One that was not seen by now is made void."""
        known = self._answers.get(command_id)
        if known is not None:
            return known
        result = Result.FORGOTTEN if command_id <= self.last_executed else Result.NOT_EXECUTED
        self._highest = max(self._highest, command_id)
        return Answer(command_id, 0, result, PenLimit.NONE, 0)


class EventMemory:
    """Events, numbered without gaps from 1, until the owner acknowledges them; the oldest goes when it is full."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.last = 0

    @property
    def first(self) -> int:
        """Number of the oldest event that is kept, or of the next one to come."""
        return self._kept[0].number if self._kept else self.last + 1

    def add(self, t_us: int, kind: EventKind, a: int, b: int) -> Event:
        """Number and keep an event."""
        self.last += 1
        event = Event(self.last, t_us, kind, a, b)
        self._kept.append(event)
        return event

    def after(self, number: int) -> list[Event]:
        """The kept events after this number, oldest first."""
        return [event for event in self._kept if event.number > number]

    def forget(self, up_to: int) -> None:
        """Forget all up to this number."""
        while self._kept and self._kept[0].number <= up_to:
            self._kept.popleft()
