"""`pen verify`: whatever is done to a journal of the real writer is found, and nothing is found in an honest one."""

import asyncio
import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pen_controller.cli import app
from pen_controller.journal import Journal, JournalError, chain
from pen_controller.journal import key as journal_key
from pen_controller.report.verifying import Verdict, verified
from tests.safety_case.figures import measured
from tests.stories import journal_of, whole_treatment
from tests.tampering import (
    LAST,
    SESSIONS,
    TO_RECORDS,
    TO_THE_REST,
    edit_digit,
    other_file,
    rechain,
    renumber,
    sign_anew,
    unguarded,
)


async def write_sessions(path: Path) -> None:
    """Three sessions of ten records; s1 and s2 run at once."""
    async with Journal.open(path) as journal:
        for number in range(10):
            kind = {0: "treatment_begun", 9: "summary"}.get(number, "pass")
            for session in SESSIONS[:2]:
                await journal.append(session, kind, {"number": number}, pen="p1", pen_t_us=number)
        for number in range(10):
            await journal.append("s3", "correction", {"of_seq": number}, pen="p2", topic=None)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("honest") / "journal.sqlite"
    asyncio.run(write_sessions(path))
    return path


@pytest.fixture
def path(honest: Path, tmp_path: Path) -> Path:
    """A journal to be changed, with its key beside it."""
    return copied(honest, tmp_path)


def copied(honest: Path, folder: Path) -> Path:
    shutil.copy(journal_key.beside(honest), folder)
    return Path(shutil.copy(honest, folder))


SETTINGS = settings(max_examples=50, suppress_health_check=[HealthCheck.filter_too_much])


def unsigned(verdict: Verdict) -> int:
    """How many of the newest records no checkpoint has signed."""
    assert verdict.head is not None
    assert verdict.signed is not None
    return verdict.head.record_id - verdict.signed.record_id


CONTENT = ["SELECT * FROM record ORDER BY id", "SELECT * FROM checkpoint", "SELECT * FROM genesis"]


