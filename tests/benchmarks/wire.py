"""How fast the wire is: `python -m tests.benchmarks.wire [--json] [--seed N]`.

Telemetry decoding here, command round trips in `round_trip.py`. Each section is a dictionary: figures, what they are
held against, and whether the bar is met; the exit status is 0 only if every bar is. Rivals take turns with us in one
process, so that a slow moment hits both.
"""

import argparse
import json
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import common as mavlink
from rich.console import Console
from rich.table import Table

from protocols.framing import Decoder
from protocols.messages import decode, encode
from protocols.samples import SAMPLE, Samples
from simulator.ports import has_pseudo_terminals

Section = dict[str, Any]

CHUNK_BYTES = 4096
"""What one read from a busy line brings."""
BATCH_SAMPLES = 10
FRAMES = 5_000
REPETITIONS = 15
DECODE_BAR = 30.0
"""Samples a second, over pymavlink's messages a second."""


def chunks(stream: bytes) -> list[bytes]:
    """The stream as a line hands it out."""
    return [stream[start : start + CHUNK_BYTES] for start in range(0, len(stream), CHUNK_BYTES)]


def pen_stream(chance: np.random.Generator) -> list[bytes]:
    """Batches as a running pen sends them at 100 Hz, in chunks."""
    count = FRAMES * BATCH_SAMPLES
    number = np.arange(count)
    records = np.zeros(count, SAMPLE)
    records["t_us"] = 10_000 * number
    records["strokes"] = number
    records["contact_strokes"] = number * 9 // 10
    records["path_um"] = 200 * number
    for name, middle, spread in (
        ("x_um", 0, 40_000), ("y_um", 0, 40_000), ("depth_um", 1000, 20), ("force_mn", 1500, 300),
        ("rate_dhz", 1000, 10), ("current_ma", 210, 20), ("heading_cdeg", 9000, 500),
    ):  # fmt: skip
        records[name] = chance.integers(middle - spread, middle + spread, count)
    records["flags"] = 31
    batches = records.reshape(FRAMES, BATCH_SAMPLES)
    return chunks(b"".join(encode(Samples(10 * i, batch), epoch=1, counter=i) for i, batch in enumerate(batches)))


def mavlink_stream(chance: np.random.Generator) -> list[bytes]:
    """As many `raw_imu` messages as there are batches, in chunks."""
    sender = mavlink.MAVLink(None)
    axes = chance.integers(-30_000, 30_000, (FRAMES, 9)).tolist()
    return chunks(b"".join(sender.raw_imu_encode(10_000 * i, *row).pack(sender) for i, row in enumerate(axes)))


def read_samples(stream: list[bytes]) -> int:
    """Bytes to arrays, our way; how many samples came out."""
    decoder = Decoder()
    count = 0
    for chunk in stream:
        for frame in decoder.feed(chunk):
            message = decode(frame)
            if isinstance(message, Samples):
                count += len(message.records)
    return count


def read_mavlink(stream: list[bytes]) -> int:
    """Bytes to messages, pymavlink's way; how many came out."""
    parser = mavlink.MAVLink(None)
    parser.robust_parsing = True
    return sum(len(parser.parse_buffer(chunk) or []) for chunk in stream)


def rate_per_s(read: Callable[[list[bytes]], int], stream: list[bytes], expected: int) -> float:
    """Things read a second, in one run over the whole stream.

    Raises:
        RuntimeError: not all of them were read, so that the time means nothing.
    """
    start_s = perf_counter()
    count = read(stream)
    elapsed_s = perf_counter() - start_s
    if count != expected:
        raise RuntimeError(f"{read.__name__} read {count} of {expected}")
    return count / elapsed_s


def decoding(seed: int) -> Section:
    """Telemetry from bytes to arrays, against pymavlink in the same run."""
    chance = np.random.default_rng(seed)
    ours, theirs = pen_stream(chance), mavlink_stream(chance)
    pairs = [
        (rate_per_s(read_samples, ours, FRAMES * BATCH_SAMPLES), rate_per_s(read_mavlink, theirs, FRAMES))
        for _ in range(REPETITIONS)
    ]
    ratio = median(samples / messages for samples, messages in pairs)
    samples_per_s, messages_per_s = (median(rates) for rates in zip(*pairs, strict=True))
    return {
        "title": "Telemetry decoding",
        "samples_per_s": round(samples_per_s),
        "frames_per_s": round(samples_per_s / BATCH_SAMPLES),
        "pymavlink_messages_per_s": round(messages_per_s),
        "ratio": round(ratio, 1),
        "bar": f"ratio >= {DECODE_BAR:g}",
        "passed": ratio >= DECODE_BAR,
    }


def show(sections: list[Section]) -> None:
    """Print the figures for people."""
    table = Table("figure", "value")
    table.columns[1].justify = "right"
    for section in sections:
        for key, value in section.items():
            if key == "title":
                table.add_section()
                table.add_row(f"[bold]{value}", "")
            elif key == "passed":
                table.add_row(key, "[green]yes" if value else "[red]no")
            else:
                table.add_row(key.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)


def main() -> int:
    """Run all sections; the exit status says whether every bar was met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.wire", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--seed", type=int, default=1, help="of the random values in the streams (default 1)")
    options = parser.parse_args()
    sections = [decoding(options.seed)]
    if has_pseudo_terminals():
        from tests.benchmarks.round_trip import round_trip  # noqa: PLC0415  # POSIX only

        sections += round_trip()
    if options.json:
        print(json.dumps({"seed": options.seed, "sections": sections}))
    else:
        show(sections)
    return 0 if all(section["passed"] for section in sections) else 1


if __name__ == "__main__":
    sys.exit(main())
