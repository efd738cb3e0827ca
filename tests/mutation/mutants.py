"""Makes the mutants of one file and runs its tests on each, by mutmut, in a copy of the tree."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parents[2]
PACKAGES = ("protocols", "simulator", "pen_controller")
COPIED = (*PACKAGES, "configs", "tests")
SETTINGS = """\
[mutmut]
source_paths=
    {packages}
only_mutate=
    {file}
also_copy=
    configs
pytest_add_cli_args=
    --hypothesis-seed=0
    -p
    no:cacheprovider
    -k
    {chosen}
pytest_add_cli_args_test_selection=
    {tests}
timeout_multiplier=5
"""
CHOSEN = "not import_only and not every_phase and not no_stroke_is_deeper"
"""All tests of a file but one that reads the code itself, and sweeps that go over the same code many times."""
FOUND = ("killed", "timeout")
"""What mutmut says of a mutant that the tests have found; one that never ends is found, too."""
FILE_NAMES = ("+++", "---")
"""How a diff's two lines with the file's name begin."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one mutant does. It is known by this and by no number, which the next edit would shift."""

    file: str
    function: str
    diff: str
    """Lines taken away (-) and put there instead (+), without their indentation."""


class MutmutError(Exception):
    """mutmut did not come to its end; the text is what it said."""


def survivors(file: str, tests: tuple[str, ...], children: int) -> tuple[int, list[Change]]:
    """Run `tests` on every mutant of `file`; return how many there were, and those that no test has found.

    Args:
        file: path from the top of the tree.
        tests: paths of the test files that must find its mutants.
        children: mutants tested at the same time.

    Raises:
        MutmutError: mutmut failed, or the tests fail without a mutant.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copytree(TREE / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(TREE / "pyproject.toml", copy)
        settings = SETTINGS.format(
            packages="\n    ".join(PACKAGES), file=file, tests="\n    ".join(tests), chosen=CHOSEN
        )
        (copy / "setup.cfg").write_text(settings, "utf-8")
        _mutmut(copy, "run", "--max-children", str(children))
        verdicts = [line.strip().rpartition(": ") for line in _mutmut(copy, "results", "--all", "1").splitlines()]
        missed = [name for name, _, verdict in verdicts if verdict not in FOUND]
        return len(verdicts), [_change(copy, file, name) for name in missed]


def _mutmut(copy: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise MutmutError(f"mutmut {arguments[0]}: {done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.stdout


def _change(copy: Path, file: str, name: str) -> Change:
    """What the mutant of this name, like `protocols.framing.xǁDecoderǁfeed__mutmut_3`, does."""
    mangled = name.rpartition("__mutmut_")[0].rpartition(".")[2]
    function = mangled[2:].replace("ǁ", ".")
    lines = (line for line in _mutmut(copy, "show", name).splitlines() if not line.startswith(FILE_NAMES))
    changed = [f"{line[0]} {line[1:].strip()}" for line in lines if line.startswith(("+", "-"))]
    return Change(file, function, "\n".join(changed))
