"""The simulated pen as a Bluetooth LE peripheral, and the air it is in: seen by bleak itself, in virtual time."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError
from bumble import gatt_client
from bumble.att import ATT_PDU, ATT_Error

from pen_controller.errors import PenError
from pen_controller.pen import Pen
from pen_controller.transports import bumble_backend
from pen_controller.transports.ble import Radio, Sighting, look, radio_for
from protocols import gatt
from protocols.framing import Decoder
from protocols.messages import AskEvents, AskIdentity, AskState, Identity, State, decode, encode
from protocols.samples import Samples
from protocols.words import EventKind, PenState
from simulator import air as air_module
from simulator.air import Air
from simulator.pen import SimulatedPen
from simulator.peripheral import BleLine
from tests.lines import run_needles
from tests.running import in_virtual_time, until
from tests.virtual_air import OpenAir, open_air

__all__ = ["open_air"]  # a fixture

SERIAL_NUMBER, BATTERY_LEVEL = "00002a25-0000-1000-8000-00805f9b34fb", "00002a19-0000-1000-8000-00805f9b34fb"
MTUS = pytest.mark.parametrize("mtu", [23, 185, 247, 517])


@contextlib.asynccontextmanager
async def client_of(radio: Radio, name: str = "PEN-0001") -> AsyncIterator[BleakClient]:
    device = await BleakScanner.find_device_by_name(name, timeout=5, **radio.scanner)
    assert device is not None
    async with BleakClient(device, timeout=10, **radio.client) as client:
        yield client


@in_virtual_time
async def test_it_advertises_its_name_and_service_and_goes_on_while_connected(open_air: OpenAir) -> None:
    async with open_air(pens=2), radio_for("air") as radio, client_of(radio):
        seen: list[Sighting] = []
        await look(seen.append, hci="air", seconds=1.0)
        assert sorted((pen.name, pen.address) for pen in seen) == [
            ("PEN-0001", "F0:2D:30:30:30:31"),
            ("PEN-0002", "F0:2D:30:30:30:32"),
        ]


@MTUS
@in_virtual_time
async def test_its_services_say_who_it_is_at_any_mtu(open_air: OpenAir, mtu: int) -> None:
    async with open_air(mtu=mtu) as bench, radio_for("air") as radio, client_of(radio) as client:
        assert client.mtu_size == mtu
        (frame,) = Decoder().feed(bytes(await client.read_gatt_char(gatt.INFO)))
        assert decode(frame) == bench.pen.firmware.identity
        assert bytes(await client.read_gatt_char(SERIAL_NUMBER)) == b"PEN-0001"
        udi = bytes(await client.read_gatt_char(gatt.UDI_FOR_MEDICAL_DEVICES))
        assert udi == b"\x01(01)09521234543213(21)PEN-0001\0"
        assert bytes(await client.read_gatt_char(BATTERY_LEVEL)) == b"\x64"
        properties = {one.uuid: one.properties for one in client.services.characteristics.values()}
        assert [properties[uuid] for uuid in (gatt.INFO, gatt.CMD, gatt.RSP, gatt.TLM)] == [
            ["read"],
            ["write"],
            ["notify"],
            ["notify"],
        ]


@MTUS
@in_virtual_time
async def test_all_notifications_in_their_order_are_one_stream_of_whole_slices(open_air: OpenAir, mtu: int) -> None:
    """BLE-1 and BLE-2, with samples flowing."""
    notified: list[bytes] = []
    async with contextlib.AsyncExitStack() as stack:
        bench = await stack.enter_async_context(open_air(mtu=mtu))
        pen = await stack.enter_async_context(Pen.open(bench.transport()))
        client = await stack.enter_async_context(client_of(await stack.enter_async_context(radio_for("air"))))
        for uuid in (gatt.RSP, gatt.TLM):
            await client.start_notify(uuid, lambda _, data: notified.append(bytes(data)))
        await run_needles(pen)
        await asyncio.sleep(1.0)
        for _ in range(40):
            bench.pen.firmware._event(EventKind.BOOTED)  # for a long answer
        await client.write_gatt_char(gatt.CMD, encode(AskEvents(0), epoch=0, counter=1), response=True)
        await client.stop_notify(gatt.TLM)
        count = len(notified)
        await asyncio.sleep(0.5)
        later = Decoder()
        assert Samples not in {type(decode(frame)) for data in notified[count:] for frame in later.feed(data)}
        for descriptor in client.services.descriptors.values():
            assert len(await client.read_gatt_descriptor(descriptor.handle)) == 2
    decoder = Decoder()
    messages = [decode(frame) for data in notified for frame in decoder.feed(data)]
    assert decoder.dropped.total == 0
    assert {Samples, State} <= {type(message) for message in messages}
    assert max(map(len, notified)) == min(mtu - 3, 512)


@in_virtual_time
async def test_who_does_not_listen_is_told_nothing(open_air: OpenAir) -> None:
    async with open_air(), radio_for("air") as radio, client_of(radio) as client:
        heard: list[bytes] = []
        await client.write_gatt_char(gatt.CMD, encode(AskState(), epoch=0, counter=1), response=True)
        await client.start_notify(gatt.RSP, lambda _, data: heard.append(bytes(data)))
        await client.write_gatt_char(gatt.CMD, encode(AskIdentity(), epoch=0, counter=2), response=True)
        await until(lambda: heard)
        frames = Decoder().feed(heard[0])
        assert isinstance(decode(frames[0]), Identity | State)
        with pytest.raises(BleakError):
            await client.read_gatt_char(gatt.CMD)


@in_virtual_time
async def test_out_of_reach_it_is_gone_for_all_and_back_under_the_same_address(open_air: OpenAir) -> None:
    async with open_air() as bench, radio_for("air") as radio, client_of(radio) as client:
        await bench.line.unplug()
        assert bench.line.urls == []
        await bench.line.unplug()  # quiet
        await until(lambda: not client.is_connected)
        with pytest.raises(BleakError):
            await client.write_gatt_char(gatt.CMD, b"\0", response=True)
        seen: list[Sighting] = []
        await look(seen.append, hci="air", seconds=1.0)
        assert seen == []
        await bench.line.plug()
        await look(seen.append, hci="air", seconds=1.0)
        assert [pen.address for pen in seen] == [client.address]


@in_virtual_time
async def test_a_reboot_drops_the_link_and_it_advertises_again_after_its_start_up(open_air: OpenAir) -> None:
    async with open_air() as bench, Pen.open(bench.transport()) as pen:
        await run_needles(pen)
        boot_id = pen.identity.boot_id
        bench.pen.reboot(bench.clock_us())
        restarting = asyncio.create_task(bench.line.restart())
        await until(lambda: not pen.connected)
        assert "gone" in str(pen.stop_reason)
        assert bench.line.urls == []
        await bench.line.plug()  # put back in the meantime
        await restarting
        await pen.reconnect()
        assert pen.identity.boot_id == bench.pen.firmware.identity.boot_id != boot_id
        assert pen.state.state is PenState.IDLE
        with pytest.raises(PenError, match="not armed"):
            await pen.start(1.0, 100.0)


@in_virtual_time
async def test_a_connection_that_fails_on_the_way_is_not_left_open(
    open_air: OpenAir, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise BleakError("no services")

    monkeypatch.setattr(bumble_backend, "_discover", fail)
    async with open_air() as bench, radio_for("air") as radio:
        with pytest.raises(BleakError, match="no services"):
            async with client_of(radio):
                pytest.fail("connected")
        await until(lambda: not bench.line._hosts)


@in_virtual_time
async def test_an_att_error_is_bleaks_own(open_air: OpenAir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ATT_Error(0x80)

    monkeypatch.setattr(BleLine, "_on_write", refuse)
    async with open_air(), radio_for("air") as radio, client_of(radio) as client:
        with pytest.raises(BleakError, match="0x80"):
            await client.write_gatt_char(gatt.CMD, b"\0", response=True)


@in_virtual_time
async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(
    open_air: OpenAir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`asyncio.wait_for`, by which Bumble waits, forgets it before Python 3.12."""
    hear = gatt_client.Client.on_gatt_pdu
    async with open_air(), radio_for("air") as radio, client_of(radio) as client:
        reading = asyncio.create_task(client.read_gatt_char(gatt.INFO))

        def answer(self: gatt_client.Client, pdu: ATT_PDU) -> None:
            hear(self, pdu)
            reading.cancel()

        monkeypatch.setattr(gatt_client.Client, "on_gatt_pdu", answer)
        with pytest.raises(asyncio.CancelledError):
            await reading


