"""The payloads of telemetry: JSON objects, one model for each kind of topic.

Units are in the names and are those of the wire. There is nothing about a patient in them.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import to_json

from pen_controller.journal.record import Record, utc_now
from pen_controller.telemetry.topics import Kind, Topic

Count = Annotated[int, Field(ge=0)]
Density = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Direction = Annotated[float, Field(ge=0, le=180)]
Family = Literal["straight", "circular"]


class PayloadError(ValueError):
    """A payload is not what its topic promises; one line that says where and why."""


class _Model(BaseModel):
    """What is published has the fields named here and no others; what is read may have more: see `parse`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
        use_attribute_docstrings=True,  # they are the descriptions in the schemas
    )


class Payload(_Model):
    """What every payload carries."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    """Version of the schema; another number is another protocol."""
    pen: str
    """Name of the pen, as in the topic."""
    session: str | None = None
    """The treatment; null for what belongs to none."""
    seq: int | None = Field(default=None, ge=1)
    """Gap-free from 1 among the records published for the session; with `pen` and `session` it tells a repeated
    delivery. Null for what is no record."""
    pen_t_us: Count | None = None
    """Time of the pen's own clock in microseconds; null where the pen has no part in it."""
    wall: str = Field(default_factory=utc_now)
    """UTC in ISO 8601; a label only: clocks are set."""
    valid: bool = True
    """Whether the sensors behind the figures were plausible."""


class StatusPayload(Payload):
    """Whether the publisher of a pen is connected; `offline` is also its last will."""

    status: Literal["online", "offline"]
    reason: str
    """Why, in a few words for a person."""


class MetaPayload(Payload):
    """What the pen says of itself."""

    serial: str
    udi: str
    """Unique device identifier, empty if it has none."""
    firmware: str
    boot_id: Count
    """Another at each boot."""
    needles: Count
    """Of the cartridge that is in."""
    sensors: list[str]
    """What it has, by the names of Capability in the wire's specification, in lower case."""
    min_depth_um: Count
    max_depth_um: Count
    min_rate_dhz: Count
    max_rate_dhz: Count
    max_force_mn: Count


class AreaSoFar(_Model):
    """What one area has received so far."""

    area: str
    passes: Count | None
    """Complete and over; null for a pen without a motion sensor."""
    density_per_cm2: Density
    closed: str | None = None
    """Name of the hard limit that closed the area for the rest of the treatment."""


class StatePayload(Payload):
    """The pen's state; said at each change, and again at least every 5 s while the controller runs."""

    state: str
    """A name of PenState in the wire's specification, in lower case, or `link_lost`: then nobody knows."""
    latch: str | None = None
    """Why it is latched, by the names of Cause in the wire's specification, in lower case; null if it is not."""
    area: str | None = None
    """The area that it is armed for."""
    areas: list[AreaSoFar] | None = None
    """All areas of the treatment named in `session`, for whoever comes late; null if it is not told."""


class Coverage(_Model):
    """Share of the zone that was swept: somewhere from `low` to `high`, which are equal if contact was kept."""

    low: Share
    high: Share


class PassPayload(Payload):
    """One pass over an area."""

    area: str
    pass_index: int = Field(ge=1)
    """From 1 in each area."""
    strokes: Count
    """Needle cycles."""
    punctures: Count
    """Strokes in skin, times the needles of the cartridge."""
    density_per_cm2: Density
    """Punctures per cm2 of the area."""
    deepest_um: Count
    """Deepest needle extension measured."""
    duration_s: float = Field(ge=0)
    coverage: Coverage
    family: Family
    direction_deg: Direction | None
    """Of the glides, as a line without a sense; null in circles."""
    how: str
    """How its coverage was got."""


class EventPayload(Payload):
    """Something that happened."""

    kind: str
    """What happened, in a word. New words may come at any time."""
    body: dict[str, JsonValue]
    """What there is to say of it; its fields depend on `kind`."""


class AreaSummary(_Model):
    """What one area received."""

    area: str
    passes: Count | None
    """Complete and over; null for a pen without a motion sensor, as `how` says."""
    glides: Count
    """Movements over skin."""
    strokes: Count
    """Needle cycles."""
    punctures: Count
    """Strokes in skin, times the needles of the cartridge."""
    uncertain_punctures: Count = 0
    """The most there can have been beyond `punctures`, where a pen rebooted."""
    density_per_cm2: Density
    """Punctures per cm2 of the area."""
    deepest_um: Count
    """Deepest needle extension measured."""
    depth_cap_um: Count
    """Depth that the pen was allowed here."""
    duration_s: float = Field(ge=0)
    coverage: Coverage | None
    """Of the pass under way; null without a motion sensor."""
    family: Family | None
    """Of the pass under way; null without a motion sensor."""
    direction_deg: Direction | None
    """Of the pass under way; null in circles and without a motion sensor."""
    evenness_cv: float | None = Field(default=None, ge=0)
    """Standard deviation over mean of the punctures per spot; null where it cannot be told."""
    closed: str | None = None
    """Name of the hard limit that closed the area for the rest of the treatment."""
    refusals: Count = 0
    """How often more was asked for than is allowed."""
    how: dict[str, str]
    """How the figures were got, by name."""


class SummaryPayload(Payload):
    """What the whole treatment came to."""

    areas: list[AreaSummary]
    totals: dict[str, int | float]
    """Over all areas, by name."""


class LivePayload(Payload):
    """What the pen does now, at most 10 times a second; a measurement that is not there is null."""

    area: str | None
    depth_um: Count | None
    """Deepest needle extension measured since the sample before."""
    rate_dhz: Count | None
    """Strokes a second, measured, in tenths."""
    force_mn: Count | None
    """Pressing force."""
    passes: Count | None
    """In this area; null for a pen without a motion sensor, as `how` says."""
    coverage: Coverage | None
    """Of the pass under way."""
    punctures: Count
    """In this area."""
    density_per_cm2: Density
    """Punctures per cm2 of this area."""
    battery_pct: Count | None
    advice: str | None
    """Coaches the hand, if it needs any."""
    how: dict[str, str]
    """How the figures were got, by name."""


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

    Fields that it does not know are left out: a newer publisher of the same schema version may send them.

    Raises:
        PayloadError: It is not what the topic promises, or tells of another pen or session.
    """
    try:
        parsed = PAYLOADS[topic.kind].model_validate_json(payload, extra="ignore")
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
    header = _header(record)
    if kind == "event":
        return kind, EventPayload(**header, kind=record.kind, body=record.body)
    try:
        return kind, PAYLOADS[kind].model_validate(record.body | header)
    except ValidationError as error:
        body: dict[str, JsonValue] = {"topic": kind, "kind": record.kind, "error": _first(error)}
        return "event", EventPayload(**header, valid=False, kind="unpublishable", body=body)


def encode_record(record: Record) -> tuple[Kind, bytes]:
    """Return the kind of topic and, as JSON, the payload of a published record: that of `from_record`.

    The body of an event goes out as it was written, without being taken apart: events are most of what there is.
    """
    if record.topic != "event":
        kind, payload = from_record(record)
        return kind, encode(payload)
    header = to_json({"schema": 1, **_header(record), "valid": True, "kind": record.kind})
    return "event", b'%s,"body":%s}' % (header.removesuffix(b"}"), record.body_json.encode())


def _header(record: Record) -> dict[str, Any]:
    return {
        "pen": record.pen,
        "session": record.session,
        "seq": record.out_seq,
        "pen_t_us": record.pen_t_us,
        "wall": record.wall,
    }


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
