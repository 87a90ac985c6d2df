"""QEMU and mke2fs of Debian 13, run out of the cache with the loader and libraries beside them."""

from __future__ import annotations

from pathlib import Path

from tests.vm import debian
from tests.vm.cache import SUITE, made

PACKAGES = ("qemu-system-x86", "e2fsprogs")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def tools() -> Path:
    """The directory that they are unpacked in; fetched where it is missing."""
    return made("tools", " ".join(PACKAGES), lambda at: debian.unpack(PACKAGES, SUITE, at))


def command(program: str) -> list[str]:
    """What starts `program` (a path below the root), whatever libraries this machine has."""
    root = tools()
    libraries = root / _LIBRARIES
    return [
        str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries),
        str(root / program),
    ]  # fmt: skip


def qemu() -> list[str]:
    """`qemu-system-x86_64` with its firmware."""
    share = tools() / "usr/share"
    return [
        *command("usr/bin/qemu-system-x86_64"), "-L", str(share / "qemu"), "-L",
        str(share / "seabios"),
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """What QEMU and mke2fs need to find beside themselves."""
    root = tools()
    return {
        "QEMU_MODULE_DIR": str(root / _LIBRARIES / "qemu"),
        "MKE2FS_CONFIG": str(root / "etc/mke2fs.conf"),
    }