def content(path: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [db.execute(sql).fetchall() for sql in CONTENT]


@contextlib.contextmanager
def changed(honest: Path, data: st.DataObject, *done: Callable[..., None]) -> Iterator[Path]:
    """A copy to which something was done; what the database itself does not take is of no interest."""
    with tempfile.TemporaryDirectory() as folder:
        path = copied(honest, Path(folder))
        try:
            with unguarded(path) as db:
                for each in done:
                    each(db, data.draw)
        except sqlite3.Error:
            assume(False)
        assume(content(path) != content(honest))
        yield path


@pytest.mark.hazard("H23")
@pytest.mark.parametrize("more", [[], [rechain], [renumber], [renumber, rechain]])
@SETTINGS
@given(st.data())
def test_whatever_is_done_to_the_records_is_found(
    honest: Path, more: list[Callable[..., None]], data: st.DataObject
) -> None:
    with changed(honest, data, data.draw(st.sampled_from(TO_RECORDS)), *more) as path:
        verdict = verified(path)
        if verdict.broken is None:  # something was put behind the end, in order: no key has signed it, and that is said
            behind_the_end = content(path)[0][:LAST] == content(honest)[0]
            measured("undetected", not behind_the_end)
            assert behind_the_end
            assert unsigned(verdict) > 0
        else:
            measured("undetected", 0)


@pytest.mark.hazard("H23")
@pytest.mark.parametrize("more", [[], [rechain]])
@SETTINGS
@given(st.data())
def test_whatever_is_done_to_the_checkpoints_is_found(
    honest: Path, more: list[Callable[..., None]], data: st.DataObject
) -> None:
    with changed(honest, data, data.draw(st.sampled_from(TO_THE_REST)), *more) as path:
        verdict = verified(path)
        measured("undetected", verdict.broken is None)
        assert verdict.broken is not None


@pytest.mark.hazard("H23")
@SETTINGS
@given(st.data())
def test_who_has_not_the_key_cannot_make_it_anew(honest: Path, data: st.DataObject) -> None:
    with changed(honest, data, data.draw(st.sampled_from([edit_digit, other_file])), rechain, sign_anew) as path:
        assert "another key" in str(verified(path).broken)
        journal_key.beside(path).unlink()
        assert verified(path).broken is None  # nobody can tell, without the key
        key = journal_key.public_key(str(journal_key.beside(honest)))
        assert "another key" in str(verified(path, trusted={key}).broken)


@pytest.mark.hazard("H23")
@SETTINGS
@given(st.data())
def test_a_session_by_itself_shows_what_was_done_to_it(honest: Path, data: st.DataObject) -> None:
    def of_it(path: Path) -> list[Any]:
        return [row for row in content(path)[0] if row[1] == "s1"]

    with changed(honest, data, data.draw(st.sampled_from(TO_RECORDS))) as path:
        assume(of_it(path) not in (of_it(honest), []))
        verdict = verified(path, "s1")
        measured("undetected", verdict.broken is None)
        assert verdict.broken is not None


# --- what an honest journal goes through ------------------------------------------------------------------------------


WRITER = """
    import asyncio, sys
    from pen_controller.journal import Journal
    async def main():
        async with Journal.open(sys.argv[1]) as journal:
            session = f"s{len(journal.sessions())}"
            await journal.append(session, "treatment_begun", {}, pen="p1")
            for number in range(2600):
                journal.post(session, "pass", {"number": number, "note": "Stirn \u2013 \U0001f9ff \\x00"}, pen="p1")
            await journal.flush()
            print("written", flush=True)
            while True:
                journal.post(session, "pass", {}, pen="p1")
                await asyncio.sleep(0)
    asyncio.run(main())
"""


def write_and_be_killed(path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        verdict = verified(path)  # while it writes
        writer.kill()
    assert verdict.broken is None
    assert unsigned(verdict) < chain.SIGNED_EVERY


async def test_ten_thousand_records_of_writers_that_were_killed_hold(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    for _ in range(4):
        await asyncio.to_thread(write_and_be_killed, path)
    verdict = verified(path)
    assert verdict.broken is None
    assert verdict.records > 10_000
    assert len(verdict.keys) == 1
    for session in ("s0", "s3"):
        assert verified(path, session).broken is None
    async with Journal.open(path):
        pass  # what the last one left unsigned is signed now
    assert unsigned(verified(path)) == 0


async def test_a_correction_is_one_more_record(path: Path) -> None:
    old = verified(path).head
    async with Journal.open(path) as journal:
        await journal.append("s1", "correction", {"of_seq": 3}, pen="p1", topic=None)
    verdict = verified(path, "s1", witness=old)
    assert verdict.broken is None
    assert verdict.records == LAST + 1  # with a witness, all of it is looked at
    assert unsigned(verdict) == 0


async def test_a_key_can_lie_elsewhere_and_no_other_opens_what_it_is_not(tmp_path: Path) -> None:
    path, key = tmp_path / "journal.sqlite", tmp_path / "keys.pem"
    async with Journal.open(path, key) as journal:
        await journal.append("s1", "treatment_begun", {}, pen="p1")
    assert not journal_key.beside(path).exists()
    assert verified(path, trusted={journal_key.public_key(str(key))}).broken is None
    key.write_text("no key")
    with pytest.raises(JournalError, match=r"keys\.pem: it is no Ed25519 key: put the right one back, or move it"):
        async with Journal.open(path, key):
            pass


async def test_an_empty_journal_holds(tmp_path: Path) -> None:
    async with Journal.open(tmp_path / "journal.sqlite"):
        pass
    verdict = verified(tmp_path / "journal.sqlite")
    assert (verdict.records, verdict.head, verdict.signed, verdict.broken) == (0, None, None, None)


def test_a_tail_cut_off_with_its_checkpoints_needs_a_witness(honest: Path, path: Path) -> None:
    with unguarded(path) as db:
        db.execute("DELETE FROM record WHERE id > 25")
        db.execute("DELETE FROM checkpoint WHERE record_id > 25")
    assert verified(path).broken is None
    assert "record 30: its hash was kept, and it is missing" in str(
        verified(path, witness=verified(honest).head).broken
    )


def test_a_text_that_is_none_does_not_hide_its_record(path: Path) -> None:
    with unguarded(path) as db:
        db.execute("UPDATE record SET body = CAST(x'7bff' AS TEXT) WHERE id = 5")
    assert str(verified(path).broken).startswith("record 5 (session s1, number 3, pass): it was changed")


# --- the command ------------------------------------------------------------------------------------------------------


def pen(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [*map(str, words)])


def test_the_command_says_what_holds_and_who_signed_it(path: Path) -> None:
    told = pen("verify", "--journal", path)
    assert told.exit_code == 0, told.output
    figures = json.loads(pen("verify", "--journal", path, "--json").stdout)
    assert figures["holds"]
    assert figures["compared"]
    assert told.stdout.splitlines()[:3] == [
        "holds: 30 records", f"head    {figures['head']}", f"key     {figures['keys'][0]}",
    ]  # fmt: skip
    again = pen("verify", "s2", "--journal", path, "--head", figures["head"], "--key", figures["keys"][0])
    assert again.exit_code == 0, again.output
    assert pen("verify", "s2", "--journal", path).stdout.startswith("holds: 29 records, from the first of s2 on\n")


def test_the_command_names_the_first_record_that_does_not_hold(path: Path) -> None:
    with unguarded(path) as db:
        db.execute("UPDATE record SET body = replace(body, '3', '4') WHERE id = 7")
    told = pen("verify", "--journal", path, "--json")
    assert told.exit_code == 6
    assert (
        told.stderr
        == "pen: does not hold: record 7 (session s1, number 4, pass): it was changed, moved or put in later\n"
    )
    broken = json.loads(told.stdout)["broken"]
    assert (broken["record"], broken["session"], broken["seq"], broken["kind"]) == (7, "s1", 4, "pass")
    assert pen("verify", "s3", "--journal", path).exit_code == 0  # which begins later, and is signed by itself


def test_a_copy_without_its_key_is_compared_with_nothing_and_says_so(path: Path) -> None:
    journal_key.beside(path).unlink()
    told = pen("verify", "--journal", path)
    assert told.exit_code == 0
    assert "compared with nothing: give the one that a report prints, with --key" in told.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s9"], "no session s9: pen report --list shows those it has"),
        (["--journal", "nowhere.sqlite"], "it is not there"),
        (["--head", "12"], "give ID:HASH as a report prints it"),
        (["--key", __file__], "give an Ed25519 key, as PEM file or as 64 hexadecimal digits"),
        (["--key", "nowhere.pem"], "nowhere.pem"),
    ],
)
def test_what_cannot_be_verified_is_one_clear_line(path: Path, words: list[str], said: str) -> None:
    told = pen("verify", "--journal", path, *words)
    assert told.exit_code == 2
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "said"), [("en", "The record was changed"), ("de", "nachträglich verändert")])
def test_a_report_names_head_and_key_and_says_in_red_what_does_not_hold(
    tmp_path: Path, language: str, said: str
) -> None:
    path = tmp_path / "journal.sqlite"
    asyncio.run(journal_of(path, whole_treatment()))
    (session,) = {each.session for each in whole_treatment()}

    def report() -> tuple[dict[str, Any], str]:
        told = pen("report", "--journal", path, "--out", tmp_path, "--language", language, "--json")
        assert told.exit_code == 0, told.stderr
        return json.loads(told.stdout)["record"], (tmp_path / f"{session}.html").read_text("utf-8")

    record, page = report()
    assert record["holds"]
    assert record["head"] in page
    assert record["keys"][0] in page
    assert 'class="red"' not in page
    assert pen("verify", session, "--journal", path, "--head", record["head"]).exit_code == 0
    with unguarded(path) as db:
        db.execute("UPDATE record SET body = replace(body, '\"passes\":2', '\"passes\":1') WHERE kind = 'plan'")
    record, page = report()
    assert record["broken"]["kind"] == "plan"
    assert said in page.partition('<p class="red">')[2].partition("</p>")[0]
