"""Fuzzing: one target for each input that a stranger, a line or a disk may fill with anything.

`targets.TARGETS` has them all, each a function of bytes that fails if its promise is broken. `tests/test_fuzz.py` runs
them on what is kept in `corpus/`, and on what hypothesis makes of it; `python -m tests.fuzz TARGET` runs one for long,
led by coverage (atheris).
"""
