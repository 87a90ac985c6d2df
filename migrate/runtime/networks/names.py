"""Names of a network's containers: lines in the /etc/hosts of each, written by the host.

A file in the container needs no server that could be away when it is asked, nor one that would have
to be there at the first question after a thaw; programs read it anew for every question. What is
known of containers on other hosts of the same link goes along with each move, from host to host.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from migrate.errors import MigrateError
from migrate.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2, write_atomically
from migrate.kernel.userns import acting_as
from migrate.runtime import locks
from migrate.runtime.networks import definition
from migrate.runtime.networks.definition import Definition
from migrate.runtime.paths import Paths
from migrate.runtime.records import NAME_PATTERN, Record, load_all

Names = dict[str, tuple[str, ...]]
"""Addresses by name."""
BEGIN, END = "# migrate: names of the network", "# migrate: end"
MOST = 5000
_SIZE_LIMIT = 1 << 20
_FIRST_LINES = "127.0.0.1 localhost\n::1 localhost\n"


def known(paths: Paths, network: str) -> Names:
    """The names of a network as this host knows them; raises NetworkFailed for bad records."""
    here = _here(load_all(paths), network)
    taken = {address for addresses in here.values() for address in addresses}
    there = {
        name: addresses
        for name, addresses in _elsewhere(paths, network).items()
        if name not in here and taken.isdisjoint(addresses)
    }
    return there | here


def learn(paths: Paths, network: str, told: Mapping[str, tuple[str, ...]]) -> None:
    """Remember what another host knows of the network, if they share its link.

    It is checked, and what is wrong is left out. Raises OSError.
    """
    found = _shared(paths, network)
    if found is None:
        return
    subnets = [ipaddress.ip_network(text) for text in (found.subnet, found.subnet6) if text]
    checked = {
        name: addresses
        for name, addresses in list(told.items())[:MOST]
        if NAME_PATTERN.fullmatch(name) and all(_is_of(subnets, text) for text in addresses)
    }
    with _locked(paths, network):
        merged = list((_elsewhere(paths, network) | checked).items())[-MOST:]
        _write_elsewhere(paths, network, dict(merged))


def moved_away(paths: Paths, record: Record) -> None:
    """The container is on another host now; where the link is shared, it is still called so."""
    if record.network.name:
        with contextlib.suppress(OSError, MigrateError):
            learn(paths, record.network.name, {record.name: _addresses(record)})
            refresh(paths, record)


def removed(paths: Paths, record: Record) -> None:
    """The container is no more: nothing is called so."""
    network = record.network.name
    if network:
        with contextlib.suppress(OSError, MigrateError):
            with _locked(paths, network):
                there = _elsewhere(paths, network)
                if there.pop(record.name, None):
                    _write_elsewhere(paths, network, there)
            refresh(paths, record)


def refresh(paths: Paths, record: Record) -> None:
    """Write the names anew in all running containers of this host that share a network with it.

    Nothing is raised: a container without names is better than none.
    """
    network = record.network.name
    if not network:
        return
    with contextlib.suppress(OSError, MigrateError), _locked(paths, network):
        lines = [
            f"{address}\t{name}"
            for name, addresses in sorted(known(paths, network).items())
            for address in addresses
        ]
        block = "\n".join([BEGIN, *lines, END, ""])
        for member in load_all(paths):
            if member.network.name == network and not (member.moved_to or member.held):
                with contextlib.suppress(OSError), _able_to_write(member):
                    _write(paths.container(member.identifier).rootfs, block)


def _able_to_write(member: Record) -> contextlib.AbstractContextManager[None]:
    """To make a file in a user namespace's idmapped root file system takes its root's ids."""
    ids = member.user_namespace
    return acting_as(*ids.root) if ids else contextlib.nullcontext()


def _here(records: list[Record], network: str) -> Names:
    return {r.name: _addresses(r) for r in records if r.network.name == network and not r.moved_to}


def _addresses(record: Record) -> tuple[str, ...]:
    both = (record.network.address, record.network.address6)
    return tuple(address.partition("/")[0] for address in both if address)


def _elsewhere(paths: Paths, network: str) -> Names:
    try:
        return msgspec.json.decode((paths.networks / f"{network}.names").read_bytes(), type=Names)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def _write_elsewhere(paths: Paths, network: str, there: Names) -> None:
    paths.networks.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(paths.networks / f"{network}.names", msgspec.json.encode(there))


def _shared(paths: Paths, network: str) -> Definition | None:
    """The network, if its containers reach each other over hosts."""
    with contextlib.suppress(MigrateError):
        found = definition.find(paths, network)
        return found if found.parent or found.driver != "bridge" else None
    return None


def _is_of(subnets: list[definition.Subnet], text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return str(found) == text and any(found in subnet for subnet in subnets)


def _locked(paths: Paths, network: str) -> contextlib.AbstractContextManager[None]:
    return locks.locked(os.fspath(paths.run / f".names-{network}.lock"), "names", 10)


def _write(root: Path, block: str) -> None:
    """Replace the block in the container's /etc/hosts; its own links lead nowhere else."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = openat2(
            top, "etc/hosts", os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, mode=0o644,
            resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        )  # fmt: skip
    finally:
        os.close(top)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return
        before = os.pread(file, _SIZE_LIMIT, 0).decode(errors="surrogateescape")
        after = replaced(before, block)
        if after != before:
            data = after.encode(errors="surrogateescape")
            os.pwrite(file, data, 0)
            os.ftruncate(file, len(data))
    finally:
        os.close(file)


def replaced(text: str, block: str) -> str:
    """The text of a hosts file with the block in place of an older one, or behind all else."""
    head, begun, rest = text.partition(f"{BEGIN}\n")
    tail = rest.partition(f"{END}\n")[2] if begun else ""
    head = head or ("" if begun else _FIRST_LINES)
    if head and not head.endswith("\n"):
        head += "\n"
    return f"{head}{block}{tail}"
