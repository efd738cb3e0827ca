"""Finding pens: by name, by address, in one table; and what is said where there is no Bluetooth to be had."""

import asyncio
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from bleak.exc import BleakBluetoothNotAvailableError, BleakBluetoothNotAvailableReason, BleakDBusError, BleakError
from rich.console import Console
from serial.tools import list_ports

from pen_controller.errors import LinkError, UrlError
from pen_controller.pen import Pen
from pen_controller.pen.scan import Found, ask, scan
from pen_controller.pen.scan_table import table_of
from pen_controller.transports import ble, transport_for
from pen_controller.transports.ble import BleTransport
from protocols.messages import State
from simulator.pen import SimulatedPen
from simulator.peripheral import BleLine
from tests.running import in_virtual_time
from tests.virtual_air import OpenAir, open_air

__all__ = ["open_air"]  # a fixture


@pytest.fixture(autouse=True)
def _no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(call: Callable[[], object]) -> object:
        return call()

    monkeypatch.setattr(list_ports, "comports", list)
    monkeypatch.setattr(asyncio, "to_thread", at_once)  # virtual time does not wait for threads


# --- one pen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["PEN-0001", "pen-0001", "F0:2D:30:30:30:31", "f0:2d:30:30:30:31", "PEN%2D0001"])
@in_virtual_time
async def test_a_pen_is_found_by_name_and_by_address(open_air: OpenAir, target: str) -> None:
    async with open_air(pens=3):
        found = await ask(f"ble:{target}?hci=air")
        assert found.identity is not None
        assert (found.identity.serial, found.in_use) == ("PEN-0001", False)


@in_virtual_time
async def test_two_pens_of_one_name_are_an_error_that_lists_both(open_air: OpenAir) -> None:
    async with open_air(name="PEN") as bench:
        await asyncio.sleep(0.02)  # so that one is heard some time after the other
        other = BleLine(SimulatedPen(number=2), bench.clock_us, bench.air, name="PEN")
        await other.plug()
        try:
            with pytest.raises(LinkError, match="F0:2D:30:30:30:31 and F0:2D:30:30:30:32; use ble:ADDRESS"):
                await ask("ble:PEN?hci=air")
            found = await ask("ble:F0:2D:30:30:30:32?hci=air")
            assert found.identity is not None
            assert found.identity.serial == "PEN-0002"
        finally:
            await other.unplug()


@in_virtual_time
async def test_a_pen_is_known_by_its_serial_number_and_not_by_its_address(open_air: OpenAir) -> None:
    async with open_air(name="PEN") as bench, Pen.open(bench.transport("PEN")) as pen:
        await bench.line.unplug()
        other = BleLine(SimulatedPen(number=2), bench.clock_us, bench.air, name="PEN")
        await other.plug()
        try:
            with pytest.raises(LinkError, match="PEN-0002 answers where PEN-0001 was"):
                await pen.reconnect()
        finally:
            await other.unplug()


@in_virtual_time
async def test_a_pen_out_of_reach_is_reported_in_time(open_air: OpenAir) -> None:
    async with open_air():
        loop = asyncio.get_running_loop()
        with pytest.raises(LinkError, match="no such pen in reach"):
            await ask("ble:PEN-0002?hci=air")
        assert loop.time() < 10


@in_virtual_time
async def test_a_pen_that_does_not_take_the_connection_is_reported_in_time(open_air: OpenAir) -> None:
    async with open_air() as bench:
        bench.frozen = True
        loop = asyncio.get_running_loop()
        with pytest.raises(LinkError, match="no connection in 15 s"):
            await ask("ble:PEN-0001?hci=air")
        assert loop.time() < 20


