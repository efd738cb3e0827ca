"""The pens that the simulator can be: what each reports of itself, and the cartridge in it.

Own figures, not the controller's configuration, so that one wrong number cannot pass on both sides. Depths and rates
are those of the makers' public regulatory summaries; where a maker is silent, a narrow range is assumed.
"""

from dataclasses import dataclass

from protocols.messages import Cartridge, Identity
from protocols.words import Capability

ALL_SENSORS = Capability(sum(Capability))
LEASE_MS = 250
EXPIRY_DAYS = 25_000
"""A cartridge good until mid 2038, in days since 1970-01-01."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A model's envelope: depths in micrometres, rates in tenths of a hertz."""

    needles: int
    depth_um: tuple[int, int]
    rate_dhz: tuple[int, int]


PROFILES = {
    "simulated": Profile(12, (0, 2500), (200, 1500)),
    "skinpen": Profile(14, (0, 2500), (1167, 1167)),
    "exceed": Profile(6, (0, 1500), (1000, 1500)),
    "rejuvapen_nxt": Profile(12, (0, 2500), (400, 800)),
    "dermapen_4": Profile(16, (200, 3000), (400, 1200)),
    "dr_pen_a20": Profile(14, (0, 2000), (400, 800)),
    "skinstylus": Profile(36, (0, 2500), (400, 800)),
    "pro_pen": Profile(14, (0, 1500), (400, 800)),
}


def identity(model: str, number: int, boot_id: int, sample_rate_hz: int) -> Identity:
    """What pen `number` of this model says of itself. Raises `KeyError` for an unknown model."""
    profile = PROFILES[model]
    serial = f"PEN-{number:04d}"
    return Identity(
        serial=serial,
        model=model,
        # A made-up device identifier: GS1 key 01 with company digits that GS1 keeps for examples.
        udi=f"(01)09521234543213(21){serial}",
        firmware_major=1,
        firmware_minor=0,
        firmware_patch=0,
        boot_id=boot_id,
        capabilities=ALL_SENSORS,
        min_depth_um=profile.depth_um[0],
        max_depth_um=profile.depth_um[1],
        min_rate_dhz=profile.rate_dhz[0],
        max_rate_dhz=profile.rate_dhz[1],
        max_force_mn=5000,
        tip_width_um=10_000,
        sample_rate_hz=sample_rate_hz,
        lease_ms=LEASE_MS,
    )


def fresh_cartridge(model: str, cartridge_id: int) -> Cartridge:
    """A sterile cartridge that fits this model."""
    return Cartridge(cartridge_id, PROFILES[model].needles, EXPIRY_DAYS, used_by=0)
