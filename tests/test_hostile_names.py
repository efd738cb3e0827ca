"""Names of sites and pens that try to climb out of their subtree: refused wherever a name comes in."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pen_controller import cli, config
from pen_controller.journal import Journal, JournalError
from pen_controller.telemetry import topics
from pen_controller.telemetry.home_assistant import discovery_topic
from pen_controller.telemetry.publisher import Publisher
from pen_controller.telemetry.topics import AckTopic, Topic

HOSTILE = [
    "", "+", "#", "a/b", "a/#", "/", "..", "../other", ".", "a.b", "$SYS", "$share", "*", ">", "a b", " a", "a\n",
    "a\0", "a\x7f", "a\u0430", "\uff41", "\u212a", "\u0661", "a\u200b", "é", "%2f", "a\\b", "x" * 65,
]  # fmt: skip
"""Wildcards of MQTT and NATS, ways up, ends of strings, look-alikes (Cyrillic a, wide a, Kelvin, a digit), too long."""

hostile = pytest.mark.parametrize("name", HOSTILE, ids=ascii)


@hostile
def test_no_topic_carries_one(name: str) -> None:
    for make in (
        lambda: Topic(name, "p", "state"),
        lambda: Topic("s", name, "state"),
        lambda: Topic("s", "p", "pass", name),
        lambda: AckTopic(name, "p", "x", "r"),
        lambda: AckTopic("s", name, "x", "r"),
        lambda: AckTopic("s", "p", name, "r"),
        lambda: AckTopic("s", "p", "x", name),
        lambda: discovery_topic(name),
    ):
        with pytest.raises(ValueError, match="use 1 to 64 letters, digits, _ or -"):
            make()


@hostile
def test_no_topic_that_is_heard_has_one(name: str) -> None:
    for text in (f"pen/v1/{name}/p/state", f"pen/v1/s/{name}/state", f"pen/v1/s/p/pass/{name}", f"pen/v1/s/p/{name}"):
        with pytest.raises(ValueError, match=r"topic|site|pen|session"):
            Topic.parse(text)
    for text in (f"ack/v1/{name}/p/x/r", f"ack/v1/s/p/{name}/r", f"ack/v1/s/p/x/{name}"):
        with pytest.raises(ValueError, match=r"topic|site|pen|session|recorder"):
            AckTopic.parse(text)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "+"], ids=ascii)
def test_no_filter_asks_for_one(name: str) -> None:
    """`+` stands for any there, on purpose."""
    for make in (
        lambda: topics.subscription(name),
        lambda: topics.subscription("s", name),
        lambda: topics.record_subscriptions(name),
        lambda: topics.ack_subscription(name, "p"),
        lambda: topics.ack_subscription("s", name),
    ):
        with pytest.raises(ValueError, match="use 1 to 64 letters"):
            make()


@hostile
def test_no_clinic_has_one(name: str, tmp_path: Path) -> None:
    text = "".join(f"\\u{ord(sign):04x}" for sign in name)
    path = tmp_path / "clinic.toml"
    path.write_text(f'site = "{text}"\nmin_interval_days = 28\npens = ["simulated"]\n')
    assert [problem.key for problem in config.check(path)] == ["site"]


@hostile
async def test_no_pen_that_calls_itself_so_is_published(name: str, tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "journal.sqlite") as journal:
        for site, pen in ((name, "p"), ("s", name)):
            with pytest.raises(ValueError, match="use 1 to 64 letters"):
                Publisher(journal, "mqtt://127.0.0.1", site, pen)
        with pytest.raises((ValueError, JournalError)):
            await journal.append("s1", "tick", {}, pen=name)


@pytest.mark.parametrize("name", ["#", "a/#", "..", "$SYS", "a\u0430", "x" * 65], ids=ascii)
@pytest.mark.parametrize(
    "command",
    ["watch --site", "watch --pen", "dashboard --no-browser --port 0 --site", "recorder --db sqlite:///{0}/db --site"],
)
def test_no_command_takes_one(command: str, name: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, [*command.format(tmp_path).split(), name])
    assert done.exit_code == 2, done.output
    assert "use 1 to 64 letters" in done.stderr
    assert done.stderr.count("\n") == 1
