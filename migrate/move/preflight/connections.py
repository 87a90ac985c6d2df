"""Open TCP connections of a container: those that can't follow it, and those that may not."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path

from migrate.checkpoint.netns import contents
from migrate.checkpoint.netns.contents import Contents
from migrate.checkpoint.preflight.container import Container
from migrate.checkpoint.state import State
from migrate.errors import MigrateError
from migrate.move.errors import ContainerUnfit
from migrate.runtime.networks import takes_addresses
from migrate.runtime.records import Network, Process, Record

KEEP, CLOSE, REFUSE = "keep", "close", "refuse"
NEW = "new"
_TABLES = ("tcp", "tcp6")
# Linux, include/net/tcp_states.h: established, fin-wait-1 and 2, close-wait, last-ack, closing.
_OPEN = {"01", "04", "05", "08", "09", "0B"}
_SHOWN = 3


def obstacles(state: State, process: Process, tcp: str) -> Iterator[MigrateError]:
    """What stands against a move with `--tcp` of that word."""
    if state.record.network.driver == "host":
        yield from _on_the_hosts_address(state, process)
    if tcp == REFUSE and takes_addresses(state.record.network) and (peers := open_peers(process)):
        more = f" and {len(peers) - _SHOWN} more" if len(peers) > _SHOWN else ""
        yield ContainerUnfit(
            "the container has open TCP connections, and --tcp refuse says that it may not",
            cause=f"with {', '.join(peers[:_SHOWN])}{more}",
            mend="close them first, or move it with --tcp keep or --tcp close",
        )


def open_peers(process: Process) -> list[str]:
    """The other ends of the open connections in the process's network, its own lo apart."""
    found = []
    for table in _TABLES:
        for fields in _entries(process, table):
            told, _, port = fields[2].partition(":")
            address = _address(told)
            if fields[3] in _OPEN and not address.is_loopback:
                found.append(f"{address} port {int(port, 16)}")
    return found


def _entries(process: Process, table: str) -> list[list[str]]:
    """The lines of /proc/PID/net/tcp or tcp6 (Linux, networking/proc_net_tcp)."""
    path = Path(f"/proc/{process.pid}/net/{table}")
    if not path.exists():  # a kernel without IPv6
        return []
    return [line.split() for line in path.read_text().splitlines()[1:]]


def _address(told: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Words of 32 bits, each in the byte order of this machine, as the kernel has them."""
    words = [bytes.fromhex(told[at : at + 8]) for at in range(0, len(told), 8)]
    found = ipaddress.ip_address(
        b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    )
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _on_the_hosts_address(state: State, process: Process) -> Iterator[MigrateError]:
    """Every process of it that owns an established TCP socket of the host's namespace."""
    established = {
        int(fields[9])
        for table in _TABLES
        for fields in _entries(process, table)
        if fields[3] == "01"
    }
    for task in Container.seen(state.record, state.spec, process).own_tasks:
        if any(descriptor.socket in established for descriptor in task.descriptors):
            yield ContainerUnfit(
                f"{task.title} has a TCP connection on the host's own address",
                cause="with --network host its connections can't go to another address",
                mend="close it first, use --network bridge, or --mode cold",
            )


def of_a_new_address(
    record: Record, network: Network, found: Contents
) -> Iterator[MigrateError]:  # fmt: skip
    """What stands against a move with `--address new`, from `network` as it is now."""
    own = list(contents.added_places(found, network))
    own += [link.name for link in found.links if link.name not in contents.MADE]
    if own:
        yield ContainerUnfit(
            f"'{record.name}' can't have a new address",
            cause=f"its root has set {', '.join(own)} in its network, which hang on the old one",
            mend="leave --address away, or undo them first",
        )
    if not takes_addresses(record.network):
        yield ContainerUnfit(
            f"'{record.name}' can't have a new address",
            cause=f"with the network '{record.network.driver}' it has none of its own",
            mend="leave --address away",
        )
    elif not record.network.name and record.network.bridge != "migrate0":
        yield ContainerUnfit(
            f"'{record.name}' can't have a new address",
            cause=f"nobody hands out the addresses of the bridge '{record.network.bridge}'",
            mend="let it belong to a network ('migrate network create --parent')",
        )
