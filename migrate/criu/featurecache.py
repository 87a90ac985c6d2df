"""CRIU's cache of kernel features, /run/criu.kdat.

Without it every start of CRIU probes the kernel for 36-45 ms (design.md, "The page path").
CRIU writes it only where /run is a tmpfs, but loads it from any file system, checking nothing but
its size and two magic numbers (criu/kerndat.c). So we make it on a tmpfs and copy it, and a note
beside it says for which boot, kernel and CRIU it holds.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from migrate.criu.errors import CriuProbeFailed
from migrate.kernel import files, processes

CACHE = Path("/run/criu.kdat")
_SCRIPT = 'mount -t tmpfs -o mode=755 migrate /run && "$1" check >&2; cat /run/criu.kdat'
_TIME_LIMIT = 20.0


def identity(criu: Path) -> str:
    """What a verdict or cache about this CRIU depends on: program, kernel and boot."""
    status = criu.stat()
    return f"{processes.boot_id()} {criu} {status.st_mtime_ns} {os.uname().release}"


def _note(cache: Path) -> Path:
    return cache.with_name(cache.name + ".migrate")


def is_current(criu: Path, cache: Path = CACHE) -> bool:
    """Whether there is a cache made on this boot and kernel for this CRIU."""
    try:
        return cache.stat().st_size > 0 and _note(cache).read_text() == identity(criu)
    except OSError:
        return False


def prime(criu: Path, cache: Path = CACHE) -> bool:
    """Make the cache if it is missing or of another boot, kernel or CRIU; True when it was made.

    Costs 0.1 ms when nothing is to do. Raises CriuProbeFailed when CRIU makes none, OSError when
    it can't be written.
    """
    if is_current(criu, cache):
        return False
    note, wanted = _note(cache), identity(criu)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh", str(criu)],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_TIME_LIMIT,
    )  # fmt: skip
    if not done.stdout:
        last = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
        raise CriuProbeFailed("CRIU could not look at this kernel's features", cause=last[-1])
    note.unlink(missing_ok=True)
    files.write_atomically(cache, done.stdout)
    files.write_atomically(note, wanted.encode())
    # CRIU makes this one with O_EXCL and forgets it where /run is no tmpfs: it would never be
    # able to write its own again.
    cache.with_name(cache.name + ".tmp").unlink(missing_ok=True)
    return True
