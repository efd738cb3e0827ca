"""Cases for the oracle: each at its bound, and just beyond it."""

from tests.simulation.cases import commands, lease, stopping
from tests.simulation.cases.case import CASES

__all__ = ["CASES", "commands", "lease", "stopping"]
