"""The Bluetooth LE service that carries the frames.

The characteristics hold slices of the same stream of bytes that a serial line carries: a frame may be cut anywhere, so
any ATT MTU from 23 to 517 will do.
"""

PEN_SERVICE = "7f3a0001-52d1-4c8e-9b06-1d2e6c5a9f10"
INFO = "7f3a0002-52d1-4c8e-9b06-1d2e6c5a9f10"
"""Read: the frame of one `Identity` message."""
CMD = "7f3a0003-52d1-4c8e-9b06-1d2e6c5a9f10"
"""Write with response: host to pen."""
RSP = "7f3a0004-52d1-4c8e-9b06-1d2e6c5a9f10"
"""Notify: answers, state, events."""
TLM = "7f3a0005-52d1-4c8e-9b06-1d2e6c5a9f10"
"""Notify: samples."""

UDI_FOR_MEDICAL_DEVICES = "00002bff-0000-1000-8000-00805f9b34fb"
