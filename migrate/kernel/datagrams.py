"""Datagrams that lie unread in UDP sockets, as frames by which they can come a second time.

CRIU restores a UDP socket without what was in its queue (criu/sk-inet.c). So it is looked at where
the socket is frozen, and the copy gets it as if it had just arrived. Nothing is taken out: the
socket can go on where it is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from migrate.kernel import processes
from migrate.kernel.checksum import internet_checksum
from migrate.kernel.netlinkwire import Channel

_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY, include/uapi/linux/sock_diag.h
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2, include/uapi/linux/inet_diag.h
_SOCKET = struct.Struct("=4x48xIIIII")  # struct inet_diag_msg: expires, queues, user, inode
_EVERY_STATE = 0xFFFFFFFF
_PEEK_OFFSET = 42  # SO_PEEK_OFF, include/uapi/asm-generic/socket.h
_IP_PACKET, _IPV6_PACKET, _IPV6_WANTED = 8, 50, 49  # IP_PKTINFO, IPV6_PKTINFO, _RECVPKTINFO
_ADDRESSES = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, own address, header's
_ADDRESSES6 = struct.Struct("=16sI")  # struct in6_pktinfo
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in an IPv6 one (RFC 4291, 2.5.5.2)
_LOCAL6 = bytes(15) + b"\1"
_LARGEST = 65_536
_MOST = 1 << 20  # bytes of all together
_PIECE = 1232
"""Bytes of IP's payload in a frame, a multiple of 8: every link takes 1,280 (RFC 8200, 5)."""
_UDP, _FRAGMENT = socket.IPPROTO_UDP, 44
_HOPS = 64


@dataclass(frozen=True)
class Datagram:
    """Addresses as in its IP header, 4 or 16 bytes."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    content: bytes


def sockets_with_unread(channel: Channel) -> set[int]:
    """Inodes of the UDP sockets of a namespace that have something unread.

    By a channel to SOCK_DIAG; raises OSError.
    """
    found = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        wanted = _REQUEST.pack(family, _UDP, 0, _EVERY_STATE)
        for message in channel.dump(_BY_FAMILY, wanted, size=4 + 48 + 20):
            _expires, unread, _unsent, _user, inode = _SOCKET.unpack(message.header)
            if unread:
                found.add(inode)
    return found


def unread(pids: Iterable[int], inodes: set[int]) -> list[Datagram]:
    """What lies in these sockets of frozen processes, and did not come from the container itself.

    At most 1 MiB. Of a process or descriptor that is gone there is nothing.
    """
    found: list[Datagram] = []
    left = _MOST
    for pid, number in _descriptors(pids, set(inodes)):
        with contextlib.suppress(OSError), _copy(pid, number) as copy:
            for datagram in _peek(copy):
                left -= len(datagram.content) + 64
                if left < 0:
                    return found
                found.append(datagram)
    return found


def _descriptors(pids: Iterable[int], inodes: set[int]) -> Iterator[tuple[int, int]]:
    """One of each socket's, whoever else has it."""
    names = {f"socket:[{inode}]" for inode in inodes}
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                name = os.readlink(entry.path)
                if name in names:
                    names.remove(name)
                    yield pid, int(entry.name)
        if not names:
            return


@contextlib.contextmanager
def _copy(pid: int, number: int) -> Iterator[socket.socket]:
    process = processes.pidfd_open(pid)
    try:
        copied = processes.pidfd_getfd(process, number)
    finally:
        os.close(process)
    with socket.socket(fileno=copied) as made:
        yield made


