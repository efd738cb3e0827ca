"""How a broker and we prove to each other who we are: a broker file, and the files it names."""

import contextlib
import ipaddress
import os
import ssl
import stat
import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Credentials(BaseModel):
    """Where the proofs lie. It holds no secret: each is read when a connection is made, so a new one needs no restart.

    Attributes:
        ca_file: Certificates (PEM) of those who may sign for the broker; None: those that this system trusts.
        cert_file: Our certificate (PEM) for the broker, and in `key_file` its key, which only its owner can read.
        key_file: See `cert_file`.
        password_file: The user's password in one line, which only its owner can read.
        keyring: Whether the password is in this system's keyring: under the broker's address, `mqtts://HOST:PORT`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    password_file: Path | None = None
    keyring: StrictBool = False

    def check(self, host: str, user: str | None, *, tls: bool) -> None:
        """Check that they go together, and with the address.

        Raises:
            ValueError: They do not; one line that names what to do.
        """
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: name both")
        if (self.ca_file or self.cert_file) and not tls:
            raise ValueError("certificates need TLS: use mqtts:// in url")
        if self.password_file and self.keyring:
            raise ValueError("password_file and keyring: name one of them")
        if self.password_file or self.keyring:
            if not user:
                raise ValueError("whose password is it? Use mqtts://USER@HOST in url")
            if not tls and not _is_loopback(host):
                raise ValueError("others on the way could read the password: use mqtts:// in url")

    def tls_context(self) -> ssl.SSLContext:
        """Return how to speak TLS: the broker's certificate and its name are always checked.

        Raises:
            ValueError: A file cannot be used; one line that names it and what to do.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.ca_file}: expected certificates in PEM ({_reason(error)})") from error
        if self.cert_file and self.key_file:
            _check_private(self.key_file)
            try:
                context.load_cert_chain(self.cert_file, self.key_file, _refuse_to_ask)
            except (OSError, ValueError) as error:
                both = f"{self.cert_file} and {self.key_file}"
                why = f"expected a certificate and its key, in PEM and without a password ({_reason(error)})"
                raise ValueError(f"{both}: {why}") from error
        return context

    def password(self, address: str, user: str | None) -> str | None:
        """Return the password for a broker's address, `mqtts://HOST:PORT`, if there is to be one.

        Raises:
            ValueError: It cannot be read; one line that says what to do and holds no part of it.
            ImportError: The package keyring is not installed.
        """
        if self.password_file:
            return _read_password(self.password_file)
        return _ask_keyring(address, user) if self.keyring and user else None


class BrokerFile(Credentials):
    """A broker in TOML: its address as `url`, and `Credentials`."""

    url: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it; the files it names lie beside it unless they say where.

        Raises:
            ValueError: It cannot be; one line that repeats no value, for one may be a password in the wrong place.
        """
        try:
            found = cls.model_validate(tomllib.loads(path.read_text("utf-8")))
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            raise ValueError(f"{path}: {_problems(error)}: use {', '.join(cls.model_fields)}") from None
        except ValueError as error:  # no UTF-8, no TOML
            raise ValueError(f"{path}: expected TOML ({error})") from None
        files = {key: path.parent / file.expanduser() for key, file in found if isinstance(file, Path)}
        return found.model_copy(update=files)


def _problems(error: ValidationError) -> str:
    details = error.errors(include_input=False, include_context=False, include_url=False)
    words = {"missing": "is missing", "extra_forbidden": "is no key of a broker file"}
    return "; ".join(f"{detail['loc'][0]} {words.get(detail['type'], 'has no such value')}" for detail in details)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _check_private(path: Path) -> None:
    """Raise `ValueError` if others than its owner can read a file; Windows has no such bits."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if os.name == "posix" and mode & OTHERS:
        raise ValueError(f"{path}: others can read it: chmod 600 {path}")


def _refuse_to_ask() -> str:
    raise ValueError("the key needs a password")


def _read_password(path: Path) -> str:
    _check_private(path)
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected text in UTF-8") from None
    if len(lines) != 1 or not lines[0]:
        raise ValueError(f"{path}: expected the password, in one line")
    return lines[0]


def _ask_keyring(address: str, user: str) -> str:
    try:
        import keyring  # noqa: PLC0415 - an extra, for those who use it
        import keyring.errors  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("the keyring needs: pip install 'pen-controller[keyring]'") from error
    try:
        password = keyring.get_password(address, user)
    except keyring.errors.KeyringError as error:
        raise ValueError(f"this system's keyring cannot be read ({error}): use password_file") from error
    if not password:
        raise ValueError(f"no password in the keyring: keyring set {address} {user}")
    return password


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
