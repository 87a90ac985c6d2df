"""What is mounted: /proc/PID/mountinfo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MountInfo:
    """One line of /proc/PID/mountinfo (Documentation/filesystems/proc.rst, 3.5)."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    mount_point: str
    options: str
    optional_fields: str
    fs_type: str
    source: str
    super_options: str


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def parse_mountinfo(text: str) -> list[MountInfo]:
    """The mounts in the order of the file: a mount comes after what it is mounted on."""
    mounts = []
    for line in text.splitlines():
        fields = line.split(" ")
        separator = fields.index("-", 6)
        mounts.append(
            MountInfo(
                int(fields[0]), int(fields[1]), fields[2], _unescape(fields[3]),
                _unescape(fields[4]), fields[5], " ".join(fields[6:separator]),
                fields[separator + 1], _unescape(fields[separator + 2]), fields[separator + 3],
            )
        )  # fmt: skip
    return mounts


def read_mountinfo(pid: int | str = "self") -> list[MountInfo]:
    """The mounts that process `pid` sees; raises FileNotFoundError when it is gone."""
    return parse_mountinfo(Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape"))


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted there, a directory of the same file system too."""
    if path.is_mount():
        return True
    real = str(path.resolve())
    return any(mount.mount_point == real for mount in read_mountinfo())
