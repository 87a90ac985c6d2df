"""Which container goes to which host: as many as can, the important ones first, evenly spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from migrate.errors import UsageError
from migrate.evacuate.model import Guest, HostState
from migrate.evacuate.planning.bins import Bin, Item
from migrate.evacuate.planning.constraints import (
    Prospect,
    group_of,
    priority_of,
    why_stays,
    why_without_memory,
)
from migrate.evacuate.planning.packing import pack
from migrate.evacuate.planning.room import disk_need, memory_need

Refusals = Mapping[str, Mapping[str, str]]
"""By target's name and container's identifier: what the hosts themselves have said against it."""
NO_REFUSALS: Refusals = MappingProxyType({})


@dataclass(frozen=True)
class Placement:
    """Where each container goes, by its identifier; and why others can't, by host or under ""."""

    assigned: dict[str, Prospect]
    refused: dict[str, dict[str, str]]


def place(
    guests: Sequence[Guest], source: HostState, targets: Sequence[HostState],
    refused: Refusals = NO_REFUSALS, at_once: int = 1,
) -> Placement:  # fmt: skip
    """A host for as many of the source's containers as can go.

    First as many as possible of the highest `migrate.priority`, then of the next and so on; then
    as few as possible to hosts to which they can only go cold; then the fraction that stays free
    (of the scarcer of memory and disk) as even as possible among the hosts. Nothing goes where it
    is `refused`. The same containers and hosts give the same answer, in whatever order the
    containers come. Raises UsageError for two targets of one name. It is a heuristic where
    containers are many: see `packing`.
    """
    prospects = prospects_of(source, targets, refused, at_once)
    guests = sorted(guests, key=lambda guest: guest.identifier)
    nowhere = {guest.identifier: _nowhere(guest, prospects) for guest in guests}
    going = [guest for guest in guests if not nowhere[guest.identifier]]
    against = [[prospect.why_not(guest) for prospect in prospects] for guest in going]
    ranks = _ranks(going)
    items = [
        _item(guest, reasons, prospects, ranks)
        for guest, reasons in zip(going, against, strict=True)
    ]
    bins = [Bin(prospect.room.memory, prospect.room.disk) for prospect in prospects]
    found = pack(items, bins)
    assigned = {}
    for guest, at in zip(going, found, strict=True):
        if at is not None:
            assigned[guest.identifier] = prospects[at]
            prospects[at].add(guest)
    for guest in going:
        if guest.identifier not in assigned:
            nowhere[guest.identifier] = {p.host.name: p.why_not(guest) for p in prospects}
    return Placement(assigned, {key: why for key, why in nowhere.items() if why})


def prospects_of(
    source: HostState, targets: Sequence[HostState], refused: Refusals = NO_REFUSALS,
    at_once: int = 1,
) -> list[Prospect]:  # fmt: skip
    """The targets as the source's containers find them; a host that is listed twice counts once."""
    prospects: list[Prospect] = []
    names: dict[str, str] = {}
    hosts: set[str] = set()
    for target in targets:
        if target.name in hosts:
            raise UsageError(f"two targets have the name '{target.name}'")
        hosts.add(target.name)
        prospect = Prospect(source, target, refused.get(target.name, {}), at_once)
        twin = names.setdefault(target.host_id, target.name)
        if twin != target.name and not prospect.never:
            prospect.never = f"it is the same host as {twin}"
        prospects.append(prospect)
    return prospects


def _nowhere(guest: Guest, prospects: Sequence[Prospect]) -> dict[str, str]:
    """Under "" why the container goes to no host at all; empty when that depends on the host."""
    if why := why_stays(guest):
        return {"": why}
    return {} if prospects else {"": "there is no host to go to"}


def _ranks(guests: Sequence[Guest]) -> dict[int, int]:
    priorities = sorted({priority_of(guest) for guest in guests}, reverse=True)
    return {priority: rank for rank, priority in enumerate(priorities)}


def _item(
    guest: Guest, reasons: Sequence[str], prospects: Sequence[Prospect], ranks: dict[int, int]
) -> Item:  # fmt: skip
    options = tuple(at for at, why in enumerate(reasons) if not why)
    keeps_memory = not why_without_memory(guest)
    worse = frozenset(at for at in options if keeps_memory and prospects[at].only_cold)
    return Item(
        memory_need(guest), disk_need(guest), ranks[priority_of(guest)], group_of(guest), options,
        worse,
    )  # fmt: skip
