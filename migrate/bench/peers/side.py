"""What all sides of `migrate bench peers` have in common: the load, and how files are shipped."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from migrate.bench.errors import BenchImpossible
from migrate.bench.loads.load import IN_CONTAINER
from migrate.bench.loads.memory import Memory
from migrate.bench.peers.place import LIMIT, PeerHost

NAME = "load"
PORT = 7000
WORK = "/tmp/peers"  # of a host, inside and outside of the peers' root
_CONTROL = "/run/peers-ssh"
_CIPHER = "aes128-gcm@openssh.com"


class Side(Protocol):
    """A way to move a container."""

    @property
    def name(self) -> str:
        """As rows tell it."""
        ...

    @property
    def is_peer(self) -> bool:
        """Whether it is not ours."""
        ...

    def start(self, source: PeerHost, load: Memory) -> None:
        """The load runs in a container on `source`; raises BenchImpossible."""

    def move(self, source: PeerHost, target: PeerHost) -> dict[str, float]:
        """From the first command to the last; seconds of its parts. Raises BenchImpossible."""
        ...

    def remove(self, place: PeerHost) -> None:
        """End the container and all that is left of it, if it is there."""


def program(load: Memory) -> tuple[str, ...]:
    """What runs in the container."""
    return (
        "/usr/bin/python3", "-S", f"{IN_CONTAINER}/datagrams.py", "serve", str(load.mib),
        str(load.rate), load.kind, str(PORT),
    )  # fmt: skip


class Parts:
    """The seconds of what is done one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """One part."""
        begun = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begun


@dataclass(frozen=True)
class Shipping:
    """ssh from one host to the other, over a connection that is open already."""

    source: Any
    target: Any

    @property
    def _ssh(self) -> str:
        return shlex.join(["ssh", "-S", _CONTROL, "-c", _CIPHER, self.target.ssh_target])

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """The connection is open meanwhile."""
        child = self.source.popen(
            ["ssh", "-M", "-N", "-S", _CONTROL, "-c", _CIPHER, self.target.ssh_target],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            ready = f"until {self._ssh} true 2>/dev/null; do sleep 0.05; done"
            self.source.run(["timeout", "20", "sh", "-c", ready])
            yield
        finally:
            child.terminate()
            child.wait()

    def file(self, path: str) -> None:
        """The file to the same place."""
        quoted = shlex.quote(path)
        self._sh(f"{self._ssh} {shlex.quote(f'cat > {quoted}')} < {quoted}")

    def directory(self, path: str) -> None:
        """The directory and all below it to the same place."""
        quoted = shlex.quote(path)
        unpack = shlex.quote(f"mkdir -p {quoted} && tar -C {quoted} -xf -")
        self._sh(f"tar -C {quoted} -cf - . | {self._ssh} {unpack}")

    def _sh(self, script: str) -> None:
        done = self.source.run(["sh", "-c", script], check=False, timeout=LIMIT)
        if done.returncode:
            raise BenchImpossible("the images could not be shipped", cause=done.stderr.strip())
