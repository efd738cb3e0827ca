"""A broker that lets us not in, or is not whom we expect: one line that says what to do, and nothing secret in it."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from pen_controller.journal import Journal
from pen_controller.telemetry import mqtt
from pen_controller.telemetry.mqtt import AccessError, BrokerUrl
from pen_controller.telemetry.publisher import Publisher
from tests.brokers import until
from tests.shipped_brokers import PASSWORD, SHIPPED, SITE, Shipped, certificates, shipped, write_private

# paho leaves the socket of a handshake that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

PEN = [sys.executable, "-m", "pen_controller"]
ENVIRONMENT = os.environ | {"COLUMNS": "300", "PYTHONUNBUFFERED": "1"}
BROKERS = ["mosquitto", "nats"]

Process = asyncio.subprocess.Process


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    folder = tmp_path_factory.mktemp(request.param)
    certificates(folder)
    with shipped(request.param, folder) as running:
        yield running


of_mosquitto = pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)


async def refusal(url: BrokerUrl) -> str:
    """Return why we are not let in; what breaks before the reason is heard is tried again, as everybody does."""
    lost: type[Exception] = mqtt.library().MqttError
    async with asyncio.timeout(30):
        while True:
            try:
                async with mqtt.client(url):
                    pytest.fail("it let us in")
            except AccessError as error:
                return str(error)
            except lost:
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("expired-broker", "its certificate has expired: have it renewed"), ("broker-elsewhere", "for another address")],
)
@pytest.mark.parametrize("name", BROKERS)
async def test_a_brokers_bad_certificate_is_refused(name: str, tmp_path: Path, certificate: str, words: str) -> None:
    certificates(tmp_path)
    with shipped(name, tmp_path, certificate=certificate) as running:
        assert words in await refusal(running.to(SITE))


async def test_a_broker_that_nobody_we_trust_has_signed_is_refused(broker: Shipped) -> None:
    for url in (broker.to(SITE, ca="others-ca"), BrokerUrl("127.0.0.1", broker.ports[8883], tls=True)):
        said = await refusal(url)
        assert "nobody we trust has signed its certificate" in said
        assert "name its CA as ca_file" in said


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (None, "it wants a certificate: name cert_file and key_file"),
        ("expired", "it refuses our certificate (certificate expired): have its CA issue a new one"),
        ("forged", "it refuses our certificate (unknown ca)"),
    ],
)
async def test_a_certificate_of_ours_that_is_refused_is_said_to_be(
    broker: Shipped, who: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT_S", 1.0)
    assert words in await refusal(broker.to(who))


@of_mosquitto
async def test_a_wrong_password_is_said_to_be_and_not_shown(broker: Shipped) -> None:
    said = await refusal(broker.by_password("viewer", "hunter2"))
    assert said == f"{broker.by_password('viewer')}: it refuses user 'viewer': check the name and the password"
    assert "who we are" in await refusal(broker.by_password(None))


@of_mosquitto
async def test_a_password_from_the_keyring(broker: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    place = f"mqtts://127.0.0.1:{broker.ports[8884]}"
    monkeypatch.setattr(keyring, "get_password", lambda *what: {(place, "viewer"): PASSWORD}[what])
    lines = 'ca_file = "ca.crt"', "keyring = true"
    path = broker_file(broker.folder, f"mqtts://viewer@127.0.0.1:{broker.ports[8884]}", *lines)
    async with mqtt.client(mqtt.broker_url(str(path))):
        pass


async def test_a_renewed_certificate_needs_no_restart(broker: Shipped, tmp_path: Path) -> None:
    for file in ("ca.crt", "nobody.crt", "nobody.key"):
        shutil.copy(broker.folder / file, tmp_path)
    write_private(tmp_path / "mine.key", (broker.folder / f"{SITE}.key").read_text())
    shutil.copy(broker.folder / f"{SITE}.crt", tmp_path / "mine.crt")
    mine = 'ca_file = "ca.crt"\ncert_file = "mine.crt"\nkey_file = "mine.key"'
    url = mqtt.broker_url(str(broker_file(tmp_path, f"mqtts://127.0.0.1:{broker.ports[8883]}", mine)))
    async with mqtt.client(url):
        pass
    (tmp_path / "mine.crt").write_text("renewed badly")
    assert "expected a certificate and its key, in PEM" in await refusal(url)
    shutil.copy(broker.folder / f"{SITE}.crt", tmp_path / "mine.crt")
    async with mqtt.client(url):
        pass


# --- as a person meets it ---------------------------------------------------------------------------------------------


def broker_file(folder: Path, url: str, *lines: str) -> Path:
    path = folder / "broker.toml"
    path.write_text("\n".join([f'url = "{url}"', *lines]))
    return path


def certificate_of(broker: Shipped, user: str, ca: str = "ca") -> str:
    pair = f'cert_file = "{user}.crt"\nkey_file = "{user}.key"'
    return str(broker_file(broker.folder, f"mqtts://127.0.0.1:{broker.ports[8883]}", f'ca_file = "{ca}.crt"', pair))


@contextlib.asynccontextmanager
async def pen(*arguments: str) -> AsyncIterator[Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *PEN, *arguments, env=ENVIRONMENT, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("command", "user", "ca"),
    [
        (["watch"], "viewer", "others-ca"),
        (["watch", "--json"], "expired", "ca"),
        (["recorder", "--db", "sqlite:///{0}/x.sqlite"], "recorder", "others-ca"),
    ],
)
async def test_who_only_listens_ends_with_one_line_and_status_5(
    broker: Shipped, tmp_path: Path, command: list[str], user: str, ca: str
) -> None:
    arguments = [each.format(tmp_path) for each in command]
    async with pen(*arguments, "--broker", certificate_of(broker, user, ca)) as process:
        _, said = await asyncio.wait_for(process.communicate(), 60)
    lines = [line for line in said.decode().splitlines() if "retrying" not in line]
    assert process.returncode == 5, said
    assert len(lines) == 1
    assert lines[0].startswith(f"pen: mqtts://127.0.0.1:{broker.ports[8883]}: ")


@of_mosquitto
async def test_a_password_is_on_no_screen(broker: Shipped) -> None:
    write_private(broker.folder / "typed", "hunter2")
    lines = 'ca_file = "ca.crt"', 'password_file = "typed"'
    path = broker_file(broker.folder, f"mqtts://viewer@127.0.0.1:{broker.ports[8884]}", *lines)
    async with pen("watch", "--broker", str(path)) as process:
        out, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 5
    assert b"check the name and the password" in said
    assert b"hunter2" not in out + said


@of_mosquitto
async def test_a_treatment_goes_on_without_a_broker_that_refuses_and_says_so(broker: Shipped, tmp_path: Path) -> None:
    """Control is independent: the record waits in the journal."""
    command = [sys.executable, "-m", "simulator", "tcp", "--json", "--control", "--seed", "3"]
    pipe = asyncio.subprocess.PIPE
    simulator = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert simulator.stdout is not None
    url = json.loads(await simulator.stdout.readline())["url"]
    plan = files("configs") / "plans" / "demo.toml"
    path = certificate_of(broker, SITE, "others-ca")
    journal = ["--journal", str(tmp_path / "journal.sqlite")]
    try:
        async with pen("run", str(plan), "--pen", url, "--broker", path, *journal) as process:
            assert process.stdout is not None
            out = b""
            while b"nobody we trust" not in out:
                out += await asyncio.wait_for(process.stdout.readexactly(1), 30)
    finally:
        await simulator.communicate(b"")  # the end of its input ends it
    assert b"Next cheek" in out  # the first area waits for its person
    assert b"Telemetry waits in the journal: mqtts://" in out


async def test_a_publisher_goes_on_trying_and_is_let_in_when_that_is_put_right(
    broker: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "LAST_RETRY_S", 0.2)
    shutil.copy(broker.folder / "others-ca.crt", broker.folder / "trusted.crt")
    async with (
        Journal.open(tmp_path / "journal.sqlite") as journal,
        Publisher(journal, broker.to(SITE, ca="trusted"), SITE, "p1") as publisher,
    ):
        await journal.append("s1", "tick", {}, pen="p1")
        await until(lambda: "nobody we trust" in str(publisher.trouble))
        assert str(publisher.trouble).count("mqtts://") == 1
        shutil.copy(broker.folder / "ca.crt", broker.folder / "trusted.crt")
        assert await publisher.drained(30)
        assert publisher.trouble is None


@pytest.mark.skipif(sys.platform == "win32", reason="a recipe for a shell")
@pytest.mark.parametrize("name", BROKERS)
def test_the_certificates_of_the_readme_open_the_brokers(name: str, tmp_path: Path) -> None:
    text = (SHIPPED / "README.md").read_text("utf-8")
    found = re.search(r"<!-- certificates -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert found
    if not subprocess.check_output(["openssl", "version"]) >= b"OpenSSL 3":  # noqa: S607 - the system's
        pytest.skip("needs OpenSSL 3")
    subprocess.run(["sh", "-ec", found[1]], cwd=tmp_path, check=True, capture_output=True)  # noqa: S607 - as typed

    async def log_in(running: Shipped) -> None:
        for user in (SITE, "recorder", "viewer"):
            async with mqtt.client(running.to(user)):
                pass

    with shipped(name, tmp_path) as running:
        asyncio.run(log_in(running))
