"""Wrong pens: the conformance kit finds each one, and each of its checks finds some."""

import pytest

from pen_controller.conformance.run import CHECKS, Report, chosen, conform
from pen_controller.transports import transport_for
from simulator.defects import DEFECTS, WrongPen
from simulator.pen import SimulatedPen
from tests.lines import PenSim
from tests.plugged import plugged
from tests.running import in_virtual_time
from tests.test_conformance import failing, left_out
from tests.test_pen_sim import end_of, pen_sim

FOUND_BY = {
    "lease-never-ends": "stale-renewals",
    "lease-too-long": "lease-ends-armed lease-ends-running",
    "lease-too-short": "lease-ends-armed",
    "lease-by-claim": "no-lease-by-claim",
    "renews-on-any-time": "stale-renewals",
    "renews-on-times-to-come": "renewals-from-the-future",
    "renews-only-fresh": "fresh-renewals",
    "second-host-takes-over": "second-host",
    "old-claims-come-back": "old-claim",
    "repeated-claims-are-stale": "repeated-claim",
    "epoch-stays": "new-claim",
    "stale-epochs-command": "stale-epoch",
    "anyone-commands": "unclaimed",
    "old-frames-command": "stale-counter",
    "counter-does-not-wrap": "counter-wraps",
    "counter-outlives-claim": "new-claim",
    "claim-never-lapses": "lapse",
    "claim-lapses-early": "lapse",
    "forgets-answers": "repeated-arm",
    "executes-twice": "repeated-command",
    "remembers-eight": "thirty-two-answers",
    "executes-spent-ids": "spent-id",
    "settles-without-memory": "settled",
    "settle-voids-nothing": "void-after-settle",
    "answers-outlive-claim": "new-claim",
    "events-renumbered": "events-kept",
    "events-only-once": "anyone-may-ask",
    "events-with-gaps": "events-kept",
    "events-never-forgotten": "events-kept",
    "keeps-few-events": "events-overflow",
    "samples-with-gaps": "samples-without-gaps",
    "gaps-unmarked": "samples-without-gaps",
    "samples-for-nobody": "samples-only-while-claimed",
    "samples-counted-while-claimed": "samples-only-while-claimed",
    "clamps-silently": "caps-outside-envelope start-over-caps",
    "arms-any-cartridge": "other-cartridge used-cartridge expired-cartridge",
    "arms-without-budget": "repeated-command no-budget",
    "arms-while-running": "arm-while-running",
    "arms-while-latched": "arm-while-latched",
    "arm-epoch-stays": "armed stale-arm",
    "stale-arms-start": "stale-arm",
    "starts-without-lease": "no-lease-by-claim",
    "starts-without-strokes": "start-without-strokes",
    "starts-without-charge": "start-without-charge",
    "starts-unarmed": "start-unarmed",
    "ignores-set": "set-while-running",
    "refused-sets-change": "refused-set",
    "marks-nothing": "use-mark",
    "disarm-latches": "disarmed disarmed-running",
    "disarms-nothing": "released-armed",
    "clears-any-latch": "clear-the-latch",
    "clears-no-latch": "clear-the-latch",
    "runs-deeper": "as-asked",
    "runs-faster": "as-asked",
    "lies-about-depth": "as-asked",
    "stands-still": "running",
    "overspends-budget": "budget-spent",
    "stops-late": "stop-running",
    "stops-only-when-running": "anyone-may-stop",
    "stops-without-latch": "anyone-may-stop",
    "arm-outlives-stop": "stop-armed",
    "last-cause-wins": "first-cause-stays",
    "latches-again": "first-cause-stays",
    "latch-id-stays": "stop-idle",
    "latch-clears-by-itself": "latch-stays",
    "stop-lost-when-busy": "stop-while-busy",
    "stop-only-from-owner": "anyone-may-stop",
    "answers-only-owner": "anyone-may-ask",
    "any-version": "unknown-frames",
    "any-length": "unknown-frames",
    "slow-clock": "lapse",
    "late-heartbeat": "heartbeat",
    "silent-unclaimed": "heartbeat",
    "epoch-of-boot": "anyone-may-ask",
    "longer-lease-promised": "identity-reads",
    "refuses-without-limit": "caps-outside-envelope",
    "refuses-without-event": "repeated-command",
    "events-only-when-asked": "changes-told",
    "stop-unsaid": "stop-idle",
    "claim-keeps-running": "claim-while-armed claim-while-running",
    "release-keeps-arm": "released-armed",
    "release-clears-latch": "released-latched",
    "releases-silently": "released",
    "any-checksum": "damaged-frames",
    "deaf-after-damage": "damaged-frames",
    "whole-frames-only": "cut-and-glued",
}
"""The checks that find a defect, for each; the others may find it too."""
LEAST_DEFECTS = 25
LOW_CHARGE = 0.04
FOUND_ELSEWHERE = {"zeros-around", "counted", "all-was-readable", "broken-connection"}
"""Checks that fail in `test_conformance`, where the line is wrong and not the pen."""


async def held(pen: SimulatedPen, *checks: str) -> Report:
    return await conform(plugged(pen), chosen(checks), needles=True)


def test_every_defect_is_looked_for_and_every_check_finds_one() -> None:
    assert FOUND_BY.keys() == DEFECTS.keys()
    assert len(DEFECTS) > LEAST_DEFECTS
    assert all(part.__doc__ for part in DEFECTS.values())
    names = {name for found in FOUND_BY.values() for name in found.split()}
    assert {one.name for one in CHECKS} - names == FOUND_ELSEWHERE


@pytest.mark.parametrize(("defect", "checks"), FOUND_BY.items())
@in_virtual_time
async def test_the_kit_finds_it(defect: str, checks: str) -> None:
    for check in checks.split():
        for pen, failed in (WrongPen(defect), [check]), (SimulatedPen(), []):
            if check == "start-without-charge":
                pen.body._charge_mah *= LOW_CHARGE
            report = await held(pen, check)
            assert list(failing(report)) == failed
            assert not left_out(report)


@pytest.mark.parametrize("defect", ["lease-too-long", "clamps-silently", "stops-late"])
@in_virtual_time
async def test_the_whole_kit_goes_to_its_end_with_a_wrong_pen(defect: str) -> None:
    report = await held(WrongPen(defect))
    assert len(report.outcomes) == len(CHECKS)
    assert set(FOUND_BY[defect].split()) <= failing(report).keys()


@in_virtual_time
async def test_a_defect_outlasts_a_reboot() -> None:
    pen = WrongPen("clears-any-latch")
    pen.reboot(0)
    assert failing(await held(pen, "clear-the-latch")).keys() == {"clear-the-latch"}


async def test_pen_sim_serves_a_wrong_pen_and_lists_what_can_be_wrong() -> None:
    sim = PenSim("tcp", "--defect", "any-checksum")
    try:
        report = await conform(transport_for(sim.url), chosen(["FRM-3"]), needles=False)
    finally:
        sim.end()
    assert failing(report).keys() == {"damaged-frames"}
    async with pen_sim("tcp", "--defect", "list") as process:
        status, listed, _ = await end_of(process)
    assert (status, [line.split()[0] for line in listed.splitlines()]) == (0, list(DEFECTS))
    async with pen_sim("tcp", "--defect", "no-such") as process:
        assert await end_of(process) == (2, "", "pen-sim: no defect 'no-such': '--defect list' names all\n")
