"""Telegraf and Grafana files: what they name is what is published. The programs themselves do not run here."""

import json
import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "configs" / "dashboards"
CONSUMER = tomllib.loads((FOLDER / "telegraf.conf").read_text(encoding="utf-8"))["inputs"]["mqtt_consumer"][0]
PARSER = CONSUMER["json_v2"][0]
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DOCUMENT = json.loads((ROOT / "protocols" / "telemetry" / "asyncapi.json").read_text(encoding="utf-8"))
PUBLISHED: list[dict[str, Any]] = [
    message
    for path in sorted((ROOT / "tests" / "data" / "telemetry_v1").glob("*.json"))
    for message in json.loads(path.read_bytes())
]
TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "string": str}

# From plugins/inputs/mqtt_consumer (sample.conf, topic_parser.go) and plugins/parsers/json_v2/parser.go of Telegraf.
OPTIONS = {
    "servers", "topics", "topic_tag", "qos", "connection_timeout", "max_undelivered_messages", "persistent_session",
    "client_id", "username", "password", "tls_ca", "tls_cert", "tls_key", "data_format", "topic_parsing", "json_v2",
}  # fmt: skip
PARSER_OPTIONS = {"timestamp_path", "timestamp_format", "tag", "field"}
PATH_OPTIONS = {"path", "type", "rename", "optional"}


def at(payload: Any, path: str) -> Any:
    """What stands at a path like `coverage.low`; None if nothing does."""
    for name in path.split("."):
        payload = payload.get(name) if isinstance(payload, dict) else None
    return payload


def name_of(entry: dict[str, str]) -> str:
    return entry.get("rename", entry["path"].rsplit(".", 1)[-1])


def matches(pattern: str, topic: str) -> bool:
    return re.fullmatch(pattern.replace("+", "[^/]+"), topic) is not None


def points() -> list[tuple[str, set[str], set[str]]]:
    """Measurement, tags and fields that Telegraf makes of what was published, as its sources say it does."""
    made = []
    for message in PUBLISHED:
        topic, payload = message["topic"], message["payload"]
        if not any(matches(wanted, topic) for wanted in CONSUMER["topics"]):
            continue
        (rule,) = [rule for rule in CONSUMER["topic_parsing"] if matches(rule["topic"], topic)]
        levels = topic.split("/")
        measurement = levels[rule["measurement"].split("/").index("measurement")]
        tags = {name_of(entry) for entry in PARSER["tag"] if at(payload, entry["path"]) is not None}
        fields = {name_of(entry) for entry in PARSER["field"] if at(payload, entry["path"]) is not None}
        made.append((measurement, tags | {"site", "pen"}, fields))
    return made


def test_every_option_is_one_of_telegrafs() -> None:
    assert CONSUMER.keys() <= OPTIONS
    assert PARSER.keys() <= PARSER_OPTIONS
    assert all(entry.keys() <= PATH_OPTIONS for entry in (*PARSER["field"], *PARSER["tag"]))
    assert all(entry["optional"] for entry in (*PARSER["field"], *PARSER["tag"]))  # or Telegraf drops the message
    assert CONSUMER["client_id"]  # or it refuses a persistent session


def test_every_topic_is_one_of_ours_and_is_taken_apart_level_by_level() -> None:
    addresses = {re.sub(r"\{\w+\}", "+", channel["address"]) for channel in DOCUMENT["channels"].values()}
    assert set(CONSUMER["topics"]) <= addresses
    for rule in CONSUMER["topic_parsing"]:
        assert rule["topic"].count("/") == rule["measurement"].count("/") == rule["tags"].count("/")
        levels = dict(zip(rule["tags"].split("/"), next(iter(addresses)).split("/"), strict=False))
        assert {"site", "pen"} <= levels.keys()


@pytest.mark.parametrize("entry", [*PARSER["field"], *PARSER["tag"]], ids=lambda entry: entry["path"])
def test_every_path_is_in_the_schemas_and_has_their_type(entry: dict[str, str]) -> None:
    kinds = [topic.split("/")[4] for topic in CONSUMER["topics"]]
    first = entry["path"].split(".")[0]
    schemas = [DOCUMENT["components"]["schemas"][f"{kind.title()}Payload"] for kind in kinds]
    assert any(first in schema["properties"] for schema in schemas)
    values = [value for message in PUBLISHED if (value := at(message["payload"], entry["path"])) is not None]
    assert values or "." not in entry["path"], "no schema names it, and it was never published"
    assert all(isinstance(value, TYPES[entry.get("type", "string")]) for value in values)


def test_every_payload_says_when_in_the_form_that_telegraf_is_told() -> None:
    assert PARSER["timestamp_format"] == "2006-01-02T15:04:05.999Z07:00"  # Go's example: RFC 3339 with a fraction
    for message in PUBLISHED:
        when = at(message["payload"], PARSER["timestamp_path"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", when)
        assert datetime.fromisoformat(when)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_query_asks_for_what_telegraf_makes(panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    query = target["query"]
    found = re.fullmatch(
        r"SELECT (.+) FROM \"(\w+)\" WHERE (.+?)(?: GROUP BY (.+))?(?: ORDER BY time DESC LIMIT 100)?", query
    )
    assert found, query
    selected, measurement, condition, grouped = found.groups(default="")
    made = [(tags, fields) for name, tags, fields in points() if name == measurement]
    tags, fields = (set().union(*parts) for parts in zip(*made, strict=True))
    asked = set(re.findall(r'"(\w+)"', selected))
    assert asked & fields, "InfluxQL answers nothing where only tags are asked for"
    assert asked <= tags | fields
    assert set(re.findall(r'"(\w+)"', condition + grouped)) <= tags
    assert set(re.findall(r"\$tag_(\w+)", target.get("alias", ""))) <= set(re.findall(r'"(\w+)"', grouped))


def test_the_dashboard_is_one_that_can_be_imported() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r"\$\{(\w+)", text)) == variables
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    tops = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(tops)) == len(tops)
    assert "id" not in DASHBOARD  # Grafana gives one
