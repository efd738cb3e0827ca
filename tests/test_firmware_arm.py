"""The pen's own limits: what it refuses, with which limit and value, and that it drives what was asked or nothing.

H01: over-depth on thin skin. H02: another area while running. H15: cartridges.
"""

import copy
from dataclasses import replace

import pytest

from protocols.messages import Answer, Cartridge, Clear, Disarm, Start, Stop
from protocols.words import Cause, EventKind, PenLimit, PenState, Result, StateFlag
from simulator.profiles import PROFILES
from tests.safety_case.figures import measured
from tests.virtual_pen import HARD_UM, MS, VirtualPen, armed, running, stroke_us

STATES = ("idle", "armed", "running", "stopping", "latched")
NOT_ARMED = {"idle": Result.WRONG_STATE, "stopping": Result.WRONG_STATE, "latched": Result.LATCHED}


def refusal(limit: PenLimit, value: int, result: Result = Result.OVER_LIMIT) -> tuple[Result, PenLimit, int]:
    return result, limit, value


def said(answer: Answer) -> tuple[Result, PenLimit, int]:
    return answer.result, answer.limit, answer.value


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("area", sorted(HARD_UM))
def test_no_stroke_is_deeper_than_the_cap(area: int, state: str) -> None:
    cap_um = HARD_UM[area]
    begun = VirtualPen() if state == "idle" else armed(area=area, depth_um=cap_um)
    if state == "idle":
        begun.claim()
        begun.renew()
    if state in ("running", "stopping"):
        assert begun.start(cap_um // 2, 1000).result is Result.OK
        begun.run(200 * MS)
    if state in ("stopping", "latched"):
        begun.say(Stop())
    for depth_um in range(0, 2601, 50):
        virtual = copy.deepcopy(begun)
        driven = list(virtual.body.driven)
        answer = virtual.set(depth_um, 1000) if state == "running" else virtual.start(depth_um, 1000)
        virtual.run(200 * MS, every_us=20 * MS)
        if state in NOT_ARMED:
            assert said(answer) == refusal(PenLimit.NONE, 0, NOT_ARMED[state])
        elif depth_um > cap_um:
            assert said(answer) == refusal(PenLimit.ARM_DEPTH_CAP, cap_um)
            assert [(event.a, event.b) for event in virtual.events(EventKind.REFUSED)] == [
                (PenLimit.ARM_DEPTH_CAP, depth_um)
            ]
        else:
            assert answer.result is Result.OK
            driven.append((100, depth_um))
            assert virtual.body._sleeve_mm == pytest.approx(depth_um / 1000)
            assert virtual.state.depth_set_um == depth_um
        assert virtual.body.driven == driven
        measured("over", virtual.body.deepest_extension_um > cap_um + 0.1)
        assert virtual.body.deepest_extension_um <= cap_um + 0.1


@pytest.mark.hazard("H01")
@pytest.mark.parametrize("model", PROFILES)
def test_an_arm_beyond_the_envelope_is_refused_by_name(model: str) -> None:
    virtual = VirtualPen(model)
    virtual.claim()
    own = virtual.pen.firmware.identity
    inside = {"depth_um": own.max_depth_um, "rate_dhz": own.max_rate_dhz, "force_mn": own.max_force_mn}
    beyond = [
        ("depth_um", own.max_depth_um + 1, PenLimit.ENVELOPE_DEPTH_MAX, own.max_depth_um),
        ("depth_um", 65_535, PenLimit.ENVELOPE_DEPTH_MAX, own.max_depth_um),
        ("rate_dhz", own.max_rate_dhz + 1, PenLimit.ENVELOPE_RATE_MAX, own.max_rate_dhz),
        ("rate_dhz", own.min_rate_dhz - 1, PenLimit.ENVELOPE_RATE_MIN, own.min_rate_dhz),
        ("force_mn", own.max_force_mn + 1, PenLimit.ENVELOPE_FORCE_MAX, own.max_force_mn),
        ("budget", 0, PenLimit.STROKE_BUDGET, 1),
    ]
    if own.min_depth_um:
        beyond.append(("depth_um", own.min_depth_um - 1, PenLimit.ENVELOPE_DEPTH_MIN, own.min_depth_um))
    for name, asked, limit, value in beyond:
        assert said(virtual.arm(**(inside | {name: asked}))) == refusal(limit, value)
        refused = virtual.events(EventKind.REFUSED)[-1]
        assert (refused.a, refused.b) == (limit, asked)
        assert virtual.state.state is PenState.IDLE
    assert virtual.arm(**inside).result is Result.OK


@pytest.mark.hazard("H01")
def test_a_set_point_outside_the_arm_or_the_envelope_is_refused_by_name() -> None:
    virtual = VirtualPen("dermapen_4")
    armed(virtual, depth_um=1500, rate_dhz=900)
    for depth_um, rate_dhz, limit, value in (
        (1501, 900, PenLimit.ARM_DEPTH_CAP, 1500),
        (199, 900, PenLimit.ENVELOPE_DEPTH_MIN, 200),
        (1500, 901, PenLimit.ARM_RATE_CAP, 900),
        (1500, 399, PenLimit.ENVELOPE_RATE_MIN, 400),
    ):
        assert said(virtual.start(depth_um, rate_dhz)) == refusal(limit, value)
        assert virtual.body.driven == []
    assert virtual.start(1500, 900).result is Result.OK
    assert virtual.body.driven == [(90, 1500)]


@pytest.mark.hazard("H01")
def test_a_refused_set_changes_nothing() -> None:
    virtual = running(800, 900, depth_um=1000, rate_dhz=1000)
    driven = list(virtual.body.driven)
    for answer, result in (
        (virtual.set(1001, 900), Result.OVER_LIMIT),
        (virtual.set(800, 1001), Result.OVER_LIMIT),
        (virtual.set(800, 100), Result.OVER_LIMIT),
        (virtual.start(800, 900), Result.WRONG_STATE),
    ):
        assert answer.result is result
        state = virtual.state
        assert (state.state, state.depth_set_um, state.rate_set_dhz) == (PenState.RUNNING, 800, 900)
    virtual.host.arm_epoch += 1
    assert virtual.set(700, 900).result is Result.STALE_ARM
    assert virtual.body.driven == driven


def test_set_needs_a_running_pen() -> None:
    virtual = armed()
    assert virtual.set(700, 900).result is Result.WRONG_STATE
    virtual.say(Stop())
    assert virtual.set(700, 900).result is Result.LATCHED
    assert virtual.start(700, 900).result is Result.LATCHED


@pytest.mark.hazard("H02", "H07")
def test_an_older_arm_does_not_start() -> None:
    virtual = armed()
    old = virtual.host.arm_epoch
    armed(virtual, depth_um=500)
    assert virtual.ask(Start(virtual.next_id(), old, 500, 1000)).result is Result.STALE_ARM
    assert virtual.start(500, 1000).result is Result.OK


def test_a_refused_arm_leaves_the_one_before() -> None:
    virtual = armed(area=4, depth_um=500)
    assert virtual.arm(depth_um=9999).result is Result.OVER_LIMIT
    assert (virtual.state.area, virtual.state.arm_epoch) == (4, 1)
    assert said(virtual.start(501, 1000)) == refusal(PenLimit.ARM_DEPTH_CAP, 500)


def test_disarm_stops_in_good_order_and_forgets_the_arm() -> None:
    virtual = running()
    assert virtual.ask(Disarm(virtual.next_id())).result is Result.OK
    assert virtual.state.state is PenState.STOPPING
    assert virtual.arm().result is Result.WRONG_STATE
    assert virtual.ask(Disarm(virtual.next_id())).result is Result.OK
    virtual.run(20 * MS)
    state = virtual.state
    assert (state.state, state.cause, state.latch_id, state.area) == (PenState.IDLE, Cause.NONE, 0, 0)
    assert virtual.start().result is Result.WRONG_STATE
    assert virtual.ask(Disarm(virtual.next_id())).result is Result.OK
    assert len(virtual.events(EventKind.DISARMED)) == 1


@pytest.mark.hazard("H02")
@pytest.mark.parametrize("rate_dhz", [200, 500, 1000, 1170, 1500])
def test_another_area_while_running_stops_and_latches(rate_dhz: int) -> None:
    steady = running(2500, rate_dhz, area=8)
    for step in range(40):
        virtual = copy.deepcopy(steady)
        virtual.run(step * stroke_us(rate_dhz) / 40)
        changed_us = virtual.now_us
        assert virtual.arm(area=4, depth_um=500).result is Result.WRONG_STATE
        virtual.run(15 * MS, every_us=100)
        assert virtual.body.home_us is not None
        measured("home", (virtual.body.home_us - changed_us) / stroke_us(rate_dhz))
        assert virtual.body.home_us - changed_us <= 2 * stroke_us(rate_dhz)
        state = virtual.state
        assert (state.state, state.cause, state.area) == (PenState.LATCHED, Cause.ARMED_WHILE_RUNNING, 0)
    assert virtual.arm(area=4, depth_um=500).result is Result.LATCHED
    assert virtual.ask(Clear(virtual.next_id(), state.latch_id)).result is Result.OK
    answer = virtual.start(400, rate_dhz)
    measured("unarmed", answer.result is Result.OK)
    assert answer.result is Result.WRONG_STATE
    running(400, rate_dhz, virtual, area=4, depth_um=500)


# --- H15: cartridges -------------------------------------------------------------------------------------------------


def put_in(virtual: VirtualPen, **changes: int) -> Cartridge:
    virtual.pen.firmware.cartridge = replace(virtual.pen.firmware.cartridge, **changes)
    return virtual.pen.firmware.cartridge


@pytest.mark.hazard("H15")
def test_the_use_mark_is_written_before_the_first_stroke() -> None:
    virtual = armed(treatment=0xFFFFFFFE)
    assert virtual.pen.firmware.cartridge.used_by == 0
    assert virtual.start().result is Result.OK
    assert virtual.body.true_strokes == 0
    assert virtual.body.phase == 0
    tag = virtual.pen.firmware.cartridge
    assert tag.used_by == 0xFFFFFFFE
    assert virtual.pen.firmware.used_cartridges == {tag.cartridge_id: 0xFFFFFFFE}
    (marked,), (started,) = virtual.events(EventKind.CARTRIDGE_MARKED), virtual.events(EventKind.STARTED)
    assert (marked.a, marked.number) == (-2, started.number - 1)


@pytest.mark.hazard("H15")
def test_a_treatment_may_go_on_with_its_cartridge_and_no_other_may() -> None:
    virtual = running(treatment=7)
    virtual.ask(Disarm(virtual.next_id()))
    virtual.run(20 * MS)
    used = refusal(PenLimit.CARTRIDGE_USED, 0, Result.CARTRIDGE)
    assert said(virtual.arm(treatment=8)) == used
    running(virtual=virtual, treatment=7)
    assert len(virtual.events(EventKind.CARTRIDGE_MARKED)) == 1


@pytest.mark.hazard("H15")
def test_a_rewritten_tag_does_not_make_a_cartridge_fresh_not_even_by_a_reboot() -> None:
    virtual = running(treatment=7)
    virtual.pen.reboot(virtual.now_us)
    put_in(virtual, used_by=0)
    virtual.run(100 * MS, renew=False)
    virtual.claim()
    assert said(virtual.arm(treatment=8)) == refusal(PenLimit.CARTRIDGE_USED, 0, Result.CARTRIDGE)
    running(virtual=virtual, treatment=7)


@pytest.mark.hazard("H15")
def test_cartridges_that_may_not_be_used() -> None:
    virtual = VirtualPen()
    virtual.claim()
    fresh = virtual.pen.firmware.cartridge
    for changes, asked, limit, value in (
        ({"cartridge_id": 0}, {"cartridge_id": 0}, PenLimit.CARTRIDGE_ABSENT, 0),
        ({}, {"cartridge_id": fresh.cartridge_id + 1}, PenLimit.CARTRIDGE_OTHER, 0),
        ({"used_by": 3}, {"treatment": 7}, PenLimit.CARTRIDGE_USED, 0),
        ({}, {"treatment": 0}, PenLimit.CARTRIDGE_USED, 0),
        ({"expiry_days": 20_000}, {"today_days": 20_001}, PenLimit.CARTRIDGE_EXPIRED, 20_000),
    ):
        virtual.pen.firmware.cartridge = replace(fresh, **changes)
        answer = virtual.arm(area=6, **asked)
        measured("starts", answer.result is Result.OK)
        assert said(answer) == refusal(limit, value, Result.CARTRIDGE)
        refused = virtual.events(EventKind.REFUSED)[-1]
        assert (refused.a, refused.b) == (limit, asked.get("today_days", 6))
        assert (StateFlag.CARTRIDGE_PRESENT in virtual.state.flags) == bool(virtual.pen.firmware.cartridge.cartridge_id)
    virtual.pen.firmware.cartridge = replace(fresh, expiry_days=20_000)
    assert virtual.arm(today_days=20_000).result is Result.OK


@pytest.mark.hazard("H15")
@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"cartridge_id": 0}, PenLimit.CARTRIDGE_ABSENT),
        ({"cartridge_id": 9}, PenLimit.CARTRIDGE_OTHER),
        ({"used_by": 9}, PenLimit.CARTRIDGE_USED),
    ],
)
def test_a_cartridge_changed_since_the_arm_does_not_start(changes: dict[str, int], limit: PenLimit) -> None:
    virtual = armed()
    put_in(virtual, **changes)
    assert said(virtual.start()) == refusal(limit, 0, Result.CARTRIDGE)
    measured("starts", len(virtual.body.driven))
    assert virtual.body.driven == []
    assert virtual.pen.firmware.used_cartridges == {}


@pytest.mark.parametrize(("charge_pct", "result"), [(4.4, Result.OVER_LIMIT), (4.6, Result.OK)])
def test_an_almost_empty_battery_does_not_start(charge_pct: float, result: Result) -> None:
    virtual = armed()
    virtual.body._charge_mah = virtual.body.parameters.battery_mah * charge_pct / 100
    virtual.run(50 * MS)
    answer = virtual.start()
    assert answer.result is result
    assert (answer.limit, answer.value) == ((PenLimit.BATTERY, 5) if charge_pct < 4.5 else (PenLimit.NONE, 0))
