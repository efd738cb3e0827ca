"""Slows down who guesses passwords, of all accounts together: after some failures each further one doubles the wait."""

from collections.abc import Callable

FREE = 5
MOST_WAIT_S = 60.0


class ThrottledError(Exception):
    """Wait before the next try; one line that says how long."""


class Throttle:
    """Counts failures since the last success.

    Args:
        now_s: a clock that does not jump.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._failures, self._until_s = 0, 0.0

    def check(self) -> None:
        """Count a try as failed until `succeed` says otherwise, so that tries at the same time count as well.

        Raises:
            ThrottledError: it is too early for another.
        """
        left_s = self._until_s - self._now_s()
        if left_s > 0:
            raise ThrottledError(f"too many failed logins: wait {left_s:.0f} s")
        self._failures += 1
        if self._failures >= FREE:
            self._until_s = self._now_s() + min(MOST_WAIT_S, 2.0 ** (self._failures - FREE))

    def succeed(self) -> None:
        """The last try was good."""
        self._failures, self._until_s = 0, 0.0
