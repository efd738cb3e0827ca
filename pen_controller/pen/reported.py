"""What a pen reports of itself, as the limits know it."""

from datetime import timedelta

from pen_controller.limits import CartridgeTag, Envelope
from pen_controller.pen.pen import EPOCH_DAY
from protocols.messages import Cartridge, Identity


def envelope(pen: Identity) -> Envelope:
    """What its firmware permits at most."""
    return Envelope(
        pen.min_depth_um / 1000,
        pen.max_depth_um / 1000,
        pen.min_rate_dhz / 10,
        pen.max_rate_dhz / 10,
        pen.max_force_mn / 1000,
    )


def tag(cartridge: Cartridge) -> CartridgeTag | None:
    """The cartridge that is in; None if there is none."""
    if cartridge.cartridge_id == 0:
        return None
    expires = EPOCH_DAY + timedelta(days=cartridge.expiry_days)
    return CartridgeTag(cartridge.cartridge_id, cartridge.needles, expires, cartridge.used_by or None)
