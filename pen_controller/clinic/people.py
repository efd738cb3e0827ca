"""Who asks: the name and role by which a request is judged and recorded."""

from dataclasses import dataclass

from pen_controller.clinic.accounts import Role

NOBODY = "somebody"
"""By whom a STOP was pressed, if nobody was logged in."""


@dataclass(frozen=True, slots=True)
class Who:
    """An account that is logged in, or the command line."""

    name: str
    role: Role

    def may_work(self, practice: bool) -> bool:  # reads as a question
        """Whether this one may have needles moved; `practice`: those of a simulated pen."""
        return self.role is Role.CLINICIAN or (practice and self.role is Role.ENGINEER)

    def may_read(self, practice: bool) -> bool:
        """Whether this one may read who is treated and what was answered; `practice`: nobody was treated."""
        return practice or self.role is not Role.ENGINEER
