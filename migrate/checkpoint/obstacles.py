"""What in a container's processes CRIU can't dump: found, and named, before anything is frozen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from migrate.checkpoint.errors import NotDumpable
from migrate.errors import MigrateError
from migrate.kernel import capabilities
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.records import Process, Record


def obstacles_to_dump(record: Record, process: Process) -> list[MigrateError]:
    """What stands against a dump of the running container; a process that ends meanwhile does not.

    Each kind is told once for each process.
    """
    pids = set(ControlGroup.of(record.identifier).pids())
    limits_are_hidden = not capabilities.has("CAP_SYS_RESOURCE")
    found: list[MigrateError] = []
    for pid in sorted(pids):
        try:
            fields = _status(pid)
        except OSError:
            continue
        if pid != process.pid and int(fields["PPid"]) not in pids:
            found.append(_from_outside(pid, fields["Name"]))
        elif limits_are_hidden and _belongs_to_another(fields):
            found.append(_limits_hidden(pid, fields))
    return found


def _from_outside(pid: int, name: str) -> NotDumpable:
    """What `exec` put into the container: CRIU's tree begins at init."""
    return NotDumpable(
        f"'migrate exec' runs {name} (pid {pid}) in the container",
        cause="a process with a parent outside the container can't be dumped",
        mend="let it end, or end it, and try again",
    )


def _limits_hidden(pid: int, fields: dict[str, str]) -> NotDumpable:
    return NotDumpable(
        f"{fields['Name']} (pid {pid}) runs as user {fields['Uid'].split()[0]}",
        cause="without CAP_SYS_RESOURCE, which root lacks on this host, criu can't read the limits "
        "of another user's process (prlimit(2))",
        mend="give root CAP_SYS_RESOURCE on this host (it is cut from its bounding set), or run "
        "the container's processes as root",
    )


def _belongs_to_another(fields: dict[str, str]) -> bool:
    """Whether prlimit(2) would want the capability: any of the task's identities is not ours."""
    ours = {"Uid": str(os.getuid()), "Gid": str(os.getgid())}
    return any(set(fields[key].split()[:3]) != {own} for key, own in ours.items())


def _status(pid: int) -> dict[str, str]:
    return dict(_fields(Path(f"/proc/{pid}/status").read_text()))


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        yield key, value.strip()
