"""/proc/PID/maps and what is only in smaps, as records."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
_SHARED = re.compile(rb"^\S+ ...s .*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mapping:
    """One line of /proc/PID/maps (proc_pid_maps(5)); addresses and offset in bytes."""

    start: int
    end: int
    perms: str
    offset: int
    inode: int
    name: str


def shared_maps(text: bytes) -> list[Mapping]:
    """As `parse_maps`, of shared mappings alone, which are few: a tenth of the time."""
    return _parsed(_SHARED.findall(text))


def parse_maps(text: bytes) -> list[Mapping]:
    """The records of a /proc/PID/maps, in ascending order."""
    return _parsed(text.splitlines())


def _parsed(lines: list[bytes]) -> list[Mapping]:
    found = []
    for line in lines:
        fields = line.split(None, 5)
        start, _, end = fields[0].partition(b"-")
        name = fields[5].decode(errors="surrogateescape") if len(fields) > 5 else ""
        found.append(
            Mapping(int(start, 16), int(end, 16), fields[1].decode(), int(fields[2], 16),
                    int(fields[4]), name)
        )  # fmt: skip
    return found


def read_maps(descriptor: int) -> bytes:
    """The text of an open /proc/PID/maps, from its beginning.

    The descriptor stays with the address space that the process had when it was opened: empty when
    that is gone, by an execve or an exit. Raises ProcessLookupError when the process is gone whole.
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, _CHUNK):
        parts.append(part)
    return b"".join(parts)


def mappings(pid: int) -> list[Mapping]:
    """The mappings of a process now; raises OSError when it is gone."""
    return parse_maps(Path(f"/proc/{pid}/maps").read_bytes())


def anonymous_memory(pid: int) -> tuple[int, int]:
    """Bytes of a process's anonymous memory, and of these what others' shares of it come to.

    The sum of the second over all of them is what they would take more if none shared any. From
    /proc/PID/smaps_rollup, which costs about 10 ms for each GiB that is mapped. 0 where that lacks
    Pss_Anon (Linux 5.14). Raises OSError when the process is gone.
    """
    told = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        told[name] = int(rest.split()[0]) << 10
    anonymous = told["Anonymous"]
    return anonymous, max(anonymous - told.get("Pss_Anon", anonymous), 0)


def flagged(pid: int, flags: frozenset[str]) -> frozenset[int]:
    """The start addresses of the mappings with one of these VmFlags ("lo", "ht", ...).

    From /proc/PID/smaps, which costs about 10 ms for each GiB that is mapped.
    """
    found, start = set(), 0
    with Path(f"/proc/{pid}/smaps").open("rb") as smaps:
        for line in smaps:
            head = line.split(None, 1)[0]
            if head == b"VmFlags:":
                if flags & set(line.decode().split()[1:]):
                    found.add(start)
            elif not head.endswith(b":"):
                start = int(head.partition(b"-")[0], 16)
    return frozenset(found)
