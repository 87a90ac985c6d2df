"""A network namespace that takes nothing in, its own loopback included, for as long as it must.

A chain of nf_tables whose policy is to drop (Linux, include/uapi/linux/netfilter/nf_tables.h, and
nfnetlink.h for batches). In place of a library, since it is opened again inside the pause of a
move: the socket is there already, and so is the message.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from migrate.kernel.netlink import inside

_NFNETLINK = 12
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END, _ERROR = 0x10, 0x11, 0x2
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE = (_SUBSYSTEM << 8 | n for n in (0, 2, 3, 6))
_REQUEST, _ACKNOWLEDGE, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_INET = 1  # NFPROTO_INET: IPv4 and IPv6
_LOCAL_IN, _FIRST = 1, -500
_DROP, _ACCEPT = 0, 1
_TABLE = b"migrate-closed"
_NESTED = 0x8000  # NLA_F_NESTED
_PATIENCE = 5.0  # seconds


class ClosedNamespace:
    """Closed from when it is made; raises OSError where the kernel has no nf_tables."""

    def __init__(self, path: Path, mark: int) -> None:
        """`path` is the file that the namespace is bound to; packets with that mark come in."""
        with inside(path):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NFNETLINK)
        self._socket.settimeout(_PATIENCE)
        hook = _nested(4, _number(1, _LOCAL_IN) + _number(2, _FIRST))
        made = _CHAIN + hook + _policy(_DROP) + _attribute(7, b"filter\0")
        try:
            self._carry_out(
                _message(_NEW_TABLE, _OURS, _CREATE), _message(_NEW_CHAIN, made, _CREATE),
                _message(_NEW_RULE, _but_for(mark), _CREATE | _APPEND),
            )  # fmt: skip
        except BaseException:
            self._socket.close()
            raise

    def open(self) -> None:
        """Let packets in again. Raises OSError.

        The chain stays: to take it away waits for RCU, which is 10 ms and more.
        """
        self._carry_out(_message(_NEW_CHAIN, _CHAIN + _policy(_ACCEPT), 0))

    def remove(self) -> None:
        """Take the chain away, when there is time for it. Raises OSError."""
        with self._socket:
            self._carry_out(_message(_DELETE_TABLE, _OURS, 0))

    def close(self) -> None:
        """Leave it as it is: it ends with its last process."""
        self._socket.close()

    def _carry_out(self, *messages: bytes) -> None:
        """As one transaction."""
        bounds = (
            struct.pack("=IHHIIBBH", 20, kind, _REQUEST, 0, 0, 0, 0, socket.htons(_SUBSYSTEM))
            for kind in (_BATCH_BEGIN, _BATCH_END)
        )
        self._socket.send(next(bounds) + b"".join(messages) + next(bounds))
        answers = 0
        while answers < len(messages):
            for code in _answers(self._socket.recv(65536)):
                if code:
                    raise OSError(code, os.strerror(code))
                answers += 1


def _but_for(mark: int) -> bytes:
    """The rule: the packet's mark into register 1, compared there, and then accepted."""
    steps = (
        ("meta", _number(1, 1) + _number(2, 3)),  # NFT_META_MARK
        ("cmp", _number(1, 1) + _number(2, 0)
                + _nested(3, _attribute(1, struct.pack("=I", mark)))),  # NFT_CMP_EQ
        ("immediate", _number(1, 0) + _nested(2, _nested(2, _number(1, _ACCEPT)))),
    )  # fmt: skip
    expressions = b"".join(
        _nested(1, _attribute(1, name.encode() + b"\0") + _nested(2, content))
        for name, content in steps
    )
    return _OURS + _attribute(2, b"input\0") + _nested(4, expressions)


def _policy(verdict: int) -> bytes:
    return _number(5, verdict)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">i", value))


def _nested(kind: int, content: bytes) -> bytes:
    return _attribute(kind | _NESTED, content)


def _message(kind: int, content: bytes, flags: int) -> bytes:
    flags |= _REQUEST | _ACKNOWLEDGE
    return struct.pack("=IHHIIBBH", 20 + len(content), kind, flags, 0, 0, _INET, 0, 0) + content


def _attribute(kind: int, content: bytes) -> bytes:
    length = 4 + len(content)
    return struct.pack("=HH", length, kind) + content + bytes(-length % 4)


def _answers(data: bytes) -> list[int]:
    """The errno of each acknowledgement, 0 for success (Linux, netlink(7), NLMSG_ERROR)."""
    found, at = [], 0
    while at + 20 <= len(data):
        size, kind = struct.unpack_from("=IH", data, at)
        if kind == _ERROR:
            found.append(-struct.unpack_from("=i", data, at + 16)[0])
        at += max(size + 3 & ~3, 16)
    return found


_OURS = _attribute(1, _TABLE + b"\0")
_CHAIN = _OURS + _attribute(3, b"input\0")
