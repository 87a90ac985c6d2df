"""Processes that CRIU can't dump as they are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.preflight.container import Container, Task
from migrate.kernel import capabilities

_ELF, _ELF_32 = b"\x7fELF", 1  # elf(5): e_ident and its EI_CLASS


def processes(container: Container) -> Iterator[NotDumpable]:
    """One obstacle a process: what comes first is told."""
    # Of a user namespace that it has made, root has all capabilities (user_namespaces(7)).
    ours = bool(container.record.user_namespace)
    limits_are_hidden = not ours and not capabilities.has("CAP_SYS_RESOURCE")
    for task in container.tasks:
        if container.is_from_outside(task):
            yield _from_outside(task)
        elif task.fields.get("TracerPid", "0") != "0":
            tracer = task.fields["TracerPid"]
            yield task.known("traced-or-stuck", f"is traced by the process {tracer}")
        elif task.fields["State"].startswith("Z"):
            if _has_threads(task):
                yield task.known("main-thread-gone", "goes on in other threads than its first")
        elif _session(task, container.init) == "0":
            yield task.known("session-leader-outside", "is in a session of the host's")
        elif _leader_is_lost(task, container):
            yield task.known("session-leader-gone", "is in a session that nobody leads")
        elif _is_32_bit(task):
            yield task.known("task-32-bit", "is a 32-bit program")
        elif limits_are_hidden and _belongs_to_another(task):
            yield _limits_hidden(task)


def _from_outside(task: Task) -> NotDumpable:
    """What `exec` put into the container: CRIU's tree begins at init."""
    return NotDumpable(
        f"'migrate exec' runs {task.title} in the container",
        cause="a process with a parent outside the container can't be dumped",
        mend="let it end, or end it, and try again",
    )


def _limits_hidden(task: Task) -> NotDumpable:
    return NotDumpable(
        f"{task.title} runs as user {task.fields['Uid'].split()[0]}",
        cause="without CAP_SYS_RESOURCE, which root lacks on this host, criu can't read the limits "
        "of another user's process (prlimit(2))",
        mend="give root CAP_SYS_RESOURCE on this host (it is cut from its bounding set), or run "
        "the container's processes as root",
    )


def _belongs_to_another(task: Task) -> bool:
    """Whether prlimit(2) would want the capability: any of the task's identities is not ours."""
    ours = {"Uid": str(os.getuid()), "Gid": str(os.getgid())}
    return any(set(task.fields[key].split()[:3]) != {own} for key, own in ours.items())


def _session(task: Task, init: Task) -> str:
    """Its session in the container's namespace of pids; "0" for one from outside."""
    level = len(init.fields["NSpid"].split()) - 1
    return task.fields["NSsid"].split()[level]


def _leader_is_lost(task: Task, container: Container) -> bool:
    """Whether a restore would not find its session: the dump itself finds nothing amiss.

    CRIU gives a process its session from an ancestor, or, where init has taken it in, from a helper
    that it makes for that (CRIU, criu/pstree.c, prepare_pstree_ids).
    """
    init = container.init
    session = _session(task, init)
    parent = container.by_pid.get(int(task.fields["PPid"]))
    if not parent or init.pid in {task.pid, parent.pid} or session == _number(task, init):
        return False
    if _session(parent, init) == session:
        return False
    while parent and parent.pid != init.pid:
        if _number(parent, init) == session:
            return False
        parent = container.by_pid.get(int(parent.fields["PPid"]))
    return session != _number(init, init)


def _number(task: Task, init: Task) -> str:
    """Its pid in the container's namespace."""
    return task.fields["NSpid"].split()[len(init.fields["NSpid"].split()) - 1]


def _has_threads(task: Task) -> bool:
    with contextlib.suppress(OSError):
        return len(list((task.directory / "task").iterdir())) > 1
    return False


def _is_32_bit(task: Task) -> bool:
    """By its program's file: Debian's CRIU is built without the compatible mode."""
    with contextlib.suppress(OSError), (task.directory / "exe").open("rb") as file:
        head = file.read(5)
        return head[:4] == _ELF and head[4:] == bytes([_ELF_32])
    return False
