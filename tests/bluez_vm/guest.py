"""The checks, run in the guest: our transport, bleak's own BlueZ backend, BlueZ, the kernel, and a pen in the air.

The pen is `pen-sim ble --hci vhci` in a process of its own: the kernel sees an adapter, BlueZ sees a pen. Prints a JSON
object a line: the titles of all checks, then each one's result as it comes.
"""

import asyncio
import json
import subprocess
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.unpack import unpack_variants

from pen_controller.errors import LinkError
from pen_controller.pen import Pen
from pen_controller.transports.ble import Sighting, look
from protocols.framing import Decoder
from protocols.gatt import INFO, PEN_SERVICE, RSP, TLM, UDI_FOR_MEDICAL_DEVICES
from protocols.messages import Identity, decode
from protocols.words import Cause, PenState
from tests.lines import PenSim, run_needles
from tests.running import until

PEN = "ble:PEN-0001"
CHECK_S = 20.0
"""Longest that one check may take, in the guest's slow seconds."""

Check = Callable[[PenSim], Coroutine[Any, Any, str]]
"""Raises what is wrong; returns what is worth telling. Its docstring is its title."""


async def adapter(_: PenSim) -> str:
    """The kernel sees an adapter, and BlueZ switches it on."""
    (on,) = await adapters([True])
    return f"{on['Address']}, {on['AddressType']}"


async def scan(_: PenSim) -> str:
    """A scan finds the pen."""
    found: list[Sighting] = []
    await look(found.append, hci=None, seconds=1.0)
    assert [one.name for one in found] == ["PEN-0001"], found
    return f"{found[0].address}, {found[0].signal_dbm} dBm"


async def identity(_: PenSim) -> str:
    """Bleak's own BlueZ backend reads who the pen is."""
    device = await BleakScanner.find_device_by_filter(lambda _, heard: PEN_SERVICE in heard.service_uuids)
    assert device is not None
    async with BleakClient(device) as client:
        backend = type(client._backend)
        assert backend.__module__.startswith("bleak.backends.bluezdbus."), backend
        (frame,) = Decoder().feed(bytes(await client.read_gatt_char(INFO)))
        label = bytes(await client.read_gatt_char(UDI_FOR_MEDICAL_DEVICES))
    said = decode(frame)
    assert isinstance(said, Identity)
    assert label == b"\x01" + said.udi.encode() + b"\0"
    return f"{backend.__name__}: {said.serial}, {said.udi}"


async def treatment(_: PenSim) -> str:
    """A whole treatment at the full MTU, notifications acquired."""
    return await treat(mtu=517)


async def small_treatment(_: PenSim) -> str:
    """A whole treatment at the smallest MTU, frames in pieces."""
    return await treat(mtu=23)


async def treat(mtu: int) -> str:
    async with Pen.open(PEN) as pen:
        ways = [one for one in await bluez("org.bluez.GattCharacteristic1") if one["UUID"] in (RSP, TLM)]
        assert [(one["MTU"], one["NotifyAcquired"]) for one in ways] == [(mtu, True)] * 2, ways

        samples = pen.samples()
        await run_needles(pen)
        strokes: list[int] = []
        async for batch in samples:
            strokes += batch["strokes"].tolist()
            if strokes[-1] - strokes[0] >= 50:
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
        return f"MTU {mtu}, {strokes[-1] - strokes[0]} strokes in {len(strokes)} samples, 0 frames lost"


async def drop(sim: PenSim) -> str:
    """A dropped link latches the pen by its lease; a person resumes."""
    async with Pen.open(PEN) as pen:
        await run_needles(pen)
        await sim.unplug(0.5)
        await until(lambda: not pen.connected)
        lost_why = pen.stop_reason
        await pen.reconnect()
        assert (pen.state.state, pen.state.cause) == (PenState.LATCHED, Cause.LEASE_EXPIRED)
        await pen.clear(pen.state.latch_id)
        await run_needles(pen)
        await pen.disarm()
    return str(lost_why)


async def switched_off(_: PenSim) -> str:
    """Bluetooth switched off under a running pen: the pen latches, and the host says what to do."""
    async with Pen.open(PEN) as pen:
        await run_needles(pen)
        await bluetoothctl("power", "off")
        await until(lambda: not pen.connected)
        why = await refusal()
        assert "Bluetooth is off; switch it on" in why, why
        await bluetoothctl("power", "on")
        await adapters([True])
        await pen.reconnect()
        assert (pen.state.state, pen.state.cause) == (PenState.LATCHED, Cause.LEASE_EXPIRED)
        await pen.clear(pen.state.latch_id)
    return why


async def pulled_out(sim: PenSim) -> str:
    """The adapter pulled out under an open pen: the host says what to do."""
    async with Pen.open(PEN) as pen:
        sim.process.kill()
        await until(lambda: not pen.connected)
    await adapters([])
    why = await refusal()
    assert "no Bluetooth adapter; plug one in" in why, why
    return why


PLAN: list[tuple[list[str], list[Check]]] = [
    ([], [adapter, scan, identity, treatment, drop, switched_off, pulled_out]),
    (["--mtu", "23"], [adapter, small_treatment]),
]
"""Options of a pen, and what is tried with it."""


# --- BlueZ, other than by our own code -------------------------------------------------------------------------------


async def bluez(interface: str) -> list[dict[str, Any]]:
    """Return the properties of every object of BlueZ that has an interface."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    try:
        question = Message("org.bluez", "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        answer = await bus.call(question)
    finally:
        bus.disconnect()
    assert answer is not None
    assert answer.message_type is MessageType.METHOD_RETURN, f"BlueZ does not answer: {answer.body}"
    objects = unpack_variants(answer.body[0]).values()
    return [one[interface] for one in objects if interface in one]


async def adapters(switched_on: list[bool]) -> list[dict[str, Any]]:
    """Wait until there are so many adapters, each switched on or off; return them."""
    while True:
        found = await bluez("org.bluez.Adapter1")
        if [one["Powered"] for one in found] == switched_on:
            return found
        await asyncio.sleep(0.05)


async def bluetoothctl(*words: str) -> None:
    """Do as a person at the keyboard."""
    process = await asyncio.create_subprocess_exec("bluetoothctl", *words, stdout=subprocess.DEVNULL)
    assert await process.wait() == 0


async def refusal() -> str:
    """Return what the host says instead of opening the pen."""
    with pytest.raises(LinkError) as error:
        async with Pen.open(PEN):
            pass
    return str(error.value)


# --- running ---------------------------------------------------------------------------------------------------------


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def run(title: str, check: Check, sim: PenSim) -> None:
    began_s = time.monotonic()
    detail, passed = "", False
    try:
        async with asyncio.timeout(CHECK_S):
            detail = await check(sim)
        passed = True
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # however it fails, the others come next
        detail = repr(error)
        traceback.print_exc()
    say(title=title, passed=passed, detail=detail, seconds=round(time.monotonic() - began_s, 1))


def titled(options: list[str], check: Check) -> str:
    title = f"{check.__doc__}".rstrip(".")
    return f"{title} ({' '.join(options)})" if options else title


async def main() -> None:
    say(titles=[titled(options, check) for options, checks in PLAN for check in checks])
    for options, checks in PLAN:
        sim = PenSim("ble", "--hci", "vhci", *options)
        try:
            for check in checks:
                await run(titled(options, check), check, sim)
        finally:
            sim.end()


if __name__ == "__main__":
    asyncio.run(main())
