"""The processes in a container, as the host's kernel tells of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from migrate.kernel.processes import stat_fields
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, UserNamespace
from migrate.runtime.status import require
from migrate.runtime.users import names_of

COMMAND_LIMIT = 4096


@dataclass(frozen=True)
class ContainerProcess:
    """One process; `inner` is its pid in the container, `memory` its resident bytes.

    `user` is a name of the container's own /etc/passwd, or the number.
    """

    pid: int
    inner: int
    parent: int
    user: str
    state: str
    threads: int
    cpu_seconds: float
    memory: int
    command: str


def processes_in(paths: Paths, record: Record) -> list[ContainerProcess]:
    """All of them, by pid; raises WrongState when the container has none."""
    status = require(paths, record, "running", "paused", "created")
    names = names_of(Path(f"/proc/{status.pid}/root"))
    ids = record.user_namespace
    pids = sorted(set(ControlGroup.of(record.identifier).pids()))
    return [found for pid in pids if (found := _look(pid, names, ids))]


def _look(
    pid: int, names: dict[int, str], ids: UserNamespace
) -> ContainerProcess | None:  # fmt: skip
    """Fields of proc_pid_stat(5) and proc_pid_status(5); None when it has ended meanwhile."""
    try:
        fields = stat_fields(pid)
        status = _status(pid)
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()[:COMMAND_LIMIT]
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    user, _group = ids.inside(int(status["Uid"].split()[1]), 0)
    return ContainerProcess(
        pid=pid, inner=int(status.get("NSpid", str(pid)).split()[-1]), parent=int(fields[3]),
        user=names.get(user, str(user)), state=fields[2], threads=int(fields[19]),
        cpu_seconds=(int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK"),
        memory=int(fields[23]) * os.sysconf("SC_PAGE_SIZE"),
        command=_printable(words) or f"[{_printable(fields[1])}]",
    )  # fmt: skip


def _status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    return {key: value for key, _, value in (line.partition(":") for line in text.splitlines())}


def _printable(text: str) -> str:
    """A process chooses its own name: no control characters reach a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
