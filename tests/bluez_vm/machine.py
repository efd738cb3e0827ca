"""Runs the guest under QEMU, and hears its results."""

import contextlib
import json
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bluez_vm.image import PYTHON, Image, MissingError, program

TREE = Path(__file__).parents[2]
LIMIT_S = 360.0
"""A run takes 100 s on two processors that others use too; one that takes longer than this is killed."""
COMMAND_LINE = "console=ttyS0 quiet root=/dev/vda rw fastboot init=/sbin/the-init panic=-1 mitigations=off"


@dataclass(frozen=True)
class Result:
    """What became of one check."""

    title: str
    passed: bool = False
    detail: str = "not reached"
    seconds: float = 0.0
    """In the guest's slow time."""


def qemu() -> str:
    """Return QEMU's path.

    Raises:
        MissingError: QEMU, Linux, or the guest's version of Python is not here.
    """
    if sysconfig.get_platform() != "linux-x86_64":
        raise MissingError(f"the guest runs on linux-x86_64, this is {sysconfig.get_platform()}")
    if sys.version_info[:2] != PYTHON:
        wanted, own = (".".join(map(str, version)) for version in (PYTHON, sys.version_info[:2]))
        raise MissingError(f"the guest has Python {wanted}, and the packages of this environment are for {own}")
    return program("qemu-system-x86_64", "qemu-system-x86")


def check(image: Image, console: Path, say: Callable[[Result], None], limit_s: float = LIMIT_S) -> list[Result]:
    """Boot the guest and let it run its checks.

    Args:
        image: what to boot; it is not changed.
        console: file for all that kernel, BlueZ and the checks say.
        say: is told each result as it comes.
        limit_s: after this long the guest is killed.

    Returns:
        The result of every check; where the guest did not come so far, that it was not reached. No result at all
        means that the guest did not even begin.

    Raises:
        MissingError: see `qemu`.
    """
    results: dict[str, Result] = {}
    for line in _lines(_command(image, console), limit_s):
        if "titles" in line:
            results = {title: Result(title) for title in line["titles"]}
        else:
            result = results[line["title"]] = Result(**line)
            say(result)
    return list(results.values())


def _lines(command: list[str], limit_s: float) -> Iterator[dict[str, Any]]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as machine:
        time_is_up = threading.Timer(limit_s, machine.kill)
        time_is_up.start()
        try:
            for line in machine.stdout or ():
                with contextlib.suppress(json.JSONDecodeError):  # a line that was being said when its time was up
                    yield json.loads(line)
        finally:
            time_is_up.cancel()
            machine.kill()


def _command(image: Image, console: Path) -> list[str]:
    return [
        qemu(),
        # With KVM, guests were seen to hang. Nehalem is the least processor that numpy's wheels ask for.
        *("-M", "q35", "-accel", "tcg", "-cpu", "Nehalem", "-smp", "2", "-m", "1024"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-device", "virtio-rng-pci"),
        *("-serial", f"file:{_quoted(console)}", "-serial", "stdio"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", COMMAND_LINE),
        *("-drive", f"file={_quoted(image.disk)},format=raw,if=virtio,cache=unsafe,snapshot=on"),
        *_share("tree", TREE),
        *_share("site", Path(sysconfig.get_path("purelib"))),
    ]


def _share(tag: str, folder: Path) -> tuple[str, str]:
    """Show a folder of ours to the guest, read-only."""
    return ("-virtfs", f"local,path={_quoted(folder)},mount_tag={tag},security_model=none,readonly=on,multidevs=remap")


def _quoted(path: Path) -> str:
    return str(path).replace(",", ",,")
