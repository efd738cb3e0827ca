"""The conformance kit: it leaves no rule out, a good pen passes on every line, and the command tells all."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

import protocols
from pen_controller.conformance.host import Host
from pen_controller.conformance.run import CHECKS, Report, Status, chosen, conform
from pen_controller.conformance.unseen import PARTLY, UNSEEN
from pen_controller.conformance.wire import BrokenRuleError, Wire
from pen_controller.errors import LinkError
from pen_controller.transports import Lost, Receive, transport_for
from pen_controller.transports.inprocess import InProcessTransport
from protocols.messages import AnyMessage
from protocols.words import Cause, PenState
from simulator import profiles
from simulator.pen import SimulatedPen
from simulator.ports import Endpoint
from tests.lines import PenSim, by_pty, by_tcp, needs_pty
from tests.plugged import Plugged, plugged
from tests.running import in_virtual_time, until
from tests.virtual_air import OpenAir, open_air

__all__ = ["open_air"]  # a fixture

SPECIFICATION = (Path(protocols.__file__).parent / "README.md").read_text(encoding="utf-8")
NOT_IN_THE_AIR = ["broken-connection", "start-without-charge"]
"""What does not concern a simulated pen on a cable, with a full battery."""


def rules_of(text: str) -> set[str]:
    """The ids of the specification, and of a rule that is a list of steps the steps."""
    rules: set[str] = set()
    for rule, body in re.findall(r"^- \*\*([A-Z]{3}-\d+)\*\*(.*?)(?=^- \*\*|^#|\Z)", text, re.MULTILINE | re.DOTALL):
        steps = re.findall(r"^ {2}(\d)\. ", body, re.MULTILINE)
        rules |= {f"{rule}.{step}" for step in steps} if steps else {rule}
    return rules


def covered(rule: str, named: Iterable[str]) -> bool:
    """Whether a rule, or the step of one, is named: by itself, or by the rule that it is a step of."""
    return rule in named or rule.partition(".")[0] in named


def failing(report: Report) -> dict[str, str]:
    return {one.check.name: one.why for one in report.failed}


def left_out(report: Report) -> list[str]:
    return sorted(one.check.name for one in report.outcomes if one.status is Status.NOT_APPLICABLE)


# --- the table of rules ----------------------------------------------------------------------------------------------


def test_every_rule_of_the_specification_has_a_check_or_a_reason_and_no_other_is_named() -> None:
    rules = rules_of(SPECIFICATION)
    assert {"FRM-1", "CLM-2.3", "VER-3"} <= rules
    assert len(rules) > 50
    checked = {rule for one in CHECKS for rule in one.rules}
    assert [rule for rule in sorted(rules) if not covered(rule, checked | UNSEEN.keys())] == []
    whole = rules | {rule.partition(".")[0] for rule in rules}
    assert sorted((checked | UNSEEN.keys() | PARTLY.keys()) - whole) == []
    assert sorted(checked & UNSEEN.keys()) == []
    assert [rule for rule in PARTLY if not covered(rule, {one.partition(".")[0] for one in checked})] == []


def test_checks_are_chosen_by_rule_step_chapter_or_name() -> None:
    assert chosen([]) == CHECKS
    assert [one.name for one in chosen(["CLM-2.3"])] == ["old-claim"]
    assert len(chosen(["CLM-2"])) > 3
    assert {one.name for one in chosen(["CLM"])} > {one.name for one in chosen(["CLM-2"])}
    assert [one.name for one in chosen(["lapse", "FRM-1"])] == ["zeros-around", "lapse"]
    with pytest.raises(ValueError, match=r"protocols/README\.md"):
        chosen(["CLM-9"])
    with pytest.raises(ValueError, match="asks something of hosts"):
        chosen(["LSE-4"])


# --- good pens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["simulated", "exceed", "dermapen_4"])
@in_virtual_time
async def test_a_good_pen_in_this_process_passes_and_is_left_at_rest(model: str) -> None:
    pen = SimulatedPen(model)
    report = await conform(plugged(pen), CHECKS, needles=True)
    assert (failing(report), left_out(report)) == ({}, NOT_IN_THE_AIR)
    assert (pen.firmware.state, pen.firmware.epoch != pen.firmware.identity.boot_id) == (PenState.IDLE, True)
    again = await conform(plugged(pen), CHECKS, needles=True)  # its cartridge is marked now, and its memory full
    assert (failing(again), left_out(again)) == ({}, NOT_IN_THE_AIR)


@pytest.mark.parametrize(("mtu", "interval_ms"), [(517, 0), (23, 0), (185, 15)])
@in_virtual_time
async def test_a_good_pen_passes_over_bluetooth(open_air: OpenAir, mtu: int, interval_ms: float) -> None:
    async with open_air(mtu=mtu, interval_ms=interval_ms):
        report = await conform(transport_for("ble:PEN-0001?hci=air"), CHECKS, needles=True)
    assert (failing(report), left_out(report)) == ({}, ["start-without-charge"])


@needs_pty
async def test_a_good_pen_passes_over_tcp_and_serial() -> None:
    async def held(sim: PenSim) -> Report:
        return await conform(sim.transport() if sim.device != sim.url else transport_for(sim.url), CHECKS, needles=True)

    async with by_tcp() as tcp, by_pty() as pty:
        for report in await asyncio.gather(held(tcp), held(pty)):
            assert (failing(report), left_out(report)) == ({}, NOT_IN_THE_AIR)


@in_virtual_time
async def test_without_leave_the_needles_do_not_move() -> None:
    pen = SimulatedPen()
    report = await conform(plugged(pen), CHECKS, needles=False)
    assert failing(report) == {}
    assert pen.read().strokes == 0
    assert set(left_out(report)) == {one.name for one in CHECKS if one.needles} | {"broken-connection"}


@in_virtual_time
async def test_a_pen_without_a_cartridge_is_held_against_the_rest() -> None:
    pen = SimulatedPen()
    pen.firmware.cartridge = replace(profiles.fresh_cartridge("simulated", 1), cartridge_id=0)
    report = await conform(plugged(pen), CHECKS, needles=True)
    assert failing(report) == {}
    assert {"armed", "running", "lease-ends-armed"} < set(left_out(report))


@in_virtual_time
async def test_a_kit_that_is_interrupted_stops_the_needles_and_leaves_the_pen_at_rest() -> None:
    pen = SimulatedPen()
    held = asyncio.create_task(conform(plugged(pen), chosen(["as-asked"]), needles=True))
    await until(lambda: pen.firmware.state is PenState.RUNNING, "running needles")
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    assert pen.firmware.state is PenState.IDLE
    assert pen.firmware._needles.latch_id == 1


async def owner_of(pen: SimulatedPen) -> Host:
    """A host that has claimed the pen."""
    owner = Host(Wire(plugged(pen)))
    await owner.wire.open()
    await owner.meet()
    await owner.claim()
    return owner


@in_virtual_time
async def test_a_pen_that_another_program_has_is_left_alone() -> None:
    pen = SimulatedPen()
    owner = await owner_of(pen)
    async with owner.renewing():
        with pytest.raises(LinkError, match="another program has the pen"):
            await conform(plugged(pen), chosen(["FRM"]), needles=True)
        now = await owner.state()
        assert (now.state, now.cause) == (PenState.IDLE, Cause.NONE), "a STOP would have latched it"
    await owner.wire.close()


@in_virtual_time
async def test_a_pen_whose_owner_has_left_is_waited_for() -> None:
    pen = SimulatedPen()
    owner = await owner_of(pen)
    await owner.wire.close()
    assert failing(await conform(plugged(pen), chosen(["CLM"]), needles=False)) == {}


class Breaking(Plugged):
    """A line that breaks after so many pieces."""

    def __init__(self, pen: SimulatedPen, pieces: int) -> None:
        super().__init__(pen, Endpoint)
        self._left = pieces

    def connect(self, receive: Receive, lost: Lost) -> None:
        self._lost = lost
        super().connect(receive, lost)

    def take(self, data: bytes) -> None:
        self._left -= 1
        if self._left == 0:
            self.disconnect()
            self._lost("cable pulled")
        elif self._left > 0:
            super().take(data)


@in_virtual_time
async def test_a_line_that_breaks_fails_its_check_with_the_bytes_and_the_rest_is_not_run() -> None:
    checks = chosen(["FRM", "CLM"])
    report = await conform(InProcessTransport(Breaking(SimulatedPen(), 60)), checks, needles=False)
    statuses = [outcome.status for outcome in report.outcomes]
    (broken,) = report.failed
    assert "cable pulled" in broken.why
    assert broken.traffic
    at = statuses.index(Status.FAILED)
    assert 0 < at < len(checks) - 1
    assert set(statuses[at + 1 :]) == {Status.NOT_RUN}
    assert report.counts[Status.NOT_RUN] == len(checks) - at - 1


# --- what only a line can get wrong ----------------------------------------------------------------------------------


class OneZero(Endpoint):
    """One zero byte between two frames."""

    def encode(self, messages: Iterable[AnyMessage]) -> bytes:
        return super().encode(messages).replace(b"\0\0", b"\0").removeprefix(b"\0")


class TwoByTwo(Endpoint):
    """Frames are counted by twos."""

    def encode(self, messages: Iterable[AnyMessage]) -> bytes:
        said = list(messages)
        self._counter += len(said)
        return super().encode(said)


class Unreadable(Endpoint):
    """A frame is damaged before it leaves."""

    def encode(self, messages: Iterable[AnyMessage]) -> bytes:
        return b"\0\x03noise\0" + super().encode(messages)


@pytest.mark.parametrize(
    ("endpoint", "check"), [(OneZero, "zeros-around"), (TwoByTwo, "counted"), (Unreadable, "all-was-readable")]
)
@in_virtual_time
async def test_wrong_framing_is_found(endpoint: type[Endpoint], check: str) -> None:
    report = await conform(plugged(SimulatedPen(), endpoint), chosen([check]), needles=False)
    assert failing(report).keys() == {check}


@in_virtual_time
async def test_a_connection_that_ends_the_claim_is_found(open_air: OpenAir, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_air() as bench:
        transport = transport_for("ble:PEN-0001?hci=air")
        close = transport.close

        async def close_and_release() -> None:
            await close()
            bench.pen.firmware._release(lapsed=True)

        monkeypatch.setattr(transport, "close", close_and_release)
        assert failing(await conform(transport, chosen(["BLE-3"]), needles=False)).keys() == {"broken-connection"}


class Mute(Endpoint):
    """Says nothing."""

    def encode(self, messages: Iterable[AnyMessage]) -> bytes:
        return super().encode(messages)[:0]


@in_virtual_time
async def test_nobody_there_is_said_at_once() -> None:
    with pytest.raises(BrokenRuleError, match="AskIdentity: no Identity within 1 s"):
        await conform(plugged(SimulatedPen(), Mute), CHECKS, needles=False)


# --- the command -----------------------------------------------------------------------------------------------------


def kit(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pen_controller", "conformance", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


async def test_the_command_tells_what_failed_with_its_bytes() -> None:
    sim = PenSim("tcp", "--defect", "clears-any-latch")
    try:
        good = await asyncio.to_thread(kit, sim.url, "--only", "CMD-4", "--json")
        told = await asyncio.to_thread(kit, sim.url, "--only", "STP-5", "--only", "FRM-1", "--no-needles")
        figures = await asyncio.to_thread(kit, sim.url, "--only", "clear-the-latch", "--json")
        nobody = await asyncio.to_thread(kit, sim.url)
    finally:
        sim.end()
    assert (good.returncode, json.loads(good.stdout)["good"]) == (0, True)
    assert (told.returncode, nobody.returncode, figures.returncode) == (3, 2, 3)
    assert "Clear was answered OK 0, not WRONG_STATE 0" in told.stdout
    assert re.search(r"0\.\d+ s -> 00 .* Clear\n", told.stdout)
    assert "add --yes, or --no-needles" in nobody.stderr
    (check,) = json.loads(figures.stdout)["checks"]
    assert (check["status"], check["rules"]) == ("fail", ["STP-5"])
    assert {piece["from"] for piece in check["traffic"]} == {"host", "pen"}
    assert all(bytes.fromhex(piece["hex"]) for piece in check["traffic"])


def test_the_command_refuses_what_is_no_rule_and_no_pen() -> None:
    unknown, gone = kit("socket://127.0.0.1:9", "--only", "XYZ"), kit("socket://127.0.0.1:9", "--no-needles")
    assert (unknown.returncode, gone.returncode) == (2, 3)
    assert "no check of 'XYZ'" in unknown.stderr
    assert "nothing listens there" in gone.stderr
