"""The oracle's judges: each holds one hazard, or a few of a kind, to the bound that the safety page states.

They read `truth.py`, the limits' TOML files and the two written specifications, and nothing of controller or firmware.
"""
