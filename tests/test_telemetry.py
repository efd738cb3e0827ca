"""Topics, payloads and addresses: what goes out can be read back, and nothing else can."""

import json
import re
import subprocess
import sys
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.journal import Record
from pen_controller.telemetry.messages import (
    PAYLOADS,
    AreaSummary,
    Coverage,
    EventPayload,
    LivePayload,
    MetaPayload,
    PassPayload,
    Payload,
    PayloadError,
    StatePayload,
    StatusPayload,
    SummaryPayload,
    encode,
    encode_record,
    from_record,
    parse,
)
from pen_controller.telemetry.mqtt import BrokerUrl
from pen_controller.telemetry.topics import DELIVERY, Kind, Topic, subscription

NAMES = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
HEADER: dict[str, Any] = {"pen": "p1", "session": "s1", "seq": 1, "pen_t_us": 5}
PASS = {
    "area": "cheek", "pass_index": 1, "strokes": 900, "punctures": 10800, "density_per_cm2": 812.5,
    "deepest_um": 990, "duration_s": 9.5, "coverage": {"low": 0.82, "high": 1.0}, "family": "straight",
    "direction_deg": 91.5, "how": "area equivalent across lifts",
}  # fmt: skip
AREA = AreaSummary(
    area="cheek", passes=None, glides=3, strokes=9, punctures=108, density_per_cm2=9.5, deepest_um=990,
    depth_cap_um=1000, duration_s=20, coverage=None, family=None, direction_deg=None, closed="density",
    how={"passes": "none: the pen has no motion sensor"},
)  # fmt: skip
EXAMPLES: dict[Kind, Payload] = {
    "status": StatusPayload(pen="p1", status="online", reason="connected"),
    "meta": MetaPayload(
        pen="p1", serial="7", udi="", firmware="1.0", boot_id=3, needles=12, sensors=["force"], min_depth_um=0,
        max_depth_um=2500, min_rate_dhz=200, max_rate_dhz=1500, max_force_mn=5000,
    ),
    "state": StatePayload(pen="p1", state="latched", latch="lease", area="cheek"),
    "pass": PassPayload(**HEADER, **PASS),  # type: ignore[arg-type] # a table of mixed values
    "event": EventPayload(**HEADER, kind="refused", body={"limit": "depth", "value": 0.4}),
    "summary": SummaryPayload(**HEADER, areas=[AREA], totals={"punctures": 108, "duration_s": 20.5}),
    "live": LivePayload(
        pen="p1", session="s1", area=None, depth_um=500, rate_dhz=900, force_mn=None, passes=0,
        coverage=Coverage(low=0.25, high=0.5), punctures=0, density_per_cm2=0, battery_pct=90, advice="Lighter",
        how={"glides": "movement and contact"},
    ),
}  # fmt: skip


def topic_of(kind: Kind) -> Topic:
    return Topic("clinic", "p1", kind, "s1" if DELIVERY[kind].by_session else None)


@given(NAMES, NAMES, NAMES, st.sampled_from(get_args(Kind)))
def test_every_topic_is_read_back(site: str, pen: str, session: str, kind: Kind) -> None:
    topic = Topic(site, pen, kind, session if DELIVERY[kind].by_session else None)
    assert Topic.parse(str(topic)) == topic
    assert re.fullmatch(r"pen/v1/[\w-]+/[\w-]+/\w+(/[\w-]+)?", str(topic), re.ASCII)


@given(st.text())
def test_a_name_that_a_topic_cannot_carry_is_refused_by_value(name: str) -> None:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        return
    for names in ((name, "p1", "s1"), ("clinic", name, "s1"), ("clinic", "p1", name)):
        site, pen, session = names
        with pytest.raises(ValueError, match=re.escape(repr(name))):
            Topic(site, pen, "event", session)


@given(st.one_of(st.text(), st.lists(st.text(max_size=4)).map(lambda parts: "pen/v1/" + "/".join(parts))))
def test_any_text_is_a_topic_of_ours_or_a_value_error(text: str) -> None:
    try:
        topic = Topic.parse(text)
    except ValueError:
        return
    assert str(topic) == text


