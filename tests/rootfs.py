"""Small root file systems for tests: busybox, and programs of this host with their libraries."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"
GROUP = "root:x:0:\nalice:x:1000:\nstaff:x:50:alice\n"


def busybox_rootfs(directory: Path) -> Path:
    """A root file system in `directory` (made) with every applet of busybox-static; returns it."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "home/alice"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    (directory / "tmp").chmod(0o1777)
    shutil.copy2(BUSYBOX, directory / "bin/busybox")
    listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        link = directory / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")
    (directory / "etc/passwd").write_text(PASSWD)
    (directory / "etc/group").write_text(GROUP)
    return directory


def rootfs_with(directory: Path, binaries: Iterable[str | Path]) -> Path:
    """A busybox rootfs with programs of this host and the libraries that ldd names; returns it."""
    busybox_rootfs(directory)
    for binary in map(Path, binaries):
        for source in (binary, *libraries_of(binary)):
            target = directory / str(source).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)  # what a link leads to
    return directory


def libraries_of(binary: Path) -> list[Path]:
    """The shared libraries and the loader of a program; none for a static one."""
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return [Path(found) for found in re.findall(r"(/[^\s()]+) \(0x", listed)]
