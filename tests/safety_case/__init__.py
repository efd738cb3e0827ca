"""The safety case: each hazard with its controls, bounds, tests and their figures: `python -m tests.safety_case`."""
