"""The published contract: made from the models, taken by the official parser, kept by what is truly published."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from pen_controller.journal import Record
from pen_controller.recorder.recorder import parse_record
from pen_controller.telemetry import asyncapi
from pen_controller.telemetry.messages import PAYLOADS, EventPayload, PayloadError, from_record, parse
from pen_controller.telemetry.topics import DELIVERY, AckTopic, Kind, Topic
from tests import published

HERE = Path(__file__).parent
ROOT = HERE.parent
FOLDER = ROOT / "protocols" / "telemetry"
KINDS: list[Kind] = list(get_args(Kind))
CHANNELS = [*KINDS, "ack"]
DOCUMENT = json.loads((FOLDER / "asyncapi.json").read_text(encoding="utf-8"))

BINDINGS: dict[str, Any] = {
    operation["channel"]["$ref"].rsplit("/", 1)[1]: operation["bindings"]["mqtt"]
    for operation in DOCUMENT["operations"].values()
}
"""QoS and retain of each channel."""


@cache
def schema(channel: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / "schemas" / f"{channel}.json").read_text(encoding="utf-8")))


def example(channel: str) -> Any:
    return json.loads((FOLDER / "examples" / f"{channel}.json").read_text(encoding="utf-8"))


def old(channel: str) -> list[dict[str, Any]]:
    """What was published under schema 1 when it was young: topic and payload."""
    messages: list[dict[str, Any]] = json.loads((HERE / "data" / "telemetry_v1" / f"{channel}.json").read_bytes())
    return messages


def topic_of(kind: Kind) -> Topic:
    payload = example(kind)
    return Topic("clinic", payload["pen"], kind, payload["session"] if DELIVERY[kind].by_session else None)


def raw(payload: object) -> bytes:
    return json.dumps(payload).encode()


# --- the files -------------------------------------------------------------------------------------------------------


def test_the_files_are_what_the_models_make() -> None:
    made = asyncapi.files(FOLDER)
    stale = [path.name for path, text in made.items() if json.loads(path.read_bytes()) != json.loads(text)]
    assert not stale, "python -m pen_controller.telemetry.asyncapi protocols/telemetry writes them anew"
    assert set((FOLDER / "schemas").iterdir()) <= made.keys()


@pytest.mark.parametrize("channel", CHANNELS)
def test_each_schema_is_one_and_its_example_keeps_it(channel: str) -> None:
    Draft202012Validator.check_schema(schema(channel).schema)
    schema(channel).validate(example(channel))
    assert not schema(channel).is_valid({})


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_of_the_header_is_required_and_the_version_is_fixed(kind: Kind) -> None:
    for name in ("schema", "pen", "session", "seq", "pen_t_us", "wall", "valid"):
        assert not schema(kind).is_valid({key: value for key, value in example(kind).items() if key != name}), name
    assert not schema(kind).is_valid(example(kind) | {"schema": 2})
    assert schema(kind).is_valid(example(kind) | {"session": None, "seq": None}) is not DELIVERY[kind].by_session


def test_the_document_says_how_each_message_travels() -> None:
    assert DOCUMENT["channels"].keys() == set(CHANNELS)
    for kind, how in DELIVERY.items():
        binding = DOCUMENT["operations"][f"publish_{kind}"]["bindings"]["mqtt"]
        assert (binding["qos"], binding["retain"]) == (how.qos, how.retain)
        address = DOCUMENT["channels"][kind]["address"].format(site="c", pen="p", session="s")
        assert Topic.parse(address).kind == kind
    assert AckTopic.parse(re.sub(r"[{}]", "", DOCUMENT["channels"]["ack"]["address"])).session == "session"
    will = DOCUMENT["servers"]["site"]["bindings"]["mqtt"]["lastWill"]
    assert will["topic"] == DOCUMENT["channels"]["status"]["address"]
    schema("status").validate(json.loads(will["message"]))


def test_the_page_for_people_has_the_same_topics() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (\d) \| (yes|no) \|", page, re.MULTILINE)
    assert {(address, int(qos), retained == "yes") for address, qos, retained in rows} == {
        (DOCUMENT["channels"][name]["address"], binding["qos"], binding["retain"]) for name, binding in BINDINGS.items()
    }


# --- the official parser ---------------------------------------------------------------------------------------------


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("PEN_REQUIRE_SYSTEM") == "1":
        pytest.fail(f"{name} is not installed, and PEN_REQUIRE_SYSTEM=1")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="module")
def parser() -> Path:
    """The official parser's node_modules, kept outside the checkout."""
    package = HERE / "asyncapi" / "package.json"
    version = json.loads(package.read_bytes())["dependencies"]["@asyncapi/parser"]
    cached = Path.home() / ".cache" / "pen-controller" / f"asyncapi-parser-{version}"
    if not cached.exists():
        fresh = cached.with_name(f"{cached.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        shutil.copy(package, fresh)
        install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
        subprocess.run([program("npm"), *install], cwd=fresh, check=True, capture_output=True, timeout=100)
        fresh.rename(cached)
    return cached / "node_modules"


def complaints(document: object, parser: Path) -> list[str]:
    command = [program("node"), str(HERE / "asyncapi" / "validate.cjs")]
    environment = os.environ | {"NODE_PATH": str(parser)}
    done = subprocess.run(command, input=raw(document), env=environment, check=True, capture_output=True, timeout=60)
    found: list[str] = json.loads(done.stdout)
    return found


def test_the_official_parser_takes_the_document(parser: Path) -> None:
    assert complaints(DOCUMENT, parser) == []


@pytest.mark.parametrize(
    ("part", "key", "wrong"), [("channel", "$ref", "#/channels/none"), ("bindings", "mqtt", {"qos": 7})]
)
def test_the_official_parser_would_refuse_a_broken_document(parser: Path, part: str, key: str, wrong: Any) -> None:
    broken = json.loads(json.dumps(DOCUMENT))
    broken["operations"]["publish_live"][part][key] = wrong
    assert any(line.startswith("operations/publish_live") for line in complaints(broken, parser))


# --- what is truly published -----------------------------------------------------------------------------------------

Published = tuple[list[published.Message], list[published.Message]]


@pytest.fixture(scope="module")
def truly(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return asyncio.run(published.treatment(tmp_path_factory.mktemp("published")))


def channel_of(topic: str) -> str:
    """The one channel of the document that a topic belongs to."""
    (found,) = [
        name
        for name, channel in DOCUMENT["channels"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", r"[A-Za-z0-9_-]{1,64}", channel["address"]), topic)
    ]
    return str(found)


def test_what_is_published_keeps_the_schema_of_its_channel(truly: Published) -> None:
    heard, _ = truly
    assert {channel_of(message.topic) for message in heard} == set(CHANNELS)
    for message in heard:
        schema(channel_of(message.topic)).validate(json.loads(message.payload))


def test_nothing_is_published_that_the_schemas_do_not_name(truly: Published) -> None:
    for message in truly[0]:
        if (kind := channel_of(message.topic)) != "ack":
            PAYLOADS[kind].model_validate_json(message.payload)  # type: ignore[index]  # a kind; raises at one more


def test_it_travels_as_the_document_says(truly: Published) -> None:
    heard, kept = truly
    assert {(channel_of(message.topic), message.qos) for message in heard} == {
        (name, binding["qos"]) for name, binding in BINDINGS.items()
    }
    assert {channel_of(message.topic) for message in kept if message.retained} == {
        name for name, binding in BINDINGS.items() if binding["retain"]
    }


# --- other versions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_old_payloads_are_still_read_and_keep_the_schema(kind: Kind) -> None:
    for message in old(kind):
        topic = Topic.parse(message["topic"])
        assert topic.kind == kind
        assert parse(topic, raw(message["payload"])).pen == message["payload"]["pen"]
        schema(kind).validate(message["payload"])
        PAYLOADS[kind].model_validate_json(raw(message["payload"]))  # no field of theirs has gone


def newer(kind: Kind) -> dict[str, Any]:
    """A payload of a later revision: with fields that nobody here knows, in its parts too."""
    payload: dict[str, Any] = example(kind) | {"tip_temperature_dc": 331}
    for part in (payload.get("coverage"), *payload.get("areas", [])):
        if part is not None:
            part["later"] = {"more": [1]}
    return payload


@pytest.mark.parametrize("kind", KINDS)
def test_our_subscribers_leave_out_what_they_do_not_know(kind: Kind) -> None:
    assert parse(topic_of(kind), raw(newer(kind))) == parse(topic_of(kind), raw(example(kind)))
    schema(kind).validate(newer(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_our_subscribers_refuse_another_version(kind: Kind) -> None:
    with pytest.raises(PayloadError, match="schema"):
        parse(topic_of(kind), raw(example(kind) | {"schema": 2}))


def test_the_recorder_keeps_what_it_does_not_know() -> None:
    row = parse_record(str(topic_of("pass")), raw(newer("pass")))
    assert json.loads(row.payload) == newer("pass")


def test_we_publish_nothing_that_the_schema_does_not_name() -> None:
    body = {key: value for key, value in newer("pass").items() if key not in asyncapi.HEADER}
    record = Record(9, "s1", 4, "pass", 3, "pass", "p1", 77, "2026-01-01T00:00:00.000+00:00", json.dumps(body))
    kind, payload = from_record(record)
    assert isinstance(payload, EventPayload)
    assert (kind, payload.kind, payload.valid) == ("event", "unpublishable", False)


@pytest.mark.parametrize(("change", "outcome"), [({}, "taken"), ({"schema": 2}, "version")])
def test_the_dashboard_does_as_our_subscribers_do(change: dict[str, int], outcome: str) -> None:
    messages = [[str(topic_of(kind)), json.dumps(newer(kind) | change)] for kind in KINDS]
    page = (ROOT / "pen_controller" / "dashboard" / "static" / "messages.js").as_uri()
    script = f"""
        import {{ parse }} from {json.dumps(page)};
        const outcome = ([topic, text]) => {{
            try {{ parse(topic, new TextEncoder().encode(text)); }} catch (error) {{ return error.kind; }}
            return "taken";
        }};
        console.log(JSON.stringify({json.dumps(messages)}.map(outcome)));
    """
    command = [program("node"), "--no-warnings", "--input-type=module", "--eval", script]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert json.loads(done.stdout) == [outcome] * len(KINDS)
