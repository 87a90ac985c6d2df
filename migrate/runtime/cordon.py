"""Cordon: while its file is there, this host takes no containers; what is here goes on.

Refused are create, start, the restore of a checkpoint, and incoming moves. A rollback, `migrate
recover` and a move that has been prepared are not: they bring back what is this host's already.
"""

from __future__ import annotations

import contextlib
import time

import msgspec

from migrate.kernel.files import fsync_directory, write_atomically
from migrate.runtime.errors import HostCordoned
from migrate.runtime.paths import Paths

SIZE_LIMIT = 64 << 10
TEXT_LIMIT = 1000
"""Characters of who and why."""


class Cordon(msgspec.Struct, frozen=True):
    """Who has cordoned the host, when (seconds since the epoch) and why; "" for not told."""

    by: str = ""
    since: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        """In words: `since 2026-01-31 14:00:00 by root@admin: new disks`."""
        parts = []
        with contextlib.suppress(ValueError, OverflowError, OSError):
            if self.since:
                when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
                parts.append(f"since {when}")
        parts += [f"by {self.by}"] if self.by else []
        told = " ".join(parts) or "since an unknown time"
        return f"{told}: {self.why}" if self.why else told


def read(paths: Paths) -> Cordon | None:
    """This host's cordon, None when there is none. A file that can't be read is one, too."""
    try:
        with paths.cordoned.open("rb") as file:
            data = file.read(SIZE_LIMIT)
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=Cordon)
    except msgspec.DecodeError:
        return Cordon(why=f"{paths.cordoned} is there, and can't be read")


def cordon(paths: Paths, *, by: str = "", why: str = "") -> Cordon:
    """Let this host take no containers from now on, over a reboot too; raises OSError.

    A cordon that there is gets the new reason.
    """
    paths.make()
    made = Cordon(_line(by), time.time(), _line(why))
    write_atomically(paths.cordoned, msgspec.json.encode(made))
    return made


def uncordon(paths: Paths) -> bool:
    """Let it take containers again; whether it was cordoned. Raises OSError."""
    try:
        paths.cordoned.unlink()
    except FileNotFoundError:
        return False
    fsync_directory(paths.state)
    return True


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:TEXT_LIMIT]).strip()


def refuse_if_cordoned(paths: Paths, what: str, host: str = "this host") -> None:
    """Raise HostCordoned if this host takes no containers.

    `what` it does not is a verb ("start 'web'"); `host`: what the reader of the error calls it.
    """
    found = read(paths)
    if found is not None:
        raise HostCordoned(f"{host} is cordoned: it does not {what}", cause=f"{found}")
