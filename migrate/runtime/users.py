"""Users and groups by name, from a root file system's own /etc/passwd and /etc/group.

The files are the container's and not to be trusted: the kernel resolves them beneath the root
(openat2 RESOLVE_IN_ROOT), and only regular files of bounded size are read.
"""

from __future__ import annotations

import os
import stat

from migrate.kernel.files import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    directory_descriptor,
    openat2,
)
from migrate.runtime.errors import SpecInvalid

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from pathlib import Path

FILE_LIMIT = 1 << 20
ID_LIMIT = (1 << 32) - 2  # (uid_t) -1 means "leave as it is"


class User:
    """Whom a process runs as."""

    def __init__(
        self, user_id: int, group_id: int, additional: tuple[int, ...] = (), home: str = "/"
    ) -> None:
        self.user_id = user_id
        self.group_id = group_id
        self.additional = additional
        self.home = home

    def __eq__(self, other: object) -> bool:
        return isinstance(other, User) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def as_spec(self) -> dict[str, object]:
        """The `process.user` of an OCI specification."""
        found: dict[str, object] = {"uid": self.user_id, "gid": self.group_id}
        return found | ({"additionalGids": list(self.additional)} if self.additional else {})


def look_up(root: str | os.PathLike[str], wanted: str) -> User:
    """The user of "name", "uid", "name:group" or "uid:gid" in the root file system at `root`.

    A number needs no entry. Groups that list the user are added unless a group was named, as other
    engines do. Raises SpecInvalid for a name that is not there.
    """
    name, _, group = wanted.partition(":")
    with directory_descriptor(root) as descriptor:
        passwd = _entries(descriptor, "etc/passwd", 7)
        groups = _entries(descriptor, "etc/group", 4)
    entry = _choose(passwd, name or "0")
    if entry is None and not name.isdigit() and name:
        raise SpecInvalid(
            f"there is no user '{name}' in the container", cause="its /etc/passwd has no such name",
            mend="give the user's number, or a name that is there",
        )  # fmt: skip
    user_id = _number(entry[2] if entry else name or "0")
    group_id = _number(entry[3]) if entry else 0
    additional: tuple[int, ...] = ()
    if group:
        group_id = _group(groups, group)
    elif entry:
        additional = tuple(_number(g[2]) for g in groups if entry[0] in g[3].split(","))
    home = entry[5] if entry and entry[5].startswith("/") else "/"
    return User(user_id, group_id, additional, home)


def names_of(root: Path) -> dict[int, str]:
    """User names by number, of the root file system at `root`; empty where it is gone."""
    found: dict[int, str] = {}
    try:
        with directory_descriptor(root) as descriptor:
            for entry in _entries(descriptor, "etc/passwd", 7):
                if entry[2].isascii() and entry[2].isdigit() and entry[0].isprintable():
                    found.setdefault(int(entry[2]), entry[0])
    except OSError:
        return {}
    return found


def _choose(entries: list[list[str]], wanted: str) -> list[str] | None:
    for entry in entries:
        if entry[0] == wanted:
            return entry
    return next((entry for entry in entries if wanted.isdigit() and entry[2] == wanted), None)


def _group(groups: list[list[str]], wanted: str) -> int:
    entry = _choose(groups, wanted)
    if entry is None and not wanted.isdigit():
        raise SpecInvalid(
            f"there is no group '{wanted}' in the container",
            cause="its /etc/group has no such name", mend="give the group's number",
        )  # fmt: skip
    return _number(entry[2] if entry else wanted)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > ID_LIMIT:
        raise SpecInvalid(f"'{text[:40]}' is no user or group number")
    return int(text)


def _entries(root: int, path: str, fields: int) -> list[list[str]]:
    """The lines of a colon-separated file; none where it is missing or no plain file."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    try:
        descriptor = openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve=resolve)
    except OSError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return []
        text = file.read(FILE_LIMIT).decode(errors="replace")
    rows = [line.split(":") for line in text.splitlines() if not line.startswith("#")]
    return [row for row in rows if len(row) >= fields]
