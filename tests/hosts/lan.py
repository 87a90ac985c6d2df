"""The network of test hosts: one bridge in a network namespace of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from migrate.kernel import processes
from tests.hosts import cgroups, network, sshd
from tests.hosts.host import Client, Host, Machine
from tests.hosts.leftovers import BASE, PREFIX, sweep

FIRST_HOST, FIRST_CLIENT = 2, 200
"""Last bytes of addresses in 10.77.0.0/24; 100 to 199 are free for containers."""


class Lan:
    """A context manager: what it made is unmade in reverse, also on failure, SIGINT and SIGTERM.

    After SIGKILL of this process the hosts end by themselves, and the next Lan (or `sweep()`)
    removes their directories and cgroups.
    """

    def __init__(self, start: Callable[..., subprocess.Popen[Any]] = subprocess.Popen) -> None:
        """`start`: what the machines' `run` starts commands with; a test has a quicker way."""
        self._command_start = start
        self._number = 0
        self._identities: list[sshd.Identity] = []
        self._stack = contextlib.ExitStack()
        self.machines: list[Machine] = []
        self.id = ""
        self.directory = Path()
        self.net = -1

    def __enter__(self) -> Lan:
        if os.geteuid() != 0:
            raise PermissionError("test hosts need root")
        sweep()
        with contextlib.ExitStack() as stack:
            self._catch_termination(stack)
            owner = f"{os.getpid()}-{processes.start_time(os.getpid())}"
            self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{owner}-", dir=BASE))
            stack.callback(shutil.rmtree, self.directory)
            self.directory.chmod(0o755)
            self.shared.mkdir()
            self.id = self.directory.name.removeprefix(PREFIX)
            stack.callback(self._remove_cgroups)
            self._enable_controllers(stack)
            self.net = network.make_lan()
            stack.callback(os.close, self.net)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def seen_namespaces(self) -> set[tuple[str, int]]:
        """(kind, inode number) of every namespace that hosts of this lan have had."""
        return set().union(*(machine.seen_namespaces for machine in self.machines))

    @property
    def shared(self) -> Path:
        """A directory that the machine and all hosts see by the same path."""
        return self.directory / "shared"

    def _catch_termination(self, stack: contextlib.ExitStack) -> None:
        """SIGTERM unwinds like Ctrl-C does."""

        def stop(number: int, _frame: Any) -> None:
            raise SystemExit(128 + number)

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    stack.callback(signal.signal, number, signal.signal(number, stop))

    def _remove_cgroups(self) -> None:
        cgroups.remove(f"{PREFIX}{self.id}")

    def _enable_controllers(self, stack: contextlib.ExitStack) -> None:
        for hierarchy in cgroups.hierarchies():
            if hierarchy.version == 2:
                top = hierarchy.mount_point
                stack.callback(
                    cgroups.take_back_controllers, top, cgroups.hand_out_controllers(top)
                )

    def _next(self, first: int) -> int:
        self._number += 1
        return first + self._number - 1

    def host(self, name: str, *, with_migrate: bool = True) -> Host:
        """Boot a host (0.2 s); `with_migrate`: the command stands on its PATH."""
        path = sshd.host_path(with_migrate=with_migrate)
        host = Host(
            self.id, self.net, name, self._next(FIRST_HOST), self.directory / name, path
        )  # fmt: skip
        host.directory.mkdir()
        self._identities.append(host.make_disk(path))
        for other in [*self.machines, host]:
            if isinstance(other, Host):
                sshd.introduce(other.directory, self._identities)
        self._start(host)
        return host

    def client(self, name: str = "client") -> Client:
        """A namespace with only an address on the bridge, for clients of containers."""
        path = sshd.host_path(with_migrate=True)
        client = Client(
            self.id, self.net, name, self._next(FIRST_CLIENT), self.directory / name, path
        )  # fmt: skip
        client.directory.mkdir()
        self._start(client)
        return client

    def _start(self, machine: Machine) -> None:
        machine.start = self._command_start
        self.machines.append(machine)
        self._stack.callback(machine.halt)
        machine.boot()
