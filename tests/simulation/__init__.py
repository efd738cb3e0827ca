"""Both ends on one virtual clock, with seeded faults, judged by physics: `python -m tests.simulation --help`."""
