"""Tells Home Assistant of a pen, by its MQTT discovery of devices: what may be shown, and nothing to command.

The message is retained; an empty one in its place takes the pen out of Home Assistant again.
"""

import json
from typing import Any

from pen_controller.telemetry.messages import MetaPayload
from pen_controller.telemetry.topics import Topic, check_name

PREFIX = "homeassistant"
"""Where Home Assistant looks if nobody has told it otherwise."""

EXPIRE_S = 3
"""A live value that is older is no longer true, and becomes unavailable."""

Sensor = dict[str, Any]


def discovery_topic(pen: str) -> str:
    """Return the topic of the discovery message.

    Raises:
        ValueError: A topic cannot carry the name of the pen.
    """
    return f"{PREFIX}/device/{check_name('pen', pen)}/config"


def discovery(site: str, meta: MetaPayload) -> bytes:
    """Return the discovery message of a pen: a device with a sensor for each figure.

    Raises:
        ValueError: A topic cannot carry the name of the site or of the pen.
    """
    state, live = str(Topic(site, meta.pen, "state")), str(Topic(site, meta.pen, "live"))
    sensors = {
        "state": _sensor("State", state, "state", icon="mdi:state-machine"),
        "latch": _sensor("Latched by", state, "latch", icon="mdi:lock-alert"),
        "area": _sensor("Area", state, "area", icon="mdi:face-man"),
        "depth": _figure("Depth", live, "depth_um", "mm", 1000, 2, device_class="distance"),
        "rate": _figure("Rate", live, "rate_dhz", "Hz", 10, 0, device_class="frequency"),
        "force": _figure("Force", live, "force_mn", "N", 1000, 1, icon="mdi:arrow-collapse-down"),
        "passes": _figure("Passes", live, "passes", None, 1, 0, icon="mdi:counter"),
        "density": _figure("Density", live, "density_per_cm2", "/cm²", 1, 0, icon="mdi:dots-grid"),
        "battery": _figure("Battery", live, "battery_pct", "%", 1, 0, device_class="battery"),
    }
    message = {
        "device": {
            "identifiers": [meta.pen],
            "name": f"Pen {meta.pen}",
            "serial_number": meta.serial,
            "sw_version": meta.firmware,
        },
        "origin": {"name": "pen-controller"},
        "availability": [{"topic": str(Topic(site, meta.pen, "status")), "value_template": _value("status")}],
        "components": {
            name: {"platform": "sensor", "unique_id": f"{meta.pen}_{name}", **sensor}
            for name, sensor in sensors.items()
        },
    }
    return json.dumps(message).encode()


def _sensor(name: str, topic: str, field: str, **more: object) -> Sensor:
    return {"name": name, "state_topic": topic, "value_template": _value(field), **more}


def _figure(name: str, topic: str, field: str, unit: str | None, divisor: int, decimals: int, **more: object) -> Sensor:
    """A measurement in `unit` that the payload gives in so many parts of it."""
    template = f"{{{{ value_json.{field} if value_json.{field} is none else value_json.{field} / {divisor} }}}}"
    scaled = {"value_template": template} if divisor != 1 else {}
    units = {"unit_of_measurement": unit} if unit else {}
    shown = {"state_class": "measurement", "suggested_display_precision": decimals, "expire_after": EXPIRE_S}
    return _sensor(name, topic, field) | scaled | units | shown | more


def _value(field: str) -> str:
    """Home Assistant takes None, as which null comes out, for unknown."""
    return f"{{{{ value_json.{field} }}}}"
