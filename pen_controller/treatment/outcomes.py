"""How asking for an area can end other than well: refused, stopped, closed."""

from pen_controller.errors import PenError
from pen_controller.limits import Limit, Refusal
from pen_controller.treatment.counts import closing


class RefusedError(Exception):
    """An area may not be treated like this. `refusal` has the limit, its value and its source."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


class StoppedError(PenError):
    """The needles stopped before the area was done; a person decides whether to resume. The text says why."""


class ClosedError(StoppedError):
    """The needles stopped at a hard limit: the area is closed for the rest of the treatment."""

    def __init__(self, area: str, limit: Limit) -> None:
        self.area, self.limit = area, limit
        super().__init__(closing(area, limit))
