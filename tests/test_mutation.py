"""The list of mutants that do no harm, against the code as it is: mutmut itself takes too long to run each time."""

import tomllib
from pathlib import Path

import pytest

from tests.mutation.__main__ import KNOWN, TESTS
from tests.mutation.mutants import TREE

LISTED = tomllib.loads(KNOWN.read_text("utf-8"))["survivor"]


@pytest.mark.parametrize("survivor", LISTED, ids=lambda survivor: survivor["function"])
def test_what_a_listed_mutant_changes_still_stands_in_its_file(survivor: dict[str, str]) -> None:
    code = [line.strip() for line in (TREE / survivor["file"]).read_text("utf-8").splitlines()]
    taken = [line[2:] for line in survivor["diff"].strip().splitlines() if line[0] == "-"]
    assert taken
    assert set(taken) <= set(code)
    assert survivor["file"] in TESTS
    assert survivor["why"]


def test_the_tests_that_must_find_mutants_are_there() -> None:
    assert all(Path(TREE, file).is_file() for file in TESTS)
    assert all(Path(TREE, f"tests/test_{name}.py").is_file() for names in TESTS.values() for name in names)
