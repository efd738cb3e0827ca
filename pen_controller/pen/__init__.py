"""One pen: the handle to it, its line, the guard over its samples, and how it is found and checked.

`Pen` asks, and renews the lease from its control loop (`pen`); `link` puts questions and commands on the line and
settles them; `guard` holds every sample against the grant. A program begins with `Pen.open`.
"""

from pen_controller.pen.pen import BLIND_S, DEAF_S, RENEW_S, SILENT_S, STOP_EVERY_S, LimitError, Pen

__all__ = ["BLIND_S", "DEAF_S", "RENEW_S", "SILENT_S", "STOP_EVERY_S", "LimitError", "Pen"]
