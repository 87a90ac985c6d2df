"""Reading the files in which a controller tells what a group uses."""

from __future__ import annotations

import contextlib
from pathlib import Path

from migrate.runtime.cgroups.group import ControlGroup


def directory_of(group: ControlGroup, controller: str) -> Path | None:
    """The group in the hierarchy of a controller; None where this host has no such controller."""
    if controller in group.layout.v1:
        return group.layout.v1[controller] / group.parent / group.name
    if group.layout.v2 and controller in group.layout.v2_controllers:
        return group.layout.v2 / group.parent / group.name
    return None


def number(directory: Path | None, name: str) -> int | None:
    """The number in a file; None where there is no such file, or no number ("max") in it."""
    with contextlib.suppress(OSError, ValueError):
        if directory:
            return int((directory / name).read_text())
    return None


def table(directory: Path | None, name: str) -> dict[str, int]:
    """A file of lines with a key and a number; as far as it can be read."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        if directory:
            for line in (directory / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                found[key] = int(value)
    return found
