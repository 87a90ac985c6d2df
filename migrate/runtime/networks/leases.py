"""Who has which address of a network on this host: a file for each network, kept over reboots.

A lease lasts as long as the container's record; one without a record is what a command has left
that was killed, and counts as none. All is done under the lock `registration`, under which records
are made: so no address is given twice, whatever dies.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from migrate.kernel.files import write_atomically
from migrate.runtime.errors import AddressTaken, NetworkFailed
from migrate.runtime.paths import ContainerPaths, Paths

SIZE_LIMIT = 64 << 20


def read(paths: Paths, network: str) -> dict[str, str]:
    """Container ids by address, of containers that exist; raises NetworkFailed."""
    path = paths.networks / f"{network}.leases"
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT)
        held = msgspec.json.decode(data, type=dict[str, str])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise NetworkFailed(
            f"the leases of the network '{network}' can't be read", cause=f"{path}: {error}",
            mend="remove that file when you have looked: the containers' records have them, too",
        ) from error  # fmt: skip
    return {ip: name for ip, name in held.items() if paths.container(name).record.exists()}


def claim(own: ContainerPaths, network: str, addresses: Iterable[str]) -> None:
    """Lease the addresses (without prefix length) to the container, all or none.

    Raises AddressTaken, NetworkFailed.
    """
    held = read(own.paths, network)
    wanted = [address for address in addresses if address]
    for address in wanted:
        if held.get(address, own.identifier) != own.identifier:
            raise AddressTaken(
                f"the address {address} is taken",
                cause=f"container {held[address]} on this host has it",
            )
    kept = {ip: name for ip, name in held.items() if name != own.identifier}
    _write(own.paths, network, kept | dict.fromkeys(wanted, own.identifier))


def free(own: ContainerPaths, network: str) -> None:
    """Give back what the container has; raises NetworkFailed."""
    held = read(own.paths, network)
    kept = {ip: name for ip, name in held.items() if name != own.identifier}
    if kept != held:
        _write(own.paths, network, kept)


def _write(paths: Paths, network: str, held: dict[str, str]) -> None:
    paths.networks.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(paths.networks / f"{network}.leases", msgspec.json.encode(held))
