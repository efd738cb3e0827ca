"""Does a test find every small wrong change?: `python -m tests.mutation [FILE ...] [--children 1]`.

mutmut turns each comparison, number, argument and word of the files below into a wrong one and runs the file's own
quick tests on it, in a copy of the tree. A mutant that no test finds must stand in `survivors.toml` with the reason why
it does no harm. The exit status is 0 only if each one does, and nothing stands there that a test finds by now.

mutmut changes the bodies of functions. It leaves properties alone, which are covered but not mutated, and constants,
most of which are held by tests that name the figure.
"""

import argparse
import os
import sys
import tomllib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutation.mutants import Change, MutmutError, survivors

TESTS = {
    "protocols/framing.py": ("framing", "vectors"),
    "pen_controller/layers.py": ("limits", "limits_said"),
    "pen_controller/limits.py": ("limits", "limits_said"),
    "pen_controller/pen/guard.py": ("guard",),
    "simulator/firmware.py": tuple(
        f"firmware_{part}" for part in ("commands", "frames", "memory", "ownership", "replay", "stop")
    ),
    "simulator/limits.py": ("firmware_arm", "firmware_rooms"),
    "simulator/memory.py": ("firmware_commands", "firmware_memory", "firmware_replay", "firmware_rooms"),
    "simulator/needles.py": tuple(
        f"firmware_{part}" for part in ("arm", "budget", "commands", "lease", "rooms", "selfcheck", "stop")
    ),
    "simulator/ownership.py": ("firmware_lease", "firmware_ownership", "firmware_replay", "firmware_rooms"),
    "simulator/sampler.py": ("firmware_frames", "firmware_memory", "firmware_rooms"),
    "simulator/selfcheck.py": ("firmware_rooms", "firmware_selfcheck"),
}
"""The tests that must find the mutants of each file."""
KNOWN = Path(__file__).with_name("survivors.toml")


def known(file: str) -> dict[Change, str]:
    """The survivors of one file that were looked at, each with why it does no harm."""
    listed = tomllib.loads(KNOWN.read_text("utf-8"))["survivor"]
    return {
        Change(each["file"], each["function"], each["diff"].strip()): each["why"]
        for each in listed
        if each["file"] == file
    }


def main() -> int:
    """Mutate, test, compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"all of {', '.join(TESTS)} if none is named")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, help="mutants tested at the same time")
    options = parser.parse_args()
    if unknown := [file for file in options.files if file not in TESTS]:
        parser.error(f"no tests are named for {', '.join(unknown)}; choose from {', '.join(TESTS)}")
    table = Table("file", "mutants", "found", "reviewed", "new", "no longer")
    trouble: list[str] = []
    for file in options.files or TESTS:
        tests = tuple(f"tests/test_{name}.py" for name in TESTS[file])
        try:
            count, left = survivors(file, tests, options.children)
        except MutmutError as error:
            print(error, file=sys.stderr)
            return 2
        reviewed = known(file)
        new = [change for change in left if change not in reviewed]
        gone = [change for change in reviewed if change not in left]
        table.add_row(file, *(str(n) for n in (count, count - len(left), len(left) - len(new), len(new), len(gone))))
        trouble += [f"no test finds, in {each.function} of {file}:\n{each.diff}\n" for each in new]
        trouble += [f"found by now, take it off the list: {each.function} of {file}:\n{each.diff}\n" for each in gone]
    Console().print(table)
    print(*trouble, sep="\n")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
