"""Slows time for every Python program of the guest: for host and pen alike, but neither for BlueZ nor the kernel.

An emulated processor is some twenty times slower than its machine, and others may use that too. Without this the checks
would find that a pen latches when its host is slow, which it should, and which says nothing of Bluetooth. So nothing
that is run here can be used to say how fast anything is.
"""

import selectors
import time

SLOWER = 5

_monotonic_ns = time.monotonic_ns


class _SlowSelector(selectors.DefaultSelector):
    """What event loops wait with."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout * SLOWER)


time.monotonic_ns = lambda: _monotonic_ns() // SLOWER
time.monotonic = lambda: time.monotonic_ns() / 1e9
selectors.DefaultSelector = _SlowSelector  # type: ignore[misc]  # what this file is for
