"""The checks, run in the guest: our transport on bleak's own BlueZ backend, BlueZ, the kernel, and a pen in the air.

The pen is `pen-sim ble --hci vhci` in a process of its own: the kernel sees an adapter, BlueZ sees a pen. Prints a JSON
object a line: the titles of all checks, then each one's result as it comes.
"""

import asyncio
import json
import subprocess
import sys
import time
import traceback
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus
from dbus_fast.unpack import unpack_variants

from pen_controller.errors import LinkError
from pen_controller.pen import Pen
from pen_controller.transports.ble import look
from protocols.framing import Decoder
from protocols.gatt import INFO, PEN_SERVICE, TLM, RSP, UDI_FOR_MEDICAL_DEVICES
from protocols.messages import Identity, decode
from protocols.words import Cause, PenState
from tests.lines import PenSim, grant_for, run_needles
from tests.running import until

PEN = "ble:PEN-0001"
ATTEMPTS = 3


# --- the checks ------------------------------------------------------------------------------------------------------


async def the_kernel_sees_an_adapter_and_bluez_powers_it(_: PenSim) -> str:
    async with asyncio.timeout(30):
        while not (powered := [one for one in await bluez("org.bluez.Adapter1") if one["Powered"]]):
            await asyncio.sleep(0.1)
    return f"{powered[0]['Address']}, {powered[0]['AddressType']}"


async def a_scan_finds_the_pen(_: PenSim) -> str:
    found = []
    await look(found.append, hci=None, seconds=3)
    assert [one.name for one in found] == ["PEN-0001"]
    return f"{found[0].address}, {found[0].signal_dbm} dBm"


async def bleak_reads_who_the_pen_is_through_its_own_bluez_backend(_: PenSim) -> str:
    device = await BleakScanner.find_device_by_filter(lambda _, heard: PEN_SERVICE in heard.service_uuids)
    assert device is not None
    async with BleakClient(device) as client:
        backend = type(client._backend)
        assert backend.__module__.startswith("bleak.backends.bluezdbus."), backend
        (frame,) = Decoder().feed(bytes(await client.read_gatt_char(INFO)))
        label = bytes(await client.read_gatt_char(UDI_FOR_MEDICAL_DEVICES))
    identity = decode(frame)
    assert isinstance(identity, Identity)
    assert label == b"\x01" + identity.udi.encode() + b"\0"
    return f"{backend.__name__}: {identity.serial}, {identity.udi}"


async def notifications_are_acquired_at_the_full_mtu(_: PenSim) -> str:
    async with Pen.open(PEN):
        open_ = [one for one in await bluez("org.bluez.GattCharacteristic1") if one["UUID"] in (RSP, TLM)]
    assert [one["NotifyAcquired"] for one in open_] == [True, True], open_
    assert {one["MTU"] for one in open_} == {517}
    return "MTU 517"


async def a_whole_treatment(_: PenSim) -> str:
    async with Pen.open(PEN) as pen:
        samples = pen.samples()
        await run_needles(pen)
        first = last = None
        async for batch in samples:
            first = batch[0] if first is None else first
            last = batch[-1]
            if last["strokes"] - first["strokes"] >= 100:
                break
        await pen.set(0.5, 60.0)
        await until(lambda: (pen.state.depth_set_um, pen.state.rate_set_dhz) == (500, 600))
        await pen.disarm()
        assert pen.state.state is PenState.IDLE

        await run_needles(pen)
        latched = await pen.stop()
        assert (latched.state, latched.cause) == (PenState.LATCHED, Cause.STOP)
        await pen.clear(latched.latch_id)
        await until(lambda: pen.state.state is PenState.IDLE)
        assert pen.lost_frames == 0
        return f"{last['strokes'] - first['strokes']} strokes, 0 frames lost"


async def a_dropped_link_latches_the_pen_and_a_person_resumes(sim: PenSim) -> str:
    async with Pen.open(PEN) as pen:
        await run_needles(pen)
        await sim.unplug(1.0)
        await until(lambda: not pen.connected)
        why = pen.stop_reason
        for _ in range(ATTEMPTS):
            try:
                await pen.reconnect()
                break
            except LinkError as error:
                why = f"{why}; {error}"
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert pen.state.cause is Cause.LEASE_EXPIRED
        await pen.clear(pen.state.latch_id)
        await run_needles(pen)
        await pen.stop()
        return f"{why}"


CHECKS = [
    the_kernel_sees_an_adapter_and_bluez_powers_it,
    a_scan_finds_the_pen,
    bleak_reads_who_the_pen_is_through_its_own_bluez_backend,
    notifications_are_acquired_at_the_full_mtu,
    a_whole_treatment,
    a_dropped_link_latches_the_pen_and_a_person_resumes,
]


# --- BlueZ itself ----------------------------------------------------------------------------------------------------


async def bluez(interface: str) -> list[dict[str, Any]]:
    """The properties of every object of BlueZ that has an interface."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    question = Message("org.bluez", "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    answer = await bus.call(question)
    bus.disconnect()
    objects = unpack_variants(answer.body[0]).values()
    return [one[interface] for one in objects if interface in one]


# --- running ---------------------------------------------------------------------------------------------------------


def say(**result: object) -> None:
    print(json.dumps(result), flush=True)


async def main() -> None:
    say(up_s=time.monotonic())
    sim = PenSim("ble", "--hci", "vhci")
    say(sim=time.monotonic(), url=sim.url)
    try:
        for check in CHECKS:
            began_s = time.monotonic()
            passed = False
            try:
                detail = await check(sim)
                passed = True
            except (Exception, pytest.fail.Exception) as error:
                detail = repr(error)
                traceback.print_exc()
            say(check=check.__name__.replace("_", " "), passed=passed, detail=detail, seconds=round(time.monotonic() - began_s, 1))
    finally:
        sim.end()


if __name__ == "__main__":
    asyncio.run(main())
