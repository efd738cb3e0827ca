"""A publisher's place in the journal: what has been sent, and what is known to be kept.

Without a recorder the place follows the broker's acknowledgement (PUBACK), which a broker may give for what it then
loses. From a recorder's first word on it follows what recorders say they have stored, and goes back where they lack
something. The two places are kept in the journal under names of their own, so that the first recorder that is heard
gets the records of before, too.
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Literal

from pen_controller.journal import Journal, Record

IDLE_S = 10.0
"""Without progress for this long, what recorders lack is sent again. Measured: 1 s caused most duplicates."""

LAST_IDLE_S = 120.0  # it doubles as long as nobody answers, or a recorder refuses what it is sent
WINDOW = 5000  # places that we go ahead of a recorder that keeps up: it drops what it cannot hold
PAGE_RECORDS = 20
WORD = re.compile(rb"0|[1-9][0-9]{0,17}")


class Place:
    """The place of the publisher of one pen.

    Everything but `follows` and `ignored` is for the publisher's thread only.

    Args:
        journal: The open journal.
        site: Name of the site.
        pen: Name of the pen.
        clock: Monotonic time in seconds.

    Attributes:
        follows: Who says what is done with.
        ignored: Words on the acknowledgement topics that no recorder of ours can have said.
        sent_id: The last record that was sent, or that needs no sending.
    """

    def __init__(self, journal: Journal, site: str, pen: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.follows: Literal["broker", "recorder"] = "broker"
        self.ignored = 0
        self.sent_id = 0
        self._journal = journal
        self._pen = pen
        self._clock = clock
        self._names = {"broker": f"{site}/{pen}", "recorder": f"{site}/{pen}/stored"}
        self._stored: dict[str, tuple[int, int]] = {}  # session: out_seq and seq up to which a recorder has it
        self._lacking: dict[str | None, int] = {}  # session: its first record that was sent and is not stored
        self._flying: dict[int, None] = {}  # what the broker has not acknowledged, in order
        self._saved: tuple[str, int] | None = None  # None before the first connection
        self._progress_s = -math.inf
        self._patient_since_s = (
            -math.inf
        )  # the last progress or rewind, or when there began to be something to wait for
        self._wait_s = IDLE_S

    @property
    def backlog(self) -> int:
        """How many records wait for the word that they are kept.

        Raises:
            JournalError: The journal cannot be read.
        """
        done_id = self._journal.cursor(self._names[self.follows])
        return self._journal.backlog(done_id, pen=self._pen)

    @property
    def acked_id(self) -> int:
        """The last record up to which the broker has acknowledged all that was sent."""
        return next(iter(self._flying), self.sent_id + 1) - 1

    @property
    def stored_id(self) -> int:
        """The last record up to which recorders have all that was sent."""
        return min(self._lacking.values(), default=self.sent_id + 1) - 1

    @property
    def settled(self) -> bool:
        """Whether everything that was sent is kept; what the broker has acknowledged counts without a recorder."""
        return self.follows == "broker" or self.stored_id == self.sent_id

    @property
    def far_ahead(self) -> bool:
        """Whether a recorder that keeps up should be waited for."""
        keeps_up = self._clock() - self._progress_s < IDLE_S
        return self.follows == "recorder" and keeps_up and self.sent_id - self.stored_id > WINDOW

    def begin(self) -> None:
        """Go, for a new connection, to where nothing behind is in doubt.

        Raises:
            JournalError: The journal cannot be read.
        """
        if self._saved is None:
            self.sent_id = self._journal.cursor(self._names["recorder"])
            if self.sent_id:
                self.follows = "recorder"
            else:
                self.sent_id = self._journal.cursor(self._names["broker"])
            self._saved = self._done
        self._wait_s = IDLE_S
        if self.follows == "recorder":
            self._rewind()
            return
        self.sent_id = self.acked_id
        self._flying.clear()
        self._lacking = {None: 1} if self.sent_id else {}  # no recorder has spoken of any of it

    def rewind_if_due(self) -> None:
        """Go back to the first record that recorders lack, if they have had their time."""
        if self.settled:
            return
        if self._clock() - self._patient_since_s >= self._wait_s:
            self._wait_s = min(2 * self._wait_s, LAST_IDLE_S)
            self._rewind()

    def take(self, record: Record) -> bool:
        """Go on to the next record; return whether it is to be sent: a recorder may have it already."""
        self.sent_id = record.id
        if (record.out_seq or 0) <= self._stored.get(record.session, (0, 0))[0]:
            return False
        if not self._lacking:
            self._patient_since_s = self._clock()
        self._lacking.setdefault(record.session, record.id)
        self._flying[record.id] = None
        return True

    def acknowledged(self, record: Record) -> None:
        """Note that the broker has acknowledged a record that was taken."""
        self._flying.pop(record.id, None)

    def hear(self, session: str, word: bytes) -> None:
        """Note what a recorder says of a session; ignore, and count, what cannot be true.

        Args:
            session: Name of the session.
            word: The number up to which it is stored: of a record that has gone out, or 0.

        Raises:
            JournalError: The journal cannot be read, or is closed.
        """
        out_seq = int(word) if WORD.fullmatch(word) else -1
        at, following = self._find(session, out_seq) if out_seq >= 0 else (None, None)
        if at is None and (out_seq or following is None):
            self.ignored += 1
            return
        before_id = self.stored_id
        self.follows = "recorder"
        self._stored[session] = (out_seq, at.seq if at else 0)
        self._lacking.pop(session, None)
        if following and following.id <= self.sent_id:
            self._lacking[session] = following.id
        if self.stored_id > before_id:
            self._progress_s = self._patient_since_s = self._clock()
            self._wait_s = IDLE_S
        self.save()

    def save(self) -> None:
        """Store the place in the journal if it has moved; what is sent before this is sent again after a crash.

        Raises:
            JournalError: The journal is closed.
        """
        if self._saved != self._done:
            self._saved = name, record_id = self._done
            self._journal.move_cursor(name, record_id)

    @property
    def _done(self) -> tuple[str, int]:
        """The name of our place in the journal, and the last record that needs no sending."""
        return self._names[self.follows], self.acked_id if self.follows == "broker" else self.stored_id

    def _rewind(self) -> None:
        self.sent_id = self.stored_id
        self._patient_since_s = self._clock()
        self._lacking.clear()
        self._flying.clear()

    def _find(self, session: str, out_seq: int) -> tuple[Record | None, Record | None]:
        """Return the session's record with this number among those published, and the published one behind it."""
        at: Record | None = None
        for record in self._published(session, out_seq):
            if record.out_seq == out_seq:
                at = record
            elif (record.out_seq or 0) > out_seq:
                return at, record
        return at, None

    def _published(self, session: str, out_seq: int) -> Iterator[Record]:
        """Yield the pen's published records of a session, from one not behind `out_seq` on."""
        known_out_seq, known_seq = self._stored.get(session, (0, 0))
        if known_out_seq > out_seq:
            known_out_seq, known_seq = 0, 0
        # Each published record is a record: from one to another, seq grows at least as out_seq does.
        after_seq = max(0, known_seq + (out_seq - known_out_seq) - 1)
        while page := self._journal.read(session, after_seq, PAGE_RECORDS):
            yield from (record for record in page if record.topic and record.pen == self._pen)
            after_seq = page[-1].seq
