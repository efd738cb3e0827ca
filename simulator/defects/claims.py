"""Wrong about who owns the pen, and about the lease."""
# ruff: noqa: ARG002, D102 - what a method is asked, and for what, is told where it is right

from dataclasses import replace

from protocols.framing import Frame
from protocols.messages import WRAP, Claim
from protocols.words import Result
from simulator.ownership import Claimed, Ownership


class LeaseNeverEnds(Ownership):
    """Once renewed, the lease lives for ever."""

    def __init__(self, epoch: int, lease_us: int) -> None:
        super().__init__(epoch, lease_us << 32)


class LeaseTooLong(Ownership):
    """The lease lasts 500 ms."""

    def __init__(self, epoch: int, lease_us: int) -> None:
        super().__init__(epoch, lease_us * 2)


class LeaseTooShort(Ownership):
    """The lease lasts 125 ms."""

    def __init__(self, epoch: int, lease_us: int) -> None:
        super().__init__(epoch, lease_us // 2)


class LeaseByClaim(Ownership):
    """A claim brings a lease."""

    def claim(self, claim: Claim, frame: Frame, now_us: int) -> Claimed:
        claimed = super().claim(claim, frame, now_us)
        if claimed is Claimed.NEW:
            self.renew(now_us % WRAP, now_us)
        return claimed


class RenewsOnAnyTime(Ownership):
    """A renewal is accepted whatever pen time it quotes."""

    def renew(self, seen_t_us: int, now_us: int) -> bool:
        return super().renew(now_us % WRAP, now_us)


class RenewsOnTimesToCome(Ownership):
    """A renewal that quotes a pen time still to come is accepted."""

    def renew(self, seen_t_us: int, now_us: int) -> bool:
        ahead = (seen_t_us - now_us) % WRAP < WRAP // 2
        return super().renew(now_us % WRAP if ahead else seen_t_us, now_us)


class RenewsOnlyFresh(Ownership):
    """A renewal is void when it quotes a pen time of more than 100 ms ago."""

    def renew(self, seen_t_us: int, now_us: int) -> bool:
        return (now_us - seen_t_us) % WRAP < 100_000 and super().renew(seen_t_us, now_us)


class SecondHostTakesOver(Ownership):
    """A second host's claim is accepted while the first is there."""

    def claim(self, claim: Claim, frame: Frame, now_us: int) -> Claimed:
        if self._claim and self._claim.host_id != claim.host_id:
            self._claim = None
        return super().claim(claim, frame, now_us)


class OldClaimsComeBack(Ownership):
    """A claim is accepted whatever epoch it quotes."""

    def claim(self, claim: Claim, frame: Frame, now_us: int) -> Claimed:
        return super().claim(replace(claim, seen_epoch=self.epoch), frame, now_us)


class RepeatedClaimsAreStale(Ownership):
    """The owner's claim, repeated, is refused."""

    def claim(self, claim: Claim, frame: Frame, now_us: int) -> Claimed:
        claimed = super().claim(claim, frame, now_us)
        return Claimed.STALE if claimed is Claimed.REPEATED else claimed


class EpochStays(Ownership):
    """A new claim makes no new epoch."""

    def claim(self, claim: Claim, frame: Frame, now_us: int) -> Claimed:
        epoch = self.epoch
        claimed = super().claim(claim, frame, now_us)
        self.epoch = epoch
        return claimed


class StaleEpochsCommand(Ownership):
    """Commands under any epoch are obeyed."""

    def admits(self, frame: Frame) -> Result:
        return Result.OK if self.claimed else Result.NOT_CLAIMED


class AnyoneCommands(Ownership):
    """Commands are obeyed while nobody owns the pen."""

    def admits(self, frame: Frame) -> Result:
        return super().admits(frame) if self.claimed else Result.OK


class OldFramesCommand(Ownership):
    """A frame of the owner is obeyed though its counter is old."""

    def is_fresh(self, frame: Frame) -> bool:
        return True


class CounterDoesNotWrap(Ownership):
    """The owner's counter must grow as a plain number, and so ends at 2^32 - 1."""

    def is_fresh(self, frame: Frame) -> bool:
        return frame.counter > self._counter and super().is_fresh(frame)


class CounterOutlivesClaim(Ownership):
    """A new claim does not begin the owner's counter anew."""

    def claim(self, claim: Claim, frame: Frame, now_us: int) -> Claimed:
        before = self._counter
        claimed = super().claim(claim, frame, now_us)
        if claimed is Claimed.NEW and before:
            self._counter = before
        return claimed


class ClaimNeverLapses(Ownership):
    """An owner that has fallen silent stays the owner."""

    def has_lapsed(self, now_us: int) -> bool:
        return False


class ClaimLapsesEarly(Ownership):
    """An owner is forgotten after one second of silence."""

    def has_lapsed(self, now_us: int) -> bool:
        return super().has_lapsed(now_us + 1_000_000)
