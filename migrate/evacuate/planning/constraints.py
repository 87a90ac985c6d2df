"""What stands against a container's move to a host, in one reason for a person.

The rules are those that the move's own preflight will apply (`move/facts.py`, the network drivers),
as far as they can be told without asking; what only the target knows (a bind of a host path, a
volume of the same name) is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from migrate.evacuate.model import (
    APART_LABEL,
    COLD_ONLY,
    EVACUATE_LABEL,
    KEEP,
    PRIORITY_LABEL,
    Guest,
    HostState,
)
from migrate.evacuate.planning.room import WITH_PROCESSES, room_of
from migrate.move.preflight.hosts import version_numbers
from migrate.runtime.networks.device import DEFAULT_BRIDGE

MOVABLE = frozenset({"running", "created", "stopped"})
FLAGS_SHOWN = 6
TEXT_SHOWN = 60
_NOTHING: Mapping[str, str] = MappingProxyType({})
_PRIORITY = re.compile(r"[+-]?[0-9]{1,9}")


def priority_of(guest: Guest) -> int:
    """The label `migrate.priority`, 0 when there is none or it is no number."""
    text = guest.labels.get(PRIORITY_LABEL, "")
    return int(text) if _PRIORITY.fullmatch(text) else 0


def has_bad_priority(guest: Guest) -> bool:
    """Whether it has a label `migrate.priority` that is no whole number."""
    text = guest.labels.get(PRIORITY_LABEL)
    return text is not None and not _PRIORITY.fullmatch(text)


def group_of(guest: Guest) -> str:
    """The group of which only one may be on a host, "" for none; only running ones count."""
    return guest.labels.get(APART_LABEL, "") if guest.status in WITH_PROCESSES else ""


def why_stays(guest: Guest) -> str:
    """Why the container goes to no host at all, "" when it may go."""
    wanted = guest.labels.get(EVACUATE_LABEL)
    if guest.held:
        return f"move {shown(guest.held)} holds it: run 'migrate recover' first"
    if wanted == KEEP:
        return f"its label {EVACUATE_LABEL}={KEEP} keeps it here"
    if wanted not in {None, COLD_ONLY}:
        # A misspelt 'keep' must not let it go.
        return (
            f"its label {EVACUATE_LABEL}={shown(wanted or '')} is not understood:"
            f" {KEEP} or {COLD_ONLY}"
        )
    if guest.status == "paused":
        return "it is paused: resume or stop it first"
    if guest.status not in MOVABLE:
        return f"it is {shown(guest.status)}: only running, created and stopped ones move"
    return ""


def why_without_memory(guest: Guest) -> str:
    """Why the container itself goes cold, "" when its memory is to go along."""
    if guest.status not in WITH_PROCESSES:
        return f"it is {guest.status}"
    if guest.labels.get(EVACUATE_LABEL) == COLD_ONLY:
        return f"its label {EVACUATE_LABEL}={COLD_ONLY} says so"
    return ""


def memory_obstacle(source: HostState, target: HostState) -> str:
    """Why no memory can go from one host to the other, "" when it can."""
    if source.machine != target.machine:
        return f"{target.name} is {target.machine or 'unknown'}, {source.name} {source.machine}"
    if not source.criu:
        return f"{source.name} has no CRIU ('migrate doctor --fix' there)"
    if not target.criu:
        return f"{target.name} has no CRIU ('migrate host setup' for it)"
    if version_numbers(target.criu) < version_numbers(source.criu):
        return (
            f"CRIU {target.criu} of {target.name} is older than {source.criu} here"
            " ('migrate host setup' for it)"
        )
    lacking = sorted(set(source.cpu_flags) - set(target.cpu_flags))
    if lacking:
        more = f" and {len(lacking) - FLAGS_SHOWN} more" if len(lacking) > FLAGS_SHOWN else ""
        return f"the CPU of {target.name} lacks {' '.join(lacking[:FLAGS_SHOWN])}{more}"
    return ""


class Prospect:
    """A target as a container from `source` would find it, with those that were `add`ed.

    `refused`: what the hosts themselves have said against a container, by its identifier.
    `at_once`: how many move at once.
    """

    def __init__(
        self, source: HostState, target: HostState, refused: Mapping[str, str] = _NOTHING,
        at_once: int = 1,
    ) -> None:  # fmt: skip
        self.host = target
        self._refused = refused
        self.never = _why_never(source, target)
        self.only_cold = memory_obstacle(source, target)
        self.room = room_of(target, at_once)
        self._names: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._ports: dict[tuple[str, str], str] = {}
        self._groups: dict[str, str] = {}
        for guest in target.guests:
            self._note(guest)

    def add(self, guest: Guest) -> None:
        """Count the container as one that will have come."""
        self._note(guest)
        self.room = self.room.less(guest)

    def _note(self, guest: Guest) -> None:
        self._names[guest.name] = self._names[guest.identifier] = guest.name
        self._addresses.update(dict.fromkeys(_addresses_of(guest), guest.name))
        self._ports.update(dict.fromkeys(map(_published, guest.ports), guest.name))
        if group := group_of(guest):
            self._groups[group] = guest.name

    def why_not(self, guest: Guest) -> str:
        """What stands against the container's coming here, "" when nothing does."""
        return (
            why_stays(guest) or self.never or self._refused.get(guest.identifier, "")
            or self._taken(guest) or self.room.why_not(guest)
        )  # fmt: skip

    def _taken(self, guest: Guest) -> str:
        for word in (guest.identifier, guest.name):
            if word in self._names:
                return f"'{shown(word)}' is taken there: rename or remove one of the two"
        if why := self._network(guest):
            return why
        if holder := self._groups.get(group_of(guest)):
            group = shown(group_of(guest))
            return f"'{shown(holder)}' of the same group {APART_LABEL}={group} is there"
        return ""

    def _network(self, guest: Guest) -> str:
        """What stands against its network, its addresses and its published ports."""
        name = guest.network_name
        if name and name not in self.host.networks:
            return f"it has no network '{shown(name)}': make it there ('migrate network create')"
        if name and self.host.networks[name] != guest.network_like:
            return f"its network '{shown(name)}' is another one: {shown(self.host.networks[name])}"
        if not name and guest.network == "bridge" and guest.bridge not in {
            "", DEFAULT_BRIDGE, *self.host.bridges
        }:  # fmt: skip
            return f"it has no bridge '{shown(guest.bridge)}': make it there"
        for address in _addresses_of(guest):
            if holder := self._addresses.get(address):
                return f"'{shown(holder)}' there has the address {shown(address)}"
        for port in guest.ports:
            if holder := self._ports.get(_published(port)):
                return f"'{shown(holder)}' there publishes the port {shown(port)}"
        return ""

    def why_cold(self, guest: Guest) -> str:
        """Why the container's memory would not come along, "" when it would."""
        return why_without_memory(guest) or self.only_cold


