"""The subscriber and the live table: what they show is what was said, and no older than it looks."""

import asyncio
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pen_controller.cli import app
from pen_controller.telemetry import mqtt, watch
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.messages import (
    EventPayload,
    LivePayload,
    Payload,
    StatePayload,
    StatusPayload,
    encode,
)
from pen_controller.telemetry.topics import Topic, subscriptions
from pen_controller.telemetry.watch import Reception, messages
from tests.brokers import free_port, kill_embedded, until

LIVE = LivePayload(
    pen="p1", session="s1", area="cheek", depth_um=512, rate_dhz=905, force_mn=None, passes=2, coverage=None,
    punctures=5400, density_per_cm2=801.4, battery_pct=87, advice="Slower, 3 cm/s", how={},
)  # fmt: skip
STATE = StatePayload(pen="p1", state="running", area="cheek")


def event(number: int) -> EventPayload:
    return EventPayload(pen="p1", session="s1", seq=number, kind="tick", body={})


async def publish(url: str, topic: str, payload: Payload | bytes, *, retain: bool = False) -> None:
    raw = payload if isinstance(payload, bytes) else encode(payload)
    async with mqtt.client(mqtt.BrokerUrl.parse(url)) as client:
        await client.publish(topic, raw, qos=1, retain=retain)


