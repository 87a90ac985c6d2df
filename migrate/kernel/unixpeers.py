"""Who is connected to whom by unix sockets: the kernel's own list (sock_diag(7))."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path

from migrate.kernel.netlink import inside

_SHOW_PEER = 4  # include/uapi/linux/unix_diag.h, UDIAG_SHOW_PEER


def unix_peers(netns: Path, wanted: Collection[int]) -> dict[int, int]:
    """The inode numbers of the peers of those `wanted` sockets of `netns` that have one.

    A peer may be in another namespace, or not accepted yet. Raises OSError: without unix_diag.
    """
    from pyroute2 import DiagSocket
    from pyroute2.netlink.exceptions import NetlinkError

    with inside(netns):
        diagnosis = DiagSocket()
    try:
        told = diagnosis.get_sock_stats(family=socket.AF_UNIX, show=_SHOW_PEER)
        pairs = ((entry["udiag_ino"], entry.get_attr("UNIX_DIAG_PEER")) for entry in told)
        return {own: peer for own, peer in pairs if own in wanted and peer}
    except NetlinkError as error:
        raise OSError(error.code, "sock_diag does not tell of unix sockets") from error
    finally:
        diagnosis.close()
