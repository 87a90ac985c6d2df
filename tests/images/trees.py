"""Directory trees for tests: describing, comparing, building."""

import os
import stat
from pathlib import Path

from tests.engine import eventually


def await_tick(directory: Path) -> None:
    """Until what changes in its file system has a later time than all that changed before."""
    probe = directory / "tick"

    def now() -> int:
        probe.touch()
        return probe.stat().st_ctime_ns

    before = now()
    assert eventually(lambda: now() > before)
    probe.unlink()


def holes(path: Path) -> list[tuple[int, int]]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size, position, found = os.fstat(descriptor).st_size, 0, []
        while position < size:
            start = os.lseek(descriptor, position, os.SEEK_HOLE)
            if start >= size:
                break
            try:
                position = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError:
                position = size
            found.append((start, position))
        return found
    finally:
        os.close(descriptor)


def describe(root: Path, *, times: bool = True) -> dict[bytes, tuple]:
    """All that a layer has to keep of a tree, by path."""
    described: dict[bytes, tuple] = {}
    inodes: dict[int, bytes] = {}
    for folder, directories, files in os.walk(os.fsencode(root)):
        for name in [b".", *sorted(directories), *sorted(files)]:
            if name == b"." and folder != os.fsencode(root):
                continue
            path = os.path.join(folder, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, os.fsencode(root))
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            }
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFCHR and status.st_rdev == 0:
                described[relative] = ("whiteout",)
                continue
            content: object = status.st_rdev
            if kind == stat.S_IFREG:
                content = (Path(os.fsdecode(path)).read_bytes(), holes(Path(os.fsdecode(path))))
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            first = relative if kind == stat.S_IFDIR else inodes.setdefault(status.st_ino, relative)
            described[relative] = (
                status.st_mode, status.st_uid, status.st_gid,
                status.st_mtime_ns if times else 0, xattrs, content, first,
            )  # fmt: skip
    return described
