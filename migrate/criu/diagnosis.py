"""CRIU's log read for people: the first error line, its cause and the mend."""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from migrate.criu.errors import CriuFailed
from migrate.errors import DiskFull, MigrateError

LOG_LIMIT = 8 << 20
HARMLESS = ("Can't setup RLIMIT_NOFILE",)


@dataclass(frozen=True)
class Known:
    """A fatal line that is understood."""

    pattern: str
    cause: str
    mend: str


# Each from CRIU 4.2.1's sources, the file named in the line itself.
CATALOGUE = (
    Known(r"Can't dump .*[ie]o_uring|io_uring", "a process uses io_uring, which CRIU can't dump",
          "switch io_uring off in the program"),
    Known(r"Can't lookup mount=|Can't find mount", "a process has a file open that lies on no "
          "mount of the container", "close it, or mount its directory into the container"),
    Known(r"external mount|isn't dumpable|unreachable sharing",
          "a mount inside the container comes from outside it",
          "mount it with -v, so that migrate knows it"),
    Known(r"Connected unix socket|External socket is used|external stream socket",
          "a unix socket is connected to a process outside the container",
          "close that connection, or run the peer in the container"),
    Known(r"SO_PASS(CRED|SEC)", "this CRIU can't read a socket option on this kernel",
          "use CRIU 4.2.1: make setup"),
    Known(r"File exists.*clone|Can't fork.*File exists|pid .* (exists|mismatch)",
          "a process with the container's pid still exists", "wait a moment and try again"),
    Known(r"ghost file|Can't dump ghost", "a deleted file that is still open is too large",
          "close it first"),
    Known(r"Can't bind inet socket|bind.*Cannot assign requested address",
          "the container's address is not there", "give the container its address back"),
    Known(r"CPU capabilities|cpuinfo", "the CPU here lacks what the program may have begun to use",
          "choose a host with the same CPU features"),
    Known(r"Timeout reached. Try to interrupt",
          "a task could not be stopped: it sits in an uninterruptible system call",
          "look for state D in /proc/PID/status and at /proc/PID/stack, then try again"),
    Known(r"is already being traced|Unable to (seize|interrupt)|PTRACE_SEIZE",
          "a debugger or tracer is attached to a process", "detach it (strace, gdb) first"),
    Known(r"SysVIPC shmem map|userfaultfd|perf_event|Unsupported (fd|file) type|anon inode",
          "a process has a kind of file open that CRIU can't dump", "close it first"),
)  # fmt: skip


def errors_in(log: Path) -> list[str]:
    """The lines of CRIU's log marked Error that are not known to be harmless."""
    try:
        with log.open(errors="replace") as file:
            lines = file.read(LOG_LIMIT).splitlines()
    except OSError:
        return []
    return [
        line.strip() for line in lines
        if re.search(r"\bError \(", line) and not any(text in line for text in HARMLESS)
    ]  # fmt: skip


def first_error(log: Path) -> str:
    """The first such line; "" if there is none."""
    return next(iter(errors_in(log)), "")


def explain(log: Path, what: str, kept: Path | None = None) -> MigrateError:
    """The error for a CRIU that gave up, with cause and mend from its log.

    The first line that is understood counts: CRIU often tells the effect before the cause. With
    `kept`, the log is copied there, because its directory will be deleted. A full disk is DiskFull,
    everything else CriuFailed.
    """
    lines = errors_in(log)
    if kept and log.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(log, kept)
            log = kept
    for line in lines:
        if "No space left on device" in line or "Disk quota exceeded" in line:
            return DiskFull(what, cause=f"no room for its images (criu: {line})")
        for known in CATALOGUE:
            if re.search(known.pattern, line):
                return CriuFailed(what, cause=f"{known.cause} (criu: {line})", mend=known.mend)
    cause = f"criu: {lines[0]}" if lines else "criu wrote no error"
    return CriuFailed(what, cause=f"{cause}; its log: {log}")
