"""What a killed program has left of a treatment in the journal, so that a new one can take it up with nothing lost."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pen_controller.config import Config
from pen_controller.journal import Journal, Record
from pen_controller.limits import Limit, Refusal
from pen_controller.preparation import Preparation
from pen_controller.preparation.answers import ANSWERS, read_answer
from pen_controller.treatment.counts import AreaCount, Given, PenCounters, counted
from protocols.messages import Identity

ALL = 1 << 31
"""More records than a session has."""


@dataclass(slots=True)
class Left:
    """Where a treatment stands: one just begun, or one that was never ended, as its records have it.

    `ran` is the area whose needles ran last: the pen's counters may have gone on beyond what was counted. `events` is
    the number of the pen's last event on the record, of boot `boot_id`. `interrupted` says why a person has to resume.
    `preparation` is None where none was asked.
    """

    session: str
    token: int = 0
    interrupted: str = ""
    indication: str = ""
    fitzpatrick: int = 0
    preparation: Preparation | None = None
    boot_id: int = 0
    events: int = 0
    areas: dict[str, AreaCount] = field(default_factory=dict)
    granted: dict[str, dict[str, Limit]] = field(default_factory=dict)
    """By area, the hard limits of the newest grant."""
    refusals: list[tuple[str, Refusal]] = field(default_factory=list)
    ran: AreaCount | None = None


def unended(journal: Journal, pen: str) -> str | None:
    """The last treatment of this pen, if it was never ended. Raises `JournalError`."""
    sessions = [info.session for info in journal.sessions() if info.pen == pen]
    if not sessions or any(record.kind == "summary" for record in journal.read(sessions[-1], limit=ALL)):
        return None
    return sessions[-1]


def read(journal: Journal, session: str, *, config: Config, pen: Identity) -> Left:
    """Read what is left of a treatment.

    Raises:
        ValueError: it is not the last treatment of this pen, or has ended.
        JournalError: the journal cannot be read.
    """
    last = unended(journal, pen.serial)
    if session != last:
        instead = f"that one is {last}" if last else "it was ended: begin a new one"
        raise ValueError(f"{session}: only the last treatment of {pen.serial} can be taken up; {instead}")
    left = Left(session, interrupted="the program that ran this treatment ended in the midst of it")
    for record in journal.read(session, limit=ALL):
        if reader := _READERS.get(record.kind):
            reader(left, record)
        elif record.kind == "intent" and record.body["command"] == "arm":
            _armed(left, record, config, pen)
    return left


def _begun(left: Left, record: Record) -> None:
    body = record.body
    left.token, left.boot_id = body["treatment"], body["boot_id"]
    left.preparation = None if body.get("practice", True) else Preparation()


def _answered(left: Left, record: Record) -> None:
    left.preparation = (left.preparation or Preparation()).taking(read_answer(record.kind, record.body))


def _skin(left: Left, record: Record) -> None:
    left.indication, left.fitzpatrick = record.body["indication"], record.body["fitzpatrick"]


def _booted(left: Left, record: Record) -> None:
    if left.boot_id != record.body["boot_id"]:
        left.boot_id, left.events = record.body["boot_id"], 0


def _event(left: Left, record: Record) -> None:
    left.events = record.body["number"]


def _grant(left: Left, record: Record) -> None:
    left.granted[record.body["area"]] = {limit["name"]: Limit(**limit) for limit in record.body["limits"]}


def _armed(left: Left, record: Record, config: Config, pen: Identity) -> None:
    body, area = record.body, record.body["area"]
    if area not in left.areas:
        if area not in config.areas:
            raise ValueError(f"{left.session}: the configuration has no {area} any more; put it back first")
        left.areas[area] = counted(area, body["size_cm2"], body["needles"], config=config, pen=pen)
    left.areas[area].hard = left.granted[area]


def _progress(left: Left, record: Record) -> None:
    body = record.body
    count = left.areas[body["area"]]
    count.earlier = Given(**body["given"])
    count.rate_hz = body["rate_dhz"] / 10
    count.pen = body["pen"] and PenCounters(**body["pen"])
    left.ran = count if count.pen else None


def _pass(left: Left, record: Record) -> None:
    count = left.areas[record.body["area"]]
    count.earlier = count.earlier._replace(passes=max(count.earlier.passes, record.body["pass_index"]))


def _warning(left: Left, record: Record) -> None:
    count = left.areas[record.body["area"]]
    count.warned.add(record.body["limit"]["name"])
    count.warnings.append(record.body["text"])


def _closed(left: Left, record: Record) -> None:
    left.areas[record.body["area"]].closed = Limit(**record.body["limit"])


def _refusal(left: Left, record: Record) -> None:
    body = record.body
    left.refusals.append((body["request"]["area"], Refusal(Limit(**body["limit"]), body["asked"], body["message"])))


_READERS: dict[str, Callable[[Left, Record], Any]] = {
    "treatment_begun": _begun,
    "skin": _skin,
    **dict.fromkeys(ANSWERS, _answered),
    "treatment_restored": _booted,
    "reconnected": _booted,
    "pen_event": _event,
    "earlier_pen_event": _event,
    "grant": _grant,
    "progress": _progress,
    "pass": _pass,
    "warning": _warning,
    "area_closed": _closed,
    "refusal": _refusal,
}
