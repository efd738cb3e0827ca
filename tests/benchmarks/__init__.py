"""Measurements against a bar, each run as `python -m tests.benchmarks.NAME [--json]`."""
