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

from pen_controller.recorder import commands, tables
from pen_controller.recorder.store import Key, Row, Store
from pen_controller.telemetry.broker import EmbeddedBroker
from pen_controller.telemetry.mqtt import BrokerUrl
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


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--pen", "p2"], ["s2"]),
        (["--site", "clinic"], ["s1", "s2"]),
        (["--site", "elsewhere"], []),
        (["--since", "2026-11-22"], ["s1", "s2"]),
        (["--since", "2026-11-23"], ["s2"]),
        (["--since", "2026-11-24"], []),
    ],
)
def test_sessions_of_a_site_a_pen_and_a_day(tmp_path: Path, options: list[str], shown: list[str]) -> None:
    url = f"sqlite:///{tmp_path / 'days.sqlite'}"
    with Store.open(url) as store:
        for number, day in ((1, "2026-11-22"), (2, "2026-11-23")):
            key = Key("clinic", f"p{number}", f"s{number}")
            store.commit([Row(key, 1, "event", json.dumps({"wall": f"{day}T23:59:59.999+00:00"}))])
    told = pen("sessions", "--db", url, "--json", *options)
    assert [one["session"] for one in json.loads(told.stdout)] == shown


def test_a_day_that_is_none_is_one_line_and_status_2(db: str) -> None:
    told = pen("sessions", "--db", db, "--since", "yesterday")
    assert (told.exit_code, told.stderr) == (2, "pen: --since yesterday: use a date: 2026-11-22\n")


async def test_recorders_are_shown_and_dismissed() -> None:
    async with EmbeddedBroker() as server:
        words = [(f"ack/v1/clinic/p1/s{number}/r{number % 2}", b"%d" % number) for number in range(1, 4)]
        await say(BrokerUrl.parse(server.url), *words, retain=True)
        told = await asyncio.to_thread(pen, "recorders", "--broker", server.url, "--json")
        figures = {"site": "clinic", "pens": 1}
        r0 = {"recorder": "r0", **figures, "sessions": 1, "records": 2}
        r1 = {"recorder": "r1", **figures, "sessions": 2, "records": 4}
        assert json.loads(told.stdout) == [r0, r1]
        told = await asyncio.to_thread(pen, "recorders", "--broker", server.url, "--dismiss", "r1")
        assert "r0" in told.stdout
        assert "r1" not in told.stdout
        told = await asyncio.to_thread(pen, "recorders", "--broker", server.url, "--dismiss", "r1")
        assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    told = await asyncio.to_thread(pen, "recorders", "--broker", server.url)
    assert (told.exit_code, told.stderr.count("\n")) == (5, 1)


def test_a_session_becomes_a_table(db: str, tmp_path: Path) -> None:
    to = tmp_path / "s1.csv"
    assert pen("export", "s1", "--db", db, "--to", str(to)).stdout == f"{to}: 3 records\n"
    with to.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["seq"], line["topic"], line["kind"], line["body"]) for line in lines] == [
        (seq, "event", "x", "{}") for seq in ("1", "2", "5")
    ]
    assert set(lines[0]) >= {"site", "pen", "session", "wall"}


def test_what_is_nested_stays_json_and_what_is_none_is_empty(db: str, tmp_path: Path) -> None:
    to = tmp_path / "s2.csv"
    assert pen("export", "clinic/p2/s2", "--db", db, "--to", str(to)).exit_code == 0
    with to.open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert json.loads(line["coverage"]) == {"low": 0.5, "high": 1}
    assert line["passes"] == ""


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'quoted", "plain", "a=b", ""]


@pytest.fixture
def hostile_db(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'hostile.sqlite'}"
    with Store.open(url) as store:
        bodies = [{"wall": "w", "kind": text, "=cmd": -1.5} for text in HOSTILE]
        rows = [Row(Key("clinic", "p1", "s1"), seq, "event", json.dumps(body)) for seq, body in enumerate(bodies, 1)]
        store.commit(rows)
    return url


def test_a_spreadsheet_finds_no_formula_and_every_value_can_be_had_back(hostile_db: str, tmp_path: Path) -> None:
    to = tmp_path / "s1.csv"
    told = pen("export", "s1", "--db", hostile_db, "--to", str(to))
    assert (told.exit_code, told.stderr) == (0, "")
    with to.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    kinds = [line["kind"] for line in lines]
    assert kinds == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", "'\n=1", "''quoted", "plain", "a=b", ""]
    assert [kind.removeprefix("'") for kind in kinds] == HOSTILE
    assert {line["'=cmd"] for line in lines} == {"-1.5"}, "a number is no formula"


def test_parquet_is_exact(hostile_db: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    to = tmp_path / "s1.parquet"
    told = pen("export", "s1", "--db", hostile_db, "--to", str(to))
    assert (told.exit_code, told.stderr) == (0, "")
    table = parquet.read_table(to).to_pydict()
    assert (table["kind"], table["=cmd"]) == (HOSTILE, [-1.5] * len(HOSTILE))


def test_an_export_that_fails_leaves_no_file(db: str, tmp_path: Path) -> None:
    to = tmp_path / "s1.csv"

    def full() -> None:
        assert to.exists()
        raise OSError(28, "No space left on device")

    with Store.open(db, create=False) as store, pytest.raises(OSError, match="No space"):
        tables.write(to, store, store.find("s1"), full)
    assert not to.exists()


def test_parquet_holds_the_same(db: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    to = tmp_path / "s1.parquet"
    assert pen("export", "s1", "--db", db, "--to", str(to)).exit_code == 0
    table = parquet.read_table(to).to_pydict()
    assert (table["seq"], table["session"], table["body"]) == ([1, 2, 5], ["s1"] * 3, ["{}"] * 3)


def test_without_pyarrow_parquet_says_what_to_install(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = pen("export", "s1", "--db", db, "--to", str(tmp_path / "s1.parquet"))
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
    told = pen("export", session, "--db", db, "--to", str(tmp_path / to))
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert words in told.stderr
    assert (tmp_path / "telemetry.csv").read_text() == "mine"
