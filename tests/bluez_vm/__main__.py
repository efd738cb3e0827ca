"""Our Bluetooth transport on the system's real stack: `python -m tests.bluez_vm [--json]`.

Builds the guest's image once, boots it under QEMU, and lists what was checked there. Exit status 0 if every check
passed, 1 if not, 2 if this system cannot run them.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from tests.bluez_vm.image import MissingError, cache, prepare
from tests.bluez_vm.machine import Result, check, qemu

TAIL_LINES = 40


def show(results: list[Result]) -> None:
    """Print the results for people."""
    table = Table("check", "", "detail")
    for result in results:
        table.add_row(result.title, "[green]passed" if result.passed else "[red]failed", result.detail)
    Console().print(table)


def main() -> int:
    """Build, run, show; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bluez_vm", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    options = parser.parse_args()
    progress = Console(stderr=True, highlight=False)
    began_s = time.monotonic()

    def say(line: str) -> None:
        progress.print(f"{time.monotonic() - began_s:5.1f} s  {line}", soft_wrap=True)

    try:
        qemu()
        image = prepare(say)
        ready_s = time.monotonic()
        say("booting the guest")
        console = cache() / "console.log"
        results = check(image, console, lambda result: say(f"{'ok' if result.passed else 'FAILED'}: {result.title}"))
    except MissingError as error:
        print(f"bluez_vm: {error}", file=sys.stderr)
        return 2
    passed = bool(results) and all(result.passed for result in results)
    build_s, run_s = round(ready_s - began_s, 1), round(time.monotonic() - ready_s, 1)
    if options.json:
        checks = [asdict(result) for result in results]
        print(json.dumps({"passed": passed, "build_s": build_s, "run_s": run_s, "checks": checks}))
    else:
        show(results)
        print(f"image {build_s} s, run {run_s} s")
    if not passed:
        tail = console.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        print(*tail, f"all of it: {console}", sep="\n", file=sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
