"""Slows down who guesses a password: after some failures in a row each further one doubles the wait."""

from collections.abc import Callable

FREE = 5
MOST_WAIT_S = 60.0


class ThrottledError(Exception):
    """Wait before the next try; one line that says how long."""


class Throttle:
    """Counts the failures of each account since its own last success: a login of one frees nobody to guess another.

    Args:
        now_s: a clock that does not jump.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._failures: dict[str, int] = {}
        self._until_s: dict[str, float] = {}

    def check(self, account: str) -> None:
        """Count a try as failed until `succeed` says otherwise, so that tries at the same time count as well.

        Args:
            account: an account's name; "" for all names that are none.

        Raises:
            ThrottledError: it is too early for another.
        """
        left_s = self._until_s.get(account, 0.0) - self._now_s()
        if left_s > 0:
            raise ThrottledError(f"too many failed logins: wait {left_s:.0f} s")
        self._failures[account] = self._failures.get(account, 0) + 1
        self.fail(account)

    def fail(self, account: str) -> None:
        """The last try at this account was not good; the wait begins now, however long it took to find that out."""
        failures = self._failures.get(account, 0)
        if failures >= FREE:
            self._until_s[account] = self._now_s() + min(MOST_WAIT_S, 2.0 ** (failures - FREE))

    def succeed(self, account: str) -> None:
        """The last try at this account was good."""
        self._failures.pop(account, None)
        self._until_s.pop(account, None)
