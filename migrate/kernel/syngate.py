"""A network namespace that takes no new TCP connections in for a moment, and keeps who asks.

A connection that a server has not accepted yet can't be frozen and restored: it has no descriptor.
So, before a freeze, what is on its way is let come to its end, while a chain of nf_tables drops the
first packet of each new one, and a packet socket keeps it, to be delivered later as if the link had
been slow. Not on the namespace's own loopback: who connects there could not be told later.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from pathlib import Path

from migrate.kernel import ruleset, tap
from migrate.kernel.checksum import internet_checksum
from migrate.kernel.netlink import inside
from migrate.kernel.netlinkwire import NESTED, Attribute, Channel, pack
from migrate.kernel.ruleset import Entry

NETFILTER, SOCK_DIAG = 12, 4  # NETLINK_NETFILTER, NETLINK_SOCK_DIAG
TABLE = "migrate-gate"
_INET = 1  # NFPROTO_INET
_OWNED = 0x2  # NFT_TABLE_F_OWNER, Linux 5.12: the table ends with the socket that has made it
_PREROUTING, _FIRST = 0, -500
_LOOPBACK = 1  # the number of lo in every namespace
_OF_TCP = 18  # TCPDIAG_GETSOCK, include/uapi/linux/inet_diag.h: IPv4 and IPv6 at once
_REQUEST = struct.Struct("=BBBB48xII")  # struct inet_diag_req
_SOCKET = struct.Struct("=BBBB48xIIIII")  # struct inet_diag_msg, include/uapi/linux/inet_diag.h
_SYN_RECV, _LISTEN = 3, 10  # include/net/tcp_states.h
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23  # include/uapi/linux/if_packet.h
_ALL = 0x0003  # ETH_P_ALL
_MOST = 1 << 20  # bytes that are kept

# Classic BPF (networking/filter): IPv4 and IPv6 frames with TCP's SYN and without its ACK.
_SYN_ALONE = (
    (0x28, 0, 0, 12), (0x15, 0, 6, 0x0800), (0x30, 0, 0, 23), (0x15, 0, 11, 6),
    (0xB1, 0, 0, 14), (0x50, 0, 0, 27), (0x54, 0, 0, 0x12), (0x05, 0, 0, 5),
    (0x15, 0, 6, 0x86DD), (0x30, 0, 0, 20), (0x15, 0, 4, 6),
    (0x30, 0, 0, 67), (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0),
)  # fmt: skip


def unaccepted(channel: Channel) -> int:
    """TCP connections that are being made from outside, or that nobody has accepted yet.

    By a channel to SOCK_DIAG; raises OSError.
    """
    wanted = _REQUEST.pack(socket.AF_UNSPEC, 0, 0, 0, 1 << _SYN_RECV | 1 << _LISTEN, 0)
    found = 0
    for message in channel.dump(_OF_TCP, wanted, size=_SOCKET.size):
        _family, state, _timer, _retrans, _expires, waiting, *_ = _SOCKET.unpack(message.header)
        found += 1 if state == _SYN_RECV else waiting
    return found


class Gate:
    """Closed from when it is made, as long as this process lives: whatever ends that opens it.

    Raises OSError where there is no such thing as a table with an owner, or no interface.
    """

    def __init__(self, netns: Path, interface: str) -> None:
        self._packets = _capture(netns, interface)
        try:
            self._channel = Channel(netns, NETFILTER)
            try:
                ruleset.put(self._channel, _ENTRIES)
            except BaseException:
                self._channel.close()
                raise
        except BaseException:
            self._packets.close()
            raise

    def frames(self) -> list[bytes]:
        """Who has asked, and was not told of before."""
        return [checked(frame) for frame in tap.read_frames(self._packets.fileno(), _MOST)]

    def open(self) -> None:
        """Take the chain away; it waits for RCU. Raises OSError."""
        try:
            ruleset.remove(self._channel, _ENTRIES)
        finally:
            self.close()

    def close(self) -> None:
        """Give it up, and with it the chain."""
        self._channel.close()
        self._packets.close()


def checked(frame: bytes) -> bytes:
    """A frame with TCP's checksum, which its sender may have left to an interface (RFC 9293, 3.1).

    That is what a packet socket sees of senders on the same machine.
    """
    is_ipv4 = frame[12:14] == b"\x08\0"
    begins = 14 + (4 * (frame[14] & 0xF) if is_ipv4 else 40)
    ends = 14 + (struct.unpack_from("!H", frame, 16)[0] if is_ipv4 else
                 40 + struct.unpack_from("!H", frame, 18)[0])  # fmt: skip
    segment = frame[begins : begins + 16] + b"\0\0" + frame[begins + 18 : ends]
    addresses = frame[26:34] if is_ipv4 else frame[22:54]
    pseudo = addresses + struct.pack("!HH", socket.IPPROTO_TCP, ends - begins)
    checksum = struct.pack("!H", internet_checksum(pseudo + segment))
    return frame[: begins + 16] + checksum + frame[begins + 18 :]


def _capture(netns: Path, interface: str) -> socket.socket:
    with inside(netns):
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    program = b"".join(struct.pack("=HBBI", *step) for step in _SYN_ALONE)
    buffer = ctypes.create_string_buffer(program, len(program))
    address = struct.pack("@HxxxxxxP", len(_SYN_ALONE), ctypes.addressof(buffer))
    try:
        packets.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, address)
        packets.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        packets.bind((interface, _ALL))
    except BaseException:
        packets.close()
        raise
    return packets


def _expression(name: str, *attributes: Attribute) -> Attribute:
    content = [(1, name.encode() + b"\0"), (2 | NESTED, pack(attributes))]
    return 1 | NESTED, pack(content)


def _numbers(*values: int) -> list[Attribute]:
    return [(kind, struct.pack(">I", value)) for kind, value in enumerate(values, 1)]


def _compare(value: bytes, operation: int = 0) -> Attribute:
    return _expression("cmp", *_numbers(1, operation), (3 | NESTED, pack([(1, value)])))


def _entries() -> tuple[Entry, ...]:
    """nft's `iif != lo meta l4proto tcp tcp flags & (syn | ack) == syn drop`."""
    table, chain = (1, TABLE.encode() + b"\0"), b"in\0"
    hook = pack([(1, struct.pack(">I", _PREROUTING)), (2, struct.pack(">i", _FIRST))])
    mask, nothing = pack([(1, b"\x12")]), pack([(1, b"\0")])
    drop = pack([(2 | NESTED, pack(_numbers(0)))])
    steps = [
        _expression("meta", *_numbers(1, 4)),  # NFT_META_IIF
        _compare(struct.pack("=I", _LOOPBACK), 1),  # NFT_CMP_NEQ
        _expression("meta", *_numbers(1, 16)), _compare(bytes([socket.IPPROTO_TCP])),
        _expression("payload", *_numbers(1, 2, 13, 1)),  # NFT_PAYLOAD_TRANSPORT_HEADER
        _expression("bitwise", *_numbers(1, 1, 1), (4 | NESTED, mask), (5 | NESTED, nothing)),
        _compare(b"\x02"), _expression("immediate", *_numbers(0), (2 | NESTED, drop)),
    ]  # fmt: skip
    return (
        Entry(ruleset.TABLE.new, _INET, pack([table, (2, struct.pack(">I", _OWNED))])),
        Entry(ruleset.CHAIN.new, _INET,
              pack([table, (3, chain), (4 | NESTED, hook), (7, b"filter\0")])),
        Entry(ruleset.RULE.new, _INET, pack([table, (2, chain), (4 | NESTED, pack(steps))])),
    )  # fmt: skip


_ENTRIES = _entries()
