"""Every line and every branch of what must not be wrong: `python -m tests.coverage`.

Which files those are stands in `coverage.ini`. Only their own quick tests count: a line that nothing but a long test of
the whole reaches is a line that nobody has thought about. The exit status is 0 only at 100 %.
"""

import argparse
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WIRE = ("framing", "messages", "vectors", "capture", "capture_told")
ROOMS = ("arm", "budget", "commands", "frames", "lease", "memory", "ownership", "replay", "rooms", "selfcheck", "stop")
HOST = ("limits", "limits_said", "guard", "link", "link_claim")
SWEEPS = ("every_area_at", "every_phase", "healthy", "no_stroke_is", "nothing_that_happens", "one_changed_byte")
"""Words in the names of tests that go over the same lines many times."""


def main() -> int:
    """Run the tests; return the exit status."""
    argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__).parse_args()
    names = [*WIRE, *(f"firmware_{name}" for name in ROOMS), *HOST]
    return pytest.main(
        [
            "-q",
            "-n2",
            "--dist=loadfile",
            "--cov",
            f"--cov-config={HERE / 'coverage.ini'}",
            f"-k={' and '.join(f'not {word}' for word in SWEEPS)}",
            *(str(HERE / f"test_{name}.py") for name in names),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
