"""Files of this program: where they lie, and a lock that ends with the process that holds it."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import typer


def data_folder() -> Path:
    """The folder of this user for what this program keeps; made if it is not there. Raises `OSError`."""
    folder = Path(typer.get_app_dir("pen-controller"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def create(path: Path) -> None:
    """Make an empty file that only its owner can read.

    An existing file is not opened: closing it would drop the locks that SQLite holds on it in this process.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def save(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read: whole and on the disk, or the older one stays. Raises `OSError`."""
    part = path.with_name(f"{path.name}.part")
    create(part)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have a file's new name on the disk too; Windows, which opens no folders, does so by itself."""
    if sys.platform != "win32":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a transaction open in a file of its own: a lock on any system, which ends with the process, however it ends.

    Raises:
        sqlite3.OperationalError: SQLITE_BUSY when it is held already, by this process or another.
        OSError, sqlite3.Error: the file cannot be made.
    """
    create(path)
    with contextlib.closing(sqlite3.connect(path, timeout=0, check_same_thread=False)) as lock:
        lock.execute("PRAGMA journal_mode = MEMORY")  # no second file for a transaction without content
        lock.execute("BEGIN EXCLUSIVE")
        yield
