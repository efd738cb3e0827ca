"""A session's records as a table: CSV for spreadsheets, Parquet for notebooks.

A column for each field of the payloads, named as in the JSON; what is itself an object or a list stays JSON.
"""

import csv
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pen_controller.recorder.store import Key, Store

FIRST = ("site", "pen", "session", "seq", "topic")

Cell = str | int | float | bool | None


def write(to: Path, store: Store, key: Key) -> int:
    """Write the session's records to a new file, in order; return how many there are.

    Raises:
        ValueError: The file's name ends neither in .csv nor in .parquet.
        ImportError: Parquet needs pyarrow, which is not installed.
        OSError: The file exists, or cannot be written.
        StoreError: The database cannot be read.
    """
    kinds = {".csv": _write_csv, ".parquet": _write_parquet}
    if to.suffix not in kinds:
        raise ValueError(f"{to}: use a name that ends in .csv or .parquet")
    return kinds[to.suffix](to, store, key)


def _write_csv(to: Path, store: Store, key: Key) -> int:
    columns = dict.fromkeys(FIRST)
    for cells in _cells(store, key):
        columns.update(dict.fromkeys(cells))
    count = 0
    with to.open("x", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(columns))
        lines.writeheader()
        for cells in _cells(store, key):
            lines.writerow(cells)
            count += 1
    return count


def _write_parquet(to: Path, store: Store, key: Key) -> int:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'pen-controller[parquet]'") from error
    rows = list(_cells(store, key))
    columns = dict.fromkeys((*FIRST, *(name for cells in rows for name in cells)))
    table = arrow.table({name: [cells.get(name) for cells in rows] for name in columns})
    with to.open("xb") as file:
        parquet.write_table(table, file)
    return len(rows)


def _cells(store: Store, key: Key) -> Iterator[dict[str, Cell]]:
    for row in store.records(key):
        payload: dict[str, Any] = json.loads(row.payload)
        flat = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in payload.items()}
        yield {**key._asdict(), "seq": row.seq, "topic": row.topic, **flat}
