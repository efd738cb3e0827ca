"""Hours of treatments: no false stop, no leak: `python -m tests.soak --help`."""
