"""What is done to a move that is held, and how it is undone before `migrate recover`."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.engine import eventually
from tests.hosts import Host
from tests.move.faults.holding import kill, processes

BLINK = 2.0  # seconds without a link
_FILLER = "filler"
_FEW = 1 << 20  # bytes that are written at once
# The byte is behind a TCP header with options, and in a packet that has one there; the kernel sets
# the packet's checksum anew. `quota` ends it: a link that garbles for ever is one that is cut.
_GARBLED = """
table inet garbled {
  chain out {
    type filter hook output priority 0;
    tcp sport 22 meta length > 200 quota until 20000 bytes @th,800,8 set 0x5a
  }
  chain in {
    type filter hook input priority 0;
    tcp dport 22 meta length > 200 quota until 20000 bytes @th,800,8 set 0x5a
  }
}
"""
Undo = Callable[[], None]


@dataclass(frozen=True)
class Struck:
    """Where: both hosts, and the process that is held."""

    source: Host
    target: Host
    held: int


def nothing() -> None:
    """There is nothing to be undone."""


def strike(fault: str, at: Struck) -> Undo:
    """Do it, and let go of who is held; what has to be called afterwards."""
    undo = _HARMS[fault](at)
    with contextlib.suppress(ProcessLookupError):
        os.kill(at.held, signal.SIGCONT)
    return undo


def _kill(*words: str, there: bool) -> Callable[[Struck], Undo]:
    def harm(at: Struck) -> Undo:
        kill(processes(at.target if there else at.source, *words))
        return nothing

    return harm


def _kill_criu(at: Struck) -> Undo:
    """A monitor may be on its way from its fork to CRIU's exec."""
    hosts = (at.source, at.target)
    found: list[int] = []

    def there_is_one() -> bool:
        found.extend(pid for host in hosts for pid in processes(host, "criu", "swrk"))
        return bool(found)

    assert eventually(there_is_one), "there is no criu to kill"
    kill(found)
    return nothing


def _terminate(at: Struck) -> Undo:
    kill(processes(at.source, "migrate", "move"), signal.SIGTERM)
    return nothing


def _cut(at: Struck) -> Undo:
    at.target.cut()
    return at.target.mend


def _blink(at: Struck) -> Undo:
    at.target.cut()
    with contextlib.suppress(ProcessLookupError):
        os.kill(at.held, signal.SIGCONT)
    time.sleep(BLINK)
    at.target.mend()
    return nothing


def _fill(*, there: bool) -> Callable[[Struck], Undo]:
    def harm(at: Struck) -> Undo:
        path = (at.target if there else at.source).disk / _FILLER
        with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
            for size in (_FEW, 4096):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass
        return lambda: path.unlink(missing_ok=True)

    return harm


def _limit(kind: int, value: Callable[[int], int]) -> Callable[[Struck], Undo]:
    """What the kernel refuses from now on to who is held; it ends with that process."""

    def harm(at: Struck) -> Undo:
        most = value(at.held)
        resource.prlimit(at.held, kind, (most, most))
        return nothing

    return harm


def _descriptors(pid: int) -> int:
    return max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1


def _reboot(*, there: bool) -> Callable[[Struck], Undo]:
    def harm(at: Struck) -> Undo:
        (at.target if there else at.source).reboot()
        return nothing

    return harm


def _size(pid: int) -> int:
    """Bytes of its address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _garble(at: Struck) -> Undo:
    """A byte of each of the next packets of the link's ssh, in both directions."""
    run = ["nsenter", "-t", str(at.target.pid), "-n", "nft"]
    subprocess.run([*run, "-f", "-"], input=_GARBLED, text=True, check=True)

    def undo() -> None:
        """A host that has rebooted since has lost it."""
        again = ["nsenter", "-t", str(at.target.pid), "-n", "nft", "delete", "table", "inet"]
        subprocess.run([*again, "garbled"], check=False, stderr=subprocess.DEVNULL)

    return undo


def _corrupt(at: Struck) -> Undo:
    """A byte in the middle of what CRIU begins its restore with."""
    images = [*at.target.disk.glob("moves/incoming/*/criu/pstree.img"),
              *_within(at.target, "moves/incoming/*/criu/pstree.img")]  # fmt: skip
    assert images, "there is no image to be corrupted"
    for image in images:
        content = bytearray(image.read_bytes())
        content[len(content) // 2] ^= 0x55
        image.write_bytes(content)
    return nothing


def _within(host: Host, pattern: str) -> list[Path]:
    """In the host's own mounts: images can be in a tmpfs of the move's."""
    return list(Path(f"/proc/{host.pid}/root/var/lib/migrate").glob(pattern))


_HARMS: dict[str, Callable[[Struck], Undo]] = {
    "kill-command": _kill("migrate", "move", there=False),
    "kill-agent": _kill("migrate", "agent", there=True),
    "kill-sshd": _kill("sshd", "root@notty", there=True),
    "kill-criu": _kill_criu,
    "terminate": _terminate,
    "blink": _blink,
    "cut": _cut,
    "fill-here": _fill(there=False),
    "fill-there": _fill(there=True),
    "no-files": _limit(resource.RLIMIT_NOFILE, _descriptors),
    "no-writes": _limit(resource.RLIMIT_FSIZE, lambda pid: 0),
    "no-memory": _limit(resource.RLIMIT_AS, _size),
    "reboot-here": _reboot(there=False),
    "reboot-there": _reboot(there=True),
    "corrupt": _corrupt,
    "garble": _garble,
}
