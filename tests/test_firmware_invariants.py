"""Whatever anybody says, in whatever order, what must hold of the true needles holds: thousands of seeded frames."""

import copy
from dataclasses import fields

import numpy as np
import pytest

from protocols.messages import (
    Arm,
    AskState,
    Claim,
    Clear,
    Disarm,
    Message,
    Release,
    Renew,
    Set,
    Settle,
    Start,
    State,
    Stop,
    encode,
)
from protocols.words import PenState
from tests.safety_case.figures import measured
from tests.virtual_pen import LEASE_US, MS, Host, VirtualPen, stroke_us

SLOWEST_DHZ = 200
MOVING = (PenState.RUNNING, PenState.STOPPING)
ANY: tuple[type[Message], ...] = (Renew, Arm, Start, Set, Clear, Claim, Disarm, Settle, Stop, Release)
LIKELY: dict[PenState, tuple[type[Message], ...]] = {
    PenState.IDLE: (Claim, Renew, Arm, Arm),
    PenState.ARMED: (Renew, Start, Start),
    PenState.RUNNING: (Renew, Renew, Set),
    PenState.STOPPING: (Renew, Arm),
    PenState.LATCHED: (Renew, Clear, Clear),
}


class Nonsense:
    """Two hosts that know the protocol and not what they want."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.virtual = VirtualPen(seed=seed)
        self.hosts = [Host(host_id=1), Host(host_id=2)]
        self.virtual.host = self.hosts[0]

    def number(self, name: str, host: Host, state: State) -> int:
        """A value for a field: mostly one that makes sense."""
        sensible = {
            "command_id": max(0, host.command_id + int(self.chance.choice([-1, 0, 1, 1, 1, 1, 1, 2]))),
            "host_id": host.host_id,
            "seen_epoch": self.virtual.seen_epoch,
            "cartridge_id": self.virtual.pen.firmware.cartridge.cartridge_id,
            "treatment": 7,
            "today_days": 20_000,
            "arm_epoch": state.arm_epoch,
            "latch_id": state.latch_id,
            "seen_t_us": max(0, self.virtual.now_us - int(self.chance.choice([0, 50, 400, 600]) * MS)),
            "depth_um": int(self.chance.integers(0, 1500)),
            "depth_cap_um": int(self.chance.integers(200, 2600)),
            "rate_dhz": int(self.chance.integers(180, 1200)),
            "rate_cap_dhz": int(self.chance.integers(800, 1550)),
            "force_cap_mn": 5000,
            "stroke_budget": int(self.chance.integers(0, 60)),
            "area": int(self.chance.integers(0, 20)),
        }[name]
        return sensible if self.chance.random() < 0.99 else int(self.chance.integers(0, 256))

    def speak(self, state: State) -> None:
        host = self.hosts[int(self.chance.random() < 0.03)]
        kinds = ANY if self.chance.random() < 0.1 else LIKELY[state.state]
        kind = kinds[self.chance.integers(len(kinds))]
        message = kind(*(self.number(field.name, host, state) for field in fields(kind)))  # type: ignore[arg-type]  # all are dataclasses
        host.command_id = max(host.command_id, getattr(message, "command_id", 0))
        host.epoch = self.virtual.seen_epoch if self.chance.random() < 0.95 else int(self.chance.integers(0, 256))
        self.virtual.say(message, copy.copy(host) if self.chance.random() < 0.05 else host)


@pytest.mark.hazard("H01", "H03", "H07")
@pytest.mark.parametrize("seed", range(10))
def test_what_must_hold_holds(seed: int) -> None:
    nonsense = Nonsense(seed)
    virtual, body = nonsense.virtual, nonsense.virtual.body
    ran = 0
    for _ in range(1000):
        state = next(said for said in virtual.put(encode(AskState())) if isinstance(said, State))
        nonsense.speak(state)
        caps = virtual.pen.firmware._needles.caps
        body.reset_truth()
        virtual.run(nonsense.chance.choice([0, 1, 5, 20, 60, 200]) * MS, every_us=MS, renew=False)
        needles, owner = virtual.pen.firmware._needles, virtual.pen.firmware._owner
        ran += needles.state is PenState.RUNNING
        if not body.retracted:
            assert needles.state in MOVING
            assert owner._renewed_us is not None
            assert virtual.now_us - owner._renewed_us <= LEASE_US + 2 * stroke_us(SLOWEST_DHZ)
        if needles.state is PenState.RUNNING:
            assert caps
            measured("over", body.deepest_extension_um > caps.depth_um + 0.1)
            assert body.deepest_extension_um <= caps.depth_um + 0.1
            assert owner.lease_until_us is not None
            assert virtual.now_us < owner.lease_until_us
            assert needles.set_point.depth_um <= caps.depth_um
            assert needles.set_point.rate_dhz <= caps.rate_dhz
        assert (needles.caps is not None) == (needles.state in (PenState.ARMED, PenState.RUNNING))
    assert ran > 50