def why_not(
    guest: Guest, source: HostState, target: HostState, placed: Iterable[Guest] = ()
) -> str:  # fmt: skip
    """What stands against a move beside those that are `placed` there already, "" for nothing.

    One reason, in plain words, with the mend where there is one. A move that can only be cold is
    possible: `Prospect.why_cold` tells it. A network of the driver `host` is none of the obstacles.
    """
    prospect = Prospect(source, target)
    for other in placed:
        prospect.add(other)
    return prospect.why_not(guest)


def remarks(guest: Guest, target: HostState) -> list[str]:
    """What a person should know of a move that nothing stands against."""
    found = []
    if guest.network == "host" and guest.status in WITH_PROCESSES:
        found.append("its connections can't follow from the host's own address")
    if guest.host_paths:
        paths = ", ".join(shown(path) for path in guest.host_paths[:3])
        more = f" and {len(guest.host_paths) - 3} more" if len(guest.host_paths) > 3 else ""
        found.append(f"{target.name} must have {paths}{more}")
    if not guest.disk_counted:
        found.append("its files were too many to count: they may need more room and time")
    return found


def shown(text: str) -> str:
    """Text of a host in a reason: of one line, and not too long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return line if len(line) <= TEXT_SHOWN else line[: TEXT_SHOWN - 3] + "..."


def _why_never(source: HostState, target: HostState) -> str:
    if target.host_id == source.host_id:
        return "it is the host that is to be emptied"
    return "it is cordoned" if target.cordoned else ""


def _addresses_of(guest: Guest) -> list[str]:
    return [text.partition("/")[0] for text in (guest.address, guest.address6) if text]


def _published(port: str) -> tuple[str, str]:
    """The host's port and the protocol: two addresses of a host are not told apart here."""
    where, _, protocol = port.rpartition("/")
    return where.rpartition(":")[0].rpartition(":")[2], protocol
