"""One test host: boots, runs commands inside, reboots, and goes without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from migrate.kernel import namespaces, processes
from tests.hosts import cgroups, network, sshd

CHECKOUT = Path(__file__).resolve().parents[2]
BOOT_LIMIT = 60.0
MARK = "MIGRATE_TEST_LAN"
"""An environment variable of every process that a lan starts."""
_ENTERED = (
    namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWCGROUP
)  # fmt: skip


@contextlib.contextmanager
def _children_in(pid_namespace: int) -> Iterator[None]:
    """Children of this thread are born in another pid namespace, and are still its children."""
    with namespaces.namespace_descriptor("pid") as own:
        namespaces.setns(pid_namespace, namespaces.CLONE_NEWPID)
        try:
            yield
        finally:
            namespaces.setns(own, namespaces.CLONE_NEWPID)


class Machine:
    """What hosts and clients share: an init in namespaces, an address, commands run inside."""

    is_client = False

    def __init__(
        self, lan_id: str, lan_net: int, name: str, number: int, directory: Path, path: str
    ) -> None:
        self.name = name
        self.address = f"10.77.0.{number}"
        self.mac = f"02:4d:00:00:00:{number:02x}"
        self.directory = directory
        self.pid = 0
        self.seen_namespaces: set[tuple[str, int]] = set()
        self.environment = {
            "PATH": path, "HOME": "/root", "USER": "root", "LOGNAME": "root", "LANG": "C.UTF-8",
            "SHELL": "/bin/sh", "TERM": os.environ.get("TERM", "dumb"), MARK: lan_id,
        }  # fmt: skip
        self._cgroup = f"migrate-hosts-{lan_id}/{name}"
        self._lan_net = lan_net
        self._port = f"h-{name}"[:15]
        self._rate: float | None = None
        self._cable: subprocess.Popen[str] | None = None
        self._starter: subprocess.Popen[str] | None = None
        self._pid_fd = -1
        self._net = -1
        self._pid_ns = -1
        self._children: list[subprocess.Popen[Any]] = []
        self.start: Callable[..., subprocess.Popen[Any]] = subprocess.Popen

    # -- life

    def _orders(self) -> dict[str, Any]:
        keep = {str(CHECKOUT), sys.prefix, sys.base_prefix, str(self.directory.parent)}
        return {
            "parent": os.getpid(),
            "name": self.name,
            "is_client": self.is_client,
            "cgroup": self._cgroup,
            "directory": str(self.directory),
            "keep": sorted(keep),
            "hierarchies": [
                (str(h.mount_point), h.version, h.options) for h in cgroups.hierarchies()
            ],
            "environment": self.environment,
            "sshd": "" if self.is_client else sshd.program(),
        }

    def boot(self) -> None:
        """Start init and wait until the host is up; raises RuntimeError with its complaint."""
        cgroups.create(self._cgroup)
        log = self.directory / "init.log"
        with log.open("w") as complaints:
            starter = subprocess.Popen(
                [sys.executable, "-m", "tests.hosts.init"], text=True, cwd=CHECKOUT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
                env={**self.environment, "PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip
        self._starter = starter
        assert starter.stdin is not None
        assert starter.stdout is not None
        with starter.stdin, starter.stdout as said:
            starter.stdin.write(json.dumps(self._orders()) + "\n")
            starter.stdin.flush()
            first = said.readline()
            if first:
                self._hold(int(first))
                self._plug_in()
            if not first or said.readline() != "up\n":
                raise RuntimeError(f"{self.name} did not boot:\n{log.read_text()}")

    def _hold(self, pid: int) -> None:
        self.pid = pid
        self._pid_fd = processes.pidfd_open(pid)
        self._net = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._pid_ns = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        own = {(n, namespaces.namespace_id(n)) for n in namespaces.FLAG_OF_NAME}
        self.seen_namespaces |= {
            (n, namespaces.namespace_id(n, pid)) for n in namespaces.FLAG_OF_NAME
        } - own

    def _plug_in(self) -> None:
        network.plug(self._lan_net, self._port, self._net)
        network.address_host(self._net, self.address, self.mac, bridged=not self.is_client)
        self._await_link()
        if self._rate is not None:
            self.set_rate(self._rate)

    def halt(self) -> None:
        """Kill every process, as a power cut does; disk and keys stay. Safe to repeat."""
        self._end_cable()
        if self._starter is not None:
            cgroups.thaw_all(self._cgroup)
            if self._pid_fd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    processes.pidfd_send_signal(self._pid_fd, signal.SIGKILL)
            else:
                self._starter.kill()
            # Init can't end before the zombies of its namespace are reaped, and ours are ours.
            for child in self._children:
                child.kill()
                child.wait()
            self._starter.wait()
        for descriptor in (self._pid_fd, self._net, self._pid_ns):
            if descriptor >= 0:
                os.close(descriptor)
        self._pid_fd = self._net = self._pid_ns = -1
        self.pid, self._starter = 0, None
        self._children.clear()
        network.unplug(self._lan_net, self._port)
        cgroups.remove(self._cgroup)

    def reboot(self) -> None:
        """A power cut and a fresh start: /run and all processes are lost, the disk is kept."""
        self.halt()
        self.boot()

    # -- commands

    def popen(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        start: Callable[..., subprocess.Popen[Any]] = subprocess.Popen,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """subprocess.Popen inside the host; `env` is added to the host's own environment.

        The process is a child of the caller (its `pid` is the machine's), a member of the host's
        pid namespace and cgroups, and dies with the host.
        """
        if self._pid_fd < 0:
            raise RuntimeError(f"{self.name} is not running")
        members = [os.open(p, os.O_WRONLY) for p in cgroups.member_files(self._cgroup)]
        pid_fd, directory = self._pid_fd, cwd or ("/" if self.is_client else "/root")

        def enter() -> None:
            for member in members:
                os.write(member, b"0")
            namespaces.setns(pid_fd, _ENTERED)
            os.chdir(directory)

        try:
            with _children_in(self._pid_ns):
                child = start(
                    command, env={**self.environment, **(env or {})}, preexec_fn=enter, **options
                )
        finally:
            for member in members:
                os.close(member)
        self._children = [c for c in self._children if c.returncode is None]
        self._children.append(child)
        return child

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        input: str | bytes | None = None,
        timeout: float | None = 110,
        capture: bool = True,
        text: bool = True,
        **options: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run to the end, output captured as text; `check`: a failure raises with its output."""
        if capture:
            options.setdefault("stdout", subprocess.PIPE)
            options.setdefault("stderr", subprocess.PIPE)
        options.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
        child = self.popen(command, text=text, start=self.start, **options)
        try:
            out, err = child.communicate(input, timeout)
        except BaseException:
            child.kill()
            child.wait()
            raise
        if check and child.returncode != 0:
            words = " ".join(map(str, command))
            raise AssertionError(
                f"on {self.name}: {words}: exit code {child.returncode}\n{out or ''}{err or ''}"
            )
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    # -- memory

    def limit_memory(self, size: int | None) -> None:
        """Let it have so many bytes and no more, as a smaller machine would; None for all."""
        cgroups.limit_memory(self._cgroup, size)

    def memory_used(self) -> int:
        """Bytes, with its share of files that the kernel keeps in memory."""
        return cgroups.memory_used(self._cgroup)

    def out_of_memory_kills(self) -> int:
        """Processes that the kernel has killed for want of memory; raises LookupError."""
        return cgroups.out_of_memory_kills(self._cgroup)

    # -- the cable

    def set_rate(self, megabits: float | None) -> None:
        """Limit the link to `megabits` Mbit/s each way; None for as fast as it goes."""
        self._rate = megabits
        network.set_rate(self._lan_net, self._port, megabits)
        network.set_rate(self._net, "eth0", megabits)

    def set_cable(self, delay: float = 0.0, loss: float = 0.0) -> None:
        """A bad cable: seconds more each way, and the share of frames that is lost each way.

        Both 0: the good one again.
        """
        self._end_cable()
        if not delay and not loss:
            return
        ends = (f"ca-{self.name}"[:15], f"cb-{self.name}"[:15])
        lan_net = self._lan_net
        self._cable = subprocess.Popen(
            [sys.executable, "-m", "tests.hosts.cable", *ends, str(delay), str(loss)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
            env={**self.environment, "PYTHONPATH": str(CHECKOUT)},
            preexec_fn=lambda: namespaces.setns(lan_net, namespaces.CLONE_NEWNET),
        )  # fmt: skip
        assert self._cable.stdout
        if self._cable.stdout.readline() != "up\n":
            raise RuntimeError(f"there is no bad cable for {self.name}")
        network.splice(lan_net, self._port, ends)

    def _end_cable(self) -> None:
        if self._cable is None:
            return
        network.unsplice(self._lan_net, self._port)
        self._cable.communicate("")
        self._cable = None

    def cut(self) -> None:
        """Pull the cable: nothing passes, no side is told."""
        network.set_port_state(self._lan_net, self._port, False)

    def mend(self) -> None:
        """Put the cable back."""
        network.set_port_state(self._lan_net, self._port, True)
        self._await_link()

    def _await_link(self) -> None:
        """Until packets pass: the kernel brings up a link some time after its carrier is there."""
        network.await_up(self._lan_net, self._port)
        network.await_up(self._net, "eth0", *([] if self.is_client else [network.HOST_BRIDGE]))


class Client(Machine):
    """A place for test clients: an address on the bridge, and the machine's files as they are."""

    is_client = True


class Host(Machine):
    """A host with sshd, state and disk of its own."""

    @property
    def ssh_target(self) -> str:
        """What ssh and `migrate move` take."""
        return f"root@{self.address}"

    @property
    def disk(self) -> Path:
        """The host's /var/lib/migrate, seen from the machine."""
        return self.directory / "var-lib-migrate"

    def make_disk(self, path: str) -> sshd.Identity:
        """Directories and keys, once in the host's life."""
        for name, mode in (("var-lib-migrate", 0o700), ("etc-migrate", 0o755), ("tmp", 0o1777)):
            (self.directory / name).mkdir()
            (self.directory / name).chmod(mode)
        sshd.unlocked_shadow(self.directory)
        return sshd.make(self.directory, self.name, self.address, path)

    def boot(self) -> None:
        """As `Machine.boot`, and sshd answers."""
        super().boot()
        deadline = time.monotonic() + BOOT_LIMIT
        while not self._sshd_listens():
            if time.monotonic() > deadline:
                log = (self.directory / "sshd.log").read_text()
                raise RuntimeError(f"sshd of {self.name} does not listen:\n{log}")
            time.sleep(0.002)

    def _sshd_listens(self) -> bool:
        """Port 22 in state 0A (listening), from the host's /proc/net/tcp: no connection is made."""
        text = Path(f"/proc/{self.pid}/net/tcp").read_text()
        port = f":{22:04X}"
        return any(
            fields[1].endswith(port) and fields[3] == "0A"
            for fields in (line.split() for line in text.splitlines()[1:])
        )