@pytest.mark.parametrize(
    ("options", "says"), [({"mtu": 22}, "22"), ({"mtu": 518}, "518"), ({"name": "PEN-00001"}, "at most 8")]
)
def test_what_cannot_be_advertised_or_agreed_to_is_refused(options: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BleLine(SimulatedPen(), lambda: 0, Air(), **options)  # type: ignore[arg-type]  # what a person might pass


# --- the air ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_slow_and_lossy_air_keeps_the_order_and_loses_nothing(open_air: OpenAir) -> None:
    loop = asyncio.get_running_loop()
    async with open_air(interval_ms=30, missed=0.3) as bench, Pen.open(bench.transport()) as pen:
        samples = pen.samples()
        began_s = loop.time()
        await pen.cartridge()
        took_s = loop.time() - began_s
        assert took_s > 0.03
        times = [int(t_us) for _ in range(40) for t_us in (await anext(samples))["t_us"]]
        assert {after - before for before, after in itertools.pairwise(times)} == {10_000}
        assert pen.lost_frames == 0


async def test_hosts_attach_by_tcp_and_take_their_connections_with_them() -> None:
    async with Air() as air:
        line = BleLine(SimulatedPen(), lambda: 0, air)
        assert line.urls == []
        await line.plug()
        try:
            assert line.urls == [air.url("PEN-0001")]
            async with radio_for(line.urls[0].partition("hci=")[2]) as radio:
                device = await BleakScanner.find_device_by_name("PEN-0001", timeout=5, **radio.scanner)
                assert device is not None
                client = BleakClient(device, timeout=10, **radio.client)
                await client.connect()
                assert len(line._hosts) == 1
            await until(lambda: not line._hosts)  # the host has gone without a word
            assert not client.is_connected
        finally:
            await line.unplug()


async def test_a_controller_that_goes_while_connecting_is_an_error_and_no_cancellation() -> None:
    async with Air() as air:
        line = BleLine(SimulatedPen(), lambda: 0, air)
        await line.plug()
        async with radio_for(line.urls[0].partition("hci=")[2]) as radio:
            device = await BleakScanner.find_device_by_name("PEN-0001", timeout=5, **radio.scanner)
            assert device is not None
            await line.unplug()
            connecting = asyncio.create_task(BleakClient(device, timeout=20, **radio.client).connect())
            await asyncio.sleep(0.1)
            for host in air.hosts:
                host.leave()
            with pytest.raises(BleakError):
                await connecting
        await until(lambda: not air.hosts)


async def test_a_host_that_does_not_read_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Air() as air:
        _, _, address = air.url("x").partition("tcp-client:")
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await until(lambda: air.hosts)
        monkeypatch.setattr(air_module, "MOST_UNREAD_BYTES", -1)
        writer.write(bytes.fromhex("01030c00"))  # HCI Reset
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await until(lambda: not air.hosts)
        writer.close()


@pytest.mark.parametrize("hci", ["tcp-server:127.0.0.1:99999", "tcp-server:nonsense", "no-such-transport"])
async def test_an_hci_port_that_does_not_open_is_named(hci: str) -> None:
    with pytest.raises(OSError, match=hci.rpartition(":")[2]):
        async with Air(hci):
            pytest.fail("it opens")


@in_virtual_time
async def test_pairing_is_there_for_pens_that_want_it(open_air: OpenAir) -> None:
    async with open_air(), radio_for("air") as radio, client_of(radio) as client:
        await client.pair()
        await client.unpair()
        assert client.name == "PEN-0001"
