"""Work behind the back of the event loop: a disk or a screen that is stuck must not keep a STOP waiting."""

import queue
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from protocols.capture import Note, Piece

LEAVE_S = 2.0
"""How long the end waits for work that is left; who does not finish by then is stuck."""


class Behind:
    """Has something done with each entry, in order, in a thread of its own, while entered.

    Args:
        work: what to do; once it has failed it is not called again.
        name: what it does, in words.

    Raises:
        OSError: on leaving, if the work has failed, or does not come to its end.
    """

    def __init__(self, work: Callable[[Piece | Note], object], name: str) -> None:
        self._work, self._name = work, name
        self._failed: OSError | None = None
        self._waiting: queue.SimpleQueue[Piece | Note | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def put(self, entry: Piece | Note) -> None:
        """Take the next entry, also before it is entered; waits for nothing."""
        self._waiting.put(entry)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join(LEAVE_S)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._name} is stuck: {self._waiting.qsize()} pieces are left")
        if self._failed is not None:
            raise OSError(f"{self._name} has failed: {self._failed.strerror or self._failed}") from self._failed

    def _run(self) -> None:
        while (entry := self._waiting.get()) is not None:
            if self._failed is None:
                try:
                    self._work(entry)
                except OSError as error:
                    self._failed = error
                    why = error.strerror or error
                    print(f"pen: {self._name} has failed: {why}; the line goes on", file=sys.stderr, flush=True)
