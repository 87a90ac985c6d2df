"""Control groups: which hierarchies, which controllers, and a freezer that freezes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from migrate.move.doctor.finding import Finding, good, lacking
from migrate.runtime.cgroups import layout, v1, v2

FREEZE_LIMIT = 2.0
"""Seconds until a sleeping process must be frozen."""
_LIMITS = ("memory", "cpu", "pids")
_MEND = "mount the cgroup hierarchies (systemd does; else 'mount -t cgroup2 none /sys/fs/cgroup')"


def check() -> Iterator[Finding]:
    """What is found about control groups."""
    here = layout.detect()
    versions = [v for v, there in (("v1", here.v1), ("v2", here.v2)) if there]
    if not versions:
        yield lacking("cgroups", "none mounted", "containers can't be started", _MEND, needed=True)
        return
    names = sorted({*here.v1, *here.v2_controllers})
    yield good("cgroups", f"{' and '.join(versions)}: {' '.join(names)}", needed=True)
    gone = [name for name in _LIMITS if name not in names]
    if gone:
        yield lacking("cgroup controllers", f"without {' '.join(gone)}",
                      f"no limit for {', '.join(gone)} can be set", _MEND)  # fmt: skip
    yield _freezer(here)


def _freezer(here: layout.Layout) -> Finding:
    name, costs = "freezer", "a container can't be held still: no pause, no move"
    root = here.v1.get("freezer", here.v2)
    if root is None:
        return lacking(name, "not mounted", costs, _MEND, needed=True)
    try:
        seconds = freeze_for_real(root, here.freezer_version)
    except OSError as error:
        mend = "see that cgroups may be written here"
        return lacking(name, str(error), costs, mend, needed=True)
    return good(name, f"v{here.freezer_version}, froze a process in {seconds * 1000:.1f} ms",
                needed=True)  # fmt: skip


def freeze_for_real(root: Path, version: int) -> float:
    """Freeze a sleeping child in a group of its own; seconds that it took. Raises OSError."""
    kind = v1 if version == 1 else v2
    group = root / f"migrate-doctor-{os.getpid()}"
    group.mkdir()
    pid = 0
    try:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        (group / "cgroup.procs").write_text(str(pid))
        started = time.monotonic()
        kind.request_freeze(group)
        while not kind.is_frozen(group):
            if time.monotonic() - started > FREEZE_LIMIT:
                raise TimeoutError(f"nothing was frozen after {FREEZE_LIMIT:g} s")
            time.sleep(0.0005)
        return time.monotonic() - started
    finally:
        with contextlib.suppress(OSError):
            kind.thaw(group)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        _remove(group)


def _remove(group: Path) -> None:
    for _attempt in range(100):  # the kernel takes a moment to see that the last task is gone
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.005)
