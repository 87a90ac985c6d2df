"""exec: one more program in a running container, in all its namespaces and its cgroup."""

from __future__ import annotations

from migrate.runtime.entering import Inside, Program
from migrate.runtime.lifecycle.create import load_spec
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import require

__all__ = ["Program", "execute"]


def execute(paths: Paths, record: Record, program: Program) -> int:
    """Run it with the caller's standard streams; its exit status (128 + n for signal n).

    With `terminal` it gets a terminal of the container, joined with the caller's streams. Raises
    WrongState.
    """
    status = require(paths, record, "running")
    inside = Inside(record.name, record.identifier, status.pid, load_spec(paths, record))
    return inside.run(program)
