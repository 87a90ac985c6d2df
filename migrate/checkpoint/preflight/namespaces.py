"""Namespaces that processes have made inside the container."""

from __future__ import annotations

from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import Container

_NAMES = {"nested-time-namespace": ("time",),
          "nested-namespace": ("ipc", "uts", "pid", "user", "cgroup")}  # fmt: skip


def nested_namespaces(container: Container) -> Iterator[NotDumpable]:
    """One obstacle a kind: CRIU nests mount and network namespaces only (criu/namespaces.c)."""
    for name, kinds in _NAMES.items():
        for kind in kinds:
            outer = container.init.namespace(kind)
            for task in container.own_tasks:
                inner = task.namespace(kind)
                if None not in {inner, outer} and inner != outer:
                    yield task.known(name, f"is in a {kind} namespace of its own")
                    break
