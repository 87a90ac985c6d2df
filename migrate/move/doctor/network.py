"""The network: ssh, sshd, virtual interfaces, nftables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel import probes, tap
from migrate.move.doctor.finding import Finding, good, lacking

_LISTEN = "0A"  # include/net/tcp_states.h
_FIX = "migrate doctor --fix"


def check() -> Iterator[Finding]:
    """What is found about the network."""
    yield _ssh()
    yield from _sshd()
    for kind in ("veth", "bridge"):
        why = probes.link_kind(kind)
        if why:
            yield lacking(kind, why, "no network 'bridge' for containers", f"modprobe {kind}",
                          needed=True)  # fmt: skip
        else:
            yield good(kind, "works", needed=True)
    yield _tap()
    why = probes.nftables()
    if why:
        yield lacking("nftables", why, "no published ports, no address translation",
                      "modprobe nf_tables")  # fmt: skip
    else:
        yield good("nftables", "works")


def _tap() -> Finding:
    """What stands in for a container's port while it is moved (runtime/networks/standin.py)."""
    try:
        os.close(tap.open_tap(f"mgt{os.getpid() % 10**9}"))
    except OSError as error:
        return lacking("tap", error.strerror or str(error), "clients whose packets come in a pause "
                       "wait 200 ms or more for their retransmission", "modprobe tun")  # fmt: skip
    return good("tap", "works")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _ssh() -> Finding:
    program = _program("ssh")
    if program:
        return good("ssh", program)
    return lacking("ssh", "not installed", "bulk data goes through Python: far slower moves",
                   f"apt-get install openssh-client ({_FIX})", fixable=True)  # fmt: skip


def _sshd() -> Iterator[Finding]:
    program = _program("sshd")
    if not program:
        yield lacking("sshd", "not installed", "no container can be moved to this host",
                      f"apt-get install openssh-server ({_FIX})", fixable=True,
                      needed=True)  # fmt: skip
        return
    yield good("sshd", program, needed=True)
    ports = sshd_ports()
    if ports:
        yield good("sshd listens", f"port {', '.join(map(str, ports))}")
    else:
        yield lacking("sshd listens", "no", "no container can be moved to this host now",
                      "systemctl start ssh (or: service ssh start)")  # fmt: skip


def sshd_ports() -> list[int]:
    """The TCP ports on which an sshd listens in this network namespace.

    Port 22 counts whoever holds it: with socket activation that is init.
    """
    listening = dict(_listening())
    held = {inode for process in _sshd_processes() for inode in _sockets(process)}
    return sorted({p for inode, p in listening.items() if inode in held or p == 22})


def _listening() -> Iterator[tuple[str, int]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                yield fields[9], int(fields[1].rpartition(":")[2], 16)


def _sshd_processes() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text() == "sshd\n":
                yield process
        except OSError:
            continue


def _sockets(process: Path) -> Iterator[str]:
    """The inode numbers of the sockets that a process holds."""
    try:
        names = [str(link.readlink()) for link in (process / "fd").iterdir()]
    except OSError:
        return
    yield from (n[8:-1] for n in names if n.startswith("socket:["))