def _peek(copy: socket.socket) -> Iterator[Datagram]:
    """Each from the first on; the socket's options are afterwards as before."""
    level, option = (
        (socket.IPPROTO_IP, _IP_PACKET) if copy.family == socket.AF_INET
        else (socket.IPPROTO_IPV6, _IPV6_WANTED)
    )  # fmt: skip
    offset = copy.getsockopt(socket.SOL_SOCKET, _PEEK_OFFSET)
    told = copy.getsockopt(level, option)
    port = copy.getsockname()[1]
    flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
    try:
        copy.setsockopt(socket.SOL_SOCKET, _PEEK_OFFSET, 0)
        copy.setsockopt(level, option, 1)
        with contextlib.suppress(BlockingIOError):
            while True:
                content, extras, _flags, source = copy.recvmsg(_LARGEST, 128, flags)
                datagram = _told(content, extras, source, port)
                if datagram:
                    yield datagram
    finally:
        copy.setsockopt(level, option, told)
        copy.setsockopt(socket.SOL_SOCKET, _PEEK_OFFSET, offset)


def _told(
    content: bytes, extras: list[tuple[int, int, bytes]], source: tuple[object, ...], port: int
) -> Datagram | None:
    for _level, kind, value in extras:
        if kind == _IP_PACKET and len(value) == _ADDRESSES.size:
            _interface, _own, destination = _ADDRESSES.unpack(value)
        elif kind == _IPV6_PACKET and len(value) == _ADDRESSES6.size:
            destination, _interface = _ADDRESSES6.unpack(value)
        else:
            continue
        host, source_port = str(source[0]).partition("%")[0], source[1]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        ends = _plain(socket.inet_pton(family, host)), _plain(destination)
        assert isinstance(source_port, int)
        if not _is_from_within(*ends):
            return Datagram(ends[0], source_port, ends[1], port, content)
    return None


def _is_from_within(source: bytes, destination: bytes) -> bool:
    """Over the loopback: of the interface the kernel keeps no word unless it was asked to."""
    is_local = source[0] == 127 if len(source) == 4 else source == _LOCAL6
    return is_local or source == destination


def _plain(address: bytes) -> bytes:
    return address[12:] if address.startswith(_MAPPED) else address


def frames(datagram: Datagram, mac: bytes, number: int = 1) -> list[bytes]:
    """By which it comes to the interface with that MAC, in pieces if it is large.

    `number`: by which the pieces of one are known from those of another.
    """
    packet = _udp(datagram)
    if len(datagram.destination) == 4:
        kind, packets = b"\x08\0", _ipv4(datagram, packet, number)
    else:
        kind, packets = b"\x86\xdd", _ipv6(datagram, packet, number)
    return [mac + mac + kind + whole for whole in packets]


def _udp(datagram: Datagram) -> bytes:
    length = 8 + len(datagram.content)
    ports = struct.pack("!HHH", datagram.source_port, datagram.destination_port, length)
    pseudo = datagram.source + datagram.destination + struct.pack("!II", length, _UDP)
    checksum = internet_checksum(pseudo + ports + b"\0\0" + datagram.content) or 0xFFFF
    return ports + struct.pack("!H", checksum) + datagram.content


def _pieces(packet: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Where each begins, whether more come behind it, and its bytes."""
    for at in range(0, len(packet), _PIECE):
        yield at, at + _PIECE < len(packet), packet[at : at + _PIECE]


def _ipv4(datagram: Datagram, packet: bytes, number: int) -> Iterator[bytes]:
    for at, more, piece in _pieces(packet):
        where = at // 8 | (0x2000 if more else 0)
        before = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(piece), number, where, _HOPS, _UDP)
        ends = datagram.source + datagram.destination
        yield before + struct.pack("!H", internet_checksum(before + b"\0\0" + ends)) + ends + piece


def _ipv6(datagram: Datagram, packet: bytes, number: int) -> Iterator[bytes]:
    is_whole = len(packet) <= _PIECE
    for at, more, piece in _pieces(packet):
        extension = b"" if is_whole else struct.pack("!BBHI", _UDP, 0, at | more, number)
        kind, length = _UDP if is_whole else _FRAGMENT, len(extension) + len(piece)
        before = struct.pack("!IHBB", 6 << 28, length, kind, _HOPS)
        yield before + datagram.source + datagram.destination + extension + piece
