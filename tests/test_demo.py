"""`pen demo` as a person runs it: four real processes, a real line, a real broker."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("line", [[], ["--ble"]], ids=["cable", "ble"])
def test_demo_holds_every_figure_and_prints_one_object(tmp_path: Path, line: list[str]) -> None:
    command = [sys.executable, "-m", "pen_controller", "demo", "--json", "--journal", str(tmp_path / "demo.sqlite")]
    done = subprocess.run([*command, *line], capture_output=True, text=True, timeout=110, check=False)
    figures = json.loads(done.stdout)
    assert done.returncode == 0, (figures["checks"], done.stderr)
    assert all(figures["checks"].values())
    assert len(figures["areas"]) == 3
    assert figures["records"]["received"] == figures["records"]["published"] > 0
    assert 250 <= figures["cable"]["stopped_by_pen_after_ms"] <= figures["cable"]["needles_home_after_ms"] < 284
