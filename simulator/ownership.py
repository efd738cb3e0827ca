"""Who owns the pen, under which epoch, and until when the lease runs."""

from enum import Enum, auto
from typing import Final

from protocols.framing import Frame
from protocols.messages import WRAP, Claim, is_newer
from protocols.words import Result

CLAIM_HOLD_US: Final = 2_000_000
"""An owner who has not renewed for this long has left; another host may claim."""
FRESHNESS_US: Final = 500_000
"""A renewal that quotes an older pen time shows a host that no longer hears the pen, or frames held back on the way."""


class Claimed(Enum):
    """What a claim came to."""

    NEW = auto()
    REPEATED = auto()
    BY_OTHER = auto()
    STALE = auto()


class Ownership:
    """At most one host, at most one live lease. Times are pen time in microseconds since boot."""

    def __init__(self, epoch: int, lease_us: int) -> None:
        self.epoch = epoch
        self.lease_until_us: int | None = None
        self._lease_us = lease_us
        self._claim: Claim | None = None
        self._counter = 0
        self._renewed_us: int | None = None

    @property
    def claimed(self) -> bool:
        """Whether somebody owns the pen."""
        return self._claim is not None

    def claim(self, claim: Claim, frame: Frame, now_us: int) -> Claimed:
        """Judge a claim, and make its host the owner under a new epoch if it is good."""
        if self._claim is not None and self._claim.host_id != claim.host_id:
            return Claimed.BY_OTHER
        if claim == self._claim:
            return Claimed.REPEATED
        if claim.seen_epoch != self.epoch:
            return Claimed.STALE
        self.epoch = (self.epoch + 1) % WRAP or 1
        self._claim, self._counter = claim, frame.counter
        self._renewed_us, self.lease_until_us = now_us, None
        return Claimed.NEW

    def admits(self, frame: Frame) -> Result:
        """Whether a frame comes from the owner in this epoch."""
        if self._claim is None:
            return Result.NOT_CLAIMED
        return Result.OK if frame.epoch == self.epoch else Result.STALE_EPOCH

    def is_fresh(self, frame: Frame) -> bool:
        """Whether the owner's frame is newer than all before; a repeated or overtaken one is not."""
        if not is_newer(frame.counter, self._counter):
            return False
        self._counter = frame.counter
        return True

    def renew(self, seen_t_us: int, now_us: int) -> bool:
        """Renew the lease from now, unless the pen time quoted is too old."""
        if (now_us - seen_t_us) % WRAP > FRESHNESS_US:
            return False
        self._renewed_us = now_us
        self.lease_until_us = now_us + self._lease_us
        return True

    def lease_ends(self, now_us: int) -> bool:
        """True once, when the lease has run out."""
        if self.lease_until_us is None or now_us < self.lease_until_us:
            return False
        self.lease_until_us = None
        return True

    def has_lapsed(self, now_us: int) -> bool:
        """Whether the owner has been silent for so long that the claim is over."""
        return self.claimed and self._renewed_us is not None and now_us - self._renewed_us >= CLAIM_HOLD_US

    def release(self) -> None:
        """Nobody owns the pen; the epoch stays until the next claim."""
        self._claim = self.lease_until_us = None

    def since_renewal_us(self, now_us: int) -> int:
        """Time since the last renewal or claim, -1 where there was none; saturates at 2**31 - 1."""
        return -1 if self._renewed_us is None else min(now_us - self._renewed_us, 0x7FFFFFFF)
