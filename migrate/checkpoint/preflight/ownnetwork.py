"""What the container's root has set in its own network, as far as it can't go along."""

from __future__ import annotations

from collections.abc import Iterator

from migrate.checkpoint.errors import NotDumpable
from migrate.checkpoint.netns import unknown
from migrate.checkpoint.netns.contents import INSIDE, Contents, check
from migrate.checkpoint.netns.reading import open_reader, unfit
from migrate.checkpoint.preflight.container import Container
from migrate.runtime.networks import takes_addresses
from migrate.runtime.records import Network


def own_network(container: Container) -> Iterator[NotDumpable]:
    """One obstacle for each thing; none in a namespace that is not the container's own."""
    record, pid = container.record, container.init.pid
    reader = open_reader(record, pid)
    if reader is None:
        return
    with reader:
        found = reader.read()
        complaints = [*reader.complaints, *unknown.complaints(pid, record.network)]
    complaints += _of_what_is_made(found, record.network)
    try:
        check(found)
    except ValueError as error:
        complaints.append(str(error))
    for complaint in complaints:
        yield unfit(complaint)


def _of_what_is_made(found: Contents, network: Network) -> Iterator[str]:
    """The driver's own interface: there, and as the driver has made it."""
    if not takes_addresses(network):
        return
    made = next((link for link in found.links if link.name == INSIDE), None)
    if made is None:
        yield f"the interface {INSIDE} is gone, or has another name"
    elif network.mac and made.mac.hex(":") != network.mac.lower():
        yield f"the interface {INSIDE} has another MAC address than it was given"
