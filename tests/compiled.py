"""The same code as machine code: `python -m tests.compiled MODULE [ARGUMENT ...]`.

Copies the tree to `.compiled/`, has mypyc compile there what a simulation spends its time in, and runs a module of the
copy, as in `python -m tests.compiled tests.benchmarks.simulation_speed --as-is`. Takes a minute or two, once for each
state of the tree; the newest copy is kept. Wants a C compiler, and `pip install -e '.[compiled]'`.

Nothing that inherits from a compiled class in Python runs there: not the wrong pens of `pen-sim --defect`, nor the
staged pens of `tests/simulation`.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).parent.parent
PLACE = TREE / ".compiled"
COPIED = ("protocols", "simulator", "pen_controller", "configs", "tests")
COMPILED = {
    "protocols": ("framing",),
    "simulator": (
        "firmware", "hand", "limits", "memory", "needles", "ownership", "parts", "pen", "physics", "sampler",
        "selfcheck",
    ),
    "pen_controller/passes": (
        "area", "contact", "counter", "figures", "glides", "ground", "lanes", "ticks", "tip", "work",
    ),
    "pen_controller/pen": ("guard", "link"),
    "pen_controller/treatment": ("counts", "movement", "technique"),
}  # fmt: skip
"""By folder: what is done for each sample, frame or control tick."""

SETUP = """
from mypyc.build import mypycify
from setuptools import setup

setup(name="compiled", packages=[], ext_modules=mypycify(["--config-file", "mypy.toml", *{files}], opt_level="3"))
"""


class CompileError(Exception):
    """The tree cannot be compiled here; one line that says why."""


def tree() -> Path:
    """Return the compiled copy of the tree as it is now; compile it if there is none.

    Raises:
        CompileError: mypyc or a C compiler is missing, or mypyc does not take the code.
    """
    if importlib.util.find_spec("mypyc") is None or importlib.util.find_spec("setuptools") is None:
        raise CompileError("mypyc is not installed: pip install -e '.[compiled]'")
    place = PLACE / f"{sys.implementation.cache_tag}-{_digest()}"
    if not place.exists():
        print("compiling the tree as it is now: a minute or two", file=sys.stderr)
        shutil.rmtree(PLACE, ignore_errors=True)
        _compile(half := place.with_suffix(".half"))
        half.rename(place)
    return place


def run(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of the compiled copy, and return what it printed. Raises `CompileError`, see `tree`."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=tree(), stdout=subprocess.PIPE, text=True, check=False)


def _digest() -> str:
    digest = hashlib.sha256()
    files = [file for name in COPIED for file in (TREE / name).rglob("*") if file.is_file() and file.suffix != ".pyc"]
    for file in sorted([TREE / "pyproject.toml", *files]):
        digest.update(str(file.relative_to(TREE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _compile(place: Path) -> None:
    for name in COPIED:
        shutil.copytree(TREE / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Under its own name setuptools would take it for the description of what it is to build.
    shutil.copy(TREE / "pyproject.toml", place / "mypy.toml")
    files = [f"{folder}/{name}.py" for folder, names in COMPILED.items() for name in names]
    (place / "setup.py").write_text(SETUP.format(files=files))
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        said = done.stdout.splitlines()
        raise CompileError(f"mypyc: {next((line for line in said if 'error' in line.lower()), said[-1])}")


def main() -> int:
    """Run a module of the compiled copy; its exit status is ours."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        place = tree()
    except CompileError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return subprocess.run([sys.executable, "-m", *sys.argv[1:]], cwd=place, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
