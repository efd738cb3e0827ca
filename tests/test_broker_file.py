"""A broker file: what it may hold, and that nothing secret of it is ever shown."""

import os
import stat
import sys
from pathlib import Path

import pytest
import trustme

from pen_controller.telemetry.credentials import Credentials
from pen_controller.telemetry.mqtt import BrokerUrl, broker_url
from tests.shipped_brokers import SHIPPED, write_private

SECRET = "hunter2"  # noqa: S105 - of these tests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all that a broker file may name."""
    ca = trustme.CA()
    made = ca.issue_cert("demo-clinic")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    made.cert_chain_pems[0].write_to_path(tmp_path / "me.crt")
    write_private(tmp_path / "me.key", made.private_key_pem.bytes().decode())
    write_private(tmp_path / "other.key", ca.issue_cert("x").private_key_pem.bytes().decode())
    write_private(tmp_path / "password", f"{SECRET}\n")
    return tmp_path


def read(folder: Path, *lines: str) -> BrokerUrl:
    path = folder / "broker.toml"
    path.write_text("\n".join(lines), "utf-8")
    return broker_url(str(path))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("mqtts://broker", BrokerUrl("broker", 8883, tls=True)),
        ("mqtts://me@broker:1", BrokerUrl("broker", 1, "me", tls=True)),
        ("mqtts://[::1]", BrokerUrl("::1", 8883, tls=True)),
    ],
)
def test_an_address_is_enough_where_the_system_trusts_the_broker(text: str, url: BrokerUrl) -> None:
    assert broker_url(text) == url
    assert broker_url(str(url)) == url
    assert broker_url(url) is url


def test_files_lie_beside_it_and_the_address_shows_none_of_them(folder: Path) -> None:
    url = read(folder, 'url = "mqtts://me@broker.example"', 'ca_file = "ca.crt"', 'password_file = "password"')
    assert str(url) == "mqtts://me@broker.example:8883"
    assert url.place == "mqtts://broker.example:8883"
    assert url.credentials.ca_file == folder / "ca.crt"
    assert url.credentials.password(url.place, url.user) == SECRET
    assert SECRET not in repr(url)


def test_the_shipped_example_is_one(folder: Path) -> None:
    text = (SHIPPED / "broker.toml").read_text("utf-8").replace("demo-clinic.", "me.")
    assert str(read(folder, text)) == "mqtts://broker.example:8883"


TLS, PLAIN = 'url = "mqtts://me@broker"', 'url = "mqtt://me@broker"'
FROM_FILE = 'password_file = "password"'


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "url is missing"),
        (["url = 7"], "url has no such value"),
        (['url = "http://x"'], "expected mqtt://"),
        ([f'url = "mqtts://me:{SECRET}@broker"'], "must not hold a password"),
        ([f'url = "mqtts://me:{SECRET}/@broker"'], "must not hold a password"),
        ([TLS, f'password = "{SECRET}"'], "password is no key of a broker file: use ca_file"),
        ([TLS, f"password = {SECRET}"], "expected TOML"),
        ([TLS, f'keyring = "{SECRET}"'], "keyring has no such value"),
        ([TLS, 'cert_file = "me.crt"'], "cert_file and key_file go together"),
        ([TLS, FROM_FILE, "keyring = true"], "name one of them"),
        (['url = "mqtts://broker"', FROM_FILE], "whose password is it?"),
        ([PLAIN, FROM_FILE], "could read the password: use mqtts://"),
        ([PLAIN, 'ca_file = "ca.crt"'], "certificates need TLS"),
        ([TLS, 'ca_file = "no.crt"'], "no.crt: expected certificates in PEM (No such file"),
        ([TLS, 'ca_file = "password"'], "password: expected certificates in PEM"),
        ([TLS, 'cert_file = "me.crt"', 'key_file = "no.key"'], "no.key: No such file"),
        ([TLS, 'cert_file = "me.crt"', 'key_file = "password"'], "expected a certificate and its key"),
        ([TLS, 'cert_file = "me.crt"', 'key_file = "other.key"'], "expected a certificate and its key"),
        ([TLS, 'password_file = "no"'], "no: No such file"),
    ],
)
def test_what_is_wrong_is_one_line_without_anything_secret(folder: Path, lines: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=r"broker\.toml: ") as caught:
        read(folder, *lines)
    said = str(caught.value)
    assert words in said
    assert SECRET not in said
    assert "\n" not in said


@pytest.mark.parametrize("text", [f"me:{SECRET}@broker", f"mqtt://me:{SECRET}/@broker", f"mqtts://me:{SECRET}@b.toml"])
def test_a_password_in_an_address_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must not hold a password") as caught:
        broker_url(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe"])
def test_a_password_stands_alone_in_its_file(folder: Path, content: bytes) -> None:
    (folder / "password").write_bytes(content)
    with pytest.raises(ValueError, match="password: expected"):
        read(folder, TLS, FROM_FILE)


def test_a_password_is_taken_as_it_is_also_from_windows(folder: Path) -> None:
    (folder / "password").write_bytes(b"\xef\xbb\xbf w\xc3\xb6rd \r\n")
    url = read(folder, TLS, FROM_FILE)
    assert url.credentials.password(url.place, url.user) == " wörd "


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
@pytest.mark.parametrize("file", ["password", "me.key"])
@pytest.mark.parametrize("bit", [stat.S_IRGRP, stat.S_IROTH, stat.S_IWGRP])
def test_what_others_can_read_is_refused_with_the_command_to_type(folder: Path, file: str, bit: int) -> None:
    (folder / file).chmod(0o600 | bit)
    lines = [FROM_FILE] if file == "password" else ['cert_file = "me.crt"', 'key_file = "me.key"']
    with pytest.raises(ValueError, match=f"others can read it: chmod 600 .*{file}$"):
        read(folder, TLS, *lines)
    (folder / file).chmod(0o600)
    read(folder, TLS, *lines)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - comes with trustme

    key = serialization.load_pem_private_key((folder / "me.key").read_bytes(), None)
    cipher = serialization.BestAvailableEncryption(SECRET.encode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher)
    write_private(folder / "me.key", pem.decode())
    with pytest.raises(ValueError, match=r"without a password \(the key needs a password\)"):
        read(folder, TLS, 'cert_file = "me.crt"', 'key_file = "me.key"')


def test_without_the_package_the_keyring_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ImportError, match=r"pip install 'pen-controller\[keyring\]'"):
        read(folder, TLS, "keyring = true")


def test_a_keyring_without_the_password_says_how_to_put_it_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    monkeypatch.setattr(keyring, "get_password", lambda *_: None)
    with pytest.raises(ValueError, match=r"keyring set mqtts://broker:8883 me$"):
        read(folder, TLS, "keyring = true")

    def locked(*_: str) -> None:
        raise keyring.errors.KeyringLocked("it is locked")

    monkeypatch.setattr(keyring, "get_password", locked)
    with pytest.raises(ValueError, match=r"cannot be read \(it is locked\): use password_file"):
        read(folder, TLS, "keyring = true")


def test_the_brokers_name_is_always_checked(folder: Path) -> None:
    context = Credentials(ca_file=folder / "ca.crt").tls_context()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert len(context.get_ca_certs()) == 1  # nobody else's word counts
