"""Published ports: what `run -p` takes, and whether this host can offer it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterable

import msgspec

from migrate.runtime.errors import NetworkFailed, PortTaken
from migrate.runtime.records import Network, Port, Record


def parse(text: str) -> Port:
    """The port in `[IP:]HOST:CONTAINER[/tcp|/udp]`, an IPv6 address in brackets.

    Raises ValueError.
    """
    where, slash, protocol = text.partition("/")
    before, _, container = where.rpartition(":")
    address, colon, host = before.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    elif ":" in address:
        raise ValueError("an IPv6 address is written in brackets")
    if colon:
        address = str(ipaddress.ip_address(address))
    if not (host.isascii() and host.isdigit() and container.isascii() and container.isdigit()):
        raise ValueError("it is [IP:]HOST:CONTAINER[/udp]")
    plain = {"host": int(host), "container": int(container), "address": address,
             "protocol": protocol if slash else "tcp"}  # fmt: skip
    try:
        return msgspec.convert(plain, Port)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def check(network: Network, others: Iterable[Record]) -> None:
    """Raise PortTaken or NetworkFailed where this host can't offer one of the ports.

    `others`: the containers of this host. It is asked whether somebody listens there, too.
    """
    for number, port in enumerate(network.ports):
        _check_address(port, network)
        for other in network.ports[:number]:
            if _collide(port, other):
                raise PortTaken(f"the port {port} is published twice")
        for record in others:
            for other in record.network.ports if not record.moved_to else ():
                if _collide(port, other):
                    raise PortTaken(
                        f"the port {port.host}/{port.protocol} of this host is taken",
                        cause=f"container '{record.name}' publishes it",
                    )
        _try_to_bind(port)


def _check_address(port: Port, network: Network) -> None:
    """It comes from another host or an archive, too."""
    if not port.address:
        return
    try:
        version = ipaddress.ip_address(port.address).version
    except ValueError as error:
        raise NetworkFailed(
            f"the port {port} can't be published", cause=str(error), mend="mend its address"
        ) from error
    if network.address and not (network.address if version == 4 else network.address6):
        raise NetworkFailed(
            f"the port {port} can't be published",
            cause=f"the container has no IPv{version} address",
            mend="give it one with --ip6, or a network with --subnet6",
        )  # fmt: skip


def _collide(one: Port, other: Port) -> bool:
    same = (one.host, one.protocol) == (other.host, other.protocol)
    return same and (not one.address or not other.address or one.address == other.address)


def _try_to_bind(port: Port) -> None:
    is_ipv6 = ":" in port.address
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with contextlib.closing(socket.socket(family, kind | socket.SOCK_CLOEXEC)) as probe:
        if port.protocol == "tcp":  # connections that have ended there are no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.address, port.host))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise NetworkFailed(
                    f"the port {port} can't be published",
                    cause=f"this host has no address {port.address}",
                    mend="publish it on every address, or on one that each host has",
                ) from error
            if error.errno != errno.EADDRINUSE:
                raise NetworkFailed(
                    f"the port {port} can't be published", cause=str(error)
                ) from error
            raise PortTaken(
                f"the port {port.host}/{port.protocol} of this host is taken",
                cause="a program of this host listens there",
            ) from error
