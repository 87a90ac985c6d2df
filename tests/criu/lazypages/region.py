"""Memory that a page server fills, as `criu restore` would leave it, and the store of its pages."""

from __future__ import annotations

import array
import ctypes
import fcntl
import hashlib
import os
import socket
import struct
from pathlib import Path

from migrate.criu.lazypages.protocol import FINISHED

PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mremap.restype = ctypes.c_void_p
EVENTS = 0x2 | 0x4 | 0x8 | 0x40  # fork, remap, remove, unmap (include/uapi/linux/userfaultfd.h)
PRIVATE_ANONYMOUS = 0x22
MAYMOVE, FIXED, DONTUNMAP = 1, 2, 4


def page(seed: int, index: int) -> bytes:
    """What page `index` holds."""
    return hashlib.blake2b(struct.pack("=QQ", seed, index)).digest() * (PAGE // 64)


def write_store(
    directory: Path, pid: int, base: int, pages: int, *, seed: int = 0, holes: int = 0
) -> None:
    """All pages of a region; each `holes`-th is absent, so zero."""
    runs: list[int] = []
    with (directory / str(pid)).open("wb") as file:
        for index in range(pages):
            if holes and index % holes == holes - 1:
                continue
            start = base + index * PAGE
            file.seek(start)
            file.write(page(seed, index))
            if runs and runs[-1] == start:
                runs[-1] += PAGE
            else:
                runs += [start, start + PAGE]
    (directory / f"{pid}.present").write_bytes(array.array("Q", runs).tobytes())


def map_anonymous(length: int, address: int = 0) -> int:
    flags = PRIVATE_ANONYMOUS | (0x10 if address else 0)
    found: int = libc.mmap(ctypes.c_void_p(address), ctypes.c_size_t(length), 3, flags, -1, 0)
    assert found != ctypes.c_void_p(-1).value
    return found


def unmap(start: int, length: int) -> None:
    assert libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(length)) == 0


def empty(start: int, length: int) -> None:
    assert libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), 4) == 0


def remap(old: int, length: int, new_length: int, flags: int = MAYMOVE, new: int = 0) -> int:
    found: int = libc.mremap(
        ctypes.c_void_p(old), ctypes.c_size_t(length), ctypes.c_size_t(new_length), flags,
        ctypes.c_void_p(new),
    )  # fmt: skip
    assert found != ctypes.c_void_p(-1).value, os.strerror(ctypes.get_errno())
    return found


def open_uffd() -> int:
    uffd = int(libc.syscall(323, os.O_CLOEXEC | os.O_NONBLOCK))
    assert uffd >= 0
    fcntl.ioctl(uffd, 0xC018AA3F, bytearray(struct.pack("=QQQ", 0xAA, EVENTS, 0)))
    return uffd


def register(uffd: int, start: int, length: int) -> None:
    fcntl.ioctl(uffd, 0xC020AA00, bytearray(struct.pack("=QQQQ", start, length, 1, 0)))


def connect(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.connect(path)
    return channel


def introduce(channel: socket.socket, pid: int, uffd: int) -> None:
    channel.send(struct.pack("=i", pid))
    socket.send_fds(channel, [b"\0"], [uffd])


def finish(channel: socket.socket) -> None:
    channel.send(struct.pack("=I", FINISHED))


def read(address: int, length: int = PAGE) -> bytes:
    return ctypes.string_at(address, length)
