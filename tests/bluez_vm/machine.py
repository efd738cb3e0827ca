"""Runs the guest under QEMU, and hears its results."""

import contextlib
import json, os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bluez_vm.image import PYTHON, Image, MissingError, program

TREE = Path(__file__).parents[2]
COMMAND_LINE = "console=ttyS0 quiet root=/dev/vda rw fastboot init=/sbin/the-init panic=-1 mitigations=off"


def qemu() -> str:
    """Return QEMU's path.

    Raises:
        MissingError: QEMU, Linux, or the guest's version of Python is not here.
    """
    if sys.platform != "linux" or sysconfig.get_platform() != "linux-x86_64":
        raise MissingError(f"the guest runs on linux-x86_64, this is {sysconfig.get_platform()}")
    if sys.version_info[:2] != PYTHON:
        wanted, own = (".".join(map(str, version)) for version in (PYTHON, sys.version_info[:2]))
        raise MissingError(f"the guest uses this environment's packages with Python {wanted}, and here they are for {own}")
    return program("qemu-system-x86_64", "qemu-system-x86")


def run(image: Image, console: Path, limit_s: float) -> Iterator[dict[str, Any]]:
    """Boot the guest; yield its results as they come, until it powers off or its time is up.

    Args:
        image: what to boot; it is not changed.
        console: file for all that kernel, BlueZ and the checks say.
        limit_s: after this long the guest is killed.
    """
    command = [
        qemu(),
        *("-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot"),
        *os.environ.get("Q","").split(),
        *("-serial", f"file:{console}", "-serial", "stdio", "-device", "virtio-rng-pci"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", COMMAND_LINE),
        *("-drive", f"file={image.disk},format=raw,if=virtio,cache=unsafe,snapshot=on"),
        *_share("tree", TREE),
        *_share("site", Path(sysconfig.get_path("purelib"))),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as machine:
        time_is_up = threading.Timer(limit_s, machine.kill)
        time_is_up.start()
        try:
            for line in machine.stdout or ():
                with contextlib.suppress(json.JSONDecodeError):  # firmware and kernel may say something too
                    yield json.loads(line)
        finally:
            time_is_up.cancel()
            machine.kill()


def _share(tag: str, folder: Path) -> tuple[str, str]:
    """Show a folder of the host to the guest, read-only."""
    return ("-virtfs", f"local,path={folder},mount_tag={tag},security_model=none,readonly=on,multidevs=remap")