@pytest.mark.parametrize(
    "text",
    [
        "pen/v1/clinic/p1", "pen/v1/clinic/p1/event", "pen/v1/clinic/p1/state/s1", "pen/v2/clinic/p1/state",
        "pen/v1/clinic/p1/command", "pen/v1/clinic/p1/event/s1/x", "pen/v1/clinic/p1/state\n", "ack/v1/c/p1/state",
    ],
)  # fmt: skip
def test_what_is_no_topic_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"topic|session|kind"):
        Topic.parse(text)


def test_subscriptions_name_a_site_or_all() -> None:
    assert subscription() == "pen/v1/+/+/#"
    assert subscription("clinic", "p1") == "pen/v1/clinic/p1/#"
    with pytest.raises(ValueError, match="site '#'"):
        subscription("#")


def test_delivery_is_that_of_the_specification() -> None:
    retained = {kind for kind, how in DELIVERY.items() if how.retain}
    assert retained == {"status", "meta", "state"}
    assert {kind for kind, how in DELIVERY.items() if how.qos == 0} == {"live"}
    assert {kind for kind, how in DELIVERY.items() if how.by_session} == {"pass", "event", "summary"}
    assert DELIVERY.keys() == PAYLOADS.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_payload_is_read_back_and_says_who_and_when(kind: Kind) -> None:
    payload = EXAMPLES[kind]
    assert parse(topic_of(kind), encode(payload)) == payload
    sent = json.loads(encode(payload))
    assert sent["schema"] == 1
    assert {"pen", "session", "seq", "pen_t_us", "wall", "valid"} <= sent.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"pen": None}, {"pen": "other"}, {"pen_t_us": -1}, {"seq": 0}, {"valid": "yes"}],
)
def test_a_payload_that_breaks_its_promise_is_one_clear_error(kind: Kind, change: dict[str, Any]) -> None:
    sent = json.loads(encode(EXAMPLES[kind])) | change
    with pytest.raises(PayloadError, match=r"^pen/v1/clinic/p1/[^\n]+$"):
        parse(topic_of(kind), json.dumps(sent).encode())


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b"null", b'{"schema": 1}'])
def test_what_is_no_payload_at_all_is_the_same_error(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        parse(topic_of("event"), payload)


@pytest.mark.parametrize("change", [{"session": "s2"}, {"session": None}, {"seq": None}])
def test_a_record_belongs_to_the_session_of_its_topic(change: dict[str, Any]) -> None:
    sent = json.loads(encode(EXAMPLES["event"])) | change
    with pytest.raises(PayloadError):
        parse(topic_of("event"), json.dumps(sent).encode())


def test_infinities_do_not_become_json() -> None:
    with pytest.raises(ValueError, match="finite"):
        PassPayload.model_validate(HEADER | PASS | {"density_per_cm2": float("inf")})


def record(topic: Any, kind: str, body: dict[str, Any]) -> Record:
    return Record(
        9,
        "s1",
        4,
        topic,
        3,
        kind,
        "p1",
        77,
        "2026-01-01T00:00:00.000+00:00",
        json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )


def test_a_record_becomes_the_payload_of_its_topic() -> None:
    kind, payload = from_record(record("pass", "pass", PASS | {"valid": False}))
    assert kind == "pass"
    assert isinstance(payload, PassPayload)
    assert (payload.session, payload.seq, payload.pen_t_us, payload.valid) == ("s1", 3, 77, False)
    assert payload.wall == "2026-01-01T00:00:00.000+00:00"
    kind, payload = from_record(record("event", "stop", {"why": "button"}))
    assert isinstance(payload, EventPayload)
    assert (kind, payload.kind, payload.body) == ("event", "stop", {"why": "button"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, JSON, max_size=4), NAMES)
def test_an_event_goes_out_as_it_was_written_and_reads_as_the_model_has_it(body: dict[str, Any], kind: str) -> None:
    event = record("event", kind, body)
    topic_kind, payload = encode_record(event)
    assert payload.endswith(b'"body":%s}' % event.body_json.encode())
    assert (topic_kind, parse(topic_of("event"), payload)) == from_record(event)


@pytest.mark.parametrize("topic", ["pass", "summary", "event"])
@pytest.mark.parametrize("body", [PASS, {"areas": [], "totals": {}}])
def test_what_goes_out_is_what_the_model_says(topic: str, body: dict[str, Any]) -> None:
    kind, payload = from_record(record(topic, "x", body))
    assert encode_record(record(topic, "x", body)) == (kind, encode(payload))


def test_a_record_that_does_not_fit_goes_out_as_an_invalid_event_in_its_place() -> None:
    kind, payload = from_record(record("pass", "pass", PASS | {"strokes": "many"}))
    assert isinstance(payload, EventPayload)
    assert (kind, payload.kind, payload.valid, payload.seq) == ("event", "unpublishable", False, 3)
    assert payload.body["topic"] == "pass"
    assert "strokes" in str(payload.body["error"])


@pytest.mark.parametrize(
    "change",
    [
        {"coverage": None}, {"coverage": {"low": 0.8}}, {"coverage": {"low": 0.8, "high": 1.2}}, {"family": "zigzag"},
        {"direction_deg": 200.0}, {"how": None},
    ],
)  # fmt: skip
def test_a_pass_says_how_it_was_covered_or_is_none(change: dict[str, Any]) -> None:
    kind, payload = from_record(record("pass", "pass", PASS | change))
    assert (kind, payload.valid) == ("event", False)


def test_figures_that_no_sensor_gives_are_null_with_the_reason_beside_them() -> None:
    (area,) = json.loads(encode(EXAMPLES["summary"]))["areas"]
    assert (area["passes"], area["coverage"], area["family"], area["direction_deg"]) == (None,) * 4
    assert area["how"]["passes"] == "none: the pen has no motion sensor"
    live = json.loads(encode(EXAMPLES["live"]))
    assert live["coverage"] == {"low": 0.25, "high": 0.5}
    assert live["advice"] == "Lighter"


def test_a_record_cannot_speak_for_another_session() -> None:
    _, payload = from_record(record("pass", "pass", PASS | {"session": "s2", "seq": 8, "pen": "p2"}))
    assert (payload.pen, payload.session, payload.seq) == ("p1", "s1", 3)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("mqtt://broker", BrokerUrl("broker")),
        ("mqtt://broker:1884/", BrokerUrl("broker", 1884)),
        ("mqtt://me@10.0.0.1", BrokerUrl("10.0.0.1", user="me")),
        ("mqtt://[::1]:1885", BrokerUrl("::1", 1885)),
    ],
)
def test_addresses_are_read_and_written(text: str, url: BrokerUrl) -> None:
    assert BrokerUrl.parse(text) == url
    assert BrokerUrl.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "broker", "broker:1883", "http://broker", "mqtt://", "mqtt://:1883", "mqtt://broker:x", "mqtt://broker:0",
        "mqtt://broker:70000", "mqtt://broker/path", "mqtt://broker?x=1", "mqtt://[::1",
    ],
)  # fmt: skip
def test_a_bad_address_says_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected mqtt://\[USER@\]HOST\[:PORT\]"):
        BrokerUrl.parse(text)


@pytest.mark.parametrize("end", ["broker", "broker:1883", "broker:x", "[::1", ""])
def test_a_password_in_an_address_is_refused_and_not_repeated(end: str) -> None:
    with pytest.raises(ValueError, match="must not hold a password") as caught:
        BrokerUrl.parse(f"mqtt://me:hunter2@{end}")
    assert "hunter2" not in str(caught.value)


def test_the_package_and_its_models_need_no_mqtt_client() -> None:
    modules = "telemetry telemetry.messages telemetry.publisher telemetry.watch telemetry.broker journal"
    imports = "\n".join(f"import pen_controller.{name}" for name in modules.split())
    script = f"{imports}\nimport sys\nassert not {{'aiomqtt', 'paho'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
