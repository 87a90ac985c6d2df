"""Sends one file from this host to another, in one of four ways, when it is told to.

`python -m migrate.bench.sending WAY FILE TARGET NAME` prints "ready" when its connections are open;
after a line on stdin it sends FILE, and prints the seconds until the other host had all of it; then
it waits for the end of stdin. All ways write the same: NAME beneath the directory DIRECTORY.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from migrate.bench.filled import USUAL
from migrate.bench.plaintcp import PORT, RECEIVED
from migrate.move.journal import incoming
from migrate.transfer.bulk import BulkSender
from migrate.transfer.target import Target

TOKEN = "b" * 32  # the directory of these data connections; nothing else is on these hosts
DIRECTORY = incoming(USUAL) / TOKEN
"""Where data connections with our token write to."""
FILES, PAGES, TCP, SSH = "migrate files", "migrate pages", "plain TCP", "ssh cat"
_PIECE = 1 << 20
WAYS = (FILES, PAGES, TCP, SSH)


@dataclass(frozen=True)
class Errand:
    """What goes where."""

    file: Path
    target: Target
    name: str

    @property
    def place(self) -> Path:
        """At the other host."""
        return DIRECTORY / self.name


Send = Callable[[], None]
"""Returns when all is at the other host."""


@contextlib.contextmanager
def files(errand: Errand) -> Iterator[Send]:
    """Our data connections, as layers and volumes go."""
    with BulkSender.open(errand.target, TOKEN, command=command()) as bulk:

        def send() -> None:
            with errand.file.open("rb") as source:
                bulk.send_file_from(source.fileno(), errand.name)
            bulk.flush()

        yield send


@contextlib.contextmanager
def pages(errand: Errand) -> Iterator[Send]:
    """Our data connections, as the first round of memory goes: compressed where that helps."""
    import numpy as np

    from migrate.kernel.memory import read_runs

    size = errand.file.stat().st_size
    with errand.file.open("rb") as source:
        flags = mmap.MAP_PRIVATE | mmap.MAP_POPULATE
        memory = mmap.mmap(source.fileno(), size, flags=flags, prot=mmap.PROT_READ)
    first = np.frombuffer(memory, dtype=np.uint8).ctypes.data
    runs = np.array([[first, first + size]], dtype=np.uint64)
    with BulkSender.open(errand.target, TOKEN, command=command()) as bulk:

        def send() -> None:
            read = functools.partial(read_runs, os.getpid())
            bulk.send_pages(f"{errand.name}@{first}", runs, read, fresh=True)
            bulk.flush()

        yield send


@contextlib.contextmanager
def tcp(errand: Errand) -> Iterator[Send]:
    """One connection to `plaintcp.py`, by sendfile(2)."""
    with socket.create_connection((errand.target.host, PORT), 10) as channel:
        channel.settimeout(None)

        def send() -> None:
            with errand.file.open("rb") as source:
                channel.sendfile(source)
            channel.shutdown(socket.SHUT_WR)
            if channel.recv(1) != RECEIVED:
                raise ConnectionResetError("the receiver did not get all of it")

        yield send


@contextlib.contextmanager
def ssh(errand: Errand) -> Iterator[Send]:
    """What one would type: `ssh HOST 'cat > FILE' < FILE`, OpenSSH's own choice of everything.

    Its stdin is a pipe, so that it can be connected before; splice(2) fills it without a copy.
    """
    line = f"echo; cat > {shlex.quote(str(errand.place))} && echo"
    with subprocess.Popen(
        ["ssh", *errand.target.ssh_arguments, line], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as far:
        assert far.stdin
        assert far.stdout
        far.stdout.readline()

        def send() -> None:
            assert far.stdin
            assert far.stdout
            with errand.file.open("rb") as source, far.stdin as pipe:
                while os.splice(source.fileno(), pipe.fileno(), _PIECE):
                    pass
            if far.stdout.readline() != b"\n":
                raise ConnectionResetError("ssh did not write all of it")

        yield send


def command() -> str:
    """The path of `migrate`, the same on both hosts."""
    return str(Path(sys.executable).with_name("migrate"))


BY_WAY = {FILES: files, PAGES: pages, TCP: tcp, SSH: ssh}


def main() -> None:
    """See the module."""
    way, file, target, name = sys.argv[1:]
    with BY_WAY[way](Errand(Path(file), Target.parse(target), name)) as send:
        print("ready", flush=True)
        sys.stdin.readline()
        begun = time.monotonic()
        send()
        print(time.monotonic() - begun, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
