"""What is published, for those who subscribe: JSON Schemas (2020-12) and one AsyncAPI 3 document, made from the models.

`python -m pen_controller.telemetry.asyncapi FOLDER` writes them into a folder like `protocols/telemetry`, whose
`examples` hold a payload that was truly published for each channel.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema

from pen_controller.telemetry.messages import PAYLOADS, Payload
from pen_controller.telemetry.mqtt import DEFAULT_PORT, KEEPALIVE_S
from pen_controller.telemetry.topics import ACK_PREFIX, DELIVERY, PREFIX, AckTopic, Delivery, Kind

Json = dict[str, Any]

VERSION = "1.0.0"
"""Of the document: the schema version, and how often something was added to it. README.md there says what may be."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HEADER = tuple(field.alias or name for name, field in Payload.model_fields.items())
ACK = Delivery(qos=1, retain=True, by_session=True)
ACK_SCHEMA: Json = {
    "title": "Ack",
    "description": "Sequence number up to which all of the session is stored, in decimal digits. An empty payload "
    "takes it back: the recorder is no longer to be waited for.",
    "type": "integer",
    "minimum": 0,
}
PARAMETERS = {
    "site": "Name of the site.",
    "pen": "Name of the pen: its serial number.",
    "session": "Name of the treatment.",
    "recorder": "Name of the recorder's database.",
}


class _Schemas(GenerateJsonSchema):
    """Without a title for each field: it would only repeat the name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # the library's signature
        return False


def schema_of(kind: Kind, reference: str = "#/$defs/{model}") -> Json:
    """Return the JSON Schema of a kind of payload.

    It requires what every payload carries and what has no default, and allows fields that it does not name: a newer
    publisher may send them.

    Args:
        kind: Of topic.
        reference: How a reference to one of its `$defs` is written.
    """
    schema = PAYLOADS[kind].model_json_schema(ref_template=reference, schema_generator=_Schemas)
    for each in (schema, *schema.get("$defs", {}).values()):
        each.pop("additionalProperties", None)
    schema["required"] = [*HEADER, *(name for name in schema["required"] if name not in HEADER)]
    if DELIVERY[kind].by_session:
        for name in ("session", "seq"):
            nullable = schema["properties"][name]
            schema["properties"][name] = nullable["anyOf"][0] | {"description": nullable["description"]}
    return schema


def document(examples: Mapping[str, Any]) -> Json:
    """Return the AsyncAPI document.

    Args:
        examples: A published payload for each channel: the kinds of topic, and `ack`.
    """
    schemas: Json = {"Ack": ACK_SCHEMA}
    for kind in get_args(Kind):
        schema = schema_of(kind, "#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {schema["title"]: schema}
    ack = "/".join([ACK_PREFIX, *(f"{{{field.name}}}" for field in fields(AckTopic))])
    addresses = {kind: _address(kind, how) for kind, how in DELIVERY.items()} | {"ack": ack}
    titles = {kind: model.__name__ for kind, model in PAYLOADS.items()} | {"ack": "Ack"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Telemetry of microneedling pens",
            "version": VERSION,
            "description": "What a pen's controller publishes over MQTT, and what it hears of recorders. There is no "
            "command topic. PUBACK is not storage: see README.md beside this file for the promise and for versions.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"site": _server(examples["status"])},
        "channels": {name: _channel(name, address) for name, address in addresses.items()},
        "operations": {
            **{f"publish_{kind}": _operation("send", kind, how) for kind, how in DELIVERY.items()},
            "hear_ack": _operation("receive", "ack", ACK),
        },
        "components": {
            "messages": {name: _message(name, title, examples[name]) for name, title in titles.items()},
            "schemas": schemas,
        },
    }


def _address(kind: Kind, how: Delivery) -> str:
    return f"{PREFIX}/{{site}}/{{pen}}/{kind}{'/{session}' if how.by_session else ''}"


def _server(status: Json) -> Json:
    lost = status | {"status": "offline", "reason": "connection lost"}
    will = {"topic": _address("status", DELIVERY["status"]), "qos": 1, "retain": True, "message": json.dumps(lost)}
    return {
        "host": f"127.0.0.1:{DEFAULT_PORT}",
        "protocol": "mqtt",
        "protocolVersion": "3.1.1",
        "description": "The broker of a site; here the embedded one.",
        "bindings": {"mqtt": {"lastWill": will, "keepAlive": KEEPALIVE_S, "bindingVersion": "0.2.0"}},
    }


def _channel(name: str, address: str) -> Json:
    parameters = {key: {"description": text} for key, text in PARAMETERS.items() if f"{{{key}}}" in address}
    messages = {name: {"$ref": f"#/components/messages/{name}"}}
    return {"address": address, "parameters": parameters, "messages": messages}


def _operation(action: str, name: str, how: Delivery) -> Json:
    binding = {"qos": how.qos, "retain": how.retain, "bindingVersion": "0.2.0"}
    return {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "bindings": {"mqtt": binding}}


def _message(name: str, title: str, example: object) -> Json:
    return {"name": name, "payload": {"$ref": f"#/components/schemas/{title}"}, "examples": [{"payload": example}]}


def files(folder: Path) -> dict[Path, str]:
    """Return the files of a folder like `protocols/telemetry`, by path, with the text that they should have.

    Raises:
        OSError: An example is missing.
        ValueError: An example is no JSON.
    """
    names = [*get_args(Kind), "ack"]
    examples = {name: json.loads((folder / "examples" / f"{name}.json").read_bytes()) for name in names}
    made: dict[Path, Json] = {folder / "asyncapi.json": document(examples)}
    for kind in get_args(Kind):
        made[folder / "schemas" / f"{kind}.json"] = {"$schema": DIALECT} | schema_of(kind)
    made[folder / "schemas" / "ack.json"] = {"$schema": DIALECT} | ACK_SCHEMA
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in made.items()}


def main() -> None:
    """Write the files of the folder named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pen_controller.telemetry.asyncapi FOLDER (in a checkout: protocols/telemetry)")
    for path, text in files(Path(sys.argv[1])).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
