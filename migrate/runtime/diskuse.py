"""How much a directory tree takes on its file system, counted within a time limit."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from migrate.kernel import files

_BLOCK = 512
"""Bytes of a unit of st_blocks (stat(2)), whatever the file system's blocks are."""
_BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS | files.RESOLVE_NO_XDEV


def disk_use(roots: Iterable[Path], seconds: float) -> tuple[int, bool]:
    """Bytes that the trees take, hard links once, other file systems mounted in them left out.

    The second value is whether all was counted: after `seconds` the count ends. What changes
    meanwhile (a container runs in it) is counted or not; a link is never followed.
    """
    deadline = time.monotonic() + seconds
    total, whole = 0, True
    seen: set[tuple[int, int]] = set()
    for root in roots:
        try:
            descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            counted, complete = _tree(descriptor, deadline, seen)
        finally:
            os.close(descriptor)
        total, whole = total + counted, whole and complete
    return total, whole


def _tree(root: int, deadline: float, seen: set[tuple[int, int]]) -> tuple[int, bool]:
    total, whole = 0, True
    waiting = ["."]
    while waiting:
        if time.monotonic() > deadline:
            return total, False
        path = waiting.pop()
        try:
            directory = files.openat2(root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=_BENEATH)
        except FileNotFoundError:
            continue  # gone meanwhile
        except OSError:
            whole = False
            continue
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if time.monotonic() > deadline:
                        return total, False
                    size, is_directory = _entry(entry, seen)
                    total += size
                    if is_directory:
                        waiting.append(f"{path}/{entry.name}")
        finally:
            os.close(directory)
    return total, whole


def _entry(entry: os.DirEntry[str], seen: set[tuple[int, int]]) -> tuple[int, bool]:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0, False
    is_directory = stat.S_ISDIR(status.st_mode)
    if status.st_nlink > 1 and not is_directory:
        if (status.st_dev, status.st_ino) in seen:
            return 0, False
        seen.add((status.st_dev, status.st_ino))
    return status.st_blocks * _BLOCK, is_directory
