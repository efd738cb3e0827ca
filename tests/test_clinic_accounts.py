"""Accounts, launch tokens and cookies: what is kept, what is refused, and for how long a key is good."""

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from pen_controller.clinic.access import IDLE_S, LAUNCH_S, MOST_SCREENS, Keys
from pen_controller.clinic.accounts import AccountError, Accounts, Role, Settings
from pen_controller.clinic.throttle import FREE, MOST_WAIT_S, Throttle, ThrottledError

PASSWORD = "a long enough sentence"  # noqa: S105  # of a test


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def opened(folder: Path) -> Accounts:
    return Accounts.open(folder / "accounts.json")


def test_accounts_are_kept_for_their_owner_only_and_no_password_with_them(tmp_path: Path) -> None:
    accounts = opened(tmp_path)
    assert not accounts
    accounts.add("clinician-1", Role.CLINICIAN, PASSWORD, first=True)
    accounts.add("viewer-1", Role.VIEWER, PASSWORD)
    accounts.settle("viewer-1", Settings(language="de", stop_key="KeyS"))
    (file,) = tmp_path.iterdir()
    assert PASSWORD not in file.read_text()
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = opened(tmp_path)
    assert again
    account = again.check("viewer-1", PASSWORD)
    assert account is not None
    assert (account.role, account.settings.language) == (Role.VIEWER, "de")
    assert again.check("viewer-1", PASSWORD + ".") is None
    assert again.check("viewer-2", PASSWORD) is None


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("Anna Smith", PASSWORD, "no person's name"),
        ("a", PASSWORD, "no person's name"),
        ("../up", PASSWORD, "no person's name"),
        ("clinician-2", "short", "12 to 200"),
        ("clinician-2", "x" * 201, "12 to 200"),
        ("clinician-1", PASSWORD, "taken"),
    ],
)
def test_what_cannot_be_an_account_is_refused(tmp_path: Path, name: str, password: str, why: str) -> None:
    accounts = opened(tmp_path)
    accounts.add("clinician-1", Role.CLINICIAN, PASSWORD, first=True)
    before = (tmp_path / "accounts.json").read_bytes()
    with pytest.raises(AccountError, match=why):
        accounts.add(name, Role.CLINICIAN, password)
    with pytest.raises(AccountError, match="set up already"):
        accounts.add("clinician-9", Role.CLINICIAN, PASSWORD, first=True)
    assert (tmp_path / "accounts.json").read_bytes() == before


def test_a_damaged_file_is_not_a_laptop_without_accounts(tmp_path: Path) -> None:
    (tmp_path / "accounts.json").write_text('{"version": 1, "accounts": [{"name": "x"}]}')
    with pytest.raises(AccountError, match="damaged"):
        opened(tmp_path)


def test_a_file_that_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    accounts = opened(tmp_path)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        accounts.add("clinician-1", Role.CLINICIAN, PASSWORD)
    assert not accounts
    assert list(tmp_path.iterdir()) == []


def test_a_launch_token_is_good_once_and_for_ten_minutes() -> None:
    clock = Clock()
    keys = Keys(clock)
    token = keys.launch()
    assert keys.let_in(token)
    assert keys.let_in(token) is None
    late = keys.launch()
    clock.now_s += LAUNCH_S + 1
    assert keys.let_in(late) is None
    assert keys.let_in("") is None


def test_a_cookie_ends_with_login_logout_and_a_silent_day() -> None:
    clock = Clock()
    keys = Keys(clock)
    planted = keys.let_in(keys.launch())
    assert planted is not None
    screen = keys.screen(planted)
    assert screen is not None
    assert screen.account is None
    mine = keys.log_in(screen, "clinician-1", Role.CLINICIAN)
    assert keys.screen(planted) is None, "who planted a cookie is not logged in with it"
    logged_in = keys.screen(mine)
    assert logged_in is not None
    assert logged_in.account == "clinician-1"
    clock.now_s += IDLE_S - 1
    assert keys.screen(mine) is logged_in
    other = keys.log_out(logged_in)
    assert keys.screen(mine) is None
    assert not keys.knows(logged_in)
    clock.now_s += IDLE_S + 1
    assert keys.screen(other) is None


def test_only_so_many_browsers_are_remembered_the_silent_go_first() -> None:
    clock = Clock()
    keys = Keys(clock)
    cookies = []
    for _ in range(MOST_SCREENS + 1):
        clock.now_s += 1
        cookies.append(keys.let_in(keys.launch()) or "")
    assert keys.screen(cookies[0]) is None
    assert keys.screen(cookies[1]) is not None


def test_a_login_of_ones_own_frees_nobody_to_guess_another_password() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE):
        throttle.check("clinician-1")
        throttle.check("viewer-1")
        throttle.succeed("viewer-1")
    with pytest.raises(ThrottledError, match="wait 1 s"):
        throttle.check("clinician-1")
    throttle.check("viewer-1")


def test_a_machine_that_hashes_slowly_takes_nothing_off_the_wait() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE):
        throttle.check("clinician-1")
        clock.now_s += 5
        throttle.fail("clinician-1")
    with pytest.raises(ThrottledError, match="wait 1 s"):
        throttle.check("clinician-1")


def test_guessing_becomes_slow_and_a_success_forgets_it() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(FREE):
        throttle.check("clinician-1")
    with pytest.raises(ThrottledError, match="wait 1 s"):
        throttle.check("clinician-1")
    clock.now_s += 1
    throttle.check("clinician-1")
    clock.now_s += 1
    with pytest.raises(ThrottledError, match="wait 1 s"):
        throttle.check("clinician-1")
    for _ in range(20):
        clock.now_s += MOST_WAIT_S
        throttle.check("clinician-1")
    throttle.succeed("clinician-1")
    for _ in range(FREE):
        throttle.check("clinician-1")
