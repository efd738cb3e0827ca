"""What goes out about a treatment over MQTT, and how it is received; there is no way in to a pen.

This package imports no MQTT client by itself: `publisher`, `watch` and `broker` do, when a connection is made.
"""
