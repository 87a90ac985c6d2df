"""One virtual machine: boots, runs commands inside over ssh, and ends with whoever made it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migrate.kernel import processes
from tests.vm import tools
from tests.vm.image import PREFIX, Image

BOOT_LIMIT = 180.0  # seconds
MIGRATE = str(PREFIX / "bin/migrate")
MEMORY = 1024  # MiB
UP = "vm is up"
"""What the machine's own start says on its console when it is done."""


def _ends_with_us() -> None:
    processes.set_parent_death_signal(signal.SIGKILL)
    os.setsid()  # Ctrl-C is for the test


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Machine:
    """A virtual machine; everything of it is beneath `directory`, its disk is gone with it."""

    def __init__(
        self,
        name: str,
        number: int,
        directory: Path,
        memory: int = MEMORY,
        more_disks: Sequence[Path] = (),
    ) -> None:
        """`memory` in MiB; `more_disks`: from /dev/vdc on, and unchanged when it ends."""
        self.name = name
        self._memory, self._more_disks = memory, more_disks
        self.address = f"10.77.0.{number}"
        self.directory = directory
        self._number = number
        self._qemu: subprocess.Popen[bytes] | None = None
        self._way_in: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def ssh_target(self) -> str:
        """What ssh and `migrate move` of the other machine take."""
        return f"root@{self.address}"

    @property
    def console(self) -> str:
        """What the kernel and the start have said."""
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / "console.log").read_text(errors="replace")
        return ""

    def start(self, image: Image, suite: str, mail: Path, peer: Path) -> None:
        """Begin to boot the kernel of `suite`. `mail`: the tar that is unpacked then; `peer`:
        the directory of the machine at the other end of the cable."""
        kernel, initrd = image.kernels[suite]
        self._port = _free_port()
        log = self.directory / "qemu.log"
        with log.open("wb") as complaints:
            self._qemu = subprocess.Popen(
                [*tools.qemu(), *self._options(image.disk, kernel, initrd, mail, peer)],
                stdin=subprocess.DEVNULL, stdout=complaints, stderr=subprocess.STDOUT,
                preexec_fn=_ends_with_us, cwd=self.directory,
                env={**os.environ, **tools.environment(), "TMPDIR": str(self.directory)},
            )  # fmt: skip

    def _options(
        self, disk: Path, kernel: Path, initrd: Path, mail: Path, peer: Path
    ) -> list[str]:  # fmt: skip
        words = f"console=ttyS0 quiet panic=-1 vm.name={self.name} vm.address={self.address}"
        drive = "if=virtio,format=raw,file="
        more = [f"{drive}{path},snapshot=on" for path in self._more_disks]
        return [
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
            "-m", f"{self._memory}M", "-serial", "file:console.log",
            "-kernel", str(kernel), "-initrd", str(initrd), "-append", words,
            "-drive", f"{drive}{disk},snapshot=on", "-drive", f"{drive}{mail},read-only=on",
            *(word for told in more for word in ("-drive", told)),
            "-netdev", f"user,id=way-in,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22",
            "-device", "virtio-net-pci,netdev=way-in,romfile=",
            "-netdev", f"dgram,id=cable,local.type=unix,local.path={self.directory}/cable,"
            f"remote.type=unix,remote.path={peer}/cable",
            "-device",
            f"virtio-net-pci,netdev=cable,romfile=,mac=02:4d:00:00:00:{self._number:02x}",
            "-device", "virtio-rng-pci",
        ]  # fmt: skip

    def wait(self) -> None:
        """Until it is up and lets us in; raises RuntimeError with what it said last."""
        assert self._qemu
        deadline = time.monotonic() + BOOT_LIMIT
        while UP not in self.console:
            if self._qemu.poll() is not None or time.monotonic() > deadline:
                qemu = (self.directory / "qemu.log").read_text(errors="replace")
                raise RuntimeError(f"{self.name} did not boot:\n{self.console[-3000:]}\n{qemu}")
            time.sleep(0.1)
        log = self.directory / "ssh.log"
        with log.open("wb") as complaints:
            self._way_in = subprocess.Popen(
                [*self._ssh(), "-M", "-N", "root@127.0.0.1"], stdin=subprocess.DEVNULL,
                stdout=complaints, stderr=subprocess.STDOUT, preexec_fn=_ends_with_us,
            )  # fmt: skip
        while not (self.directory / "way-in").exists():
            if self._way_in.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace") + self.console[-3000:]
                raise RuntimeError(f"ssh does not get into {self.name}:\n{said}")
            time.sleep(0.05)

    def _ssh(self) -> list[str]:
        key = self.directory / "dot-ssh/id_ed25519"
        options = {
            "ControlPath": self.directory / "way-in", "UserKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "no", "LogLevel": "ERROR", "ConnectionAttempts": "20",
            "IdentitiesOnly": "yes", "BatchMode": "yes",
        }  # fmt: skip
        command = ["ssh", "-F", "none", "-p", str(self._port), "-i", str(key)]
        for name, value in options.items():
            command += ["-o", f"{name}={value}"]
        return command

    def halt(self) -> None:
        """Pull the plug; safe to repeat."""
        for process in (self._way_in, self._qemu):
            if process is not None:
                process.kill()
                process.wait()
        self._way_in = self._qemu = None

    def popen(self, command: Sequence[str | os.PathLike[str]], **options: Any) -> Any:
        """subprocess.Popen of the ssh that runs the command inside."""
        line = shlex.join(map(str, command))
        return subprocess.Popen([*self._ssh(), "root@127.0.0.1", line], **options)

    def copy(self, file: Path, name: str) -> None:
        """Put a file of this machine there as `name`."""
        with file.open("rb") as source:
            child = self.popen(["dd", "status=none", f"of={name}"], stdin=source)
            assert child.wait() == 0

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        input: str | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, output captured as text; `check`: a failure raises with its output."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        child = self.popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, err = child.communicate(input, timeout)
        except BaseException:
            child.kill()
            child.wait()
            raise
        if check and child.returncode != 0:
            words = " ".join(map(str, command))
            raise AssertionError(
                f"on {self.name}: {words}: exit code {child.returncode}\n{out}{err}"
            )
        return subprocess.CompletedProcess(command, child.returncode, out, err)
