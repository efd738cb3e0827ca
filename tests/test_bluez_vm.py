"""Our Bluetooth transport on the system's real stack, under QEMU; and that a guest that fails is seen to fail."""

import os
import sys
from pathlib import Path

import pytest

from tests.bluez_vm.image import Image, MissingError, prepare, program
from tests.bluez_vm.machine import Result, check, qemu

needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="stands in for QEMU with a shell script")


@pytest.mark.timeout(1200)  # the image may have to be built first
def test_bleaks_own_bluez_backend_on_a_real_bluez_and_kernel(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    try:
        qemu()
        results = check(prepare(print), console, print)
    except MissingError as missing:
        if os.environ.get("PEN_REQUIRE_SYSTEM") == "1":
            pytest.fail(f"{missing}, and PEN_REQUIRE_SYSTEM=1")
        pytest.skip(str(missing))
    failed = [result for result in results if not result.passed]
    assert results, f"the guest did not begin:\n{console.read_text(errors='replace')}"
    assert not failed, f"{failed}\n{console.read_text(errors='replace')}"


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Have this shell script run instead of QEMU."""
    fake = folder / "qemu-system-x86_64"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setattr("tests.bluez_vm.machine.qemu", lambda: str(fake))


@needs_shell
def test_what_a_guest_did_not_reach_has_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = '{"title": "a", "passed": true, "detail": "fine", "seconds": 1.5}'
    stand_in(monkeypatch, tmp_path, f"""echo '{{"titles": ["a", "b"]}}'; echo '{first}'; echo '{{"title": "b", "pas'""")
    said: list[Result] = []
    results = check(Image(tmp_path), tmp_path / "console.log", said.append)
    assert results == [Result("a", True, "fine", 1.5), Result("b", False, "not reached")]
    assert said == results[:1]


@needs_shell
def test_a_guest_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, tmp_path, """echo '{"titles": ["a"]}'; exec sleep 1000""")
    assert check(Image(tmp_path), tmp_path / "console.log", print, limit_s=0.5) == [Result("a")]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match=r"no-such-program is not installed .*: apt-get install its-package"):
        program("no-such-program", "its-package")
    monkeypatch.setattr("sysconfig.get_platform", lambda: "macosx-14-arm64")
    with pytest.raises(MissingError, match="linux-x86_64, this is macosx"):
        qemu()


def test_who_may_not_build_an_image_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEN_BLUEZ_VM_CACHE", str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: f"/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000, raising=False)
    with pytest.raises(MissingError, match="only root can build one"):
        prepare(print)
