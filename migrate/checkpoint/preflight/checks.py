"""The checks of a running container, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import Container
from migrate.checkpoint.preflight.devices import mapped_devices
from migrate.checkpoint.preflight.leases import write_leases
from migrate.checkpoint.preflight.mounts import mounts_that_stay
from migrate.checkpoint.preflight.namespaces import nested_namespaces
from migrate.checkpoint.preflight.openfiles import open_files
from migrate.checkpoint.preflight.ownnetwork import own_network
from migrate.checkpoint.preflight.processes import processes
from migrate.checkpoint.preflight.sockets import sockets
from migrate.checkpoint.preflight.verdict import Verdict
from migrate.errors import MigrateError
from migrate.runtime.records import Process, Record
from migrate.runtime.spec import Spec


@dataclass(frozen=True)
class Check:
    """Looks at one side of a container, and yields what can't be dumped, once for each process."""

    name: str
    subject: str
    look: Callable[[Container], Iterable[MigrateError]]


CHECKS = (
    Check("processes", "processes, their tracers and sessions", processes),
    Check("open-files", "what processes have open", open_files),
    Check("leases", "write leases on files", write_leases),
    Check("sockets", "sockets and who is at their other end", sockets),
    Check("mappings", "devices that are mapped into memory", mapped_devices),
    Check("namespaces", "namespaces made inside the container", nested_namespaces),
    Check("own-network", "what was set in its own network", own_network),
    Check("mounts", "file systems mounted inside the container", mounts_that_stay),
)


def look(record: Record, spec: Spec, process: Process, skip: Collection[str] = ()) -> list[Verdict]:
    """Every check's verdict; those named in `skip` have looked, and do not count."""
    container = Container.seen(record, spec, process)
    return [
        Verdict(check.name, check.subject, tuple(check.look(container)),
                skipped=check.name in skip)
        for check in CHECKS
    ]  # fmt: skip


def obstacles(verdicts: Iterable[Verdict]) -> list[MigrateError]:
    """What counts of them."""
    return [error for v in verdicts if not v.skipped for error in v.obstacles]


def refuse(record: Record, spec: Spec, process: Process, skip: Collection[str] = ()) -> None:
    """Raise NotDumpable when something in the container can't be dumped."""
    if found := obstacles(look(record, spec, process, skip)):
        raise NotDumpable.together(f"'{record.name}' can't be checkpointed", found)
