"""The container's first process, from its fork in the monitor to the exec of the user's program.

Steps in order, each named in the error that comes back when it fails. Runs with the standard
library only; it ends by exec or by _exit.
"""

from __future__ import annotations

import os

from migrate.kernel import procfiles
from migrate.kernel.bare import json, signal
from migrate.kernel.namespaces import set_host_name
from migrate.kernel.processes import default_signals
from migrate.runtime import privileges, rootfs

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, NoReturn

EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE, EXIT_SETUP = 127, 126, 125


def be_init(
    launch: dict[str, Any], streams: tuple[int, int, int], console: socket.socket | None,
    report: int,
) -> NoReturn:  # fmt: skip
    """Set up, report `{"ready": true}` or `{"step", "error"}` on `report`, wait, exec.

    `launch` is the monitor's launch message; `streams` are the pipes for stdin (-1: there is none),
    stdout and stderr; by `console` the other end of a terminal goes to the monitor.
    """
    spec = launch["spec"]
    process = spec["process"]
    environment = privileges.environment_of(process)
    program = ""

    def find() -> None:
        nonlocal program
        program = privileges.find_program(process["args"][0], environment, process["cwd"])

    fifo = os.open(launch["fifo"], os.O_PATH | os.O_CLOEXEC)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("session", os.setsid),
        ("user namespace", launch.get("become_root", _stay)),
        ("mounts", lambda: rootfs.enter(launch["rootfs"], spec, launch.get("trees") or {})),
        ("host name", lambda: _name_host(spec)),
        ("sysctls", lambda: _set_sysctls(spec)),
        ("masked paths", lambda: rootfs.hide(spec.get("linux", {}))),
        ("standard streams", lambda: _set_streams(streams, console, process)),
        ("read-only root", lambda: _seal_root(spec)),
        ("resource limits", lambda: privileges.set_limits(process)),
        ("working directory", lambda: os.chdir(process["cwd"])),
        ("program", find),
    ]
    for name, step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- every failure travels to the monitor
            _tell(report, {"step": name, "error": str(error)})
            os._exit(EXIT_SETUP)
    _tell(report, {"ready": True})
    os.close(report)
    try:
        _wait_for_start(fifo)
        privileges.refuse_own_interpreter(program)  # once more: it may be another file by now
        privileges.drop(process)
        _clear_signals()
        os.execve(program, process["args"], environment)
    except OSError as error:
        os.write(2, f"migrate: can't execute {program}: {error}\n".encode())
        os._exit(EXIT_NOT_EXECUTABLE)
    os._exit(EXIT_SETUP)


def _stay() -> None:
    """Its ids are the host's."""


def _tell(descriptor: int, message: dict[str, Any]) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")


def _name_host(spec: dict[str, Any]) -> None:
    if spec.get("hostname"):
        set_host_name(spec["hostname"])


def _set_sysctls(spec: dict[str, Any]) -> None:
    for name, value in (spec.get("linux", {}).get("sysctl") or {}).items():
        procfiles.write("/".join(("sys", *name.split("."))), str(value))


def _seal_root(spec: dict[str, Any]) -> None:
    if spec.get("root", {}).get("readonly"):
        rootfs.make_read_only("/")


def _set_streams(
    streams: tuple[int, int, int], console: socket.socket | None, process: dict[str, Any]
) -> None:
    user = process.get("user", {})
    if console:
        from migrate.runtime.terminal import take_terminal  # the monitor has loaded it

        take_terminal(console, b"")
        os.fchown(0, user.get("uid", 0), -1)
        rootfs.bind_console()
        return
    if streams[0] < 0:
        os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    for number, stream in enumerate(streams):
        if stream >= 0:
            os.fchown(stream, user.get("uid", 0), user.get("gid", 0))
            os.dup2(stream, number)


def _wait_for_start(fifo: int) -> None:
    """Block until `start` opens the fifo for reading (runc does the same)."""
    descriptor = os.open(f"/proc/self/fd/{fifo}", os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, b"0")
    os.close(descriptor)


def _clear_signals() -> None:
    """Undo what the interpreter and our caller set: all to default, nothing blocked."""
    default_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    os.closerange(3, 65536)
