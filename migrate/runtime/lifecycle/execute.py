"""exec: one more program in a running container, in all its namespaces and its cgroup."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from migrate.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUTS,
    namespace_id,
    setns,
)  # fmt: skip
from migrate.kernel.processes import pidfd_open
from migrate.runtime import privileges
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.errors import ExecFailed
from migrate.runtime.init import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND
from migrate.runtime.lifecycle.create import load_spec
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import require

# A container that CRIU restored lives in a time namespace of its own.
_KINDS = {
    "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS, "net": CLONE_NEWNET, "time": CLONE_NEWTIME,
    "pid": CLONE_NEWPID, "cgroup": CLONE_NEWCGROUP, "mnt": CLONE_NEWNS,
}  # fmt: skip


@dataclass(frozen=True)
class Program:
    """What to execute; what is None is taken from the container's own process."""

    arguments: Sequence[str]
    environment: Sequence[str] = ()
    directory: str | None = None
    user_id: int | None = None
    group_id: int | None = None


def execute(paths: Paths, record: Record, program: Program) -> int:
    """Run it with the caller's standard streams; its exit status (128 + n for signal n)."""
    status = require(paths, record, "running")
    process = dict(load_spec(paths, record)["process"])
    process["args"] = list(program.arguments)
    process["env"] = [*process.get("env", []), *program.environment]
    process["cwd"] = program.directory or process["cwd"]
    if program.user_id is not None:
        process["user"] = {"uid": program.user_id, "gid": program.group_id or 0}
    middle = os.fork()
    if middle == 0:
        _be_middle(record, status.pid, process)
    return _forward_signals(middle)


def _forward_signals(child: int) -> int:
    previous = {
        number: signal.signal(number, lambda number, _frame: os.kill(child, number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        _pid, status = os.waitpid(child, 0)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _be_middle(record: Record, init: int, process: dict[str, object]) -> NoReturn:
    """Join cgroup and namespaces, fork the program into the pid namespace, pass on its end."""
    try:
        ControlGroup.of(record.identifier).add(os.getpid())
        flags = sum(
            flag for kind, flag in _KINDS.items()
            if namespace_id(kind, init) != namespace_id(kind)
        )  # fmt: skip
        setns(pidfd_open(init), flags)
        pid = os.fork()
        if pid == 0:
            _be_program(process)
        os._exit(_forward_signals(pid))
    except OSError as error:
        error_text = str(ExecFailed(f"can't enter '{record.name}'", cause=str(error)))
        os.write(2, error_text.encode() + b"\n")
        os._exit(EXIT_NOT_EXECUTABLE)


def _be_program(process: dict[str, object]) -> NoReturn:
    try:
        environment = privileges.environment_of(process)
        os.chdir(str(process["cwd"]))
        arguments = process["args"]
        assert isinstance(arguments, list)
        path = privileges.find_program(arguments[0], environment, str(process["cwd"]))
        privileges.drop(process)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(3, 65536)
        os.execve(path, arguments, environment)
    except FileNotFoundError as error:
        os.write(2, f"migrate: {error}\n".encode())
        os._exit(EXIT_NOT_FOUND)
    except OSError as error:
        os.write(2, f"migrate: can't execute: {error}\n".encode())
    os._exit(EXIT_NOT_EXECUTABLE)
