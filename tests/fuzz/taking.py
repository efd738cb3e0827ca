"""Values out of a fuzzer's bytes: the same for hypothesis, atheris and a kept file. At their end all is zero."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def or_refusal(work: Callable[[], T], *refusals: type[Exception]) -> T | str:
    """What it returns, or the text with which it refuses; any other error is a broken promise."""
    try:
        return work()
    except refusals as refused:
        return str(refused)


class Taking:
    """Takes values from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """So many bytes, or what is left."""
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int = 1) -> int:
        """An unsigned integer of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def sized(self) -> bytes:
        """Bytes behind a byte that says how many."""
        return self.take(self.number())

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))
