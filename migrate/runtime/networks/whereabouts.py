"""Which container of a network is at which other host: a file for each network, and what it holds.

The hosts of a network tell each other (`move/telling.py`). What was told is kept on disk, so that a
host that was down knows it again, and entered in the kernel by the network's driver. A container's
generation decides between two that speak of it: it grows with each change of host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated

import msgspec

from migrate.kernel.files import write_atomically
from migrate.runtime import locks
from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks.definition import Definition
from migrate.runtime.paths import Paths
from migrate.runtime.records import NAME_PATTERN, Network, Record

SUFFIX = ".whereabouts"
SIZE_LIMIT = 16 << 20
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")  # unicast
Text = Annotated[str, msgspec.Meta(max_length=128)]


class Located(msgspec.Struct, frozen=True, omit_defaults=True):
    """A container and the host that has it, by that host's addresses in the underlay."""

    container: Text
    mac: Text
    addresses: Annotated[tuple[Text, ...], msgspec.Meta(max_length=2)]  # no prefix length
    host: Text
    host6: Text = ""  # for IPv6 routes; link-local where the host has no other
    generation: Annotated[int, msgspec.Meta(ge=1)] = 1


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one host tells another about a network.

    `all_of`: an underlay address; `here` are then all containers that this host has.
    """

    here: Annotated[tuple[Located, ...], msgspec.Meta(max_length=100_000)] = ()
    gone: Annotated[tuple[Text, ...], msgspec.Meta(max_length=100_000)] = ()  # container ids
    all_of: Text = ""


class Change(msgspec.Struct, frozen=True):
    """What news have changed of what was known."""

    known: tuple[Located, ...]
    shown: tuple[Located, ...]
    hidden: tuple[Located, ...]


def locate(record: Record, host: str, host6: str = "") -> Located:
    """A container of this host, as it is told to others."""
    network = record.network
    return Located(
        record.identifier, network.mac.lower(), addresses_of(network), host, host6,
        record.generation,
    )  # fmt: skip


def addresses_of(network: Network) -> tuple[str, ...]:
    """Those of a container, without prefix lengths."""
    both = (network.address, network.address6)
    return tuple(address.partition("/")[0] for address in both if address)


def check(definition: Definition, news: News) -> None:
    """Raise NetworkFailed for what no honest host of this network would tell.

    Only a peer has containers of it, with addresses of its subnets: so nobody's traffic but the
    network's own can be drawn away.
    """
    subnets = [ipaddress.ip_network(s) for s in (definition.subnet, definition.subnet6) if s]
    gateways = {definition.gateway, definition.gateway6}
    for located in news.here:
        fine = (
            NAME_PATTERN.fullmatch(located.container)
            and _MAC.fullmatch(located.mac)
            and located.host in definition.peers
            and (not located.host6 or _is_address(located.host6))
            and all(_is_within(a, subnets) and a not in gateways for a in located.addresses)
        )
        if not fine:
            raise NetworkFailed(
                f"what was told of the network '{definition.name}' can't be right",
                cause=f"container {located.container[:40]!r} at {located.host[:64]!r}",
                mend="look at --peer and --subnet of the network on both hosts",
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_within(
    address: str, subnets: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in s for s in subnets)


def merged(known: Iterable[Located], news: News, here: Iterable[str] = ()) -> Change:
    """What is known after the news. `here`: ids of this host's own containers, never elsewhere."""
    before = {located.container: located for located in known}
    own = set(here)
    told = {located.container: located for located in news.here if located.container not in own}
    given = {address for located in told.values() for address in located.addresses}
    after = {
        name: located for name, located in before.items()
        if name not in own and name not in news.gone
        and not (news.all_of and located.host == news.all_of and name not in told)
        and (name in told or given.isdisjoint(located.addresses))  # whose end was not told
    }  # fmt: skip
    for name, located in told.items():
        if name not in after or after[name].generation <= located.generation:
            after[name] = located
    return Change(
        tuple(after.values()),
        shown=tuple(found for name, found in after.items() if before.get(name) != found),
        hidden=tuple(found for name, found in before.items() if name not in after),
    )


def known(paths: Paths, network: str) -> tuple[Located, ...]:
    """The containers of other hosts; raises NetworkFailed."""
    path = paths.networks / f"{network}{SUFFIX}"
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT)
        return msgspec.json.decode(data, type=tuple[Located, ...])
    except FileNotFoundError:
        return ()
    except (msgspec.DecodeError, ValueError) as error:
        raise NetworkFailed(
            f"it can't be read where the containers of the network '{network}' are",
            cause=f"{path}: {error}",
            mend=f"remove that file, and run 'migrate network sync {network}'",
        ) from error


def update(paths: Paths, network: str, news: News, here: Iterable[str] = ()) -> Change:
    """Keep the news; returns what they have changed. Raises NetworkFailed, OSError."""
    paths.networks.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = str(paths.run / f".{network}{SUFFIX}")
    with locks.locked(lock, "whereabouts", 10.0):
        change = merged(known(paths, network), news, here)
        if change.shown or change.hidden:
            data = msgspec.json.encode(change.known)
            write_atomically(paths.networks / f"{network}{SUFFIX}", data)
    return change


def without_own(paths: Paths, located: Iterable[Located]) -> list[Located]:
    """Without those that this host has a record of: a move may be bringing them.

    Then its driver decides where their packets go, from the freeze on.
    """
    return [at for at in located if not paths.container(at.container).record.exists()]


def holder(paths: Paths, network: str, address: str) -> Located | None:
    """The container of another host that has the address (without prefix length)."""
    return next((found for found in known(paths, network) if address in found.addresses), None)


def remove(paths: Paths, network: str) -> None:
    """Forget all; no error when there is nothing."""
    (paths.networks / f"{network}{SUFFIX}").unlink(missing_ok=True)
