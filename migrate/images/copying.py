"""Trees copied into a root file system that is in use, or out of it, as a tar stream.

Both ends can be under a stranger's hands while the copy runs: names are resolved by descriptors
(`rootdir`), nothing is followed out of the root, and attributes are set on what is open.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace

from migrate.images.apply import Unpacking
from migrate.images.errors import CopyFailed, printable
from migrate.images.rootdir import RootDirectory, split_name
from migrate.images.tarread import Kind, Member, TarReader

_USER_XATTRS = b"user."


@dataclass(frozen=True)
class Keeping:
    """What of a member is kept.

    `owner`: whose everything becomes; None leaves the tar's. `privileges`: set-id bits, devices and
    extended attributes other than the users'. `numbers`: what those ids are here.
    """

    owner: tuple[int, int] | None = None
    privileges: bool = True
    numbers: Callable[[int, int], tuple[int, int]] | None = None


class Overlaying(Unpacking):
    """Members laid over a tree that is there: `cp -r`, not a layer.

    Directories that are there stay as they are, and a link to one is one; other things give way to
    members of their name, but no directory to a file. `.wh.` means nothing here.
    """

    failure = CopyFailed

    def __init__(
        self, root: RootDirectory, reader: TarReader, beneath: list[bytes], keeping: Keeping
    ) -> None:
        """Below the directory `beneath` of the root."""
        super().__init__(root, reader, None)
        self._beneath = beneath
        self._keeping = keeping

    def _place(self, member: Member) -> None:
        parts = self._beneath + split_name(member.name)
        if parts and parts != self._beneath:
            self._content(self._allowed(member), parts)

    def _allowed(self, member: Member) -> Member:
        keeping = self._keeping
        if keeping.owner is not None:
            member = replace(member, uid=keeping.owner[0], gid=keeping.owner[1])
        if keeping.numbers:
            uid, gid = keeping.numbers(member.uid, member.gid)
            member = replace(member, uid=uid, gid=gid)
        if keeping.privileges:
            return member
        if member.kind in {Kind.CHARACTER, Kind.BLOCK}:
            raise CopyFailed(
                f"{printable(member.name)} is a device",
                cause="devices are not copied to this host unasked",
                mend="leave it out, or repeat with --archive if you trust the container",
            )
        xattrs = {k: v for k, v in member.xattrs.items() if k.startswith(_USER_XATTRS)}
        return replace(member, mode=member.mode & ~(stat.S_ISUID | stat.S_ISGID), xattrs=xattrs)

    def _link_target(self, member: Member) -> list[bytes]:
        return self._beneath + split_name(member.link)

    def _make_room(self, parent: int, parts: list[bytes]) -> int:
        try:
            status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return parent
        if stat.S_ISDIR(status.st_mode):
            raise CopyFailed(
                f"{printable(b'/'.join(parts))} is a directory there, and no directory here",
                mend="remove one of them, or copy to another name",
            )
        os.unlink(parts[-1], dir_fd=parent)
        return parent

    def _directory(self, parent: int, parts: list[bytes], member: Member) -> bool:
        name = parts[-1]
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._attributes(parent, name, member)
            return True
        if stat.S_ISLNK(status.st_mode):
            self._root.parent(parts, make=False)  # raises where it does not lead to a directory
        elif not stat.S_ISDIR(status.st_mode):
            raise CopyFailed(
                f"{printable(b'/'.join(parts))} is no directory there, but one here",
                mend="remove one of them, or copy to another name",
            )
        return False
