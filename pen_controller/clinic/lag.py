"""How late the control loop is: what it does not do in time, the pen's lease ends."""

import asyncio
from collections import deque

EVERY_S = 0.05
KEPT = 1200
"""A minute of measurements."""


class Lag:
    """Measured while `measure` runs."""

    def __init__(self) -> None:
        self._late_ms: deque[float] = deque([0.0], maxlen=KEPT)

    @property
    def now_ms(self) -> float:
        """How late the loop was just now."""
        return self._late_ms[-1]

    @property
    def worst_ms(self) -> float:
        """The worst of the last minute."""
        return max(self._late_ms)

    async def measure(self) -> None:
        """Go on measuring."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self._late_ms.append(round(max(0.0, loop.time() - due_s) * 1000, 1))