@in_virtual_time
async def test_what_only_advertises_as_a_pen_is_none(open_air: OpenAir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.peripheral.CMD", "7f3a00ff-52d1-4c8e-9b06-1d2e6c5a9f10")
    async with open_air():
        with pytest.raises(LinkError, match="lacks a pen's characteristics"):
            await ask("ble:PEN-0001?hci=air")


@pytest.mark.parametrize("url", ["ble:", "ble:?hci=usb:0", "ble:PEN?speed=3", "ble://"])
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(UrlError, match="ble:NAME"):
        transport_for(url)


@pytest.mark.parametrize(
    ("hci", "says"),
    [
        ("tcp-client:127.0.0.1:1", "is 'pen-sim ble' running there"),
        ("nonsense", "usb:0 for the first Bluetooth dongle"),
        ("tcp-client:nonsense", "is 'pen-sim ble' running there"),
    ],
)
async def test_a_controller_that_is_not_there_is_named(hci: str, says: str) -> None:
    with pytest.raises(LinkError, match=says) as caught:
        await ask(f"ble:PEN-0001?hci={hci}")
    assert "\n" not in str(caught.value)


# --- no Bluetooth ----------------------------------------------------------------------------------------------------

Reason = BleakBluetoothNotAvailableReason
ERRORS = [
    (BleakBluetoothNotAvailableError("?", Reason.NO_BLUETOOTH), "no Bluetooth adapter; plug one in"),
    (BleakBluetoothNotAvailableError("?", Reason.NO_BLE_CENTRAL_ROLE), "plug another one in"),
    (BleakBluetoothNotAvailableError("?", Reason.POWERED_OFF), "Bluetooth is off; switch it on"),
    (BleakBluetoothNotAvailableError("?", Reason.DENIED_BY_USER), "privacy settings"),
    (BleakBluetoothNotAvailableError("?", Reason.DENIED_BY_UNKNOWN), "privacy settings"),
    (BleakBluetoothNotAvailableError("?", Reason.DENIED_BY_SYSTEM), "whoever administers it"),
    (BleakBluetoothNotAvailableError("the system says so", Reason.UNKNOWN), "the system says so"),
    (BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", []), "systemctl start bluetooth"),
    (BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", []), "usermod -aG bluetooth"),
    (BleakDBusError("org.bluez.Error.NotReady", []), "Bluetooth is off"),
    (BleakDBusError("org.bluez.Error.Other", ["what else"]), "what else"),
    (FileNotFoundError(2, "No such file or directory"), "install BlueZ and start it"),
    (BleakError("what else"), "Bluetooth fails (what else)"),
    (EOFError(), "Bluetooth fails"),
]


@pytest.mark.parametrize(("error", "says"), ERRORS)
@in_virtual_time
async def test_each_reason_for_no_bluetooth_is_one_line_that_says_what_to_do(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scanner:
        def __init__(self, *_: object) -> None: ...

        async def __aenter__(self) -> None:
            raise error

        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(ble, "BleakScanner", Scanner)
    with pytest.raises(LinkError) as caught:
        await ask("ble:PEN-0001")
    assert says in str(caught.value)
    rows: list[Found] = []
    await scan(rows.append)
    (row,) = rows
    assert says in row.trouble
    assert "\n" not in row.trouble


@pytest.mark.parametrize(
    ("module", "url", "says"),
    [
        ("pen_controller.transports.ble", "ble:PEN-0001", "'pen-controller[ble]'"),
        ("pen_controller.transports.bumble_backend", "ble:PEN-0001?hci=usb:0", "'pen-controller[ble-sim]'"),
    ],
)
async def test_a_missing_package_is_named(module: str, url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LinkError) as caught:
        await ask(url)
    assert says in str(caught.value)
    rows: list[Found] = []
    await scan(rows.append, hci="usb:0")
    assert says in rows[0].trouble


# --- the table -------------------------------------------------------------------------------------------------------

SIMULATED = "ble:F0:2D:30:30:30:31?hci=tcp-client:127.0.0.1:9201"
ON_A_MAC = "ble:C9D0C3C2-1111-2222-3333-444455556666"


@pytest.mark.parametrize("url", [SIMULATED, ON_A_MAC, "serial:/dev/ttyUSB0"])
@pytest.mark.parametrize("width", [80, 60])
def test_a_url_is_whole_at_any_width(url: str, width: int) -> None:
    pen = SimulatedPen()
    state = next(said for said in pen.step(100_000) if isinstance(said, State))
    found = Found(url, "a bridge with a long name [1]", pen.firmware.identity, state, signal_dbm=-50)
    lines = printed([found], width)
    assert url in [line.strip() for line in lines]
    assert width < 80 or "a bridge with a… -50 dBm PEN-0001 1.0.0 100 % free" in lines


@pytest.mark.parametrize(
    ("url", "trouble", "says"),
    [
        (SIMULATED, f"{SIMULATED}: no such pen in reach; switch it on", "no such pen in reach"),
        ("serial:/dev/ttyS0", "/dev/ttyS0: nothing answers there; is the pen switched on?", "nothing answers there"),
        ("ble:", "Bluetooth is off; switch it on", "Bluetooth is off; switch it on"),
    ],
)
def test_trouble_is_short_but_for_what_to_do_about_bluetooth(url: str, trouble: str, says: str) -> None:
    lines = printed([Found(url, "name", trouble=trouble)], 80)
    assert lines[-1] == says
    assert (url in lines) == (url != "ble:")


def printed(found: list[Found], width: int) -> list[str]:
    """Lines of the table, each space one."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table_of(found))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


# --- all that is in sight --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_pens_are_listed_when_seen_and_again_when_asked(open_air: OpenAir) -> None:
    rows: list[Found] = []
    async with open_air(pens=2) as bench, Pen.open(bench.transport()):
        await scan(rows.append, hci="air")
    assert [row.identity is None for row in rows] == [True, True, False, False]
    assert [row.url for row in rows[:2]] == [row.url for row in rows[2:]]
    asked = {row.name: row for row in rows[2:]}
    assert asked.keys() == {"PEN-0001", "PEN-0002"}
    assert [asked[name].in_use for name in sorted(asked)] == [True, False]
    assert {row.signal_dbm for row in rows} == {-50}
    assert asked["PEN-0001"].url == "ble:F0:2D:30:30:30:31?hci=air"


@pytest.mark.parametrize("bluetooth", [False, True])
async def test_ports_are_asked_with_and_without_bluetooth(monkeypatch: pytest.MonkeyPatch, bluetooth: bool) -> None:
    port = SimpleNamespace(device="/dev/no-such-port", description="a cable")
    monkeypatch.setattr(list_ports, "comports", lambda: [port])
    rows: list[Found] = []
    await scan(rows.append, bluetooth=bluetooth, hci="tcp-client:127.0.0.1:1")
    troubles = {row.name: row.trouble for row in rows}
    assert "no such port" in troubles.pop("a cable")
    assert list(troubles) == ["Bluetooth"] * bluetooth


@in_virtual_time
async def test_a_pen_that_goes_while_it_is_asked_says_so_in_its_row(
    open_air: OpenAir, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Found] = []
    async with open_air() as bench:
        find = BleTransport._find

        async def gone(self: BleTransport, radio: ble.Radio) -> object:
            await bench.line.unplug()
            return await find(self, radio)

        monkeypatch.setattr(BleTransport, "_find", gone)
        await scan(rows.append, hci="air")
    assert [row.trouble and "no such pen in reach" in row.trouble for row in rows] == ["", True]
