"""Root file systems made of this machine's own programs, each with the libraries that it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
APPLETS = [
    "sh",
    "ls",
    "cat",
    "sleep",
    "echo",
    "ps",
    "id",
    "seq",
    "date",
    "kill",
    "touch",
    "rm",
    "dd",
]


def make_rootfs(directory: Path, programs: Iterable[str | Path] = ()) -> Path:
    """Fill `directory` with busybox and `programs`; returns it.

    A library goes where the loader looks for it, links resolved.
    """
    for name in ("bin", "etc", "tmp", "data", "usr/bin", "proc", "sys", "dev"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    (directory / "tmp").chmod(0o1777)
    shutil.copy2(BUSYBOX, directory / "bin/busybox")
    for applet in APPLETS:
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    for program in programs:
        source = Path(program).resolve()
        _copy(source, directory / "usr/bin" / Path(program).name)
        for library in _libraries(source):
            _copy(Path(library), directory / library.lstrip("/"))
    return directory


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy2(source.resolve(), target)


def _libraries(program: Path) -> list[str]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(?:=> |^\s+)(/\S+) \(0x", told, re.MULTILINE)
