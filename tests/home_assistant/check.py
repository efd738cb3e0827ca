"""Holds the discovery message on standard input against Home Assistant's own schemas; an error if one refuses it.

It runs in an environment of its own, for Home Assistant wants its own versions of what we use too: see
`tests/test_home_assistant.py`. Releases from 2024.12 on know devices; those for Python 3.11 are older, and know each
sensor of a device.
"""

import json
import sys
from importlib import import_module
from typing import Any


def check(message: dict[str, Any]) -> None:
    """Raise what a schema has against the message."""
    discovery = import_module("homeassistant.components.mqtt.discovery")
    sensor = import_module("homeassistant.components.mqtt.sensor")
    if of_devices := getattr(discovery, "DEVICE_DISCOVERY_SCHEMA", None):
        of_devices(message)
    shared = {name: message[name] for name in ("device", "origin", "availability")}
    for name, component in message["components"].items():
        config = shared | {key: value for key, value in component.items() if key != "platform"}
        ignored = config.keys() - sensor.DISCOVERY_SCHEMA(config).keys()
        if ignored:
            raise ValueError(f"{name}: Home Assistant would ignore {', '.join(ignored)}")


if __name__ == "__main__":
    check(json.load(sys.stdin))
