"""What this kernel can do, tried for real. What could change this process's state runs in a child.

A probe answers "" (or True) when the thing works, else the kernel's complaint in words.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from migrate.kernel.libc import syscall, syscall_number
from migrate.kernel.namespaces import CLONE_NEWNET, FLAG_OF_NAME, unshare
from migrate.kernel.pagemap import PAGE_IS_PRESENT, PAGEMAP_SCAN, PM_SCAN_ARG
from migrate.kernel.userfaultfd import UFFD_USER_MODE_ONLY, handshake

PAGE = mmap.PAGESIZE
CHILD_LIMIT = 5.0
"""Seconds for a probe in a child."""

_SOFT_DIRTY_BIT = 55  # Documentation/admin-guide/mm/pagemap.rst
_CLEAR_SOFT_DIRTY = "4"  # Documentation/admin-guide/mm/soft-dirty.rst

# include/uapi/linux/{netlink,rtnetlink,if_link}.h and netfilter/{nfnetlink,nf_tables}.h
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
_NLMSG_ERROR, _RTM_NEWLINK, _IFLA_LINKINFO, _IFLA_INFO_KIND = 2, 16, 18, 1
_NETLINK_NETFILTER, _NFNL_SUBSYS_NFTABLES, _NFT_MSG_GETGEN = 12, 10, 16
_NLMSGHDR = struct.Struct("=IHHII")


def in_child(work: Callable[[], object]) -> str:
    """Run `work` in a forked child: "" when it returned, else what it raised, in words."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.close(reading)
            try:
                work()
            except Exception as error:  # noqa: BLE001 -- told to the parent
                os.write(writing, (str(error) or type(error).__name__).encode()[:4000])
            else:
                os.write(writing, b"\0")
        os._exit(0)
    os.close(writing)
    try:
        if not select.select([reading], [], [], CHILD_LIMIT)[0]:
            os.kill(pid, signal.SIGKILL)
        said = os.read(reading, 4096)
    finally:
        os.close(reading)
        os.waitpid(pid, 0)
    return "" if said == b"\0" else said.decode(errors="replace") or "no answer"


def namespace(name: str) -> str:
    """Whether a namespace of this kind (a key of FLAG_OF_NAME) can be made."""
    return in_child(lambda: unshare(FLAG_OF_NAME[name]))


@contextlib.contextmanager
def _page() -> Iterator[tuple[mmap.mmap, int]]:
    """A touched anonymous page of our own, and its address."""
    page = mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page[0] = 1
    view = ctypes.c_char.from_buffer(page)
    try:
        yield page, ctypes.addressof(view)
    finally:
        del view
        page.close()


def _is_soft_dirty(address: int) -> bool:
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        pagemap.seek(address // PAGE * 8)
        entry: int = struct.unpack("Q", pagemap.read(8))[0]
    return bool(entry >> _SOFT_DIRTY_BIT & 1)


def _soft_dirty() -> None:
    with _page() as (page, address):
        Path("/proc/self/clear_refs").write_text(_CLEAR_SOFT_DIRTY)
        if _is_soft_dirty(address):
            raise OSError("the bit of a clean page is set")
        page[0] = 2
        if not _is_soft_dirty(address):
            raise OSError("the bit of a written page is not set")


def soft_dirty() -> str:
    """Soft-dirty tracking: a page is written after clear_refs and its bit looked at.

    The write of clear_refs succeeds silently on kernels without CONFIG_MEM_SOFT_DIRTY.
    """
    return in_child(_soft_dirty)


def shows_frames() -> bool:
    """Whether /proc/PID/pagemap tells page frames; without CAP_SYS_ADMIN they are 0."""
    with _page() as (_, address), Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        pagemap.seek(address // PAGE * 8)
        entry: int = struct.unpack("Q", pagemap.read(8))[0]
    return bool(entry & (1 << _SOFT_DIRTY_BIT) - 1)


def pagemap_scan() -> str:
    """The ioctl PAGEMAP_SCAN (Linux 6.7) on a page of our own."""
    regions = (ctypes.c_uint64 * 3)()
    with _page() as (_, address):
        argument = bytearray(PM_SCAN_ARG.pack(
            PM_SCAN_ARG.size, 0, address, address + PAGE, 0, ctypes.addressof(regions), 1, 0,
            0, PAGE_IS_PRESENT, 0, PAGE_IS_PRESENT,
        ))  # fmt: skip
        try:
            with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
                found = fcntl.ioctl(pagemap, PAGEMAP_SCAN, argument)
        except OSError as error:
            return os.strerror(error.errno or 0)
        return "" if found == 1 and regions[0] == address else "it does not see a present page"


def userfaultfd_features() -> int:
    """The feature bits of userfaultfd(2) in user mode; raises OSError, LookupError."""
    descriptor = syscall(
        "userfaultfd", syscall_number("userfaultfd"), os.O_CLOEXEC | UFFD_USER_MODE_ONLY
    )
    try:
        return handshake(descriptor)
    finally:
        os.close(descriptor)


def _attribute(kind: int, data: bytes) -> bytes:
    padding = b"\0" * (-len(data) % 4)
    return struct.pack("=HH", 4 + len(data), kind) + data + padding


def _netlink(protocol: int, kind: int, flags: int, body: bytes) -> None:
    """One request; OSError with the errno of the answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as link:
        link.settimeout(CHILD_LIMIT / 2)
        size = _NLMSGHDR.size + len(body)
        link.send(_NLMSGHDR.pack(size, kind, _NLM_F_REQUEST | flags, 1, 0) + body)
        answer = link.recv(65536)
    if _NLMSGHDR.unpack_from(answer)[1] == _NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer, _NLMSGHDR.size)[0]
        if number:
            raise OSError(number, os.strerror(number))


def _make_link(kind: str) -> None:
    unshare(CLONE_NEWNET)
    info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, kind.encode()))
    _netlink(
        socket.NETLINK_ROUTE if hasattr(socket, "NETLINK_ROUTE") else 0, _RTM_NEWLINK,
        _NLM_F_ACK | _NLM_F_EXCL | _NLM_F_CREATE, bytes(16) + info,
    )  # fmt: skip


def link_kind(kind: str) -> str:
    """Whether an interface of this kind (veth, bridge) can be made: in a namespace of a child."""
    return in_child(lambda: _make_link(kind))


def _ask_nftables() -> None:
    unshare(CLONE_NEWNET)
    _netlink(_NETLINK_NETFILTER, _NFNL_SUBSYS_NFTABLES << 8 | _NFT_MSG_GETGEN, _NLM_F_ACK, bytes(4))


def nftables() -> str:
    """Whether the kernel's nf_tables answers, in a network namespace of a child."""
    return in_child(_ask_nftables)
