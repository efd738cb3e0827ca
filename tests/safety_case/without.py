"""Runs a test with one control taken away, and says what it then noticed."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pen_controller.errors import PenError
from tests.safety_case.hazards import load
from tests.safety_case.seams import SEAMS

TESTS = Path(__file__).parent.parent
NOTICED = (AssertionError, pytest.fail.Exception, PenError)
"""How a test fails that has noticed something; a `PenError` is the product's word. Any other may be the seam's own."""
OPTIONS = ["-oaddopts=", "-otimeout=0"]
OPTIONS += [f"-pno:{name}" for name in ("terminal", "cacheprovider", "faulthandler", "xdist")]
"""A run within a run: what belongs to the whole process is left to the outer one."""


class _Watch:
    """Takes the control away for the tests' own time, and keeps how they failed."""

    def __init__(self, control: str) -> None:
        self._control = control
        self.ran = 0
        self.noticed: list[str] = []
        self.other: list[str] = []
        self.skipped = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> object:
        with pytest.MonkeyPatch.context() as patch:
            SEAMS[self._control](patch)
            return (yield)

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        self.ran += call.when == "call"
        if call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception):
            self.skipped = call.excinfo.exconly()
        elif call.excinfo is not None:
            first = f"{item.name}: {call.excinfo.exconly().splitlines()[0]}"
            (self.noticed if _has_noticed(call.excinfo.value) else self.other).append(first)


def _has_noticed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(NOTICED)[1] is None
    return isinstance(error, NOTICED)


def noticed_without(control: str) -> list[str]:
    """Run the control's test without it, in this process.

    Returns:
        How the test failed, a line each; none if it has not noticed.

    Raises:
        pytest.skip.Exception: the test cannot run on this system.
        RuntimeError: the test did not run, or broke in a way that shows nothing.
    """
    watch = _Watch(control)
    said = io.StringIO()
    test = str(TESTS / load().control[control].test)
    with redirect_stdout(said), redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        pytest.main([test, f"--rootdir={TESTS.parent}", *OPTIONS], plugins=[watch])
    if watch.skipped:
        pytest.skip(watch.skipped)
    if not watch.noticed and (watch.other or not watch.ran):
        raise RuntimeError("\n".join(watch.other) or f"{test} did not run: {said.getvalue()}")
    return watch.noticed
