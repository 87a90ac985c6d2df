"""CRIU's log read for people: the first error line, its cause and the mend."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from migrate.criu.catalogue import find
from migrate.criu.errors import CriuFailed
from migrate.errors import DiskFull, MigrateError

LOG_LIMIT = 8 << 20
HARMLESS = ("Can't setup RLIMIT_NOFILE",)


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

    The first line that is understood counts (`migrate.criu.catalogue`): CRIU often tells the effect
    before the cause. With `kept`, the log is copied there, because its directory will be deleted.
    A full disk is DiskFull, everything else CriuFailed.
    """
    lines = errors_in(log)
    if kept and log.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(log, kept)
            log = kept
    for line in lines:
        if "No space left on device" in line or "Disk quota exceeded" in line:
            return DiskFull(what, cause=f"no room for its images (criu: {line})")
        known = find(line)
        if known and (line is lines[0] or not known.effect):
            return CriuFailed(what, cause=f"{known.cause} (criu: {line})", mend=known.mend)
    cause = f"criu: {lines[0]}" if lines else "criu wrote no error"
    return CriuFailed(what, cause=f"{cause}; its log: {log}")
