"""The places where pens may be: on cables and in the air, found together."""

import asyncio
from collections.abc import Callable

from pen_controller.pen.scan import NOWHERE, Found, scan


class Places:
    """Only what is found here can be picked.

    Args:
        hci: look for Bluetooth pens by this controller, not by the system's own.
        changed: is called with each place that is found.
    """

    def __init__(self, hci: str | None, changed: Callable[[], None]) -> None:
        self.found: dict[str, Found] = {}
        """By URL."""
        self._hci, self._changed = hci, changed
        self._looking: asyncio.Task[None] | None = None

    @property
    def scanning(self) -> bool:
        """Whether pens are being looked for."""
        return self._looking is not None and not self._looking.done()

    def look(self) -> None:
        """Look for pens; what is found appears in `found`."""
        if not self.scanning:
            self._looking = asyncio.create_task(scan(self.see, hci=self._hci), name="look for pens")
            self._looking.add_done_callback(self._ended)

    def see(self, found: Found) -> None:
        """Know of a place where a pen may be."""
        self.found[found.url] = found
        self._changed()

    def _ended(self, looking: asyncio.Task[None]) -> None:
        if not looking.cancelled() and (error := looking.exception()):
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            why = f"looking for pens broke off: {str(error) or type(error).__name__}"
            self.see(Found(NOWHERE, "pens", trouble=why))

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
