"""What a loss of power leaves of a SQLite file: every write and sync is noted as SQLite makes it, and played back.

A shim of SQLite's own interface to the system (a "VFS") sits in the very library that `sqlite3` uses, between it and
the disk; the product is what it is. What a disk may do with writes that were not synced: keep any of them, in any
order, and of each any of its sectors. A sector is old or new; SQLite relies on that too
(SQLITE_IOCAP_POWERSAFE_OVERWRITE). A file that was deleted may be there again. The index of the log (`-shm`) is memory
that SQLite never syncs: it may be as it was at any moment before, or zeros, or gone. What is done to a folder is done
in order, as file systems with a journal of their own do it: the index goes before its log.
"""

import _sqlite3  # the module that is linked with the library
import contextlib
import ctypes
import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

SECTOR_BYTES = 512

# A file's name is an address here too: SQLite keeps it, and has more behind it.
XOPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
XDELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
XCLOSE = CFUNCTYPE(c_int, c_void_p)
XWRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
XTRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
XSYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class Vfs(ctypes.Structure):
    """`sqlite3_vfs` of sqlite3.h; the callbacks we leave alone are addresses."""

    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("max_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        ("open", XOPEN),
        ("delete", XDELETE),
        *((f"other_{number}", c_void_p) for number in range(14)),
    ]


class Methods(ctypes.Structure):
    """`sqlite3_io_methods` of sqlite3.h, likewise."""

    _fields_ = [
        ("version", c_int),
        ("close", XCLOSE),
        ("read", c_void_p),
        ("write", XWRITE),
        ("truncate", XTRUNCATE),
        ("sync", XSYNC),
        *((f"other_{number}", c_void_p) for number in range(13)),
    ]


class File(ctypes.Structure):
    """`sqlite3_file`."""

    _fields_ = [("methods", POINTER(Methods))]


class Op(NamedTuple):
    """One thing that SQLite did to a file, or that happened meanwhile.

    `name_end` tells the file by the end of its name: "" for the database, "-wal" for its log. `content` is what was
    written `at` a byte; a file was cut off `at` a byte. "index" is what the index of the log held; "promise" is a
    number (`at`) of records that the writer was told are durable.
    """

    kind: str
    name_end: str
    at: int = 0
    content: bytes = b""


class Recorder:
    """What SQLite does to one database, as long as this is its default interface to the system.

    Args:
        path: the database; other files are left alone.

    Raises:
        OSError, AttributeError: this Python's SQLite cannot be reached.
    """

    def __init__(self, path: Path) -> None:
        self.ops: list[Op] = []
        self._path = path
        self._names: dict[int, str] = {}
        self._methods: dict[int, Methods] = {}
        self._library = ctypes.CDLL(_sqlite3.__file__)
        self._library.sqlite3_vfs_find.restype = POINTER(Vfs)
        self._real: Any = self._library.sqlite3_vfs_find(None)
        self._shim = Vfs.from_buffer_copy(self._real.contents)
        self._shim.name = b"recorder"
        self._shim.open = XOPEN(self._open)
        self._shim.delete = XDELETE(self._delete)

    def promise(self, records: int) -> None:
        """Note that the writer was told so."""
        self._note_index()
        self.ops.append(Op("promise", "", records))

    def start(self) -> None:
        self._library.sqlite3_vfs_register(ctypes.byref(self._shim), 1)

    def stop(self) -> None:
        self._library.sqlite3_vfs_register(self._real, 1)
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._shim))

    def _note_index(self) -> None:
        index = self._path.with_name(f"{self._path.name}-shm")
        if index.exists():
            self.ops.append(Op("index", "-shm", content=index.read_bytes()))

    def _name_end(self, name: int | None) -> str | None:
        found = Path(ctypes.string_at(name).decode() if name else "")
        if found.parent != self._path.parent or found.suffix == ".lock":
            return None
        return found.name.removeprefix(self._path.name)

    def _open(self, _: int, name: int | None, file: int, flags: int, out: int) -> int:
        status: int = self._real.contents.open(ctypes.addressof(self._real.contents), name, file, flags, out)
        name_end = self._name_end(name)
        if status == 0 and name_end is not None:
            self._names[file] = name_end
            opened = File.from_address(file)
            opened.methods = ctypes.pointer(self._watched(opened.methods.contents))
        return status

    def _delete(self, _: int, name: int, sync: int) -> int:
        if (name_end := self._name_end(name)) is not None:
            self.ops.append(Op("delete", name_end))
        status: int = self._real.contents.delete(ctypes.addressof(self._real.contents), name, sync)
        return status

    def _watched(self, real: Methods) -> Methods:
        """Return the methods of a file, with notes taken of those that change it."""
        address = ctypes.addressof(real)
        if address not in self._methods:
            watched = Methods.from_buffer_copy(real)

            def write(file: int, data: int, size: int, at: int) -> int:
                self.ops.append(Op("write", self._names[file], at, ctypes.string_at(data, size)))
                status: int = real.write(file, data, size, at)
                return status

            def truncate(file: int, size: int) -> int:
                self.ops.append(Op("truncate", self._names[file], size))
                status: int = real.truncate(file, size)
                return status

            def sync(file: int, flags: int) -> int:
                status: int = real.sync(file, flags)
                self._note_index()
                self.ops.append(Op("sync", self._names[file]))
                return status

            watched.write, watched.truncate, watched.sync = XWRITE(write), XTRUNCATE(truncate), XSYNC(sync)
            self._methods[address] = watched
        return self._methods[address]


