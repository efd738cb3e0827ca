"""Who works at this laptop: names without a person's name, roles, and passwords that are kept as Argon2 hashes.

Hashing takes a fraction of a second on purpose, so everything here that hashes is to be called in a thread.
"""

import re
import secrets
import threading
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pen_controller.files import save

try:
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError
except ImportError as error:
    raise ImportError("the clinic's screen needs: pip install 'pen-controller[clinic]'") from error

NAME = re.compile(r"^[a-z][a-z0-9-]{1,30}$")
_KEY = r"^[A-Za-z0-9]*$"
LEAST_PASSWORD, MOST_PASSWORD = 12, 200
MOST_ACCOUNTS = 100


class Role(StrEnum):
    """What an account may do. Everyone may STOP, without an account too."""

    CLINICIAN = "clinician"
    """Prepares, treats, documents; makes accounts."""
    ENGINEER = "engineer"
    """Practises on a simulated pen, and reads of practice only: at a pen that treats people, no case and no report."""
    VIEWER = "viewer"
    """Looks on, and reads reports."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Settings(_Model):
    """How an account likes its screen. Keys as `KeyboardEvent.code` names them; a foot pedal sends one of them."""

    language: Literal["en", "de"] = "en"
    theme: Literal["system", "light", "dark"] = "system"
    stop_key: str = Field(default="", max_length=30, pattern=_KEY)
    hold_key: str = Field(default="", max_length=30, pattern=_KEY)


class Account(_Model):
    """One who works here."""

    name: str = Field(pattern=NAME.pattern)
    role: Role = Field(strict=False)
    password_hash: str = Field(max_length=300)
    settings: Settings = Settings()


class _File(_Model):
    version: Literal[1] = 1
    accounts: tuple[Account, ...] = Field(default=(), max_length=MOST_ACCOUNTS, strict=False)


class AccountError(ValueError):
    """An account or its file is not what it must be; one line that says what to do."""


class Accounts:
    """The accounts of a laptop, in one file that only its owner can read. Safe from any thread."""

    def __init__(self, path: Path, accounts: tuple[Account, ...]) -> None:
        self._path = path
        self._accounts = {account.name: account for account in accounts}
        self._gate = threading.Lock()
        self._hasher = PasswordHasher(parallelism=1)  # the other cores are for the pen
        # Compared against where there is no such account, so that the time taken does not tell.
        self._nobody = self._hasher.hash(secrets.token_hex())

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the accounts; a file that is not there has none.

        Raises:
            AccountError: The file is damaged.
            OSError: It cannot be read.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return cls(path, ())
        try:
            return cls(path, _File.model_validate_json(content).accounts)
        except ValidationError as error:
            raise AccountError(f"{path}: it is damaged: restore it, or delete it to set the laptop up anew") from error

    def __bool__(self) -> bool:
        """Whether there is any account: without one the first page is the set-up."""
        return bool(self._accounts)

    def all(self) -> list[Account]:
        """The accounts, by name."""
        return sorted(self._accounts.values(), key=lambda account: account.name)

    def get(self, name: str) -> Account | None:
        """The account of this name."""
        return self._accounts.get(name)

    def add(self, name: str, role: Role, password: str, *, first: bool = False) -> Account:
        """Add an account. Slow: it hashes.

        Args:
            name: 2 to 31 small letters, digits and -; no person's name, for it stands in every record.
            role: What it may do.
            password: At least 12 signs.
            first: Only if there is none yet.

        Raises:
            AccountError: The name is taken or none, the password too short or too long, or there are accounts already.
            OSError: The file cannot be written; nothing has changed.
        """
        if not NAME.fullmatch(name):
            raise AccountError("name: use 2 to 31 small letters, digits or -, such as clinician-1; no person's name")
        _check_length(password)
        with self._gate:
            if first and self._accounts:
                raise AccountError("this laptop is set up already: log in")
            if name in self._accounts:
                raise AccountError(f"name: {name} is taken")
            if len(self._accounts) >= MOST_ACCOUNTS:
                raise AccountError(f"there are {MOST_ACCOUNTS} accounts already")
            account = Account(name=name, role=role, password_hash=self._hasher.hash(password))
            self._write({**self._accounts, name: account})
        return account

    def check(self, name: str, password: str) -> Account | None:
        """The account, if the password is its own. Slow: it hashes, also where there is no such account."""
        account = self._accounts.get(name)
        expected = account.password_hash if account else self._nobody
        try:
            self._hasher.verify(expected, password[:MOST_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        return account

    def settle(self, name: str, settings: Settings) -> None:
        """Keep how an account likes its screen. Raises as `set_role`."""
        self._change(name, settings=settings)

    def set_role(self, name: str, role: Role) -> None:
        """Give an account another role.

        Raises:
            AccountError: There is no such account.
            OSError: The file cannot be written; nothing has changed.
        """
        self._change(name, role=role)

    def set_password(self, name: str, password: str) -> None:
        """Give an account another password. Slow: it hashes. Raises as `add` and `set_role`."""
        _check_length(password)
        self._change(name, password_hash=self._hasher.hash(password))

    def _change(self, name: str, **update: object) -> None:
        with self._gate:
            if name not in self._accounts:
                raise AccountError(f"account: there is no {name}")
            self._write({**self._accounts, name: self._accounts[name].model_copy(update=update)})

    def _write(self, accounts: dict[str, Account]) -> None:
        save(self._path, _File(accounts=tuple(accounts.values())).model_dump_json(indent=1).encode())
        self._accounts = accounts


def _check_length(password: str) -> None:
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise AccountError(f"password: use {LEAST_PASSWORD} to {MOST_PASSWORD} signs; a sentence is good")
