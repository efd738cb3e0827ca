"""One treatment: each area authorized, recorded, armed, run, counted, coached and ended; and what a killed one left.

The way of a command: `treatment` (authorize) -> `minutes` (intent on the record) -> the pen -> `minutes` (outcome).
The way of a sample: the pen -> `treatment` -> `counts` (strokes, passes, technique) -> `minutes` (progress).
"""

from pen_controller.treatment.treatment import Treatment

__all__ = ["Treatment"]
