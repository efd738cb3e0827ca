"""Golden frames of protocol 1, made from the tables in protocols/README.md alone.

Nothing here uses the project's codec: the tables are read as text, integers, CRC and COBS are written out plainly. What
this makes and what the codec makes must be the same bytes. `python -m tests.golden` writes the files.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PROTOCOLS = Path(__file__).parent.parent / "protocols"
README = PROTOCOLS / "README.md"
V1 = PROTOCOLS / "vectors" / "v1.json"
INVALID = PROTOCOLS / "vectors" / "invalid.json"

Fields = dict[str, Any]
TOP = 2**32 - 1


class Layout(NamedTuple):
    """One message as the README has it. `type` is None for the record of a sample."""

    type: int | None
    size: str
    wire_types: dict[str, str]


# --- the text --------------------------------------------------------------------------------------------------------

_SECTION = re.compile(r"^(#+) (?:0x([0-9a-f]{2}) )?(\w+)(?: \((.+)\))?$")


def _sections() -> Iterator[tuple[re.Match[str], list[list[str]]]]:
    """Every heading of one word, with the rows of the table under it (without the table's own head)."""
    for part in re.split(r"\n(?=#)", README.read_text("utf-8")):
        heading, *lines = part.splitlines()
        if found := _SECTION.match(heading):
            rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
            yield found, rows[2:]


LAYOUTS = {
    found[3]: Layout(int(found[2], 16) if found[2] else None, found[4], {row[0]: row[1] for row in rows})
    for found, rows in _sections()
    if found[4]
}
WORDS = {
    found[3]: {row[1]: int(row[0]) for row in rows}
    for found, rows in _sections()
    if rows and rows[0][0].isdigit() and found[1] == "###"
}
ENUM_FIELDS = {
    ("State", "state"): "PenState",
    ("State", "cause"): "Cause",
    ("Answer", "result"): "Result",
    ("Answer", "limit"): "PenLimit",
    ("Event", "kind"): "EventKind",
}


# --- the bytes -------------------------------------------------------------------------------------------------------


def _kind_and_size(wire_type: str) -> tuple[str, int]:
    kind = wire_type.rstrip("0123456789")
    return kind, int(wire_type.removeprefix(kind))


def field_bytes(wire_type: str, value: Any) -> bytes:
    """One field."""
    kind, size = _kind_and_size(wire_type)
    if kind == "text":
        return str(value).encode("ascii").ljust(size, b"\0")
    return int(value).to_bytes(size // 8, "little", signed=kind == "i")


def body(name: str, fields: Fields) -> bytes:
    """The body of one message."""
    if name == "Samples":
        return field_bytes("u32", fields["first"]) + b"".join(body("Sample", record) for record in fields["records"])
    return b"".join(field_bytes(wire, fields[field]) for field, wire in LAYOUTS[name].wire_types.items())


def crc32(data: bytes) -> int:
    """CRC-32 as FRM-4 says, bit by bit."""
    crc = TOP
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ TOP


def cobs(data: bytes) -> bytes:
    """Consistent overhead byte stuffing: each code byte says how far the next one is; FF stands for no zero."""
    out, block = bytearray(), bytearray()
    for index, byte in enumerate(data):
        if byte:
            block.append(byte)
        full = len(block) == 254 and index + 1 < len(data)
        if not byte or full:
            out += bytes([len(block) + 1]) + block
            block.clear()
    return bytes(out + bytes([len(block) + 1]) + block)


def seal(content: bytes) -> bytes:
    """Header and body with their CRC, stuffed, between zeros."""
    return b"\0" + cobs(content + field_bytes("u32", crc32(content))) + b"\0"


def frame(type_: int, body_: bytes, *, epoch: int = 7, counter: int = 9, version: int = 1) -> bytes:
    """One frame."""
    header = [("u8", version), ("u8", type_), ("u32", epoch), ("u32", counter)]
    return seal(b"".join(field_bytes(*part) for part in header) + body_)


# --- the good ones ---------------------------------------------------------------------------------------------------


def extreme(name: str, *, high: bool) -> Fields:
    """Every field at one end of what it can hold."""

    def value(field: str, wire_type: str) -> Any:
        if enum := ENUM_FIELDS.get((name, field)):
            numbers = WORDS[enum].values()
            return max(numbers) if high else min(numbers)
        kind, size = _kind_and_size(wire_type)
        if kind == "text":
            return "~" * size if high else ""
        if kind == "i":
            return 2 ** (size - 1) - 1 if high else -(2 ** (size - 1))
        return 2**size - 1 if high else 0

    if name == "Samples":
        return {"first": TOP if high else 0, "records": [extreme("Sample", high=high)] * (27 if high else 1)}
    return {field: value(field, wire) for field, wire in LAYOUTS[name].wire_types.items()}


def _row(name: str, *values: Any) -> tuple[str, Fields]:
    return name, dict(zip(LAYOUTS[name].wire_types, values, strict=True))


def _record(i: int) -> Fields:
    counts = (4_000_000 + 10_000 * i, 900 + i, 700 + i, 120_000 + 200 * i, 500 - 190 * i, -30 * i)
    return _row("Sample", *counts, 998 + i, 1500, 1000, 210, 9000, 31)[1]


TYPICAL = dict([
    _row("AskEvents", 17),
    _row("Claim", 1, 0x0123456789ABCDEF, 900),
    _row("Release", 6),
    _row("Arm", 2, 8, 1000, 1100, 3000, 40_000, 0x00C0FFEE12345678, 77, 20_800),
    _row("Disarm", 5),
    _row("Start", 3, 1, 750, 1000),
    _row("Set", 4, 1, 500, 900),
    _row("Clear", 5, 1),
    _row("Settle", 3),
    _row("Renew", 4_000_000),
    _row("AckEvents", 17),
    _row("Identity", "SIM-0001", "simulated", "(01)00000000000000", 1, 2, 3, 900, 127, 0, 2500, 200, 1500, 5000, 10_000,
         100, 250),
    _row("State", 900, 4_000_000, 2, 0, 0, 6, 1, 8, 750, 1000, 760, 900, 39_100, 3, 4, 6, 88, 315),
    _row("Answer", 3, 0x14, 7, 5, 1000),
    _row("Cartridge", 0x00C0FFEE12345678, 12, 20_900, 77),
    _row("Event", 6, 4_000_000, 6, 2, 250_000),
    ("Samples", {"first": 400, "records": [_record(i) for i in range(10)]}),
])  # fmt: skip


def good() -> list[Fields]:
    """What v1.json holds."""
    cases = []
    for name, layout in LAYOUTS.items():
        if layout.type is None:
            continue
        variants = [("lowest", 0, 0, extreme(name, high=False)), ("highest", TOP, TOP, extreme(name, high=True))]
        if name in TYPICAL:
            variants.append(("typical", 901, 42, TYPICAL[name]))
        for variant, epoch, counter, fields in variants:
            content = body(name, fields)
            sealed = frame(layout.type, content, epoch=epoch, counter=counter)
            cases.append({
                "name": f"{name}, {variant}", "message": name, "type": layout.type, "epoch": epoch, "counter": counter,
                "fields": fields, "body_hex": content.hex(), "frame_hex": sealed.hex(),
            })  # fmt: skip
    return cases


# --- the bad ones ----------------------------------------------------------------------------------------------------


def damaged() -> list[Fields]:
    """Streams, what is dropped from them, and what still comes out."""
    renew = frame(0x18, bytes.fromhex("00093d00"))
    stop = frame(0x05, b"")
    inner = renew[1:-1]
    content = b"\x01\x18" + bytes(8) + bytes.fromhex("00093d00")
    swapped = b"\0" + cobs(content + crc32(content).to_bytes(4, "big")) + b"\0"
    cases: list[tuple[str, bytes, dict[str, int], list[bytes]]] = [
        ("zeros alone are nothing", bytes(9), {}, []),
        ("two frames with one zero between them", renew[:-1] + stop, {}, [renew, stop]),
        ("garbage right before a frame", b"\xffnoise" + renew, {"cobs": 1}, [renew]),
        ("a frame cut inside a block of COBS, then a good one", renew[:8] + stop, {"cobs": 1}, [stop]),
        ("a frame cut between blocks, then a good one", renew[:9] + stop, {"too_short": 1}, [stop]),
        ("a code byte that points past the end", b"\0\xff" + inner[1:] + b"\0", {"cobs": 1}, []),
        ("one bit of the body turned", renew.replace(b"\x3d", b"\x3c"), {"crc": 1}, []),
        ("CRC in the wrong byte order", swapped, {"crc": 1}, []),
        ("nothing after COBS", b"\0\x01\0", {"too_short": 1}, []),
        ("13 bytes after COBS", b"\0" + cobs(b"\x01" * 13) + b"\0", {"too_short": 1}, []),
        ("14 bytes after COBS, all wrong", b"\0" + cobs(b"\x01" * 14) + b"\0", {"crc": 1}, []),
        ("1030 bytes before COBS", b"\0" + b"\x02" * 1030 + b"\0" + stop, {"too_long": 1}, [stop]),
        ("1025 bytes after COBS, with a good CRC", seal(content + bytes(1025 - 4 - len(content))), {"too_long": 1}, []),
        ("no zero for 5000 bytes, then a good frame", b"\xaa" * 5000 + stop, {"too_long": 1}, [stop]),
    ]
    none = {"too_long": 0, "too_short": 0, "cobs": 0, "crc": 0}
    return [
        {"name": name, "stream_hex": stream.hex(), "dropped": none | dropped, "frames_hex": [f.hex() for f in frames]}
        for name, stream, dropped, frames in cases
    ]


def refused() -> list[Fields]:
    """Good frames whose message must be dropped."""

    def broken(name: str, **fields: Any) -> bytes:
        return body(name, TYPICAL[name] | fields)

    samples = body("Samples", TYPICAL["Samples"])
    cases = [
        ("a newer version", "version", frame(0x05, b"", version=2)),
        ("version 0", "version", frame(0x05, b"", version=0)),
        ("a newer version of an unknown type", "version", frame(0x7F, b"\xff", version=2)),
        ("type 0", "type", frame(0x00, b"")),
        ("an unknown type", "type", frame(0x7F, b"")),
        ("Stop with a body", "length", frame(0x05, b"\x01")),
        ("Renew without a body", "length", frame(0x18, b"")),
        ("Arm one byte short", "length", frame(0x12, body("Arm", TYPICAL["Arm"])[:-1])),
        ("Arm one byte long", "length", frame(0x12, body("Arm", TYPICAL["Arm"]) + b"\0")),
        ("Samples without a record", "length", frame(0x86, samples[:4])),
        ("Samples without a number", "length", frame(0x86, b"")),
        ("Samples with half a record", "length", frame(0x86, samples[:-18])),
        ("a serial number that is not ASCII", "text", frame(0x81, b"\xe9" + body("Identity", TYPICAL["Identity"])[1:])),
        ("a serial number with a line feed", "text", frame(0x81, broken("Identity", serial="SIM\n1"))),
        ("a serial number with a zero inside", "text", frame(0x81, broken("Identity", serial="SIM\0001"))),
    ]
    for (name, field), enum in ENUM_FIELDS.items():
        type_ = LAYOUTS[name].type
        assert type_ is not None
        unknown = max(WORDS[enum].values()) + 1
        cases.append((f"{name} with an unknown {field}", "enum", frame(type_, broken(name, **{field: unknown}))))
    return [{"name": name, "reason": reason, "frame_hex": sealed.hex()} for name, reason, sealed in cases]


def text(content: Any) -> str:
    """The content of a vector file."""
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    V1.write_text(text({"protocol": 1, "frames": good()}), "utf-8", newline="\n")
    INVALID.write_text(text({"protocol": 1, "damaged": damaged(), "refused": refused()}), "utf-8", newline="\n")
