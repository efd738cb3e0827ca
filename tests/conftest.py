"""What holds for every test: no task and no open file is left behind, and system programs may be required."""

import functools
import gc
import inspect
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import postgres
from tests.running import leaving_no_task
from tests.safety_case import figures

settings.register_profile("pens", deadline=None)
settings.load_profile("pens")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-system",
        action="store_true",
        help="fail, and do not skip, where a system program is missing; so does PEN_REQUIRE_SYSTEM=1",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--require-system"):
        os.environ["PEN_REQUIRE_SYSTEM"] = "1"


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _checked(item.obj)
    # What the imports made stays: collecting after each test need not look at it again.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    with figures.of(item):
        return (yield)


def _checked(test: "functools.partial[object]") -> object:
    @functools.wraps(test)
    async def checked(*args: object, **kwargs: object) -> None:
        await leaving_no_task(test(*args, **kwargs))  # type: ignore[arg-type]  # a coroutine function's

    return checked


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """Collect garbage at once, so that the warning about a file or socket left open fails the test that left it."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """One PostgreSQL for all tests."""
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that is new."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'telemetry.sqlite'}"
    running: postgres.Cluster = request.getfixturevalue("cluster")
    return running.database()
