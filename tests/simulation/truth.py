"""What the oracle is shown: needle, motion, skin and time, and what was done to the world. It knows neither end's code.

A `Moment` is one judged step. A `Deed` is a fact of the world: what a person did, what broke, what bytes arrived, what
was shown or written. No deed says what controller or firmware believe.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Moment(NamedTuple):
    """The pen's physics at one instant; the extremes are since the moment before."""

    t_us: int
    """World time since the script began."""
    deepest_um: float
    """The deepest that any needle reached beyond the tip's rim since the moment before; 0 or less: none was out."""
    retracted: bool
    """All needles in, and the sleeve home."""
    rate_hz: float
    """True speed of the crank."""
    driven: bool
    """Whether the motor is powered."""
    area: str | None
    """The area of skin under the tip, as in `configs/areas.toml`; None in the air."""
    strokes: int
    """True needle cycles since the pen was made."""
    contact_strokes: int
    """Those of them that entered skin."""
    cartridge_id: int
    """Of the cartridge that is in."""


class Kind(StrEnum):
    """What a deed can be."""

    APPROVED = (
        "approved"  # a person asked for an area: area, indication, fitzpatrick, depth_mm, rate_hz, passes, size_cm2
    )
    PREPARED = "prepared"  # everything on the checklist was answered
    RESUMED = "resumed"  # a person took the treatment up again, having been shown why it stopped
    STOP_PRESSED = "stop pressed"  # on the host
    BUTTON_PRESSED = "button pressed"  # on the pen
    AREA_CHANGED = "area changed"  # the person chose another area: area
    STOP_ARRIVED = "stop arrived"  # an intact STOP frame reached the pen
    RENEWAL_ARRIVED = "renewal arrived"  # an intact renewal of the pen's owner reached the pen: host
    TOUCHED = "touched"  # a frame was damaged, repeated, held back or out of order when it reached the pen: how
    EXECUTED = "executed"  # physics began to follow a command: host, command_id, name
    LINK_LOST = "link lost"  # cable pulled or radio gone
    LINK_BACK = "link back"
    HOST_KILLED = "host killed"
    HOST_STALLED = "host stalled"
    HOST_WOKE = "host woke"
    HOST_STARTED = "host started"  # host
    PEN_REBOOTED = "pen rebooted"
    SENSOR_WRONG = "sensor wrong"  # the depth sensor drifts or sticks: error_um (of now); noted as it changes
    MOTOR_STALLED = "motor stalled"
    RUNAWAY = "runaway"  # the crank is driven faster than told: factor
    CARTRIDGE_CHANGED = "cartridge changed"  # cartridge_id, used, expired, needles
    CLOCK_JUMPED = "clock jumped"  # of the host's wall clock: by_s
    DISK_FULL = "disk full"
    DISK_FREE = "disk free"
    BROKER_DOWN = "broker down"
    BROKER_UP = "broker up"
    SHOWN = "shown"  # the host showed the person: text, and `running` as the screen has it
    WRITTEN = "written"  # one record is on the disk for good: seq, record_kind, body
    ENDED = "ended"  # the host told the person that an area or the treatment is done: as the record has it


class Deed(NamedTuple):
    """One fact of the world."""

    t_us: int
    kind: Kind
    detail: Mapping[str, Any] = {}


class Violation(NamedTuple):
    """A hazard's bound that was missed."""

    hazard: str
    """`H01` to `H25`."""
    t_us: int
    said: str
    """In one line: what was seen, and the bound."""
