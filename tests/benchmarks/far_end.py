"""The other processes of the round-trip benchmark: `python -m tests.benchmarks.far_end KIND [PATH]`.

`echo` and `relay` print the path of their pseudo-terminal on a line of their own, `modbus` an empty line, when ready.
They end with their standard input.
"""

import asyncio
import os
import pty
import sys
import tty

from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

MODBUS_BAUD = 921_600


def terminal() -> tuple[int, str]:
    """A new pseudo-terminal: our side's descriptor, and the path of the other."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, os.ttyname(slave)


def pump(from_fd: int, to_fd: int) -> None:
    """Pass on whatever comes."""
    asyncio.get_running_loop().add_reader(from_fd, lambda: os.write(to_fd, os.read(from_fd, 65_536)))


def echo() -> None:
    """Send everything back."""
    fd, path = terminal()
    pump(fd, fd)
    print(path, flush=True)


def relay(far_path: str | None) -> None:
    """Join a new terminal to the one at `far_path`, or to another new one."""
    fd, path = terminal()
    if far_path is None:
        far_fd, far_path = terminal()
        print(f"{path} {far_path}", flush=True)
    else:
        far_fd = os.open(far_path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        print(path, flush=True)
    pump(fd, far_fd)
    pump(far_fd, fd)


async def modbus(path: str) -> None:
    """Serve ten registers by pymodbus's own server."""
    device = SimDevice(1, [SimData(0, values=[17] * 10, datatype=DataType.REGISTERS)])
    server = ModbusSerialServer(device, port=path, baudrate=MODBUS_BAUD)
    await server.serve_forever(background=True)
    print(flush=True)


async def main(kind: str, path: str | None = None) -> None:
    """Be that far end until standard input ends."""
    if kind == "echo":
        echo()
    elif kind == "relay":
        relay(path)
    else:
        await modbus(path or "")
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
