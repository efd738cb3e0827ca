"""Several hosts of one pen over Bluetooth LE: programs of one computer, and computers."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pen_controller import files
from pen_controller.errors import InUseError, LinkError, PenRefusedError
from pen_controller.pen import Pen
from pen_controller.pen.link import Link
from pen_controller.pen.scan import Found, _scan_air, ask
from pen_controller.transports import ble
from pen_controller.transports.ble import BleTransport, radio_for
from protocols.words import Cause, PenState
from tests.lines import PenSim, by_ble, run_needles
from tests.running import in_virtual_time, until
from tests.virtual_air import OpenAir, open_air

__all__ = ["open_air"]  # a fixture


@pytest.mark.hazard("H09")
@in_virtual_time
async def test_a_second_host_is_refused_and_told_so_but_its_stop_is_obeyed(open_air: OpenAir) -> None:
    async with open_air() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        with pytest.raises(PenRefusedError, match="another program owns it"):
            async with Pen.open(bench.transport(), host_id=5):
                pytest.fail("two hosts")
        other = Link(bench.transport(), 5, lambda _: None, lambda _: None)
        await other.open()
        try:
            assert pen.state.state is PenState.RUNNING
            other.stop()
            await until(lambda: pen.state.state is PenState.LATCHED)
            assert pen.state.cause is Cause.STOP
        finally:
            await other.close()


@pytest.mark.hazard("H09")
async def test_two_hosts_in_two_processes_of_the_stack() -> None:
    """The same over sockets, where each host has a controller of its own."""
    async with by_ble() as sim, Pen.open(sim.transport()) as pen:
        assert isinstance(sim, PenSim)
        await run_needles(pen)
        with pytest.raises(PenRefusedError, match="another program owns it"):
            async with Pen.open(BleTransport(sim.url), host_id=5):
                pytest.fail("two hosts")
        assert pen.state.state is PenState.RUNNING


# --- programs that share the system's Bluetooth -----------------------------------------------------------------------


@pytest.fixture
def shared_stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The air as the system's own Bluetooth, which programs share; a folder for locks."""
    monkeypatch.setattr(ble, "radio_for", lambda hci: radio_for(hci or "air"))
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    return tmp_path


@contextlib.contextmanager
def holder_of(lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another program that holds a lock."""
    hold = "with files.locked(pathlib.Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"import pathlib, sys; from pen_controller import files\n{hold}", str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        try:
            yield other
        finally:
            other.kill()


@pytest.mark.usefixtures("shared_stack")
@in_virtual_time
async def test_two_users_of_the_systems_bluetooth_do_not_share_a_pen(open_air: OpenAir) -> None:
    async with open_air(pens=2) as bench:
        async with Pen.open("ble:PEN-0001") as pen:
            await run_needles(pen)
            with pytest.raises(InUseError, match="ble:PEN-0001: another program on this computer uses this pen"):
                await ask("ble:PEN-0001")
            await ask("ble:PEN-0002")
            rows: list[Found] = []
            await _scan_air(rows.append, None)
            assert {row.name: row.in_use for row in rows} == {"PEN-0001": True, "PEN-0002": False}
            await asyncio.sleep(1.0)
            assert pen.state.state is PenState.RUNNING
            bench.air.drop(bench.line._controller)
            await until(lambda: not pen.connected)
            await pen.reconnect()  # its own lock does not keep it out
        assert (await ask("ble:F0:2D:30:30:30:31")).in_use is False


@in_virtual_time
async def test_a_killed_user_of_the_systems_bluetooth_locks_nobody_out(open_air: OpenAir, shared_stack: Path) -> None:
    lock = shared_stack / "ble-F0-2D-30-30-30-31.lock"
    with holder_of(lock) as other:
        async with open_air():
            with pytest.raises(InUseError):
                await ask("ble:PEN-0001")
            other.kill()
            other.wait()
            assert lock.exists()
            assert (await ask("ble:PEN-0001")).identity is not None


@in_virtual_time
async def test_no_place_for_the_lock_is_an_error_that_says_so(open_air: OpenAir, shared_stack: Path) -> None:
    (shared_stack / "ble-F0-2D-30-30-30-31.lock").mkdir()
    async with open_air():
        with pytest.raises(LinkError, match="make your data folder writable"):
            await ask("ble:PEN-0001")
