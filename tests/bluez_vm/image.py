"""The guest's disk: a small Debian with a kernel and BlueZ, built once and kept outside the checkout."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
PYTHON = (3, 11)
"""The suite's own Python; compiled packages of the host's virtual environment must be built for the same one."""
PACKAGES = ("linux-image-amd64", "bluez", "dbus", "python3", "kmod")
DISK_MARGIN_MB = 64
TAIL_LINES = 10

DPKG_EXCLUDES = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    *(
        f"/lib/modules/*/kernel/{part}/*"
        for part in (
            "sound",
            *(f"drivers/{kind}" for kind in ("ata", "gpu", "iio", "infiniband", "isdn", "media", "net", "scsi", "usb")),
        )
    ),
)
"""What the guest never needs, and so is not even unpacked."""
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")

INIT = """\
#!/bin/sh
# What happens next is in the checkout, so that it can change without a new disk.
modprobe -a 9p 9pnet_virtio
for tag in tree site; do mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 $tag /$tag; done
exec /bin/sh /tree/tests/bluez_vm/init
"""


class MissingError(Exception):
    """This system cannot build or run the guest; the message says what it lacks."""


@dataclass(frozen=True)
class Image:
    """What QEMU boots: files in one folder."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """The suite's kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its first file system, with just enough modules to mount the disk."""
        return self.folder / "initrd.img"

    @property
    def disk(self) -> Path:
        """An ext4 file system, raw and sparse."""
        return self.folder / "disk.img"


def program(name: str, package: str) -> str:
    """Return the path of a system program.

    Raises:
        MissingError: it is not installed; names the Debian package that has it.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise MissingError(f"{name} is not installed (on Debian: apt-get install {package})")
    return found


def cache() -> Path:
    """Return the folder of the cache: `PEN_BLUEZ_VM_CACHE`, else `~/.cache/pen-controller/bluez-vm`."""
    return Path(os.environ.get("PEN_BLUEZ_VM_CACHE") or Path.home() / ".cache/pen-controller/bluez-vm")


def prepare(report: Callable[[str], None]) -> Image:
    """Return the image of this recipe from the cache, after building it (a minute or more) if it is not there.

    Args:
        report: is told what is done, a line at a time.

    Raises:
        MissingError: there is none yet, and it cannot be built here.
    """
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    ready = Image(cache() / recipe)
    if not ready.folder.exists():
        _build(ready, report)
    return ready


def _build(ready: Image, report: Callable[[str], None]) -> None:
    debootstrap, mke2fs = program("debootstrap", "debootstrap"), program("mke2fs", "e2fsprogs")
    if sys.platform == "win32" or os.geteuid() != 0:
        raise MissingError(f"no image in {cache()} yet, and only root can build one with debootstrap")
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), prefix="building-") as scratch:
        root, made = Path(scratch) / "root", Image(Path(scratch) / "image")
        made.folder.mkdir()
        _configure(root)
        report(f"building the image: Debian {SUITE} with {', '.join(PACKAGES)}")
        packages = ",".join(PACKAGES)
        _run([debootstrap, "--variant=minbase", f"--include={packages}", SUITE, str(root), *_mirror()])
        for folder in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(root / folder)
        _add_init(root)
        for name in ("vmlinuz", "initrd.img"):
            shutil.copy(next((root / "boot").glob(f"{name}-*")), made.folder / name)
        used_mb = sum(file.lstat().st_blocks for file in root.rglob("*")) // 2048
        report(f"writing {used_mb} MB to its disk")
        _run([mke2fs, "-q", "-t", "ext4", "-d", str(root), str(made.disk), f"{used_mb * 5 // 4 + DISK_MARGIN_MB}M"])
        # At once, so that what is interrupted leaves nothing that looks like an image.
        made.folder.rename(ready.folder)


def _configure(root: Path) -> None:
    """Say before anything is installed what shall be left out."""
    dpkg, boot = root / "etc/dpkg/dpkg.cfg.d", root / "etc/initramfs-tools"
    dpkg.mkdir(parents=True)
    (dpkg / "small").write_text("".join(f"path-exclude={path}\n" for path in DPKG_EXCLUDES))
    (boot / "conf.d").mkdir(parents=True)
    (boot / "conf.d/small").write_text("MODULES=list\n")
    (boot / "modules").write_text("".join(f"{module}\n" for module in BOOT_MODULES))


def _add_init(root: Path) -> None:
    for mount_point in ("tree", "site"):
        (root / mount_point).mkdir()
    init = root / "sbin/the-init"
    init.write_text(INIT)
    init.chmod(0o755)


def _mirror() -> list[str]:
    """Return the mirror that this system's own apt uses for the suite; nothing where debootstrap's default must do."""
    apt = shutil.which("apt-get")
    if apt is None:
        return []
    question = [apt, "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", f"Codename: {SUITE}"]
    return subprocess.run(question, capture_output=True, text=True, check=True).stdout.split()[:1]


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise MissingError(f"no image in {cache()} yet, and {Path(command[0]).name} cannot build one here:\n{said}")
