"""Home Assistant's discovery: it takes the message, shows what is published, and can command nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jsonschema import Draft202012Validator

from pen_controller.journal import Journal
from pen_controller.telemetry.home_assistant import discovery, discovery_topic
from pen_controller.telemetry.messages import MetaPayload
from pen_controller.telemetry.publisher import Publisher
from pen_controller.telemetry.topics import Topic
from tests import published
from tests.brokers import broker, free_port, mosquitto, until

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "protocols" / "telemetry" / "examples"
META = MetaPayload.model_validate_json((EXAMPLES / "meta.json").read_bytes())
MESSAGE: dict[str, Any] = json.loads(discovery("clinic", META))
SENSORS: dict[str, dict[str, Any]] = MESSAGE["components"]
RULES = Draft202012Validator(json.loads((HERE / "home_assistant" / "discovery.schema.json").read_bytes()))


def example(topic: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((EXAMPLES / f"{Topic.parse(topic).kind}.json").read_bytes())
    return payload


def shown(name: str, **changes: object) -> str:
    """What Home Assistant would show of today's example: it renders the template as Jinja does."""
    template = jinja2.Environment(autoescape=True).from_string(SENSORS[name]["value_template"])
    return template.render(value_json=example(SENSORS[name]["state_topic"]) | changes)


def test_home_assistants_rules_take_it() -> None:
    RULES.validate(MESSAGE)


@pytest.mark.parametrize(
    "change",
    [
        {"device": {"name": "no identifier"}},
        {"command_topic": "x"},
        {"components": {"a": SENSORS["depth"] | {"unit": 1}}},
    ],
)
def test_the_rules_would_refuse_another(change: dict[str, Any]) -> None:
    assert not RULES.is_valid(MESSAGE | change)


@pytest.mark.skipif("PEN_HOME_ASSISTANT" not in os.environ, reason="PEN_HOME_ASSISTANT names no Python that has it")
@pytest.mark.parametrize("change", [{}, {"state_topic": "a#"}, {"device_class": "depth"}, {"colour": "red"}])
def test_home_assistants_own_code_takes_it_and_no_other(change: dict[str, str]) -> None:
    message = MESSAGE | {"components": SENSORS | {"depth": SENSORS["depth"] | change}}
    command = [os.environ["PEN_HOME_ASSISTANT"], str(HERE / "home_assistant" / "check.py")]
    done = subprocess.run(command, input=json.dumps(message).encode(), capture_output=True, timeout=60, check=False)
    assert (done.returncode == 0) is not bool(change), done.stderr.decode()


def test_it_shows_the_figures_in_the_units_that_it_names() -> None:
    live = example(SENSORS["depth"]["state_topic"])
    assert {name: shown(name) for name in SENSORS} == {
        "state": example(SENSORS["state"]["state_topic"])["state"],
        "latch": "None",  # so Home Assistant calls it unknown
        "area": "cheek",
        "depth": str(live["depth_um"] / 1000),
        "rate": str(live["rate_dhz"] / 10),
        "force": str(live["force_mn"] / 1000),
        "passes": str(live["passes"]),
        "density": str(live["density_per_cm2"]),
        "battery": str(live["battery_pct"]),
    }
    units = {name: sensor["unit_of_measurement"] for name, sensor in SENSORS.items() if "unit_of_measurement" in sensor}
    assert units == {"depth": "mm", "rate": "Hz", "force": "N", "density": "/cm²", "battery": "%"}


@pytest.mark.parametrize(
    ("name", "field"), [("depth", "depth_um"), ("rate", "rate_dhz"), ("force", "force_mn"), ("passes", "passes")]
)
def test_a_figure_that_is_not_there_is_unknown_and_no_zero(name: str, field: str) -> None:
    assert shown(name, **{field: None}) == "None"
    assert float(shown(name, **{field: 0})) == 0


def test_every_live_figure_expires_and_all_go_with_the_connection() -> None:
    assert all(sensor["expire_after"] == 3 for sensor in SENSORS.values() if sensor["state_topic"].endswith("live"))
    (availability,) = MESSAGE["availability"]
    template = jinja2.Environment(autoescape=True).from_string(availability["value_template"])
    assert template.render(value_json=example(availability["topic"])) == "online"


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "../x", "pén", "a" * 65, "a\n", "a\0"])
def test_no_name_reaches_another_topic(name: str) -> None:
    with pytest.raises(ValueError, match=r"use 1 to 64 letters, digits, _ or -"):
        discovery_topic(name)
    for site, pen in ((name, "p1"), ("clinic", name)):
        with pytest.raises(ValueError, match=r"use 1 to 64 letters, digits, _ or -"):
            discovery(site, META.model_copy(update={"pen": pen}))


@pytest.mark.parametrize("name", ["nats", "mosquitto"])
async def test_it_is_kept_by_the_broker_until_it_is_taken_back(tmp_path: Path, name: str) -> None:
    topic = discovery_topic("p1")
    async with broker(name, tmp_path) as url, Journal.open(tmp_path / "journal.sqlite") as journal:
        for message in (b"{}", b""):
            async with (
                published.hearing(url, "homeassistant/#") as heard,
                Publisher(journal, url, "clinic", "p1") as publisher,
            ):
                publisher.announce(topic, message)
                await until(lambda: heard and heard[-1].payload == message)  # noqa: B023  # awaited at once
            async with published.hearing(url, "homeassistant/#", "pen/v1/+/+/status") as kept:
                await until(lambda: "status" in {each.channel for each in kept})
            assert [(each.topic, each.payload) for each in kept if each.topic == topic] == (
                [(topic, message)] if message else []
            )


async def test_a_broker_that_forgot_it_is_told_again(tmp_path: Path) -> None:
    port = free_port()
    async with (
        Journal.open(tmp_path / "journal.sqlite") as journal,
        Publisher(journal, f"mqtt://127.0.0.1:{port}", "clinic", "p1") as publisher,
    ):
        publisher.announce(discovery_topic("p1"), b"{}")
        for _ in range(2):
            async with mosquitto(tmp_path, port) as url, published.hearing(url, "homeassistant/#") as heard:
                await until(lambda: heard)


def test_pen_run_says_that_it_needs_telemetry(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pen_controller", "run", str(tmp_path), "--pen", "socket://127.0.0.1:1"]
    more = ["--no-telemetry", "--home-assistant"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "pen: Home Assistant hears of a pen over MQTT: leave out --no-telemetry\n",
    )


async def test_pen_run_announces_its_pen_when_asked(tmp_path: Path) -> None:
    heard, kept = await published.treatment(tmp_path, "--home-assistant")
    (message,) = [each for each in kept if each.topic.startswith("homeassistant/")]
    assert (message.topic, message.retained) == ("homeassistant/device/PEN-0001/config", True)
    announced = json.loads(message.payload)
    RULES.validate(announced)
    topics = {sensor["state_topic"] for sensor in announced["components"].values()}
    assert topics < {each.topic for each in heard}
