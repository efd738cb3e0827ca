"""A session's records as a table: CSV for spreadsheets, Parquet for notebooks.

A column for each field of the payloads, named as in the JSON; what is itself an object or a list stays JSON. Parquet
holds every value as it is. In CSV a text gets an apostrophe before it where a spreadsheet would take it for a formula
(it begins with = + - @, a tab or a line break), or where it begins with one: take one off the front to have it back.
"""

import contextlib
import csv
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pen_controller.recorder.store import Key, Store

FIRST = ("site", "pen", "session", "seq", "topic")
MARKED = ("=", "+", "-", "@", "\t", "\r", "\n", "'")

Cell = str | int | float | bool | None


def write(to: Path, store: Store, key: Key, step: Callable[[], None] = lambda: None) -> int:
    """Write the session's records to a new file, in order; return how many there are. What fails leaves no file.

    Args:
        to: The file, which must not be there yet; the end of its name says which kind it is.
        store: The open database.
        key: The session.
        step: Called for each record.

    Raises:
        ValueError: The file's name ends neither in .csv nor in .parquet.
        ImportError: Parquet needs pyarrow, which is not installed.
        OSError: The file exists, or cannot be written.
        StoreError: The database cannot be read.
    """
    kinds = {".csv": _write_csv, ".parquet": _write_parquet}
    if to.suffix not in kinds:
        raise ValueError(f"{to}: use a name that ends in .csv or .parquet")
    return kinds[to.suffix](to, store, key, step)


def _write_csv(to: Path, store: Store, key: Key, step: Callable[[], None]) -> int:
    columns = dict.fromkeys(FIRST)
    for cells in _cells(store, key):
        columns.update(dict.fromkeys(cells))
    count = 0
    with _whole(to), to.open("x", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, list(columns))
        lines.writerow({name: _no_formula(name) for name in columns})
        for cells in _cells(store, key):
            lines.writerow({name: _no_formula(value) for name, value in cells.items()})
            count += 1
            step()
    return count


def _no_formula(value: Cell) -> Cell:
    return f"'{value}" if isinstance(value, str) and value.startswith(MARKED) else value


def _write_parquet(to: Path, store: Store, key: Key, step: Callable[[], None]) -> int:
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'pen-controller[parquet]'") from error
    rows = []
    for cells in _cells(store, key):
        rows.append(cells)
        step()
    columns = dict.fromkeys((*FIRST, *(name for cells in rows for name in cells)))
    table = arrow.table({name: [cells.get(name) for cells in rows] for name in columns})
    with _whole(to), to.open("xb") as file:
        parquet.write_table(table, file)
    return len(rows)


@contextlib.contextmanager
def _whole(to: Path) -> Iterator[None]:
    """Leave no half of a file behind; one that was there stays."""
    existed = to.exists()
    try:
        yield
    except BaseException:
        if not existed:
            to.unlink(missing_ok=True)
        raise


def _cells(store: Store, key: Key) -> Iterator[dict[str, Cell]]:
    for row in store.records(key):
        payload: dict[str, Any] = json.loads(row.payload)
        flat = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in payload.items()}
        yield {**key._asdict(), "seq": row.seq, "topic": row.topic, **flat}
