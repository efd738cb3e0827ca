"""The host of automated microneedling pens: limits, the pen's handle, the record and telemetry.

Start with `Pen.open` (`pen_controller.pen`) and `authorize` (`pen_controller.limits`).
"""
