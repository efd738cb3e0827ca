"""A publisher's place in the journal: what has been sent, and what is known to be kept.

Without a recorder the place follows the broker's acknowledgement (PUBACK), which a broker may give for what it then
loses. From a recorder's first word on it follows what recorders say they have stored, and goes back where one of them
lacks something.

Each recorder, that is each database, has a place of its own, kept in the journal under a name of its own: the first
that is heard gets the records of before, too, and the publisher's place is that of the least of all that were ever
heard. One that is gone for good is dismissed by a person (`pen recorders --dismiss`); until then the records
wait for it, and it is reminded of them sparingly, which delays nobody else.
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from pen_controller.journal import Journal, Record

IDLE_S = 10.0
"""Without progress for this long, what a recorder lacks is sent again. Measured: 1 s caused most duplicates."""

LAST_IDLE_S = 120.0  # it doubles as long as the recorder does not answer, or refuses what it is sent
REMINDER_RECORDS = 100  # so many are sent again, at the longest intervals, to one that may be gone for good
WINDOW = 5000  # places that we go ahead of a recorder that keeps up: it drops what it cannot hold
MOST_RECORDERS = 16  # a stranger's words cost no more memory than these
PAGE_RECORDS = 20
WORD = re.compile(rb"0|[1-9][0-9]{0,17}")
DISMISSED = b"-1"
"""The word that a person leaves in place of a recorder's own, for publishers that are away, too."""

BEFORE = ""  # stands for all sessions of records that were sent before this program began
FORGOTTEN = -1  # place of a recorder that was dismissed


@dataclass(slots=True)
class _Recorder:
    """What one recorder has, as far as is known.

    Attributes:
        base_id: The last record up to which it has the sessions that it has not spoken of.
        stored: Of each session, out_seq and seq up to which it says it has it.
        lacking: Of each session, the first record that was sent and that it does not say it has.
        reach_id: The last record that is sent to it again.
        progress_s: When it last said that it has more.
        patient_since_s: The last progress or rewind, or when there began to be something to wait for.
        wait_s: How long it has from then on.
    """

    base_id: int = 0
    stored: dict[str, tuple[int, int]] = field(default_factory=dict)
    lacking: dict[str, int] = field(default_factory=dict)
    reach_id: float = math.inf
    progress_s: float = -math.inf
    patient_since_s: float = -math.inf
    wait_s: float = field(default_factory=lambda: IDLE_S)

    def done_id(self, sent_id: int) -> int:
        """Return the last record up to which it has everything."""
        return min(self.lacking.values()) - 1 if self.lacking else max(self.base_id, sent_id)

    def has(self, record: Record) -> bool:
        if record.session in self.stored:
            return (record.out_seq or 0) <= self.stored[record.session][0]
        return record.id <= self.base_id

    def wait_for(self, record: Record, now_s: float) -> None:
        if not self.lacking:
            self.patient_since_s = now_s
        self.lacking.setdefault(record.session, record.id)

    def take_word(self, session: str, stored: tuple[int, int], following: Record | None, sent_id: int) -> None:
        self.stored[session] = stored
        self.lacking.pop(session, None)
        if following:
            self.base_id = min(self.base_id, following.id - 1)
            if following.id <= sent_id:
                self.lacking[session] = following.id

    def is_due(self, now_s: float) -> bool:
        return bool(self.lacking) and now_s - self.patient_since_s >= self.wait_s

    def be_patient(self, now_s: float) -> None:
        """Have it sent again what it lacks, and wait longer than before; send little where even that did not help."""
        may_be_gone = self.wait_s == LAST_IDLE_S
        self.reach_id = min(self.lacking.values()) + REMINDER_RECORDS if may_be_gone else math.inf
        self.wait_s = min(2 * self.wait_s, LAST_IDLE_S)
        self.patient_since_s = now_s

    def note_progress(self, now_s: float) -> None:
        """Give it its time again; one that was only reminded gets the rest at once."""
        self.patient_since_s = now_s if self.reach_id == math.inf else -math.inf
        self.progress_s, self.wait_s, self.reach_id = now_s, IDLE_S, math.inf


