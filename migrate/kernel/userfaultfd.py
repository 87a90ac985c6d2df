"""userfaultfd(2): the API handshake, registration and write protection.

A descriptor belongs to the address space in which it was opened, wherever it is used from.
"""

from __future__ import annotations

import fcntl
import os
import struct

# include/uapi/linux/userfaultfd.h
UFFD_USER_MODE_ONLY = 1
UFFD_API = 0xAA
UFFDIO_API = 0xC018_AA3F
UFFDIO_REGISTER = 0xC020_AA00
UFFDIO_UNREGISTER = 0x8010_AA01
UFFDIO_WRITEPROTECT = 0xC018_AA06
UFFDIO_REGISTER_MODE_MISSING = 1
UFFDIO_REGISTER_MODE_WP = 2
UFFDIO_WRITEPROTECT_MODE_WP = 1
UFFD_FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12
UFFD_FEATURE_WP_UNPOPULATED = 1 << 13
UFFD_FEATURE_WP_ASYNC = 1 << 15
"""Linux 6.7: the kernel itself resolves faults by write protection, and PAGEMAP_SCAN tells of
them. Implies WP_UNPOPULATED."""
WP_ASYNC_FEATURES = (
    UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM
)
OPEN_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | UFFD_USER_MODE_ONLY
"""User mode only: any process may open it, whatever vm.unprivileged_userfaultfd says."""
LINK_NAME = "anon_inode:[userfaultfd]"
"""What /proc/PID/fd/N of such a descriptor points to."""

_API = struct.Struct("QQQ")
_REGISTER = struct.Struct("QQQQ")
_RANGE = struct.Struct("QQ")
_WRITEPROTECT = struct.Struct("QQQ")


def _ioctl(context: str, descriptor: int, request: int, argument: bytearray) -> None:
    try:
        fcntl.ioctl(descriptor, request, argument)
    except OSError as error:
        raise OSError(error.errno, f"{context}: {error.strerror}") from error


def handshake(descriptor: int, features: int = 0) -> int:
    """Ask for features, once for each descriptor; returns the kernel's whole feature mask.

    Raises OSError: EINVAL for a feature that this kernel lacks.
    """
    request = bytearray(_API.pack(UFFD_API, features, 0))
    _ioctl("UFFDIO_API", descriptor, UFFDIO_API, request)
    return int(_API.unpack(request)[1])


def register(descriptor: int, start: int, end: int, mode: int) -> None:
    """Register [start, end) in bytes, page-aligned.

    Raises OSError: EBUSY when another userfaultfd has part of it, EINVAL when nothing (or nothing
    suitable) is mapped there, ENOMEM when the address space is gone.
    """
    request = bytearray(_REGISTER.pack(start, end - start, mode, 0))
    _ioctl(f"UFFDIO_REGISTER {start:x}-{end:x}", descriptor, UFFDIO_REGISTER, request)


def unregister(descriptor: int, start: int, end: int) -> None:
    """Take back `register`; what is written is not held up any more. Raises OSError."""
    request = bytearray(_RANGE.pack(start, end - start))
    _ioctl(f"UFFDIO_UNREGISTER {start:x}-{end:x}", descriptor, UFFDIO_UNREGISTER, request)


def write_protect(descriptor: int, start: int, end: int, *, on: bool) -> None:
    """Protect the pages of a registered range, or lift the protection (they count as written).

    Raises OSError: ENOENT for a range that is not registered, ESRCH when the address space is gone.
    """
    mode = UFFDIO_WRITEPROTECT_MODE_WP if on else 0
    request = bytearray(_WRITEPROTECT.pack(start, end - start, mode))
    _ioctl(f"UFFDIO_WRITEPROTECT {start:x}-{end:x}", descriptor, UFFDIO_WRITEPROTECT, request)
