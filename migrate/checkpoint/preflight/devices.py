"""Memory of devices that is mapped into processes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import Container, Task, printable

_MEMORY_MAJOR = 1  # Linux, Documentation/admin-guide/devices.txt: /dev/zero, and /dev/null
_ANONYMOUS = {"anon_inode:[io_uring]": "io-uring", "anon_inode:[perf_event]": "perf-event"}


def mapped_devices(container: Container) -> Iterator[NotDumpable]:
    """One obstacle for each device in each process."""
    for task in container.own_tasks:
        for name in task.mappings():
            if name == "[uprobes]":
                yield task.known("uprobes", "has probes in it")
            elif name in _ANONYMOUS:
                yield task.known(_ANONYMOUS[name], f"has mapped {name.partition(':')[2]}")
            elif name.startswith("/dev/") and _is_device(task, name):
                yield task.known("device-mapping", f"has mapped {printable(name)}")


def _is_device(task: Task, path: str) -> bool:
    """Whether the container's file of that name is a device with memory of its own."""
    with contextlib.suppress(OSError):
        seen = (task.directory / "root" / path.lstrip("/")).stat()
        return stat.S_ISCHR(seen.st_mode) and os.major(seen.st_rdev) != _MEMORY_MAJOR
    return False
