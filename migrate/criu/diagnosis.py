"""CRIU's log read for people: the first error line, its cause and the mend."""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from migrate.criu.errors import CriuFailed

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
    Known(r"No space left on device", "a file system is full", "free some space"),
    Known(r"CPU capabilities|cpuinfo", "the CPU here lacks what the program may have begun to use",
          "choose a host with the same CPU features"),
    Known(r"is already being traced|Unable to (seize|interrupt)|PTRACE_SEIZE",
          "a debugger or tracer is attached to a process", "detach it (strace, gdb) first"),
    Known(r"SysVIPC shmem map|userfaultfd|perf_event|Unsupported (fd|file) type|anon inode",
          "a process has a kind of file open that CRIU can't dump", "close it first"),
)  # fmt: skip


def first_error(log: Path) -> str:
    """The first line of CRIU's log marked Error that is not known to be harmless; "" if none."""
    try:
        with log.open(errors="replace") as file:
            for line in file.read(LOG_LIMIT).splitlines():
                if re.search(r"\bError \(", line) and not any(text in line for text in HARMLESS):
                    return line.strip()
    except OSError:
        pass
    return ""


def explain(log: Path, what: str, kept: Path | None = None) -> CriuFailed:
    """The error for a CRIU that gave up, with cause and mend from its log.

    With `kept`, the log is copied there, because its directory will be deleted.
    """
    line = first_error(log)
    if kept and log.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(log, kept)
            log = kept
    for known in CATALOGUE:
        if line and re.search(known.pattern, line):
            return CriuFailed(what, cause=f"{known.cause} (criu: {line})", mend=known.mend)
    cause = f"criu: {line}" if line else "criu wrote no error"
    return CriuFailed(what, cause=f"{cause}; its log: {log}")
