"""Runs a program only as long as somebody holds the other end of standard input.

`python broker_guard.py PROGRAM ARGUMENT...`. When its owner ends, however it ends, the system closes the pipe
and the guard ends the program; when the program ends, so does the guard, with its exit status. It imports
nothing of ours, so that it starts at once.
"""

import os
import subprocess
import sys
import threading

GRACE_S = 3.0


def guard(command: list[str]) -> int:
    """Run `command` until it ends or standard input does; return its exit status."""
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our owner's own words

    def end_with_owner() -> None:
        while os.read(0, 1024):
            pass
        program.terminate()
        try:
            program.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            program.kill()

    threading.Thread(target=end_with_owner, daemon=True).start()
    return program.wait()


if __name__ == "__main__":
    sys.exit(guard(sys.argv[1:]))
