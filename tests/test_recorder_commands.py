"""`pen recorder`, `pen sessions` and `pen export` as a person meets them."""

import asyncio
import csv
import json
import signal
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from pen_controller.recorder import commands
from pen_controller.recorder.store import Key, Row, Store
from tests.brokers import broker, free_port, until
from tests.test_recorder import TOPIC, event, say

app = typer.Typer()
commands.register(app)

RUN = "import typer; from pen_controller.recorder import commands; app = typer.Typer(); commands.register(app); app()"


def pen(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def db(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'telemetry.sqlite'}"
    with Store.open(url) as store:
        store.commit([Row(Key("clinic", "p1", "s1"), seq, "event", event(seq).decode()) for seq in (1, 2, 5)])
        figures = {"coverage": {"low": 0.5, "high": 1}, "passes": None, "seq": 1, "wall": "w"}
        store.commit([Row(Key("clinic", "p2", "s2"), 1, "summary", json.dumps(figures))])
    return url


@pytest.mark.parametrize("name", ["nats", "mosquitto"])
@pytest.mark.skipif(sys.platform == "win32", reason="a Ctrl-C goes to the whole console there")
async def test_a_recorder_records_until_ctrl_c(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path / 'telemetry.sqlite'}"
    async with broker(name, tmp_path) as address:
        command = [sys.executable, "-c", RUN, "recorder", "--db", url, "--broker", str(address), "--json"]
        said = tmp_path / "said"
        with said.open("w") as out:
            running = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=asyncio.subprocess.PIPE)
        await until(lambda: '"connected": true' in said.read_text(), "the recorder")
        await say(address, (TOPIC, event(1)), (TOPIC, event(3)), (TOPIC, b"{"))
        await until(lambda: '"refused": 1' in said.read_text(), "its count")
        running.send_signal(signal.SIGINT)
        _, error = await running.communicate()
    assert (running.returncode, error) == (0, b"")
    last = json.loads(said.read_text().splitlines()[-1])
    assert last["stored"] == 2
    assert last["behind"] == {"clinic/p1/s1": 1}
    assert [one["gaps"] for one in json.loads(pen("sessions", "--db", url, "--json").stdout)] == [[[2, 2]]]


@pytest.mark.parametrize("command", ["recorder", "sessions"])
def test_a_database_that_is_not_there_is_one_line_and_status_5(tmp_path: Path, command: str) -> None:
    told = pen(command, "--db", f"sqlite:///{tmp_path}/no/where.sqlite")
    assert told.exit_code == 5
    assert told.stderr.startswith("pen: database")
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--db", "x"], ["--db", "sqlite:///{0}/x", "--site", "a/b"]])
def test_bad_arguments_are_status_2(tmp_path: Path, arguments: list[str]) -> None:
    broker_url = f"mqtt://127.0.0.1:{free_port()}"
    told = pen("recorder", *(each.format(tmp_path) for each in arguments), "--broker", broker_url)
    assert told.exit_code == 2
    assert told.stderr.count("\n") == 1


def test_sessions_are_shown_with_their_gaps(db: str) -> None:
    shown = pen("sessions", "--db", db).stdout
    assert "3-4" in shown
    first, second = json.loads(pen("sessions", "--db", db, "--json").stdout)
    assert first == {
        "site": "clinic", "pen": "p1", "session": "s1", "records": 3, "stored": 2, "first_wall": "w",
        "last_wall": "w", "gaps": [[3, 4]],
    }  # fmt: skip
    assert second["gaps"] == []


def test_a_session_becomes_a_table(db: str, tmp_path: Path) -> None:
    to = tmp_path / "s1.csv"
    assert pen("export", "--db", db, "--session", "s1", "--to", str(to)).stdout == f"{to}: 3 records\n"
    with to.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["seq"], line["topic"], line["kind"], line["body"]) for line in lines] == [
        (seq, "event", "x", "{}") for seq in ("1", "2", "5")
    ]
    assert set(lines[0]) >= {"site", "pen", "session", "wall"}


def test_what_is_nested_stays_json_and_what_is_none_is_empty(db: str, tmp_path: Path) -> None:
    to = tmp_path / "s2.csv"
    assert pen("export", "--db", db, "--session", "clinic/p2/s2", "--to", str(to)).exit_code == 0
    with to.open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert json.loads(line["coverage"]) == {"low": 0.5, "high": 1}
    assert line["passes"] == ""


def test_parquet_holds_the_same(db: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    to = tmp_path / "s1.parquet"
    assert pen("export", "--db", db, "--session", "s1", "--to", str(to)).exit_code == 0
    table = parquet.read_table(to).to_pydict()
    assert (table["seq"], table["session"], table["body"]) == ([1, 2, 5], ["s1"] * 3, ["{}"] * 3)


def test_without_pyarrow_parquet_says_what_to_install(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = pen("export", "--db", db, "--session", "s1", "--to", str(tmp_path / "s1.parquet"))
    assert (told.exit_code, "pen-controller[parquet]" in told.stderr) == (5, True)


@pytest.mark.parametrize(
    ("session", "to", "words"),
    [
        ("s1", "s1.xlsx", "ends in .csv or .parquet"),
        ("s9", "s9.csv", "there are 0"),
        ("s1", "telemetry.csv", "exists"),
        ("s1", "no/where.csv", "No such file"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(db: str, tmp_path: Path, session: str, to: str, words: str) -> None:
    (tmp_path / "telemetry.csv").write_text("mine")
    told = pen("export", "--db", db, "--session", session, "--to", str(tmp_path / to))
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert words in told.stderr
    assert (tmp_path / "telemetry.csv").read_text() == "mine"
