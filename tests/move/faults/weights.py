"""What a host weighs: memory and descriptors of its processes, bytes and files of its disk."""

from __future__ import annotations

import contextlib
import os
import resource
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.hosts import Host
from tests.move.faults.holding import processes

PAGE = resource.getpagesize()
MEMORY_GROWTH = 1 << 20  # bytes by which the processes of a name may have grown together
DISK_GROWTH = 256 << 10  # bytes; a directory does not shrink when its entries go
FILE_GROWTH = 8


@dataclass(frozen=True)
class Weight:
    """One host; by the name of the processes where it is of them."""

    memory: Counter[str]  # bytes, resident
    descriptors: Counter[str]
    disk: int  # bytes in use
    files: int

    def __str__(self) -> str:
        memory = " ".join(f"{name} {size >> 10} KiB" for name, size in sorted(self.memory.items()))
        return (
            f"{memory}; {self.descriptors.total()} descriptors; "
            f"disk {self.disk >> 10} KiB in {self.files} files"
        )


def weigh(host: Host) -> Weight:
    """As it is now."""
    memory: Counter[str] = Counter()
    descriptors: Counter[str] = Counter()
    for pid in processes(host):
        own = Path(f"/proc/{pid}")
        with contextlib.suppress(OSError):
            name = (own / "comm").read_text().strip()
            memory[name] += int((own / "statm").read_text().split()[1]) * PAGE
            descriptors[name] += len(os.listdir(own / "fd"))
    disk = os.statvfs(host.disk)
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    return Weight(memory, descriptors, used, disk.f_files - disk.f_ffree)


def grown(before: Weight, after: Weight) -> list[str]:
    """What is more than before, beyond what has to be expected."""
    found = [
        f"{name}: {before.memory[name] >> 10} KiB became {size >> 10}"
        for name, size in after.memory.items()
        if size > before.memory[name] + MEMORY_GROWTH
    ]
    found += [
        f"{name}: {count} descriptors more"
        for name, count in (after.descriptors - before.descriptors).items()
    ]
    if after.disk > before.disk + DISK_GROWTH:
        found.append(f"disk: {(after.disk - before.disk) >> 10} KiB more")
    if after.files > before.files + FILE_GROWTH:
        found.append(f"disk: {after.files - before.files} files more")
    return found
