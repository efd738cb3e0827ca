"""Holds any pen, real or simulated, against every requirement of the wire that can be seen from the wire.

The kit is a host that forgives nothing, and that also does what no host should. It needs no skin: where needles must
run they run in the air, at the least depth and rate. Each chapter of `protocols/README.md` has its file of checks.
"""