@contextlib.asynccontextmanager
async def running(work: Any) -> Any:
    """Run a coroutine beside the test; cancelling must end it cleanly."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_foreign_messages_are_skipped_and_counted() -> None:
    heard: list[tuple[Topic, Payload]] = []
    reception = Reception()

    async def listen(url: str) -> None:
        async for topic, payload in messages(url, "clinic", reception=reception):
            heard.append((topic, payload))

    async with EmbeddedBroker() as broker, running(listen(broker.url)):
        await asyncio.wait_for(reception.subscribed.wait(), 30)
        await publish(broker.url, "pen/v1/clinic/p1/state", b"\xff not ours")
        await publish(broker.url, "pen/v1/clinic/p1/command", b"{}")
        await publish(broker.url, "pen/v1/clinic/p2/state", STATE)  # tells of another pen
        await publish(broker.url, "pen/v1/elsewhere/p1/state", STATE)  # not asked for
        await publish(broker.url, "pen/v1/clinic/p1/state", STATE)
        await until(lambda: heard)
    assert heard == [(Topic("clinic", "p1", "state"), STATE)]
    assert reception.skipped == 3


async def test_a_named_subscriber_gets_what_came_while_the_broker_was_down(tmp_path: Path) -> None:
    port = free_port()
    trouble: list[str] = []
    reception = Reception(report=trouble.append)
    numbers: list[int | None] = []

    async def listen(url: str) -> None:
        async for _, payload in messages(url, identifier="recorder", reception=reception):
            numbers.append(payload.seq)

    async with EmbeddedBroker(tmp_path, port=port) as first, running(listen(first.url)):
        await asyncio.wait_for(reception.subscribed.wait(), 30)
        await publish(first.url, "pen/v1/clinic/p1/event/s1", event(1))
        await until(lambda: numbers == [1])
        kill_embedded(tmp_path)
        await until(lambda: len(trouble) > 1)
        assert trouble[1].startswith(f"no broker at mqtt://127.0.0.1:{port}: retrying")
        assert not reception.subscribed.is_set()
        async with EmbeddedBroker(tmp_path, port=port) as second:
            await publish(second.url, "pen/v1/clinic/p1/event/s1", event(2))
            await until(lambda: set(numbers) == {1, 2})  # the first may come twice: its receipt died with the broker
            assert reception.trouble == ""


async def test_json_is_one_object_a_line_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    async with EmbeddedBroker() as broker:
        await publish(broker.url, "pen/v1/clinic/p1/state", STATE, retain=True)
        errors = Console(file=io.StringIO())
        printed: list[str] = []

        def one_line() -> bool:
            printed.append(capsys.readouterr().out)
            return "".join(printed).endswith("\n")

        async with running(watch.watch(broker.url, as_json=True, console=errors)):
            await until(one_line)
    assert [json.loads(line) for line in "".join(printed).splitlines()] == [
        {"topic": "pen/v1/clinic/p1/state", "payload": json.loads(encode(STATE))}
    ]


async def test_only_what_was_asked_for_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = subscriptions(["clinic", "annex"], ["p1"], ["state", "event"])
    printed: list[str] = []

    def two_lines() -> bool:
        printed.append(capsys.readouterr().out)
        return "".join(printed).count("\n") == 2

    async with EmbeddedBroker() as broker:
        for topic, payload in (
            ("clinic/p1/live", LIVE),
            ("clinic/p2/state", STATE.model_copy(update={"pen": "p2"})),
            ("elsewhere/p1/state", STATE),
            ("clinic/p1/state", STATE),
            ("annex/p1/state", STATE),
        ):
            await publish(broker.url, f"pen/v1/{topic}", payload, retain=True)
        async with running(watch.watch(broker.url, as_json=True, console=Console(file=io.StringIO()), wanted=wanted)):
            await until(two_lines)
    topics = {json.loads(line)["topic"] for line in "".join(printed).splitlines()}
    assert topics == {"pen/v1/clinic/p1/state", "pen/v1/annex/p1/state"}


def test_the_filters_of_what_is_asked_for() -> None:
    assert subscriptions() == ["pen/v1/+/+/#"]
    assert subscriptions(["clinic", "clinic"], ["p1"]) == ["pen/v1/clinic/p1/#"]
    assert subscriptions(kinds=["live", "pass"]) == ["pen/v1/+/+/live", "pen/v1/+/+/pass/+"]
    for sites, pens, kinds in ((["a/b"], [], []), ([], ["#"], []), ([], [], ["command"]), ([], [], ["#/x"])):
        with pytest.raises(ValueError, match=r"letters|one of"):
            subscriptions(sites, pens, kinds)


@pytest.mark.parametrize("options", [["--site", "a/b"], ["--pen", "#"], ["--kind", "state,command"]])
def test_a_filter_that_is_none_is_one_line_and_status_2(options: list[str]) -> None:
    told = CliRunner().invoke(app, ["watch", *options])
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed otherwise there")
async def test_nobody_reading_any_more_ends_it_quietly(tmp_path: Path) -> None:
    async with EmbeddedBroker() as broker:
        await publish(broker.url, "pen/v1/clinic/p1/state", STATE, retain=True)
        command = [sys.executable, "-m", "pen_controller", "watch", "--broker", broker.url, "--kind", "state", "--json"]
        errors = tmp_path / "errors"
        with errors.open("w") as file:
            shown = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=file)
        assert shown.stdout is not None
        line = await asyncio.wait_for(shown.stdout.readline(), 30)
        assert set(json.loads(line)) == {"topic", "payload"}
        shown._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # as `head` does when it has enough

        async def say_until_it_ends() -> None:
            while shown.returncode is None:
                await publish(broker.url, "pen/v1/clinic/p1/state", STATE)

        await asyncio.wait_for(say_until_it_ends(), 30)
        await shown.wait()
    assert (shown.returncode, errors.read_text()) == (0, "listening\n")


async def test_without_a_broker_it_says_so_once_and_goes_on_trying(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    errors = io.StringIO()
    async with running(watch.watch(url, as_json=True, console=Console(file=errors, width=200))):
        await until(errors.getvalue)
        assert errors.getvalue().startswith(f"no broker at {url}: retrying")
    assert capsys.readouterr().out == ""


async def test_the_table_shows_every_pen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "REFRESH_S", 0.02)
    screen = io.StringIO()
    console = Console(file=screen, width=140, force_terminal=True)
    shown = ("clinic", "p1", "running", "cheek", "0.51", "90", "5400", "801", "87")
    async with EmbeddedBroker() as broker, running(watch.watch(broker.url, as_json=False, console=console)):
        await until(lambda: "state" in screen.getvalue())

        async def say_until_shown() -> None:
            while not all(text in screen.getvalue() for text in shown):
                await publish(broker.url, "pen/v1/clinic/p1/state", STATE)
                await publish(broker.url, "pen/v1/clinic/p1/live", LIVE)

        await asyncio.wait_for(say_until_shown(), 30)


async def test_the_table_names_a_missing_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "REFRESH_S", 0.02)
    screen = io.StringIO()
    url = f"mqtt://127.0.0.1:{free_port()}"
    console = Console(file=screen, width=200, force_terminal=True)
    async with running(watch.watch(url, as_json=False, console=console)):
        await until(lambda: "retrying" in screen.getvalue())


def cells(row: watch._Row, now_s: float) -> dict[str, str]:
    return dict(zip(watch.COLUMNS[2:], row.cells(now_s), strict=True))


def test_values_without_a_word_for_three_seconds_become_dashes() -> None:
    row = watch._Row()
    row.take(STATE, 100.0, retained=False)
    row.take(LIVE, 100.0, retained=False)
    fresh = cells(row, 102.9)
    assert fresh == {
        "state": "running", "area": "cheek", "depth mm": "0.51", "rate Hz": "90", "force N": "-", "passes": "2",
        "punctures": "5400", "per cm2": "801", "battery %": "87", "advice": "Slower, 3 cm/s", "age s": "3",
    }  # fmt: skip
    stale = cells(row, 103.1)
    assert stale.pop("age s") == "3"
    assert set(stale.values()) == {"-"}


def test_a_pen_at_rest_is_shown_between_two_of_its_rare_states() -> None:
    row = watch._Row()
    row.take(StatePayload(pen="p1", state="idle"), 100.0, retained=False)
    assert cells(row, 114.9)["state"] == "idle", "one of its states, 5 s apart, may be lost"
    assert cells(row, 115.1)["state"] == "-"


def test_what_was_retained_is_no_fresh_word() -> None:
    row = watch._Row()
    row.take(STATE, 100.0, retained=True)
    assert set(cells(row, 100.0).values()) == {"-"}


def test_an_event_is_a_word_and_keeps_the_state_but_not_the_figures() -> None:
    row = watch._Row()
    row.take(STATE, 100.0, retained=True)
    row.take(LIVE, 100.0, retained=False)
    row.take(event(1), 105.0, retained=False)
    shown = cells(row, 106.0)
    assert (shown["state"], shown["depth mm"], shown["age s"]) == ("running", "-", "1")


def test_a_latch_and_an_offline_publisher_are_shown() -> None:
    row = watch._Row()
    row.take(StatePayload(pen="p1", state="latched", latch="lease"), 100.0, retained=False)
    assert cells(row, 100.0)["state"] == "latched (lease)"
    row.take(StatusPayload(pen="p1", status="offline", reason="closed"), 100.0, retained=True)
    assert cells(row, 100.0)["state"] == "offline"
