"""One line of the record, and what may stand in it. Pure, but for the clock of its label."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Outlet = Literal["pass", "event", "summary"]

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the names an MQTT topic of ours can carry
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Record(NamedTuple):
    """One line of the record, as it is stored: its fields are the columns, but for the hash.

    Attributes:
        id: Place in the file; gap-free from 1.
        session: The treatment it belongs to; one session has one pen.
        seq: Place in the session; gap-free from 1.
        topic: The telemetry topic it goes out on; None is not published.
        out_seq: Place among the session's published records, gap-free from 1; None is not published.
        kind: What happened, in one word.
        pen: Name of the pen.
        pen_t_us: Time of the pen's own clock, in microseconds since its boot.
        wall: UTC in ISO 8601, a label: nothing is ordered by it, and nothing decided but by its day (`Journal.today`).
        body_json: JSON object in UTF-8 text: encoded once, stored and published as it is.
    """

    id: int
    session: str
    seq: int
    topic: Outlet | None
    out_seq: int | None
    kind: str
    pen: str
    pen_t_us: int | None
    wall: str
    body_json: str

    @property
    def body(self) -> dict[str, Any]:
        """The body, made from its JSON anew each time."""
        made: dict[str, Any] = json.loads(self.body_json)
        return made


def utc_now() -> str:
    """Return the wall time as a label: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def draft(
    session: str,
    kind: str,
    body: Mapping[str, Any],
    pen: str,
    pen_t_us: int | None,
    topic: Outlet | None,
) -> Record:
    """Return a record that has no place yet: what the writer could choke on is checked, and the body encoded.

    Raises:
        ValueError: a name is none, or the body is not JSON.
    """
    for label, name in (("session", session), ("kind", kind), ("pen", pen)):
        if not NAME.fullmatch(name):
            raise ValueError(f"{label} {name!r}: use 1 to 64 letters, digits, _ or -")
    if pen_t_us is not None and not 0 <= pen_t_us < 2**63:
        raise ValueError(f"pen_t_us {pen_t_us}: use microseconds since the pen's boot")
    if topic not in (None, "pass", "event", "summary"):
        raise ValueError(f"topic {topic!r}: use pass, event, summary or None")
    try:
        body_json = _JSON.encode(dict(body))
        body_json.encode()  # half a pair of surrogates is no text
    except (TypeError, ValueError) as error:
        raise ValueError(f"body of {kind}: {error}: use plain JSON values, no NaN") from error
    return Record(0, session, 0, topic, None, kind, pen, pen_t_us, utc_now(), body_json)
