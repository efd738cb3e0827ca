"""What can go wrong, each with one clear line for a person."""

from protocols.messages import Answer
from protocols.words import PenLimit, Result


class PenError(Exception):
    """Anything that went wrong with a pen or the line to it."""


class LinkError(PenError):
    """The line could not be opened, broke, or leads to no pen."""


class InUseError(LinkError):
    """Another program on this computer has the line to the pen."""


class UrlError(ValueError):
    """A URL that can name no pen; the text says which forms do."""


class CommandLostError(PenError):
    """The command did not reach the pen, and the pen has said that it never will be executed."""


class UncertainError(PenError):
    """Nobody knows whether the command was executed; the pen has been told to stop."""


class DisarmedError(PenError):
    """The pen holds no grant to run under: it was never armed, or has been stopped since."""


class PenRefusedError(PenError):
    """The pen itself said no."""

    def __init__(self, command: str, answer: Answer) -> None:
        self.answer = answer
        limit = "" if answer.limit is PenLimit.NONE else f" ({_words(answer.limit)}: {answer.value})"
        super().__init__(f"the pen refused to {command}: {_REASONS[answer.result]}{limit}")


_REASONS = {
    Result.OK: "nothing",
    Result.NOT_CLAIMED: "nobody has claimed it",
    Result.CLAIMED_BY_OTHER: "another program owns it; close that one first, or wait two seconds if it was killed",
    Result.STALE_EPOCH: "it was claimed anew meanwhile",
    Result.STALE_ARM: "it was armed anew meanwhile",
    Result.STALE_ID: "it has gone on to later commands",
    Result.WRONG_STATE: "not in its present state",
    Result.OVER_LIMIT: "beyond its own limit",
    Result.LATCHED: "it has stopped and latched; a person must clear it first",
    Result.CARTRIDGE: "not with this cartridge",
    Result.NOT_EXECUTED: "it never saw the command",
    Result.FORGOTTEN: "it has forgotten that command",
    Result.NO_LEASE: "its lease is not being renewed",
}


def _words(limit: PenLimit) -> str:
    return limit.name.lower().replace("_", " ")
