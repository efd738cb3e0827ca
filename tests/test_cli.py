"""The commands as a person types them: each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import free_port

PEN = [sys.executable, "-m", "pen_controller"]
SIM = [sys.executable, "-m", "simulator"]


def pen(*arguments: str, timeout_s: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PEN, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False, stdin=None, **options
    )


@pytest.fixture
def simulator() -> Iterator[str]:
    """The URL of a simulated pen in a process of its own."""
    command = [*SIM, "tcp", "--json", "--control", "--seed", "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.communicate()


@pytest.mark.parametrize(
    "command", ["", "scan", "info", "run", "watch", "demo", "config", "config check", "record", "decode"]
)
def test_every_command_teaches(command: str) -> None:
    done = pen(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_importing_the_controller_loads_no_broker_web_or_bluetooth_package() -> None:
    code = (
        "import pen_controller, sys; "
        "print([name for name in ('aiomqtt','paho','bleak','bumble','starlette','uvicorn') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_info_shows_a_pen(simulator: str) -> None:
    done = pen("info", simulator, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["serial"] == "PEN-0001"
    assert figures["in_use"] is False
    assert figures["depth_mm"] == [0.0, 2.5]
    assert "PEN-0001" in pen("info", simulator).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["info", "serial:///dev/no-such-port"], 3, "pen scan"),
        (["info", "tty0"], 2, "serial:///dev/ttyUSB0"),
        (["info", "socket://127.0.0.1:1"], 3, "nothing listens"),
        (["watch", "--broker", "http://x"], 2, "mqtt://"),
        (["run", "no-such-plan.toml", "--pen", "socket://127.0.0.1:1"], 2, "no-such-plan.toml"),
        (["run"], 2, "Missing"),
        (["config", "check", "no-such-file.toml"], 2, "no-such-file.toml"),
    ],
)
def test_errors_are_one_clear_line(arguments: list[str], status: int, words: str) -> None:
    done = pen(*arguments)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_config_check_names_file_key_and_value(tmp_path: Path) -> None:
    assert pen("config", "check").returncode == 0
    bad = tmp_path / "clinic.toml"
    bad.write_text(
        'site = "clinic"\nmin_interval_days = 28\npens = ["simulated"]\n[areas.cheek]\ndepth_mm.hard = 9.0\n'
    )
    done = pen("config", "check", str(bad))
    assert done.returncode == 2
    assert "clinic.toml" in done.stderr
    assert "depth_mm" in done.stderr
    problems = json.loads(pen("config", "check", str(bad), "--json").stdout)
    assert problems
    assert set(problems[0]) == {"file", "key", "value", "expected"}


def small_plan(folder: Path, **changes: Any) -> Path:
    area = {"area": "cheek", "depth_mm": 1.0, "rate_hz": 100, "passes": 1, "size_cm2": 3.0} | changes
    lines = [f"{key} = {json.dumps(value)}" for key, value in area.items()]
    plan = folder / "plan.toml"
    plan.write_text("\n".join(['title = "t"', 'indication = "fine_lines"', "fitzpatrick = 2", "[[areas]]", *lines]))
    return plan


def test_run_treats_a_plan(simulator: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    done = pen(
        "run", str(small_plan(tmp_path)), "--pen", simulator, "--yes", "--json", "--journal", str(journal),
        "--broker", f"mqtt://127.0.0.1:{free_port()}", "--no-telemetry",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["complete"] is True
    (area,) = figures["areas"]
    assert area["passes"] >= 1
    assert area["punctures"] > 0
    assert 900 < area["deepest_um"] < 1100
    assert journal.exists()
    assert json.loads(pen("info", simulator, "--json").stdout)["cartridge_used"] is True


def test_run_without_a_broker_keeps_the_records_and_says_so(simulator: str, tmp_path: Path) -> None:
    done = pen(
        "run", str(small_plan(tmp_path)), "--pen", simulator, "--yes", "--json", "--journal",
        str(tmp_path / "journal.sqlite"), "--broker", f"mqtt://127.0.0.1:{free_port()}",
    )  # fmt: skip
    assert done.returncode == 5
    assert "wait in the journal" in done.stderr
    assert json.loads(done.stdout)["areas"][0]["passes"] >= 1


def test_run_starts_nothing_when_nobody_answers(simulator: str, tmp_path: Path) -> None:
    command = ["run", str(small_plan(tmp_path)), "--pen", simulator, "--no-telemetry"]
    done = subprocess.run(
        [*PEN, *command, "--journal", str(tmp_path / "journal.sqlite")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "--yes" in done.stderr
    assert json.loads(pen("info", simulator, "--json").stdout)["strokes"] == 0


def test_run_refuses_too_deep(simulator: str, tmp_path: Path) -> None:
    done = pen(
        "run", str(small_plan(tmp_path, depth_mm=2.5)), "--pen", simulator, "--yes", "--no-telemetry",
        "--journal", str(tmp_path / "journal.sqlite"),
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "2.5 mm asked" in done.stderr
    assert json.loads(pen("info", simulator, "--json").stdout)["strokes"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_the_pen_stopped(simulator: str, tmp_path: Path, number: signal.Signals) -> None:
    plan = small_plan(tmp_path, passes=3, size_cm2=40.0)
    command = [*PEN, "run", str(plan), "--pen", simulator, "--yes", "--no-telemetry"]
    command += ["--journal", str(tmp_path / "journal.sqlite")]
    # Nobody answers: a run that a slow machine has stopped ends, and is not waited for.
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere) as process:
        while json.loads(pen("info", simulator, "--json").stdout)["strokes"] < 50:
            assert process.poll() is None
        os.kill(process.pid, number)
        process.wait(timeout=20)
    figures = json.loads(pen("info", simulator, "--json").stdout)
    assert figures["state"] == "latched"
    assert figures["cause"] == ("stop" if number == signal.SIGINT else "lease_expired")
