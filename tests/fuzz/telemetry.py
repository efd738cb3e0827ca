"""Targets: what comes from a broker, where anybody may have published it."""

from pen_controller.journal import Outlet, Record
from pen_controller.journal.record import utc_now
from pen_controller.telemetry.acks import MOST_RECORDERS, Place
from pen_controller.telemetry.messages import parse
from pen_controller.telemetry.topics import AckTopic, Topic
from tests.fuzz.taking import Taking

SESSIONS = ("s1", "s2")
RECORDERS = ("r1", "r2", "r3")


def message(data: bytes) -> None:
    """A message under any topic is none of ours, or is a payload of that very pen and session."""
    topic_text, _, payload = data.partition(b"\n")
    try:
        topic = Topic.parse(topic_text.decode("utf-8", "replace"))
        read = parse(topic, payload)
    except ValueError:
        return
    assert str(topic).encode() == topic_text
    assert read.pen == topic.pen
    assert topic.session in (None, read.session)


class Shelf:
    """The journal of a publisher's place, in memory: records of two sessions, some of which are not published."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._cursors: dict[str, int] = {}

    def add(self, session: str, *, published: bool) -> None:
        """Add a record."""
        own = [one for one in self.records if one.session == session]
        out_seq = 1 + sum(one.topic is not None for one in own) if published else None
        number, seq = len(self.records) + 1, len(own) + 1
        topic: Outlet | None = "event" if published else None
        self.records.append(Record(number, session, seq, topic, out_seq, "x", "p1", None, utc_now(), "{}"))

    def published_after(self, after_id: int, limit: int = 500, *, pen: str) -> list[Record]:
        """See `Journal.published_after`."""
        return [one for one in self.records if one.id > after_id and one.topic and one.pen == pen][:limit]

    def read(self, session: str, after_seq: int = 0, limit: int = 1000) -> list[Record]:
        """See `Journal.read`."""
        return [one for one in self.records if one.session == session and one.seq > after_seq][:limit]

    def cursor(self, name: str) -> int:
        """See `Journal.cursor`."""
        return self._cursors.get(name, 0)

    def cursors(self, prefix: str) -> dict[str, int]:
        """See `Journal.cursors`."""
        return {name.removeprefix(prefix): at for name, at in self._cursors.items() if name.startswith(prefix)}

    def move_cursor(self, name: str, record_id: int) -> None:
        """See `Journal.move_cursor`."""
        self._cursors[name] = record_id


def acks(data: bytes) -> None:
    """Whatever recorders or strangers say, nothing counts as stored that nobody has said is, and memory is bounded."""
    taking, shelf, now_s = Taking(data), Shelf(), 0.0
    said: dict[tuple[str, str], int] = {}
    place = Place(shelf, "site", "p1", lambda: now_s)  # type: ignore[arg-type]  # a stand-in for the journal
    place.begin()
    while taking:
        what = taking.number()
        match what % 8:
            case 0 | 1:
                shelf.add(SESSIONS[what // 8 % 2], published=what % 8 == 0)
            case 2:
                for record in shelf.published_after(place.sent_id, taking.number(), pen="p1"):
                    if place.take(record):
                        place.acknowledged(record)
            case 3:
                now_s += taking.number()
                place.rewind_if_due()
            case 4:
                place.save()
                place.begin()
            case _:
                topic, word = _topic(taking, what), taking.sized()
                _hear(place, topic, word, said, retained=what > 127)
        _must_hold(place, shelf, said)


def _topic(taking: Taking, what: int) -> str:
    if what % 8 == 7:
        return taking.sized().decode("utf-8", "replace")
    return f"ack/v1/site/p1/{SESSIONS[what // 8 % 2]}/{RECORDERS[what // 16 % 3]}"


def _hear(place: Place, text: str, word: bytes, said: dict[tuple[str, str], int], *, retained: bool) -> None:
    """As the publisher hears it."""
    try:
        topic = AckTopic.parse(text)
    except ValueError:
        return
    if word.isdigit() and len(word) < 19:
        at = topic.recorder, topic.session
        said[at] = max(said.get(at, 0), int(word))
    place.hear(topic.recorder, topic.session, word, retained=retained)


def _must_hold(place: Place, shelf: Shelf, said: dict[tuple[str, str], int]) -> None:
    assert len(place._recorders) <= MOST_RECORDERS
    for name, recorder in place._recorders.items():
        done_id = recorder.done_id(place.sent_id)
        for record in shelf.records:
            if record.id <= done_id and record.out_seq:
                assert record.out_seq <= said.get((name, record.session), 0), f"{name} never said that it has {record}"
