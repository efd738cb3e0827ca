"""The payloads of telemetry: JSON objects, one model for each kind of topic.

Units are in the names and are those of the wire. There is nothing about a patient in them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pen_controller.journal import Record, utc_now
from pen_controller.telemetry.topics import Kind, Topic

Count = Annotated[int, Field(ge=0)]
Density = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Direction = Annotated[float, Field(ge=0, le=180)]
Family = Literal["straight", "circular"]


class PayloadError(ValueError):
    """A payload is not what its topic promises; one line that says where and why."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True)


class Payload(_Model):
    """What every payload carries.

    Attributes:
        schema_version: `schema` in JSON; another number is another protocol.
        pen: Name of the pen, as in the topic.
        session: The treatment; None for what tells of the pen or of the connection.
        seq: Gap-free from 1 among the records published for the session; with `pen` and `session` it
            tells a repeated delivery. None for what does not come from the journal.
        pen_t_us: Time of the pen's own clock in microseconds; None where the pen has no part in it.
        wall: UTC in ISO 8601; a label only.
        valid: Whether the sensors behind the figures were plausible.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    pen: str
    session: str | None = None
    seq: int | None = Field(default=None, ge=1)
    pen_t_us: Count | None = None
    wall: str = Field(default_factory=utc_now)
    valid: bool = True


class StatusPayload(Payload):
    """Whether the publisher of a pen is connected; retained, and `offline` is its last will."""

    status: Literal["online", "offline"]
    reason: str


class MetaPayload(Payload):
    """What the pen says of itself; retained."""

    serial: str
    udi: str
    firmware: str
    boot_id: Count
    needles: Count
    sensors: list[str]
    min_depth_um: Count
    max_depth_um: Count
    min_rate_dhz: Count
    max_rate_dhz: Count
    max_force_mn: Count


class StatePayload(Payload):
    """The pen's state in a word, why it is latched if it is, and the area it is armed for; retained."""

    state: str
    latch: str | None = None
    area: str | None = None


class Coverage(_Model):
    """Share of the zone that was swept: somewhere from `low` to `high`, which are equal if contact was kept."""

    low: Share
    high: Share


class PassPayload(Payload):
    """One pass over an area; `how` says how its coverage was got. `direction_deg` is None in circles."""

    area: str
    pass_index: int = Field(ge=1)
    strokes: Count
    punctures: Count
    density_per_cm2: Density
    deepest_um: Count
    duration_s: float = Field(ge=0)
    coverage: Coverage
    family: Family
    direction_deg: Direction | None
    how: str


class EventPayload(Payload):
    """Something that happened."""

    kind: str
    body: dict[str, JsonValue]


class AreaSummary(_Model):
    """What one area received.

    Attributes:
        passes: Complete and over; None for a pen without a motion sensor, as `how` says.
        uncertain_punctures: The most there can have been beyond `punctures`, where a pen rebooted.
        coverage: Of the pass under way, as are `family` and `direction_deg`; None without a motion sensor.
        evenness_cv: Standard deviation over mean of the punctures per spot; None where it cannot be told.
        closed: Name of the hard limit that closed the area for the rest of the treatment.
        how: How the figures were got, by name.
    """

    area: str
    passes: Count | None
    glides: Count
    strokes: Count
    punctures: Count
    uncertain_punctures: Count = 0
    density_per_cm2: Density
    deepest_um: Count
    depth_cap_um: Count
    duration_s: float = Field(ge=0)
    coverage: Coverage | None
    family: Family | None
    direction_deg: Direction | None
    evenness_cv: float | None = Field(default=None, ge=0)
    closed: str | None = None
    refusals: Count = 0
    how: dict[str, str]


class SummaryPayload(Payload):
    """What the whole treatment came to."""

    areas: list[AreaSummary]
    totals: dict[str, int | float]


class LivePayload(Payload):
    """What the pen does now; a measurement that is not there is None.

    `coverage` is of the pass under way; `passes` is None as `how` says; `advice` coaches the hand, if it needs any.
    """

    area: str | None
    depth_um: Count | None
    rate_dhz: Count | None
    force_mn: Count | None
    passes: Count | None
    coverage: Coverage | None
    punctures: Count
    density_per_cm2: Density
    battery_pct: Count | None
    advice: str | None
    how: dict[str, str]


PAYLOADS: dict[Kind, type[Payload]] = {
    "status": StatusPayload,
    "meta": MetaPayload,
    "state": StatePayload,
    "pass": PassPayload,
    "event": EventPayload,
    "summary": SummaryPayload,
    "live": LivePayload,
}


def encode(payload: Payload) -> bytes:
    """Return the payload as JSON."""
    return payload.model_dump_json().encode()


def parse(topic: Topic, payload: bytes) -> Payload:
    """Return the payload that came on a topic.

    Raises:
        PayloadError: It is not what the topic promises, or tells of another pen or session.
    """
    try:
        parsed = PAYLOADS[topic.kind].model_validate_json(payload)
    except ValidationError as error:
        raise PayloadError(f"{topic}: {_first(error)}") from error
    if parsed.pen != topic.pen or (topic.session and parsed.session != topic.session):
        raise PayloadError(f"{topic}: it tells of pen {parsed.pen}, session {parsed.session}")
    if topic.session and parsed.seq is None:
        raise PayloadError(f"{topic}: seq: is missing")
    return parsed


def from_record(record: Record) -> tuple[Kind, Payload]:
    """Return the kind of topic and the payload of a published record.

    A body that does not fit its topic goes out as an invalid event that says so, under the same sequence
    number: a record never blocks those behind it, and never leaves a gap.
    """
    kind: Kind = record.topic or "event"
    header: dict[str, Any] = {
        "pen": record.pen,
        "session": record.session,
        "seq": record.out_seq,
        "pen_t_us": record.pen_t_us,
        "wall": record.wall,
    }
    if kind == "event":
        return kind, EventPayload(**header, kind=record.kind, body=record.body)
    try:
        return kind, PAYLOADS[kind].model_validate(record.body | header)
    except ValidationError as error:
        body: dict[str, JsonValue] = {"topic": kind, "kind": record.kind, "error": _first(error)}
        return "event", EventPayload(**header, valid=False, kind="unpublishable", body=body)


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
