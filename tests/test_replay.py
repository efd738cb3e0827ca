"""A treatment counted and held against the truth, as table and as picture."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from protocols.messages import WRAP
from simulator.__main__ import app
from simulator.ground import GRID_MM, Grid
from simulator.replay import _density_per_cm2, replay
from simulator.scenarios import scenario

WRAPPING = next(seed for seed in range(100) if scenario(seed).first_t_us > WRAP - 20_000_000)


@pytest.mark.parametrize("seed", [2, WRAPPING])
def test_times_are_since_the_treatment_began(seed: int) -> None:
    seen = replay(seed)
    hand = seen.scenario.hand()
    assert len(seen.pass_counted_us) == seen.figures.passes
    ends_us = hand.truth.pass_us[:, 1]
    assert len(seen.pass_counted_us) == len(ends_us)
    lags_us = np.array(seen.pass_counted_us) - ends_us
    assert lags_us.min() > 0
    assert lags_us.max() < 10_000_000
    assert max(glide.end_us for glide in seen.glides) <= hand.duration_us


def test_true_figures_are_those_of_the_hand() -> None:
    seen = replay(2)
    hand, recording = seen.scenario.hand(), seen.scenario.recording()
    true = {name: value for name, value, _ in seen.rows()}
    assert true["passes"] == hand.truth.passes
    assert true["glides"] == len(hand.truth.glides)
    assert true["punctures"] == recording.contact_strokes * seen.scenario.needles
    counted = {name: value for name, _, value in seen.rows()}
    assert counted["punctures"] == int(recording.samples["contact_strokes"][-1]) * seen.scenario.needles


def test_the_map_of_density_holds_every_puncture() -> None:
    treatment = scenario(2)
    motion = treatment.hand().motion
    grid = Grid.around(motion.x_mm, motion.y_mm, treatment.tip_width_mm)
    density_per_cm2 = _density_per_cm2(motion, grid, treatment)
    punctures = treatment.recording().contact_strokes * treatment.needles
    assert density_per_cm2.sum() * GRID_MM**2 / 100 == pytest.approx(punctures, rel=1e-6)
    assert max(density_per_cm2[[0, -1]].max(), density_per_cm2[:, [0, -1]].max()) < 0.2 * density_per_cm2.max()


def test_the_command_prints_a_table_or_one_object() -> None:
    table = CliRunner().invoke(app, ["replay", "--seed", "2"])
    assert table.exit_code == 0
    assert "seed 2, area hands" in table.stdout
    found = json.loads(CliRunner().invoke(app, ["replay", "--seed", "2", "--json"]).stdout)
    true = {name: value for name, value, _ in replay(2).rows()}
    assert {name: found[name]["true"] for name in true} == true
    assert found["pattern"] == "straight"


def test_the_command_draws_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    assert CliRunner().invoke(app, ["replay", "--seed", "2", "--plot", str(picture)]).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    for path, why in ((tmp_path / "none" / "out.png", "cannot draw"), (tmp_path / "out.xyz", "not supported")):
        refused = CliRunner().invoke(app, ["replay", "--seed", "2", "--plot", str(path)])
        assert refused.exit_code == 2
        assert why in refused.stderr


def test_without_matplotlib_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refused = CliRunner().invoke(app, ["replay", "--seed", "2", "--plot", "out.png"])
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "pip install 'pen-controller[plot]'" in refused.stderr