@contextlib.contextmanager
def recording(path: Path) -> Iterator[Recorder]:
    """Note what SQLite does to a database that is opened in here, and closed."""
    recorder = Recorder(path)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()


# --- the disk ---------------------------------------------------------------------------------------------------------

Keep = Callable[[int, int], bool]
"""Whether the disk has kept, of unsynced write number n, sector number m."""


@dataclass
class Content:
    """A file: what is on the disk for good, and what was done to it since."""

    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[Op] = field(default_factory=list)

    def left(self, keep: Keep, first: int) -> bytes:
        """Return what a loss of power leaves of it; its first unsynced write has that number."""
        content = bytearray(self.synced)
        for number, op in enumerate(self.unsynced, first):
            if op.kind == "truncate" and keep(number, 0):
                _resize(content, op.at)
            for sector, at, piece in _sectors(op):
                if keep(number, sector):
                    _resize(content, max(len(content), at + len(piece)))
                    content[at : at + len(piece)] = piece
        return bytes(content)

    def sync(self) -> None:
        self.synced = bytearray(self.left(lambda *_: True, 0))
        self.unsynced = []


class Disk:
    """Plays back what was done, and loses power.

    Args:
        files: what was there before, by the end of their names.
        promised: how many records were promised before.
    """

    def __init__(self, files: Mapping[str, bytes], promised: int | None) -> None:
        self.files = {end: Content(bytearray(files[end])) for end in files if end != "-shm"}
        self.deleted: dict[str, tuple[Content, list[bytes]]] = {}
        """May be there again, and its index: nothing was synced since."""
        self.indices = [files["-shm"]] if "-shm" in files else []
        self.promised = promised

    def do(self, op: Op) -> None:
        """Do the next thing."""
        if op.kind == "promise":
            self.promised = op.at
        elif op.kind == "index":
            self.indices.append(op.content)
        elif op.kind == "delete":
            if op.name_end in self.files:
                self.deleted[op.name_end] = self.files.pop(op.name_end), self.indices
                self.indices = []
        elif op.kind == "sync":
            self.files.setdefault(op.name_end, Content()).sync()
            self.deleted.clear()
        else:
            self.files.setdefault(op.name_end, Content()).unsynced.append(op)

    @property
    def unsynced(self) -> int:
        """How many writes may be lost."""
        return sum(len(content.unsynced) for content in self.files.values())

    def left(self, keep: Keep, chance: random.Random) -> dict[str, bytes]:
        """Return what a loss of power leaves, by the end of the files' names."""
        first, left = 0, {}
        for name_end, content in self.files.items():
            left[name_end] = content.left(keep, first)
            first += len(content.unsynced)
        indices = self.indices
        for name_end, (content, its_indices) in self.deleted.items():
            if name_end not in left and chance.choice((True, False)):
                left[name_end], indices = content.left(lambda *_: True, 0), its_indices
        newest = indices[-1:]
        if index := chance.choice([b"", *newest, *indices, *(bytes(len(each)) for each in newest)]):
            left["-shm"] = index
        return left


def _sectors(op: Op) -> Iterator[tuple[int, int, bytes]]:
    """Yield the pieces of a write that are each in one sector: number, place and content."""
    for sector in range(op.at // SECTOR_BYTES, -(-(op.at + len(op.content)) // SECTOR_BYTES)):
        at, end = max(op.at, sector * SECTOR_BYTES), (sector + 1) * SECTOR_BYTES
        yield sector, at, op.content[at - op.at : end - op.at]


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def losses(
    ops: Sequence[Op],
    chance: random.Random,
    draws: int,
    files: Mapping[str, bytes] = MappingProxyType({}),
    promised: int | None = None,
) -> Iterator[tuple[int | None, dict[str, bytes]]]:
    """Lose power after each thing that was done, in many ways.

    Args:
        ops: what was done.
        chance: which ways.
        draws: how many of each kind: one write alone, all but one, and some by chance, torn; and all, and none.
        files: what was there before; nothing, if left out.
        promised: how many records were promised before; None, if left out: none were ever.

    Yields:
        How many records were promised, None before the first promise, and the files that are left.
    """
    disk = Disk(files, promised)
    for op in ops:
        disk.do(op)
        for keep in _keeps(disk.unsynced, chance, draws):
            yield disk.promised, disk.left(keep, chance)


def _keeps(unsynced: int, chance: random.Random, draws: int) -> Iterator[Keep]:
    """Yield what a disk may keep of so many writes."""
    yield lambda *_: False
    yield lambda *_: True
    for one in chance.sample(range(unsynced), min(draws, unsynced)):
        yield functools.partial(lambda one, number, _: number == one, one)
        yield functools.partial(lambda one, number, _: number != one, one)
    for _ in range(draws if unsynced else 0):
        yield functools.partial(_by_chance, chance.random(), chance.random())


def _by_chance(share: float, seed: float, *which: int) -> bool:
    return random.Random(f"{which} {seed}").random() < share  # noqa: S311  # a simulation, not a secret
