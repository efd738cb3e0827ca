"""A plugin that judges the safety case at the end of any whole run: `pytest -p tests.safety_case.at_the_end`.

What `python -m tests.safety_case` runs apart has run already then. Where the case does not hold, the run has failed.
"""

import pytest

from tests.safety_case.case import Ran, judge
from tests.safety_case.hazards import load

_RAN = pytest.StashKey[list[Ran]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RAN] = []
    config.pluginmanager.register(_Evidence(config.stash[_RAN]))


class _Evidence:
    def __init__(self, ran: list[Ran]) -> None:
        self._ran = ran

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if (ran := Ran.of(report)) is not None:
            self._ran.append(ran)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):  # a worker of xdist; who hands out the tests has all reports
        return
    ran: list[Ran] = session.config.stash[_RAN]
    judgement = judge(load(), ran)
    said: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if said is not None:
        said.ensure_newline()
        said.section("safety case")
        for row in judgement.rows:
            said.line(f"{row.hazard.partition(' ')[0]} {row.verdict:13} {row.measured or row.bound}")
        for problem in judgement.problems:
            said.line(problem, red=True)
    if judgement.problems:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