class Place:
    """The place of the publisher of one pen.

    Everything but `follows` and `ignored` is for the publisher's thread only.

    Args:
        journal: The open journal.
        site: Name of the site.
        pen: Name of the pen.
        clock: Monotonic time in seconds.

    Attributes:
        ignored: Words on the acknowledgement topics that no recorder of ours can have said.
        sent_id: The last record that was sent, or that needs no sending.
    """

    def __init__(self, journal: Journal, site: str, pen: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.ignored = 0
        self.sent_id = 0
        self._journal = journal
        self._pen = pen
        self._clock = clock
        self._name = f"{site}/{pen}"
        self._recorders: dict[str, _Recorder] = {}
        self._unheard = _Recorder()  # what one has that we hear for the first time
        self._heard: set[str] = set()  # those that spoke for themselves since we connected
        self._flying: dict[int, None] = {}  # what the broker has not acknowledged, in order
        self._newest_id = 0  # what lies behind it was not sent before
        self._saved: dict[str, int] = {}
        self._begun = False

    @property
    def follows(self) -> Literal["broker", "recorder"]:
        """Who says what is done with."""
        return "recorder" if self._recorders else "broker"

    @property
    def backlog(self) -> int:
        """How many records wait for the word that they are kept.

        Raises:
            JournalError: The journal cannot be read.
        """
        return self._journal.backlog(self._kept_id(), pen=self._pen)

    @property
    def acked_id(self) -> int:
        """The last record up to which the broker has acknowledged all that was sent."""
        return next(iter(self._flying), self.sent_id + 1) - 1

    @property
    def all_acked(self) -> bool:
        """Whether the broker has acknowledged all that was sent."""
        return not self._flying

    @property
    def stored_id(self) -> int:
        """The last record up to which all recorders have all that was sent."""
        return min([self.sent_id, *(each.done_id(self.sent_id) for each in self._recorders.values())])

    @property
    def settled(self) -> bool:
        """Whether everything that was sent is kept; what the broker has acknowledged counts without a recorder."""
        return not any(each.lacking for each in self._recorders.values())

    @property
    def far_ahead(self) -> bool:
        """Whether a recorder that keeps up should be waited for."""
        keeping_up_since_s = self._clock() - IDLE_S
        return any(
            each.progress_s > keeping_up_since_s and self.sent_id - each.done_id(self.sent_id) > WINDOW
            for each in self._recorders.values()
        )

    def begin(self) -> None:
        """Go, for a new connection, to where nothing behind is in doubt.

        Raises:
            JournalError: The journal cannot be read.
        """
        if not self._begun:
            self._begun = True
            self._recorders = {name: _Recorder(done_id) for name, done_id in self._places().items()}
            self.sent_id = self._newest_id = self._kept_id()
            self._unheard.lacking = {BEFORE: 1} if self.sent_id else {}
        self._heard.clear()
        for each in self._recorders.values():
            each.wait_s, each.reach_id = IDLE_S, math.inf
        if self._recorders:
            self._rewind(list(self._recorders.values()))
        else:
            self.sent_id = self.acked_id
            self._flying.clear()

    def rewind_if_due(self) -> None:
        """Go back to the first record that a recorder lacks, if it has had its time."""
        now_s = self._clock()
        due = [each for each in self._recorders.values() if each.is_due(now_s)]
        for each in due:
            each.be_patient(now_s)
        if due:
            self._rewind(due)

    def take(self, record: Record) -> bool:
        """Go on to the next record; return whether it is to be sent: the recorders may have it already."""
        self.sent_id = record.id
        new = record.id > self._newest_id
        self._newest_id = max(self._newest_id, record.id)
        lacking = [each for each in self._recorders.values() if not each.has(record)]
        for each in (self._unheard, *lacking):
            each.wait_for(record, self._clock())
        if self._recorders and not any(new or record.id <= each.reach_id for each in lacking):
            return False
        self._flying[record.id] = None
        return True

    def acknowledged(self, record: Record) -> None:
        """Note that the broker has acknowledged a record that was taken."""
        self._flying.pop(record.id, None)

    def hear(self, recorder: str, session: str, word: bytes, *, retained: bool = False) -> None:
        """Note what a recorder says of a session; ignore, and count, what cannot be true.

        Args:
            recorder: Name of the recorder.
            session: Name of the session.
            word: The number up to which it is stored: of a record that has gone out, or 0. Or `DISMISSED`.
            retained: Whether it was said before we listened.

        Raises:
            JournalError: The journal cannot be read, or is closed.
        """
        if word == DISMISSED and recorder in self._recorders:
            if not (retained and recorder in self._heard):  # else it spoke again, of another session
                del self._recorders[recorder]
                self._move(self._name_of(recorder), FORGOTTEN)
            return
        speaker = self._recorders.get(recorder) or self._newcomer()
        out_seq = int(word) if WORD.fullmatch(word) else -1
        at, following = self._find(speaker, session, out_seq) if out_seq >= 0 else (None, None)
        crowded = len(self._recorders) >= MOST_RECORDERS and recorder not in self._recorders
        if crowded or (at is None and (out_seq or following is None)):
            self.ignored += 1
            return
        self._recorders[recorder] = speaker
        self._heard.add(recorder)
        before_id = speaker.done_id(self.sent_id)
        speaker.take_word(session, (out_seq, at.seq if at else 0), following, self.sent_id)
        if speaker.done_id(self.sent_id) > before_id:
            speaker.note_progress(self._clock())
        self.save()

    def _newcomer(self) -> _Recorder:
        """Return what a recorder has of which we hear for the first time; the rest shows when it is taken again."""
        lacking = {session: at_id for session, at_id in self._unheard.lacking.items() if at_id <= self.sent_id}
        return replace(self._unheard, stored={}, lacking=lacking)

    def save(self) -> None:
        """Store the place in the journal if it has moved; what is sent before this is sent again after a crash.

        Raises:
            JournalError: The journal is closed.
        """
        for name, record_id in self._done().items():
            self._move(name, record_id)

    def _move(self, name: str, record_id: int) -> None:
        if self._saved.get(name) != record_id:
            self._saved[name] = record_id
            self._journal.move_cursor(name, record_id)

    def _done(self) -> dict[str, int]:
        """Return the names of our places in the journal, and for each the last record that needs no sending."""
        if not self._recorders:
            return {self._name: self.acked_id}
        return {self._name_of(name): each.done_id(self.sent_id) for name, each in self._recorders.items()}

    def _name_of(self, recorder: str) -> str:
        return f"{self._name}/stored/{recorder}"

    def _places(self) -> dict[str, int]:
        """Return, by its name, how far each recorder that was not dismissed is known to be."""
        places = self._journal.cursors(self._name_of(""))
        return {name: record_id for name, record_id in places.items() if record_id != FORGOTTEN}

    def _kept_id(self) -> int:
        places = self._places().values()
        return min(places) if places else self._journal.cursor(self._name)

    def _rewind(self, due: list[_Recorder]) -> None:
        """Go back to where those who are due lack nothing."""
        back_id = min(each.done_id(self.sent_id) for each in due)
        for each in due:
            each.lacking.clear()  # what it lacks shows when it is taken again
        self.sent_id = min(self.sent_id, back_id)
        self._flying.clear()

    def _find(self, speaker: _Recorder, session: str, out_seq: int) -> tuple[Record | None, Record | None]:
        """Return the session's record with this number among those published, and the published one behind it."""
        at: Record | None = None
        for record in self._published(speaker.stored.get(session, (0, 0)), session, out_seq):
            if record.out_seq == out_seq:
                at = record
            elif (record.out_seq or 0) > out_seq:
                return at, record
        return at, None

    def _published(self, known: tuple[int, int], session: str, out_seq: int) -> Iterator[Record]:
        """Yield the pen's published records of a session, from one not behind `out_seq` on."""
        known_out_seq, known_seq = known if known[0] <= out_seq else (0, 0)
        # Each published record is a record: from one to another, seq grows at least as out_seq does.
        after_seq = max(0, known_seq + (out_seq - known_out_seq) - 1)
        while page := self._journal.read(session, after_seq, PAGE_RECORDS):
            yield from (record for record in page if record.topic and record.pen == self._pen)
            after_seq = page[-1].seq
