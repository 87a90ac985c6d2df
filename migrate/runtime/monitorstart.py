"""How a monitor's process is made: a fork of this one where that stays small, else an interpreter.

A new interpreter takes as long as all else that a start needs. A fork has what this process has: it
is taken where that is little (a command that has loaded no libraries), and there is one thread.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import select
import sys

import migrate
from migrate.kernel.bare import contextlib, json, signal
from migrate.runtime.cgroups.tree import PARENT

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from migrate.runtime.cgroups.tree import Hierarchies
    from migrate.runtime.paths import ContainerPaths
    from migrate.runtime.quick import Place

ANSWER_LIMIT = 30.0  # seconds
FORK_LIMIT = 9 << 20
"""Bytes of its own memory that a process may have to become a monitor: those promise 12 MiB."""
_TITLE = "migrate.runtime.monitor"
_BOOT = "import sys; sys.path.insert(0, {!r}); from migrate.runtime.monitor import main; main()"
_FIRST_AFTER_STANDARD = 3


def message(
    own: ContainerPaths | Place, spec: dict[str, Any], trees: Hierarchies, *, mode: str,
    network: bool, remove: bool, log_limits: tuple[int, int] = (0, 0), restart: str = "",
    interactive: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """What a monitor is told (`mode` is create or restore).

    `log_limits`: bytes of a full log, and how many full ones are kept; `restart`: the policy;
    `interactive`: its standard input is open.
    """
    kinds = {entry["type"] for entry in spec.get("linux", {}).get("namespaces", [])}
    return {
        "mode": mode, "identifier": own.identifier, "spec": spec, "rootfs": f"{own.rootfs}",
        "netns": f"{own.netns}" if network else "",
        "userns": f"{own.userns}" if "user" in kinds else "",
        "cgroups": trees.directories(PARENT, own.identifier), "homes": trees.homes(),
        "namespaces": sorted(kinds), "fifo": f"{own.run}/exec.fifo",
        "socket": f"{own.run}/monitor.sock", "log": f"{own.state}/log",
        "exit": f"{own.state}/exit.json", "record": f"{own.state}/record.json",
        "terminal": bool(spec["process"].get("terminal")), "interactive": interactive,
        "log_limits": log_limits, "restart": restart, "stopped": f"{own.run}/stopped",
        "restarts": f"{own.run}/restarts",
        "at_exit": _command("rm", own.identifier) if remove else None,
        "again": _command("start", "--again", own.identifier) if restart else None,
    }  # fmt: skip


def _command(*words: str) -> list[str]:
    root = os.path.dirname(os.path.dirname(migrate.__file__))
    boot = f"import sys; sys.path.insert(0, {root!r}); from migrate.cli.main import main; main()"
    return [sys.executable, "-c", boot, *words]


def start(launch: dict[str, Any], log: str) -> tuple[int, bytes]:
    """Start a monitor with its launch message and stderr in the file `log`.

    Its pid, and the line that it answers: empty when it says nothing in time (then it is ended).
    """
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(BlockingIOError):  # of one that is about to end
            fcntl.flock(errors, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _may_fork():
            return _forked(launch, errors)
        return _spawned(launch, errors)
    finally:
        os.close(errors)


def serves(log: str) -> bool:
    """Whether a monitor lives whose stderr is the file `log`: it holds its lock until it ends.

    This is so from its very beginning, before anything else is known of it.
    """
    try:
        descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _may_fork() -> bool:
    if len(os.listdir("/proc/self/task")) > 1:
        return False
    with open("/proc/self/statm") as file:
        _size, resident, shared = map(int, file.read().split()[:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") <= FORK_LIMIT


def load() -> None:
    """Load what a forked monitor needs, while there is something to wait for."""
    from migrate.runtime import monitor  # noqa: F401


def _forked(launch: dict[str, Any], errors: int) -> tuple[int, bytes]:
    from migrate.runtime import monitor

    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_monitor(monitor.serve, launch, writer, errors)
    os.close(writer)
    line = _line(reader)
    os.close(reader)
    if not line:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return pid, line


def _be_monitor(serve: Any, launch: dict[str, Any], answer: int, errors: int) -> NoReturn:
    """Of the command nothing is kept: session, descriptors, name in ps(1)."""
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        for descriptor, number in ((null, 0), (answer, 1), (errors, 2)):
            os.dup2(descriptor, number)
        os.closerange(_FIRST_AFTER_STANDARD, 65536)
        signal.set_wakeup_fd(-1)
        gc.freeze()
        gc.enable()
        _rename(f"{_TITLE} {launch['identifier']}")
        serve(launch)
        os._exit(0)
    except BaseException:  # noqa: BLE001 -- told in its log; the child ends here
        import traceback

        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(1)


def _rename(title: str) -> None:
    """Write it over the command's arguments, as far as there is room (proc_pid_cmdline(5))."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: proc_pid_stat(5), 48 and 49
    if 0 < begin < end:
        raw = title.encode()[: end - begin - 1]
        ctypes.memmove(begin, raw.ljust(end - begin, b"\0"), end - begin)


def _spawned(launch: dict[str, Any], errors: int) -> tuple[int, bytes]:
    import subprocess

    root = os.path.dirname(os.path.dirname(migrate.__file__))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT.format(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        start_new_session=True, cwd="/",
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            process.stdin.write(json.dumps(launch).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass
        line = _line(process.stdout.fileno())
    if not line:
        process.kill()
        process.wait()
    return process.pid, line


def _line(reader: int) -> bytes:
    told = b""
    while not told.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], ANSWER_LIMIT)
        data = os.read(reader, 65536) if ready else b""
        if not data:
            return b""
        told += data
    return told
