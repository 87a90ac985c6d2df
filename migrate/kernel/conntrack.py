"""The kernel's table of tracked connections, of one network namespace."""

from __future__ import annotations

from pathlib import Path


def tracked(pid: int) -> int | None:
    """How many connections are tracked in the network namespace of a process.

    The first column, `entries`, of /proc/PID/net/stat/nf_conntrack (Linux, net/netfilter/
    nf_conntrack_standalone.c, ct_cpu_seq_show). None where the kernel does not tell.
    """
    try:
        with Path(f"/proc/{pid}/net/stat/nf_conntrack").open() as file:
            file.readline()
            return int(file.readline().split()[0], 16)
    except (OSError, ValueError, IndexError):
        return None
