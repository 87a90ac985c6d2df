"""CRIU's log read for people: the first error line, its cause and the mend."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from migrate.criu.catalogue import find
from migrate.criu.catalogue.known import Known
from migrate.criu.errors import CriuFailed
from migrate.errors import DiskFull, MigrateError

LOG_LIMIT = 8 << 20
HARMLESS = ("Can't setup RLIMIT_NOFILE",)
FULL = ("No space left on device", "Disk quota exceeded")
TOO_MANY_WATCHES = "fsnotify: Can't add watch"  # ENOSPC is a limit there (inotify_add_watch(2))


def errors_in(log: Path) -> list[str]:
    """The lines of CRIU's log marked Error that are not known to be harmless."""
    return _lines(log, "Error ")


def first_error(log: Path) -> str:
    """The first such line; "" if there is none."""
    return next(iter(errors_in(log)), "")


def _lines(log: Path, level: str) -> list[str]:
    try:
        with log.open(errors="replace") as file:
            lines = file.read(LOG_LIMIT).splitlines()
    except OSError:
        return []
    return [
        line.strip() for line in lines
        if re.search(rf"\b{level}\(", line) and not any(text in line for text in HARMLESS)
    ]  # fmt: skip


def understood(log: Path) -> tuple[str, Known] | None:
    """The line of the log that tells most, and what is known of it (`migrate.criu.catalogue`).

    It is the first error that is known, as CRIU often tells the effect before the cause; without
    one, the first warning that is known: what made CRIU give up may be no more to it.
    """
    errors = errors_in(log)
    for line in errors:
        known = find(line)
        if known and (line is errors[0] or not known.effect):
            return line, known
    for line in _lines(log, "Warn  "):
        known = find(line)
        if known:
            return line, known
    return None


def explain(log: Path, what: str, kept: Path | None = None) -> MigrateError:
    """The error for a CRIU that gave up, with cause and mend from its log.

    With `kept`, the log is copied there, because its directory will be deleted. A full disk is
    DiskFull, everything else CriuFailed.
    """
    lines = errors_in(log)
    found = understood(log)
    if kept and log.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(log, kept)
            log = kept
    for line in lines:
        if any(text in line for text in FULL) and TOO_MANY_WATCHES not in line:
            return DiskFull(what, cause=f"no room for its images (criu: {line})")
        if found and line == found[0]:
            break
    if found:
        line, known = found
        return CriuFailed(what, cause=f"{known.cause} (criu: {line})", mend=known.mend)
    cause = f"criu: {lines[0]}" if lines else "criu wrote no error"
    return CriuFailed(what, cause=f"{cause}; its log: {log}")
