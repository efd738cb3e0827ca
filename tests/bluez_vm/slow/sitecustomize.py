"""Slows time down for every Python program of the guest: host and pen alike, but neither BlueZ nor the kernel.

An emulated processor is 20 times slower than its host or worse, and a lease of 250 ms knows no mercy.
"""

import selectors
import time

SLOWER = 4

_monotonic, _monotonic_ns, _select = time.monotonic, time.monotonic_ns, selectors.DefaultSelector.select


def _slow_select(self, timeout=None):
    return _select(self, None if timeout is None else timeout * SLOWER)


time.monotonic = lambda: _monotonic() / SLOWER
time.monotonic_ns = lambda: _monotonic_ns() // SLOWER
selectors.DefaultSelector.select = _slow_select
