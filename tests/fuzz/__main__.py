"""`python -m tests.fuzz TARGET`: a long run of one target, led by the coverage of our code."""

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(folder.name for folder in CORPUS.iterdir())
MAX_BYTES = 1024


def main() -> int:
    """Run what the command line asks for; 0 if every promise held."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=NAMES)
    parser.add_argument("--all", action="store_true", help="every target, one after the other")
    parser.add_argument("--seconds", type=int, default=180, help="how long, each (default: 180)")
    parser.add_argument("--merge", metavar="FOLDER", help="instead, keep of what a run has found what goes new ways")
    asked, own_options = parser.parse_known_args()  # libFuzzer's own, with which it calls itself to merge
    if asked.seconds < 1:
        parser.error("--seconds: give 1 or more")
    if bool(asked.target) == asked.all:
        parser.error(f"name one target, or --all: {', '.join(NAMES)}")
    if asked.all:
        own = [sys.executable, "-m", "tests.fuzz", "--seconds", str(asked.seconds)]
        return max(subprocess.call([*own, name]) for name in NAMES)
    try:
        atheris = importlib.import_module("atheris")  # for Linux and macOS only, and only here
    except ImportError:
        print("tests.fuzz: atheris is not installed: python -m pip install atheris (Linux, macOS)", file=sys.stderr)
        return 2
    return _fuzz(atheris, asked.target, own_options or _options(asked.target, asked.seconds, asked.merge))


def _options(name: str, seconds: int, merge: str | None) -> list[str]:
    """What libFuzzer is told; what a run finds, and what breaks the target, is left in the folder that is printed."""
    limits = [f"-max_len={MAX_BYTES}", "-timeout=60", "-rss_limit_mb=4096", "-print_final_stats=1"]
    kept = str(CORPUS / name)
    if merge:
        return [*limits, "-merge=1", "-use_counters=0", kept, merge]
    found = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    print(f"what is found lies in {found}", flush=True)
    return [*limits, f"-max_total_time={seconds}", f"-artifact_prefix={found}/broke-", found, kept]


def _fuzz(atheris: Any, name: str, options: list[str]) -> int:
    """Run one target."""
    with atheris.instrument_imports(include=["protocols", "pen_controller", "simulator"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415  # now that it can be instrumented
    atheris.Setup([f"{sys.executable} -m tests.fuzz {name}", *options], TARGETS[name])
    atheris.Fuzz()  # never returns
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
