"""The compiled copy of the tree: what it is made of, and what is said where it cannot be made."""

import importlib.util
import subprocess
import sys

import pytest

from tests import compiled


def test_all_that_is_to_be_compiled_is_there() -> None:
    files = [compiled.TREE / folder / f"{name}.py" for folder, names in compiled.COMPILED.items() for name in names]
    assert len(files) > 20
    assert [file for file in files if not file.is_file()] == []


def test_without_mypyc_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(compiled.CompileError, match="pip install"):
        compiled.tree()


def test_without_a_module_it_teaches() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.compiled"], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "python -m tests.compiled MODULE" in done.stdout) == (2, True)
