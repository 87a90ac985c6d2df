"""Files: atomic and durable writes, and paths resolved beneath a root by the kernel."""

from __future__ import annotations

import ctypes
import os

from migrate.kernel.bare import contextlib
from migrate.kernel.libc import SYS_OPENAT2, libc, oserror, syscall

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    """struct open_how, include/uapi/linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: int) -> int:
    """Open `path` under the directory descriptor; the kernel refuses to leave it (openat2(2)).

    Returns a close-on-exec descriptor. Raises OSError: EXDEV for a path that escapes, ELOOP for a
    forbidden link.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    raw = os.fsencode(path)
    return syscall(
        f"openat2 {os.fsdecode(raw)}", SYS_OPENAT2, directory, ctypes.c_char_p(raw),
        ctypes.byref(how), ctypes.sizeof(how),
    )  # fmt: skip


def fsync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(
    path: str | os.PathLike[str], data: bytes, *, mode: int = 0o600, durable: bool = True
) -> None:  # fmt: skip
    """Replace `path` by `data`, all or nothing, durable on return unless that is not asked for.

    Temporary file in the same directory, fsync, rename, fsync of the directory.
    """
    directory, name = os.path.split(path)
    temporary = f"{directory or '.'}/.{name}.{os.urandom(4).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        fsync_directory(directory or ".")


@contextlib.contextmanager
def directory_descriptor(path: str | os.PathLike[str]) -> Iterator[int]:
    """An O_PATH descriptor of a directory for the *at calls, closed at the end."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def map_shared(descriptor: int, length: int) -> memoryview:
    """A file's contents as memory, for good: mmap(2), MAP_SHARED. Raises OSError.

    Unlike Python's `mmap`, it keeps no further descriptor.
    """
    prot, shared = 3, 1  # PROT_READ | PROT_WRITE, MAP_SHARED
    size = ctypes.c_size_t(length)
    call = libc.mmap
    call.restype = ctypes.c_void_p
    address = call(None, size, prot, shared, descriptor, ctypes.c_int64(0))
    if address == ctypes.c_void_p(-1).value:
        raise oserror("mmap")
    return memoryview((ctypes.c_ubyte * length).from_address(address)).cast("B")


_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2  # include/uapi/linux/falloc.h


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give back what a part of a file takes; it reads as zeros (fallocate(2)). Raises OSError."""
    flags = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    parts = (ctypes.c_int(flags), ctypes.c_int64(offset), ctypes.c_int64(length))
    if libc.fallocate(descriptor, *parts) != 0:
        raise oserror("fallocate FALLOC_FL_PUNCH_HOLE")
