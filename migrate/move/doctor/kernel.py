"""The kernel: rights, version, namespaces, memory tracking, limits, memory."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel import capabilities, probes
from migrate.kernel.namespaces import FLAG_OF_NAME
from migrate.kernel.userfaultfd import UFFD_FEATURE_WP_ASYNC
from migrate.move.doctor.finding import Finding, good, lacking

OLDEST_KERNEL = (5, 9)
"""openat2 (5.6), pidfds and CAP_CHECKPOINT_RESTORE (5.9)."""
PIPE_SIZE = 128 << 20
"""Bytes: CRIU's page server wants pipes of 107 MB (design.md, "Facts measured")."""
PIPE_LIMIT_FILE = Path("/proc/sys/fs/pipe-max-size")
_MEMORY_LOW = 256 << 20
_NEEDED_CAPABILITIES = (
    "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE", "CAP_NET_ADMIN",
)  # fmt: skip
_NEEDED_NAMESPACES = ("mnt", "net", "pid", "uts", "ipc", "cgroup")


def check() -> Iterator[Finding]:
    """What is found about the kernel and this process's rights."""
    yield _root()
    yield from _capabilities()
    yield _version()
    yield _namespaces()
    yield _userfaultfd()
    yield _pagemap_scan()
    yield _soft_dirty()
    yield _pipe_size()
    yield _memory()


def _root() -> Finding:
    uid = os.geteuid()
    if uid == 0:
        return good("root", "uid 0", needed=True)
    return lacking("root", f"uid {uid}", "nothing works", "use sudo", needed=True)


def _capabilities() -> Iterator[Finding]:
    mask = capabilities.effective_mask()
    gone = [n for n in _NEEDED_CAPABILITIES if not mask >> capabilities.NUMBER_OF[n] & 1]
    mend = "give them to the machine's root (VM or container manager)"
    if gone:
        yield lacking("capabilities", f"without {' '.join(gone)}",
                      "CRIU can't dump or restore", mend, needed=True)  # fmt: skip
    else:
        yield good("capabilities", " ".join(_NEEDED_CAPABILITIES), needed=True)
    if mask >> capabilities.NUMBER_OF["CAP_SYS_RESOURCE"] & 1:
        yield good("CAP_SYS_RESOURCE", "there")
    else:
        costs = "resource limits of processes of other users can't be dumped"
        yield lacking("CAP_SYS_RESOURCE", "not there", costs, mend)


def _version() -> Finding:
    release = platform.release()
    numbers = tuple(map(int, re.findall(r"\d+", release)[:2]))
    if numbers >= OLDEST_KERNEL:
        return good("kernel", f"{release} {platform.machine()}", needed=True)
    wanted = ".".join(map(str, OLDEST_KERNEL))
    return lacking("kernel", release, "system calls are missing", f"Linux {wanted} or newer",
                   needed=True)  # fmt: skip


def _namespaces() -> Finding:
    refused = {name: why for name in FLAG_OF_NAME if (why := probes.namespace(name))}
    needed = [name for name in _NEEDED_NAMESPACES if name in refused]
    found = "; ".join(f"{name}: {why}" for name, why in refused.items())
    if needed:
        return lacking("namespaces", found, "containers can't be started", "a kernel that has them",
                       needed=True)  # fmt: skip
    have = " ".join(name for name in FLAG_OF_NAME if name not in refused)
    return good("namespaces", have + (f" (not: {' '.join(refused)})" if refused else ""),
                needed=True)  # fmt: skip


def _userfaultfd() -> Finding:
    costs = "--mode post-copy and hybrid are not available, nor quick restores"
    try:
        features = probes.userfaultfd_features()
    except (OSError, LookupError) as error:
        return lacking("userfaultfd", str(error), costs, "a kernel with CONFIG_USERFAULTFD")
    tracks = bool(features & UFFD_FEATURE_WP_ASYNC)
    return good("userfaultfd", "tracks writes" if tracks else "works; does not track writes")


def _pagemap_scan() -> Finding:
    why = probes.pagemap_scan()
    if not why:
        return good("PAGEMAP_SCAN", "works")
    costs = "dirty pages are found by soft-dirty alone, if at all"
    return lacking("PAGEMAP_SCAN", why, costs, "Linux 6.7 or newer")


def _soft_dirty() -> Finding:
    why = probes.soft_dirty()
    if not why:
        return good("soft-dirty", "tracks writes")
    costs = "CRIU's own pre-dump is not available; userfaultfd tracks memory instead"
    return lacking("soft-dirty", why, costs, "none needed; or CONFIG_MEM_SOFT_DIRTY")


def _pipe_size() -> Finding:
    name, size = "fs.pipe-max-size", int(PIPE_LIMIT_FILE.read_text())
    if size >= PIPE_SIZE:
        return good(name, f"{size >> 20} MiB")
    costs = "post-copy fails: CRIU's page server needs larger pipes"
    mend = f"sysctl -w {name}={PIPE_SIZE} (migrate doctor --fix)"
    return lacking(name, f"{size >> 10} KiB", costs, mend, fixable=True)


def _memory() -> Finding:
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
    free = sizes.get("MemAvailable", sizes["MemFree"])
    found = f"{free >> 20} MiB of {sizes['MemTotal'] >> 20} MiB available"
    if free >= _MEMORY_LOW:
        return good("memory", found)
    return lacking("memory", found, "containers that arrive may find no room", "free memory")
