"""Every message of protocol version 1, each written once.

A message is a frozen dataclass whose annotations are its wire format: little-endian, in the order of the fields, units
in the names. `encode` and `decode` turn messages into frames and back. Samples, being arrays, have `samples.py`.

Times `t_us` are the pen's own clock since it booted, modulo 2**32 (about 71.6 minutes).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import EnumType
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar, get_args, get_type_hints

from protocols import framing
from protocols.framing import BODY_OFFSET, VERSION, Frame, WireError
from protocols.samples import Samples
from protocols.words import Capability, Cause, EventKind, PenLimit, PenState, Result, StateFlag

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
I16 = Annotated[int, "h"]
U32 = Annotated[int, "I"]
I32 = Annotated[int, "i"]
U64 = Annotated[int, "Q"]
Text16 = Annotated[str, "16s"]
Text64 = Annotated[str, "64s"]

WRAP: Final = 1 << 32
"""`t_us`, counters and epochs count modulo this."""


def is_newer(a: int, b: int) -> bool:
    """Whether counter `a` comes after `b`, both modulo 2**32 (serial number arithmetic, RFC 1982)."""
    return 0 < (a - b) % WRAP < WRAP // 2


class NewerProtocolError(WireError):
    """A frame of a protocol version that this package does not speak."""


# --- how a message is described --------------------------------------------------------------------------------------


class Message:
    """What all messages share. Subclasses are made by `@message`."""

    __slots__ = ()
    TYPE: ClassVar[int]
    NAMES: ClassVar[tuple[str, ...]]
    STRUCT: ClassVar[struct.Struct]
    CONVERT: ClassVar[tuple[tuple[int, Callable[[Any], Any]], ...]]
    TEXTS: ClassVar[tuple[tuple[int, int], ...]]

    def pack(self) -> bytes:
        """Make the body's bytes.

        Raises:
            WireError: a value does not fit its field.
        """
        values = [getattr(self, name) for name in self.NAMES]
        try:
            for index, width in self.TEXTS:
                values[index] = _ascii(values[index], width)
            packed = self.STRUCT.pack(*values)
        except (struct.error, ValueError, AttributeError) as error:
            raise WireError(f"{self!r} does not fit the wire: {error}") from None
        return packed

    @classmethod
    def unpack(cls, frame: Frame) -> Self:
        """Read the body of a frame of this type.

        Raises:
            WireError: the body has another length, or holds a value that the protocol does not know.
        """
        if frame.body_bytes != cls.STRUCT.size:
            raise WireError(f"{cls.__name__} of {frame.body_bytes} bytes, expected {cls.STRUCT.size}")
        values: list[Any] = list(cls.STRUCT.unpack_from(frame.raw, BODY_OFFSET))
        try:
            for index, convert in cls.CONVERT:
                values[index] = convert(values[index])
        except ValueError as error:
            raise WireError(f"{cls.__name__}: {error}") from None
        return cls(*values)


def _ascii(text: str, width: int) -> bytes:
    # struct would cut a longer text without a word, and zeros at its end would be lost.
    if not (text.isascii() and text.isprintable() and len(text) <= width):
        raise ValueError(f"{text!r}: at most {width} printable ASCII characters")
    return text.encode()


def _text(raw: bytes) -> str:
    text = raw.rstrip(b"\0").decode("ascii")
    if not text.isprintable():
        raise ValueError(f"{text!r} is not printable")
    return text


M = TypeVar("M", bound=type[Message])
_BY_TYPE: dict[int, type[Message]] = {}


def message(type_: int) -> Callable[[M], M]:
    """Give a dataclass of annotated fields its wire format and its type number."""

    def describe(cls: M) -> M:
        codes: list[str] = []
        convert: list[tuple[int, Callable[[Any], Any]]] = []
        texts: list[tuple[int, int]] = []
        hints = get_type_hints(cls, include_extras=True)
        for index, field in enumerate(fields(cls)):  # type: ignore[arg-type]  # every M is a dataclass
            kind, code = get_args(hints[field.name])
            codes.append(code)
            if isinstance(kind, EnumType):
                convert.append((index, kind))
            elif kind is str:
                convert.append((index, _text))
                texts.append((index, struct.calcsize(code)))
        cls.TYPE = type_
        cls.NAMES = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]  # as above
        cls.STRUCT = struct.Struct("<" + "".join(codes))
        cls.CONVERT = tuple(convert)
        cls.TEXTS = tuple(texts)
        _BY_TYPE[type_] = cls
        return cls

    return describe


# --- host to pen: questions, which anyone may ask --------------------------------------------------------------------


@message(0x01)
@dataclass(frozen=True, slots=True)
class AskIdentity(Message):
    """Who are you? Answered by `Identity`."""


@message(0x02)
@dataclass(frozen=True, slots=True)
class AskState(Message):
    """How are you? Answered by `State`."""


@message(0x03)
@dataclass(frozen=True, slots=True)
class AskCartridge(Message):
    """Which cartridge is in? Answered by `Cartridge`."""


@message(0x04)
@dataclass(frozen=True, slots=True)
class AskEvents(Message):
    """Send again all kept events after number `after`."""

    after: U32


@message(0x05)
@dataclass(frozen=True, slots=True)
class Stop(Message):
    """Retract and stop now. Taken from anyone, in any state, without claim, counter or epoch."""


# --- host to pen: commands of the owner, each with an id -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command(Message):
    """What the pen executes once for each id, and answers with an `Answer`."""

    command_id: U32


@message(0x10)
@dataclass(frozen=True, slots=True)
class Claim(Command):
    """Make `host_id` the owner. `seen_epoch` is the epoch the pen last showed: an old claim cannot come back."""

    host_id: U64
    seen_epoch: U32


@message(0x11)
@dataclass(frozen=True, slots=True)
class Release(Command):
    """Give the pen up; it stops if it runs."""


@message(0x12)
@dataclass(frozen=True, slots=True)
class Arm(Command):
    """Hand the pen the caps of one area. Only when stopped, retracted and not latched.

    `treatment` names the treatment a cartridge is used for; `today_days` is the host's date in days since 1970-01-01,
    against which the pen reads the cartridge's expiry.
    """

    area: U8
    depth_cap_um: U16
    rate_cap_dhz: U16
    force_cap_mn: U16
    stroke_budget: U32
    cartridge_id: U64
    treatment: U32
    today_days: U16


@message(0x13)
@dataclass(frozen=True, slots=True)
class Disarm(Command):
    """End the arm in good order: retract, stop, forget the caps; no latch."""


@message(0x14)
@dataclass(frozen=True, slots=True)
class Start(Command):
    """Run at this depth and rate, under the arm quoted."""

    arm_epoch: U32
    depth_um: U16
    rate_dhz: U16


@message(0x15)
@dataclass(frozen=True, slots=True)
class Set(Command):
    """Change depth and rate while running, under the arm quoted."""

    arm_epoch: U32
    depth_um: U16
    rate_dhz: U16


@message(0x16)
@dataclass(frozen=True, slots=True)
class Clear(Command):
    """A person has seen latch number `latch_id` and lets the pen go on."""

    latch_id: U16


@message(0x17)
@dataclass(frozen=True, slots=True)
class Settle(Command):
    """What became of command `command_id`? If it was not executed by now, it never will be."""


@message(0x18)
@dataclass(frozen=True, slots=True)
class Renew(Message):
    """Renew the lease. `seen_t_us` is the newest pen time the host has seen, which proves that it hears the pen."""

    seen_t_us: U32


@message(0x19)
@dataclass(frozen=True, slots=True)
class AckEvents(Message):
    """All events up to number `up_to` are recorded; the pen may forget them."""

    up_to: U32


# --- pen to host -----------------------------------------------------------------------------------------------------


@message(0x81)
@dataclass(frozen=True, slots=True)
class Identity(Message):
    """Who the pen is, and its own absolute envelope, which nothing widens."""

    serial: Text16
    model: Text16
    udi: Text64
    firmware_major: U8
    firmware_minor: U8
    firmware_patch: U8
    boot_id: U32
    capabilities: Annotated[Capability, "H"]
    min_depth_um: U16
    max_depth_um: U16
    min_rate_dhz: U16
    max_rate_dhz: U16
    max_force_mn: U16
    tip_width_um: U16
    sample_rate_hz: U16
    lease_ms: U16

    @property
    def firmware(self) -> str:
        """Firmware version as people write it."""
        return f"{self.firmware_major}.{self.firmware_minor}.{self.firmware_patch}"


@message(0x82)
@dataclass(frozen=True, slots=True)
class State(Message):
    """How the pen is: at each change, as an answer, and as a heartbeat every 50 ms."""

    boot_id: U32
    t_us: U32
    state: Annotated[PenState, "B"]
    cause: Annotated[Cause, "B"]
    latch_id: U16
    flags: Annotated[StateFlag, "B"]
    arm_epoch: U32
    area: U8
    depth_set_um: U16
    rate_set_dhz: U16
    deepest_um: U16
    strokes: U32
    budget_left: U32
    last_command_id: U32
    first_event: U32
    last_event: U32
    battery_pct: U8
    temperature_dc: I16

    @property
    def stopped(self) -> bool:
        """Whether the needles are in and stay in."""
        return self.state not in (PenState.RUNNING, PenState.STOPPING) and StateFlag.RETRACTED in self.flags


@message(0x83)
@dataclass(frozen=True, slots=True)
class Answer(Message):
    """What became of a command. `value` is the limit that refused it, or what OK brings (the arm epoch)."""

    command_id: U32
    command_type: U8
    result: Annotated[Result, "B"]
    limit: Annotated[PenLimit, "B"]
    value: I32


@message(0x84)
@dataclass(frozen=True, slots=True)
class Cartridge(Message):
    """The cartridge in the pen; id 0 means none. `used_by` is the treatment marked on it, 0 for a fresh one."""

    cartridge_id: U64
    needles: U8
    expiry_days: U16
    used_by: U32


@message(0x85)
@dataclass(frozen=True, slots=True)
class Event(Message):
    """Something happened. Numbered without gaps from 1 at each boot, kept by the pen until acknowledged."""

    number: U32
    t_us: U32
    kind: Annotated[EventKind, "B"]
    a: I32
    b: I32


# --- both ways -------------------------------------------------------------------------------------------------------

AnyMessage = Message | Samples

_UNPACK: dict[int, Callable[[Frame], AnyMessage]] = {type_: kind.unpack for type_, kind in _BY_TYPE.items()}
_UNPACK[Samples.TYPE] = Samples.unpack


def encode(message_: AnyMessage, *, epoch: int = 0, counter: int = 0) -> bytes:
    """Make the bytes of one message in its frame.

    Raises:
        WireError: a value does not fit its field.
    """
    return framing.encode(message_.TYPE, epoch, counter, message_.pack())


def decode(frame: Frame) -> AnyMessage:
    """Read the message in a frame.

    Raises:
        NewerProtocolError: the frame is of another protocol version.
        WireError: the type is unknown, or the body does not fit it.
    """
    if frame.version != VERSION:
        raise NewerProtocolError(f"protocol version {frame.version}; this program speaks {VERSION}")
    try:
        unpack = _UNPACK[frame.type]
    except KeyError:
        raise WireError(f"unknown message type 0x{frame.type:02x}") from None
    return unpack(frame)


def message_types() -> dict[int, type[Message]]:
    """All messages but `Samples`, by type number."""
    return dict(_BY_TYPE)
