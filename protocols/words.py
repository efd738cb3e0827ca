"""The words of protocol version 1: states, causes, results, limits, events and flags, with their numbers."""

from enum import IntEnum, IntFlag


class PenState(IntEnum):
    """What the pen is doing."""

    IDLE = 0
    ARMED = 1
    RUNNING = 2
    STOPPING = 3
    LATCHED = 4


class Cause(IntEnum):
    """Why the pen stopped and latched."""

    NONE = 0
    STOP = 1
    LEASE_EXPIRED = 2
    OVER_DEPTH = 3
    OVER_RATE = 4
    OVER_FORCE = 5
    STALLED = 6
    DEPTH_SENSOR = 7
    BUDGET_SPENT = 8
    BATTERY_LOW = 9
    OVER_TEMPERATURE = 10
    ARMED_WHILE_RUNNING = 11
    CLAIM_LOST = 12
    BUTTON = 13
    CARTRIDGE_REMOVED = 14
    FORCE_SENSOR = 15


class Result(IntEnum):
    """How the pen answered a command."""

    OK = 0
    NOT_CLAIMED = 1
    CLAIMED_BY_OTHER = 2
    STALE_EPOCH = 3
    STALE_ARM = 4
    STALE_ID = 5
    WRONG_STATE = 6
    OVER_LIMIT = 7
    LATCHED = 8
    CARTRIDGE = 9
    NOT_EXECUTED = 10
    FORGOTTEN = 11
    NO_LEASE = 12


class PenLimit(IntEnum):
    """Which of the pen's own limits refused a command."""

    NONE = 0
    ENVELOPE_DEPTH_MAX = 1
    ENVELOPE_RATE_MIN = 2
    ENVELOPE_RATE_MAX = 3
    ENVELOPE_FORCE_MAX = 4
    ARM_DEPTH_CAP = 5
    ARM_RATE_CAP = 6
    STROKE_BUDGET = 7
    CARTRIDGE_ABSENT = 8
    CARTRIDGE_OTHER = 9
    CARTRIDGE_USED = 10
    CARTRIDGE_EXPIRED = 11
    BATTERY = 12
    ENVELOPE_DEPTH_MIN = 13


class EventKind(IntEnum):
    """What happened in the pen; the meaning of `a` and `b` is in the specification."""

    BOOTED = 1
    CLAIMED = 2
    RELEASED = 3
    ARMED = 4
    STARTED = 5
    STOPPED = 6
    RETRACTED = 7
    CLEARED = 8
    REFUSED = 9
    CARTRIDGE_MARKED = 10
    DISARMED = 11


class Capability(IntFlag):
    """Which sensors and parts a pen has."""

    DEPTH_SENSOR = 1
    FORCE_SENSOR = 2
    MOTION_SENSOR = 4
    HEADING_SENSOR = 8
    CURRENT_SENSOR = 16
    CARTRIDGE_TAG = 32
    BATTERY = 64


class StateFlag(IntFlag):
    """Facts in a STATE message that are true or not."""

    RETRACTED = 1
    CLAIMED = 2
    CARTRIDGE_PRESENT = 4


class SampleFlag(IntFlag):
    """What the pen says of one sample."""

    CONTACT = 1
    RUNNING = 2
    DEPTH_VALID = 4
    FORCE_VALID = 8
    MOTION_VALID = 16
