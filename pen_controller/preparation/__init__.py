"""What comes before needles: what must be known and answered (`preparation`, `answers`, `udi`), and what is planned."""

from pen_controller.preparation.preparation import PRACTICE, Caution, Missing, Preparation, cautions, fit, missing

__all__ = ["PRACTICE", "Caution", "Missing", "Preparation", "cautions", "fit", "missing"]
