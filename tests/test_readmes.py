"""The READMEs say what there is: their tables name each file, and their figures are counted."""

import re
import tomllib
from pathlib import Path

import pytest

from pen_controller.conformance.run import CHECKS
from simulator.defects import DEFECTS
from tests.fuzz.targets import TARGETS
from tests.safety_case.seams import SEAMS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SURVIVORS = tomllib.loads((ROOT / "tests/mutation/survivors.toml").read_text("utf-8"))["survivor"]


def tables(readme: Path) -> str:
    return "\n".join(line for line in readme.read_text("utf-8").splitlines() if line.startswith("|"))


def modules(folder: Path) -> list[str]:
    """Files and folders of Python, by the name that a table gives them."""
    found = [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(path.stem for path in found if path.stem not in {"__init__", "__main__", "conftest"})


@pytest.mark.parametrize("folder", ["simulator", "pen_controller", "tests", "tests/simulation"])
def test_a_table_names_each_file_and_none_that_is_gone(folder: str) -> None:
    said = tables(ROOT / folder / "README.md")
    names = re.findall(r"`(\w+)(\*?)(?:\.py|/)?`", said)
    exact = {name for name, star in names if not star}
    begun = tuple(name for name, star in names if star)
    there = modules(ROOT / folder)
    assert [name for name in there if name not in exact and not name.startswith(begun or ("-",))] == []
    named_as_files = re.findall(r"`(\w+)\.py`", said)
    assert [name for name in named_as_files if not (ROOT / folder / f"{name}.py").exists()] == []


@pytest.mark.parametrize("room", ["treatment", "journal", "pen", "preparation", "terminal"])
def test_a_room_s_row_names_each_of_its_files(room: str) -> None:
    rows = tables(ROOT / "pen_controller/README.md").splitlines()
    (row,) = (row for row in rows if row.startswith(f"| `{room}/` |"))
    assert [name for name in modules(ROOT / "pen_controller" / room) if f"`{name}`" not in row] == []


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (r"each of (\d+) controls", len(SEAMS)),
        (r"(\d+) checks of the wire", len(CHECKS)),
        (r"each of (\d+) wrong pens", len(DEFECTS)),
        (r"one of the (\d+) that were reviewed", len(SURVIVORS)),
        (r"(\d+) inputs under anything", len(TARGETS)),
    ],
)
def test_what_the_readme_counts_is_counted(said: str, count: int) -> None:
    assert re.findall(said, README) == [str(count)]
