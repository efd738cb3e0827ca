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
    AREA_CHANGED = "area changed"  # the person's choice of another area (an arm for it) reached the pen intact: area
    STOP_ARRIVED = "stop arrived"  # an intact STOP frame reached the pen: host
    # An intact renewal of the pen's owner reached the pen for the first time, and in its order: host, age_us (on the
    # way), quoted_us (how old the pen time is that it quotes)
    RENEWAL_ARRIVED = "renewal arrived"
    # A frame reached the pen damaged ("damaged"), a second time ("repeated"), or after a later one ("out of order"):
    # how, host; where it can be read: name, command_id (or None), age_us
    TOUCHED = "touched"
    # The motor began to follow a command (start or set): host, command_id, name, age_us (of its frame on the way),
    # touched (as in TOUCHED, or None); depth_mm and rate_hz that it told the motor
    EXECUTED = "executed"
    # The pen's first OK to a claim, release, arm, disarm or clear left it: host, command_id, name, age_us and touched
    # (of the command's frame)
    ACCEPTED = "accepted"
    HALT_SENT = "halt sent"  # the host put a STOP or a Disarm on the line: name
    # The answer to a start, set or arm, or to a Settle of it, did not reach the host intact: host, command_id
    ANSWER_LOST = "answer lost"
    ANSWERED = "answered"  # one did, or a State that shows the claim is over: host, command_id
    LINK_LOST = "link lost"  # by: "cable" (the host's system knows at once) or "radio" (nobody is told)
    LINK_BACK = "link back"
    LINE_FAULTY = "line faulty"  # from now on frames may be lost, damaged, late: way ("to pen", "to host"), fault
    LINE_WHOLE = "line whole"  # that is over: way, fault
    HOST_KILLED = "host killed"  # or closed in order, when it has ended
    HOST_STALLED = "host stalled"  # nothing of it runs; suspended: its clock stands still too
    HOST_WOKE = "host woke"
    HOST_STARTED = "host started"  # host; again: whether another run of it was there before
    RIVAL = "rival"  # a second host begins to want the pen: host, choice ("claim", "bombard" or "stop")
    PEN_REBOOTED = "pen rebooted"  # the power goes; back_us: when it is there again, and the pen speaks
    SENSOR_WRONG = "sensor wrong"  # the depth sensor drifts or sticks: error_um (of now); noted as it changes
    FORCE_STUCK = "force stuck"  # stuck: False when it, and the contact told by it, is free again
    MOTOR_STALLED = "motor stalled"  # stalled: False when it is free again
    RUNAWAY = "runaway"  # the crank is driven faster than told: factor; 1.0 when that is over
    # Also of the first one, at the very beginning: cartridge_id, used (for another treatment), expired, needles
    CARTRIDGE_CHANGED = "cartridge changed"
    CLOCK_JUMPED = "clock jumped"  # of the host's wall clock: by_s
    DISK_FULL = "disk full"
    DISK_FREE = "disk free"
    BROKER_DOWN = "broker down"
    BROKER_UP = "broker up"
    SHOWN = "shown"  # the host showed the person: text, and `running` as the screen has it; when it changes
    WRITTEN = "written"  # one record is on the disk for good: session, seq, record_kind, body
    # The host told the person that an area (area) or the treatment (area None) is done; areas: their figures, each as
    # the record's summary has it. After a treatment may come another, which begins at zero and needs its own PREPARED
    ENDED = "ended"


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
