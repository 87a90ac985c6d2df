"""The hosts of one evacuation as they answered, and which of them may receive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import Guest, HostState

Ask = Callable[[Sequence[Host]], Mapping[str, HostState | MigrateError]]
"""Ask hosts side by side; by name, what each said or why it did not."""


@dataclass(frozen=True)
class Survey:
    """`left_out`: why some host does not receive, by its name."""

    source: HostState
    targets: tuple[HostState, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    def target(self, name: str) -> HostState:
        """The target of that name; raises KeyError."""
        return next(target for target in self.targets if target.name == name)

    def guest(self, identifier: str) -> Guest | None:
        """The source's container with this id."""
        return next((g for g in self.source.guests if g.identifier == identifier), None)

    def less(self, taken: Mapping[str, int], emptied: Mapping[str, str]) -> Survey:
        """Without the memory that others have reserved, and the hosts that others empty.

        Both by host id: bytes, and by whom.
        """
        left_out = dict(self.left_out)
        targets = []
        for target in self.targets:
            if owner := emptied.get(target.host_id):
                left_out[target.name] = f"{owner} empties it"
                continue
            free = max(0, target.memory_free - taken.get(target.host_id, 0))
            targets.append(msgspec.structs.replace(target, memory_free=free))
        return Survey(self.source, tuple(targets), left_out)


def survey(ask: Ask, source: Host, targets: Sequence[Host]) -> Survey:
    """Ask all of them; raises what the source's answer was when it was an error, and UsageError.

    A target that does not answer, is the source itself, or has no address for the source to reach
    it by, is left out.
    """
    answers = ask([source, *targets])
    emptied = answers[source.name]
    if isinstance(emptied, MigrateError):
        raise emptied
    found, left_out = [], {}
    for host in targets:
        answer = answers[host.name]
        if isinstance(answer, MigrateError):
            left_out[host.name] = answer.what
        elif answer.host_id == emptied.host_id:
            left_out[host.name] = "it is the host itself"
        elif not host.address:
            left_out[host.name] = "the inventory has no address by which others reach this host"
        else:
            # Also where this very host has answered: it is the source that has to reach it.
            found.append(msgspec.structs.replace(answer, address=host.address))
    if not found:
        why = "; ".join(f"{name}: {words}" for name, words in left_out.items())
        raise UsageError(
            f"there is no host to which the containers of {source.name} could go",
            cause=why or "the inventory has no other host",
            mend="add hosts with 'migrate host add', or name them with --to",
        )
    return Survey(emptied, tuple(found), left_out)
