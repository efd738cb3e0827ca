"""What a pen's body is made of, and the skin under it.

Figures are "assumed" unless a source is named: of the right order for a small hand-held pen, and no real pen's.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the pen is made of; the defaults are the profile `simulated`."""

    needles: int = 12  # configs: profile `simulated`
    travel_mm: float = 3.0  # assumed: end stop of the sleeve, the deepest of the real pens
    extend_mm_per_s: float = 20.0  # assumed: screw drive
    retract_mm_per_s: float = 400.0  # assumed: spring; 2.5 mm is home in 6.3 ms
    speed_loop_s: float = 0.025  # assumed: 100 Hz within 4 % after 80 ms
    brake_hz_per_s: float = 20_000.0  # assumed: spring-applied brake; 150 Hz to rest in 7.5 ms
    droop_hz_per_mnm: float = 15.0  # assumed: what the speed loop leaves uncorrected
    friction_mnm: float = 0.5  # assumed
    rubbing_mnm_per_n: float = 0.05  # assumed: skin pressed into the tip drags on the needles
    inertia_mnm_s2: float = 1e-4  # assumed: 1 g cm2, rotor and crank
    torque_mnm_per_ma: float = 0.006  # assumed
    stall_ma: float = 1_500.0  # assumed: the driver's current limit
    electronics_ma: float = 30.0  # assumed
    battery_mah: float = 2_000.0  # assumed
    battery_v: float = 7.4  # two lithium cells
    ambient_c: float = 23.0  # assumed
    heating_c_per_w: float = 10.0  # assumed: motor case to the air
    heating_s: float = 120.0  # assumed
    force_filter_s: float = 0.008  # assumed
    contact_on_n: float = 0.25  # assumed
    contact_off_n: float = 0.15  # assumed
    depth_noise_um: float = 8.0  # assumed, like all noise below: standard deviation of a reading
    sleeve_noise_um: float = 5.0
    rate_noise: float = 0.003  # share of the rate
    force_noise: float = 0.05  # share of the force
    force_floor_n: float = 0.02
    current_noise_ma: float = 3.0
    motion_noise: float = 0.02  # share of the displacement since the last reading
    motion_scale_error: float = 0.03  # drawn once a body, within +- this share
    heading_noise_deg: float = 0.3
    heading_drift_deg_per_min: float = 10.0  # drawn once a body, within +- this


@dataclass(frozen=True, slots=True)
class Skin:
    """Skin under the tip, as a spring that a needle pierces; all figures assumed."""

    thickness_mm: float
    stiffness_n_per_mm: float = 2.0
    piercing_n: float = 0.03
    """Force on one needle at which it goes in, and which it then keeps meeting."""
    bone: bool = False  # at `thickness_mm` lies bone, which no needle enters
    bone_n_per_mm: float = 4.0


DEFAULT_SKIN: Final = Skin(1.5)

SKINS: Final = {
    1: Skin(1.3, 2.5, bone=True),  # forehead
    2: Skin(1.3, 2.5, bone=True),  # glabella
    3: Skin(1.2, 2.2, bone=True),  # temple
    4: Skin(0.7, 1.2, 0.02),  # periorbital
    5: Skin(0.5, 0.8, 0.015),  # eyelid
    6: Skin(1.2, 3.0, bone=True),  # nose
    7: Skin(1.5, 2.5, bone=True),  # cheekbone
    8: Skin(1.8, 1.5),  # cheek
    9: Skin(1.8, 2.0),  # chin
    10: Skin(1.1, 1.3, 0.025),  # upper lip
    11: Skin(1.7, 2.2, bone=True),  # jawline
    12: Skin(1.3, 1.2, 0.025),  # neck
    13: Skin(1.5, 1.5),  # decolletage
    14: Skin(1.0, 2.0, bone=True),  # hands
    15: Skin(1.8, 3.0, 0.035, bone=True),  # scalp
    16: Skin(2.8, 1.0),  # abdomen
}
"""Skin by area code; a code that is not here has `DEFAULT_SKIN`."""
