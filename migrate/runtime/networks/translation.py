"""The host's nf_tables rules for networks and published ports: one table of ours, `migrate`.

Who owns a rule is its comment: `network NAME`, or a container's id. The table is there as long as
there are rules in it. Nothing of this is done within the pause of a move: the target sets its rules
when it makes the place, the source removes its own with the container.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from migrate.kernel import nftables
from migrate.kernel.nftables import IPV4, IPV6, Chain, Expression, Rule
from migrate.runtime import locks
from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks.definition import Definition
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Network, Port

TABLE = "migrate"
# Priorities: include/uapi/linux/netfilter_ipv4.h, NF_IP_PRI_RAW, NAT_DST, NAT_SRC.
_GUARD = Chain("guard", "filter", "prerouting", -300)
_ARRIVING = Chain("arriving", "nat", "prerouting", -100)
_OWN = Chain("own", "nat", "output", -100)
_LEAVING = Chain("leaving", "nat", "postrouting", 100)
CHAINS = (_GUARD, _ARRIVING, _OWN, _LEAVING)
_LOOPBACK = "127.0.0.0/8"


def masquerade(paths: Paths, definition: Definition, device: str) -> None:
    """Let a network's containers reach what is outside as this host, where that is not so yet.

    `device`: the host's interface to the network. Turns forwarding on. Raises NetworkFailed.
    """
    owner = _owner(definition.name)
    with _changing(paths, "NAT"):
        for family, subnet in ((IPV4, definition.subnet), (IPV6, definition.subnet6)):
            if not subnet:
                continue
            forward(family)
            if owner not in nftables.comments(family, TABLE):
                rule = _rule(
                    _LEAVING, owner, nftables.address(subnet, source=True),
                    nftables.address(subnet, source=False, other=True),
                    nftables.interface(device, incoming=False, other=True),
                    nftables.masquerade(),
                )  # fmt: skip
                nftables.add(family, TABLE, CHAINS, [rule])


def end_masquerade(paths: Paths, definition: Definition) -> None:
    """Remove what `masquerade` has added; raises NetworkFailed."""
    with _changing(paths, "NAT"):
        for family in (IPV4, IPV6):
            nftables.remove(family, TABLE, CHAINS, _owner(definition.name))


def publish(own: ContainerPaths, network: Network, device: str) -> None:
    """Let the container's published ports lead to it; raises NetworkFailed.

    `device`: the host's interface by which its packets come. From 127.0.0.1, too: such packets may
    leave by `device`, and what comes from there to such an address is dropped.
    """
    if not network.ports:
        return
    with _changing(own.paths, "ports"):
        _mark(own).write_text(device)
        for family, address in ((IPV4, network.address), (IPV6, network.address6)):
            rules = list(_rules(own.identifier, network, address, device)) if address else []
            if rules:
                forward(family)
                nftables.add(family, TABLE, CHAINS, rules)
        if any(_is_for(port, 4) for port in network.ports):
            _let_loopback_out(own.paths, device)  # only now: what guards it is there


def withdraw(own: ContainerPaths) -> None:
    """Remove what `publish` has added; no error when there is nothing. Raises NetworkFailed."""
    if not _mark(own).exists():
        return
    with _changing(own.paths, "ports"):
        _keep_loopback_in(own)
        for family in (IPV4, IPV6):
            nftables.remove(family, TABLE, CHAINS, own.identifier)
        _mark(own).unlink(missing_ok=True)


def _mark(own: ContainerPaths) -> Path:
    """There while rules may be: the name of the device."""
    return own.run / "published"


def _loopback(paths: Paths, device: str) -> tuple[Path, Path]:
    """The setting that lets packets from 127.0.0.0/8 leave, and a file: it was set by us."""
    setting = Path(f"/proc/sys/net/ipv4/conf/{device}/route_localnet")
    return setting, paths.run / f".loopback-{device}"


def _let_loopback_out(paths: Paths, device: str) -> None:
    setting, ours = _loopback(paths, device)
    if setting.read_text().strip() == "0":
        ours.touch(mode=0o600)
        setting.write_text("1")


def _keep_loopback_in(own: ContainerPaths) -> None:
    """As it was, with the last container that publishes ports on its device."""
    device = _mark(own).read_text()
    setting, ours = _loopback(own.paths, device)
    for mark in own.paths.run.glob("containers/*/published"):
        if mark != _mark(own) and mark.read_text() == device:
            return
    if ours.exists():
        with contextlib.suppress(FileNotFoundError):  # the device has gone
            setting.write_text("0")
        ours.unlink(missing_ok=True)


def _owner(name: str) -> str:
    return f"network {name}"


def _rule(chain: Chain, owner: str, *parts: list[Expression]) -> Rule:
    return Rule(chain.name, owner, tuple(expression for part in parts for expression in part))


def _rules(owner: str, network: Network, address: str, device: str) -> Iterator[Rule]:
    """Of one of its addresses, IPv4 or IPv6."""
    interface = ipaddress.ip_interface(address)
    ports = [port for port in network.ports if _is_for(port, interface.version)]
    for port in ports:
        where = [
            *nftables.destination_port(port.protocol, port.host),
            *(nftables.address(port.address, source=False) if port.address else []),
            *nftables.to_this_host(),
        ]
        there = nftables.redirect(str(interface.ip), port.container)
        yield _rule(_ARRIVING, owner, where, there)
        yield _rule(_OWN, owner, where, there)
    if not ports:
        return
    # Who is on the same link as the container (itself among them), or comes from 127.0.0.1, would
    # be answered past this host, or not at all.
    near = [str(interface.network), *([_LOOPBACK] if interface.version == 4 else [])]
    for subnet in near:
        yield _rule(
            _LEAVING, owner, nftables.address(str(interface.ip), source=False),
            nftables.address(subnet, source=True), nftables.was_redirected(),
            nftables.masquerade(),
        )  # fmt: skip
    if interface.version == 4:
        yield _rule(
            _GUARD, owner, nftables.interface(device, incoming=True),
            nftables.address(_LOOPBACK, source=False), nftables.drop(),
        )  # fmt: skip


def _is_for(port: Port, version: int) -> bool:
    return not port.address or ipaddress.ip_address(port.address).version == version


def forward(family: int) -> None:
    """Let this host pass packets on; raises OSError.

    A host that passes IPv6 packets on takes no router's advertisements any more, unless `accept_ra`
    is 2 (Linux, networking/ip-sysctl): where it has taken them, it goes on.
    """
    if family == IPV4:
        _set("/proc/sys/net/ipv4/ip_forward", "1")
        return
    everywhere = Path("/proc/sys/net/ipv6/conf")
    if (everywhere / "all/forwarding").read_text().strip() == "1":
        return
    for setting in everywhere.glob("*/accept_ra"):
        if setting.read_text().strip() == "1" and setting.parent.name != "all":
            setting.write_text("2")
    _set(f"{everywhere}/all/forwarding", "1")


def _set(path: str, value: str) -> None:
    setting = Path(path)
    if setting.read_text().strip() != value:
        setting.write_text(value)


@contextlib.contextmanager
def _changing(paths: Paths, what: str) -> Iterator[None]:
    """Rules are changed by one command at a time; an OSError is told as NetworkFailed."""
    with locks.locked(os.fspath(paths.run / ".nftables.lock"), what, 30):
        try:
            yield
        except OSError as error:
            lacking = error.errno in {errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT}
            raise NetworkFailed(
                f"this host's rules for {what} can't be changed", cause=str(error),
                mend="modprobe -a nf_tables nft_nat nft_masq nft_fib_inet" if lacking else None,
            ) from error  # fmt: skip
