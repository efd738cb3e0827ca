"""The brokers of `configs/brokers`, run as shipped: with other paths and ports, and one user more who sees all."""

import contextlib
import datetime as dt
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import trustme

from pen_controller.telemetry.broker import server_program
from pen_controller.telemetry.credentials import Credentials
from pen_controller.telemetry.mqtt import BrokerUrl
from tests.brokers import free_port, mosquitto_path

SITE, OTHER = "demo-clinic", "second-clinic"
AUDITOR = "auditor"
USERS = (SITE, OTHER, "recorder", "viewer", AUDITOR, "nobody")
PASSWORD = "glass of water"  # noqa: S105 - of these tests

SHIPPED = files("configs") / "brokers"


@dataclass(frozen=True)
class Shipped:
    """A broker that runs, and where the proofs of its users lie.

    Attributes:
        ports: By the port it has in the shipped file.
    """

    name: str
    folder: Path
    ports: dict[int, int]

    def to(self, user: str | None, ca: str = "ca") -> BrokerUrl:
        """Return how a user comes with their certificate; None has none."""
        pair = (self.folder / f"{user}.crt", self.folder / f"{user}.key") if user else (None, None)
        trusted = Credentials(ca_file=self.folder / f"{ca}.crt", cert_file=pair[0], key_file=pair[1])
        return BrokerUrl("127.0.0.1", self.ports[8883], tls=True, credentials=trusted)

    def by_password(self, user: str | None, password: str = PASSWORD, *, port: int = 8884) -> BrokerUrl:
        """Return how a user comes with a password, to Mosquitto; None comes without either."""
        file = self.folder / "typed"
        write_private(file, password)
        trusted = Credentials(ca_file=self.folder / "ca.crt", password_file=file if user else None)
        return BrokerUrl("127.0.0.1", self.ports[port], user, tls=port != 1883, credentials=trusted)


def write_private(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def certificates(folder: Path, strange: Mapping[str, str] | None = None) -> None:
    """Make a CA with the certificates of the broker and its users, and some that nobody should accept.

    Args:
        folder: Where they go.
        strange: Common names of further users, and of the files for each.
    """
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.crt")
    others.cert_pem.write_to_path(folder / "others-ca.crt")
    now = dt.datetime.now(dt.UTC)

    def issue(file: str, name: str, *names: str, ca: trustme.CA = ours, ended: bool = False) -> None:
        ends = now + dt.timedelta(days=-1 if ended else 1)
        made = ca.issue_cert(*names, common_name=name, not_before=now - dt.timedelta(days=3), not_after=ends)
        made.cert_chain_pems[0].write_to_path(folder / f"{file}.crt")
        write_private(folder / f"{file}.key", made.private_key_pem.bytes().decode())

    issue("broker", "broker", "127.0.0.1")
    issue("expired-broker", "broker", "127.0.0.1", ended=True)
    issue("broker-elsewhere", "broker", "elsewhere.example")
    for user in USERS:
        issue(user, user, user)
    for name, file in (strange or {}).items():
        issue(file, name, "strange.example")
    issue("expired", SITE, SITE, ended=True)
    issue("forged", SITE, SITE, ca=others)


@contextlib.contextmanager
def shipped(name: str, folder: Path, *, certificate: str = "broker") -> Iterator[Shipped]:
    """Run the shipped `mosquitto` or `nats` with the certificates in a folder; `certificate` is the broker's own."""
    ports = {port: free_port() for port in (8883, 8884, 9001, 1883, 4222)}
    command = _mosquitto(folder, ports, certificate) if name == "mosquitto" else _nats(folder, ports, certificate)
    log = folder / "log"
    ready = " running" if name == "mosquitto" else "Server is ready"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            while ready not in log.read_text():
                assert server.poll() is None, log.read_text()
            yield Shipped(name, folder, ports)
        finally:
            server.terminate()


def _mosquitto(folder: Path, ports: dict[int, int], certificate: str) -> list[str]:
    (folder / "store").mkdir(exist_ok=True)
    table = {
        "/etc/mosquitto/pens/broker.": f"{folder}/{certificate}.",
        "/etc/mosquitto/pens/": f"{folder}/",
        "/var/lib/mosquitto/": f"{folder}/store/",
        "listener 1883 ": f"listener {ports[1883]} ",
    }
    table |= {f"listener {port}\n": f"listener {ports[port]} 127.0.0.1\n" for port in (8883, 8884, 9001)}
    write_private(folder / "mosquitto.conf", _substituted("mosquitto.conf", table) + "user root\n")
    rules = _substituted("mosquitto.acl", {})
    write_private(folder / "mosquitto.acl", f"{rules}\nuser {AUDITOR}\ntopic readwrite #\n")
    program = mosquitto_path()
    maker = Path(program).with_name("mosquitto_passwd")
    maker = maker if maker.exists() else Path("mosquitto_passwd")
    (folder / "passwords").touch(0o600)
    subprocess.run([maker, "-b", folder / "passwords", "viewer", PASSWORD], check=True)
    return [program, "-c", str(folder / "mosquitto.conf")]


def _nats(folder: Path, ports: dict[int, int], certificate: str) -> list[str]:
    table = {
        "/etc/nats/pens/broker.": f"{folder.as_posix()}/{certificate}.",
        "/etc/nats/pens/": f"{folder.as_posix()}/",
        "/var/lib/nats": f"{folder.as_posix()}/store",
        "    users: [\n": f'    users: [\n{{user: {AUDITOR}, permissions: {{publish: ">", subscribe: ">"}}}}\n',
        "mqtt {\n": 'mqtt {\n    host: "127.0.0.1"\n',
        "websocket {\n": 'websocket {\n    host: "127.0.0.1"\n',
    }
    table |= {f"port: {port}\n": f"port: {ports[port]}\n" for port in (8883, 9001, 4222)}
    write_private(folder / "nats.conf", _substituted("nats.conf", table))
    return [server_program(), "-c", str(folder / "nats.conf")]


def _substituted(file: str, table: dict[str, str]) -> str:
    text = (SHIPPED / file).read_text("utf-8")
    for before, after in table.items():
        assert before in text, f"{file} has no {before!r}"
        text = text.replace(before, after)
    return text
