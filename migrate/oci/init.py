"""The container's first process, from its fork to the exec of the user's program.

There is no monitor between it and who called: its parent has ended when `create` has, so it belongs
to the caller's subreaper (conmon), and its standard streams are the caller's.

Messages on the control socket, one JSON object a packet: from us {"ready": true} or {"step",
"error"}; to us {"go": pid}, when the hooks of the runtime's namespaces are through.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from migrate.kernel import procfiles
from migrate.kernel.libc import libc
from migrate.kernel.namespaces import set_host_name
from migrate.kernel.processes import default_signals, set_dumpable
from migrate.oci import filesystem
from migrate.oci.hooks import run_hooks
from migrate.oci.listener import Listener
from migrate.oci.program import Program, in_words, no_more_imports
from migrate.oci.sources import Trees
from migrate.oci.streams import console_size
from migrate.runtime import rootfs
from migrate.runtime.terminal import take_terminal

EXIT_SETUP = 125


class Place:
    """What init needs besides the specification, all opened or settled by the parent."""

    def __init__(
        self, *, state: dict[str, Any], rootfs: str, groups: filesystem.Groups, fifo: int,
        console: socket.socket | None, preserved: int, pivot: bool, seccomp: tuple[bytes, int],
        keyring: str, joins_mounts: bool, trees: Trees, listener: Listener | None,
    ) -> None:  # fmt: skip
        self.state = state
        self.rootfs = rootfs
        self.groups = groups
        self.fifo = fifo
        self.console = console
        self.preserved = preserved
        self.pivot = pivot
        self.seccomp = seccomp
        self.keyring = keyring
        self.joins_mounts = joins_mounts
        self.trees = trees
        self.listener = listener


def be_init(spec: dict[str, Any], place: Place, channel: socket.socket, pid: int) -> NoReturn:
    """Set up in steps, each named in the error that goes back; wait for `start`; execute.

    `pid` is this process's own in the command's pid namespace.
    """
    no_more_imports()
    linux = spec.get("linux") or {}
    if place.listener:
        place.listener.pid = pid
    program = Program(spec["process"], linux, place.seccomp, place.preserved, place.listener)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("session", os.setsid),
        ("dumpable", lambda: set_dumpable(False)),
        ("keyring", lambda: program.join_keyring(place.keyring)),
        ("mounts", lambda: _enter(spec, place)),
        ("host name", lambda: _set_names(spec)),
        ("terminal", lambda: _take_terminal(spec["process"], place.console)),
        ("sysctls", lambda: _set_sysctls(spec)),
        ("masked paths", lambda: rootfs.hide(_paths(spec))),
        ("propagation", lambda: filesystem.set_propagation(spec.get("linux") or {})),
        ("read-only root", lambda: _seal_root(spec, place)),
        ("standard streams", program.own_streams),
        ("resource limits", program.set_limits),
        ("working directory", program.change_directory),
        ("program", program.find),
    ]
    for name, step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- every failure travels to the parent
            _tell(channel, {"step": name, "error": in_words(error)})
            os._exit(EXIT_SETUP)
    _tell(channel, {"ready": True})
    channel.close()
    _await_start(spec, place, program)


def _await_start(spec: dict[str, Any], place: Place, program: Program) -> NoReturn:
    """Wait until `start` reads the fifo; it stays open up to the exec, so that errors get there."""
    fifo = os.open(f"/proc/self/fd/{place.fifo}", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fifo, b"0")

    def tell(error: Exception) -> None:
        with contextlib.suppress(OSError):
            os.write(fifo, in_words(error).encode())

    try:
        inside = place.state | {"status": "created", "pid": os.getpid()}
        run_hooks(spec, "startContainer", inside)
        default_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        program.execute(tell, fifo)
    except Exception as error:  # noqa: BLE001 -- told by `start`
        tell(error)
    finally:
        os._exit(EXIT_SETUP)


def _tell(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.send(json.dumps(message).encode())


def _enter(spec: dict[str, Any], place: Place) -> None:
    if place.joins_mounts:
        return

    def hooks() -> None:
        run_hooks(spec, "createContainer", place.state | {"pid": os.getpid()})

    filesystem.enter(
        place.rootfs, spec, place.groups, pivot=place.pivot, trees=place.trees, before_pivot=hooks
    )


def _paths(spec: dict[str, Any]) -> dict[str, Any]:
    linux = spec.get("linux") or {}
    return {name: linux.get(name) or [] for name in ("maskedPaths", "readonlyPaths")}


def _set_names(spec: dict[str, Any]) -> None:
    if spec.get("hostname"):
        set_host_name(spec["hostname"])
    if spec.get("domainname"):
        raw = str(spec["domainname"]).encode()
        if libc.setdomainname(raw, len(raw)) != 0:
            raise OSError(1, f"setdomainname {spec['domainname']} failed")


def _set_sysctls(spec: dict[str, Any]) -> None:
    for name, value in ((spec.get("linux") or {}).get("sysctl") or {}).items():
        # A name with a slash has dots within its parts, as interfaces may (sysctl(8)).
        parts = name.split("/") if "/" in name else name.split(".")
        procfiles.write("/".join(("sys", *parts)), str(value))


def _seal_root(spec: dict[str, Any], place: Place) -> None:
    if spec["root"].get("readonly") and not place.joins_mounts:
        rootfs.make_read_only("/")


def _take_terminal(process: dict[str, Any], console: socket.socket | None) -> None:
    """A terminal in the container's devpts, its master sent away, also bound to /dev/console."""
    if console is None:
        return
    take_terminal(console, console_size(process))
    console.close()
    os.fchown(0, process.get("user", {}).get("uid", 0), -1)
    rootfs.bind_console()
