"""The days that the record has come to: a clock that is set back makes none of them earlier."""

import shutil
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from pen_controller.journal import Journal
from pen_controller.journal.journal import NEWEST_CHECKPOINTS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class Wall(datetime):
    """A wall clock that can be set."""

    at = datetime(2026, 3, 2, 9, tzinfo=UTC)

    @classmethod
    def now(cls, _: tzinfo | None = None) -> Any:
        return cls.at


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> type[Wall]:
    monkeypatch.setattr(Wall, "at", Wall.at)
    for place in ("journal", "record"):
        monkeypatch.setattr(f"pen_controller.journal.{place}.datetime", Wall)
    return Wall


async def test_no_clock_that_is_set_back_makes_a_day_earlier(path: Path, wall: type[Wall]) -> None:
    async with Journal.open(path) as journal:
        assert journal.today() == date(2026, 3, 2)
        wall.at += timedelta(days=1)
        assert journal.today() == date(2026, 3, 3)
        await journal.append("s1", "login", {}, pen="p1")
        shutil.copytree(path.parent, path.parent / "killed")
        wall.at -= timedelta(days=365)
        assert journal.today() == date(2026, 3, 3), "this program has seen it"
        await journal.append("s1", "treatment_begun", {}, pen="p1")
    for folder in (path.parent, path.parent / "killed"):
        for _ in range(2):  # what is written and signed on an earlier day hides no later one
            async with Journal.open(folder / path.name) as journal:
                assert journal.today() == date(2026, 3, 3), "the record has"
                await journal.append("s1", "treatment_begun", {}, pen="p1")
    wall.at += timedelta(days=800)
    async with Journal.open(path) as journal:
        assert journal.today() == date(2027, 5, 12)


async def test_the_first_record_of_each_day_is_signed_at_once(path: Path, wall: type[Wall]) -> None:
    async with Journal.open(path) as journal:
        for days in (0, 0, 1, 0, -1, 1, 1):
            wall.at += timedelta(days=days)
            await journal.append("s1", "x", {}, pen="p1")
        signed = [row[0] for row in journal._query("SELECT record_id FROM checkpoint ORDER BY record_id")]
        assert signed == [1, 3, 7]


@pytest.mark.parametrize("label", ["", "0", "2026", "yesterday", "6026-03-02T09:00:00.000+00:00", "\x00"])
async def test_a_damaged_label_is_no_day(
    path: Path, wall: type[Wall], label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Journal.open(path) as journal:
        await journal.append("s1", "x", {}, pen="p1")
    execute = Journal._query

    def damaged(journal: Journal, sql: str, *values: str | int) -> list[Any]:
        rows = execute(journal, sql, *values)
        return [(*row[:2], label, *row[3:]) for row in rows] if sql == NEWEST_CHECKPOINTS else rows

    monkeypatch.setattr(Journal, "_query", damaged)
    wall.at -= timedelta(days=365)
    async with Journal.open(path) as journal:
        assert journal.today() == date(2025, 3, 2)
