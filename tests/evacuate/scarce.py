"""Two hosts emptied at the same time, into each other and into a third; all have little memory."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from migrate.evacuate.execution.errors import EvacuationIncomplete
from migrate.evacuate.planning.room import BESIDE, RESERVE
from migrate.evacuate.planning.wish import Wish
from migrate.evacuate.store.errors import ClaimTaken, RoomTaken
from tests.evacuate.fleet import Fleet
from tests.evacuate.workloads.plain import MemoryWriter
from tests.hosts.host import Client, Host
from tests.hosts.redis import MIGRATE

EACH = 4  # containers on either host
MIB = 16  # of each writer; it keeps a copy to compare with
FIT = 4  # of all of them that the third host has room for
FIT_EACH_OTHER = 2  # that the two have room for beside their own
ROUNDS = 2  # times that both are evacuated: who was refused comes again
LIMIT = 150.0  # seconds for both: more is a deadlock
SURVEY = (
    "import json; from migrate.move.survey import survey; from migrate.runtime.paths import Paths; "
    "print(json.dumps(survey(Paths.from_environment())))"
)


@dataclass(frozen=True)
class Squeeze:
    """Sizes in bytes by host. `statuses` of the two commands in each round."""

    free: dict[str, int]
    arrived: dict[str, int]
    killed: dict[str, int]
    statuses: list[tuple[int, ...]]
    where: dict[str, str]

    def line(self) -> str:
        """For people."""
        hosts = ", ".join(
            f"{name} had {free >> 20} MiB to give and got {self.arrived[name] >> 20}"
            for name, free in self.free.items()
        )
        return f"scarce: {hosts}; the commands ended with {self.statuses}"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def squeeze(
    fleet: Fleet, client: Client, names: tuple[str, str, str], *, each_other: bool
) -> Squeeze:  # fmt: skip
    """Evacuate the first two of `names` at once, to the third and, if so, to each other.

    Raises AssertionError for anything lost, killed, there twice, and for memory given twice.
    """
    hosts = {name: fleet.hosts[name] for name in names}
    writers = [MemoryWriter(f"{name}-{n}", MIB) for name in names[:2] for n in range(EACH)]
    home = {writer.name: hosts[writer.name.split("-")[0]] for writer in writers}
    for writer in writers:
        writer.start(home[writer.name], client)
    for writer in writers:
        _wait(home[writer.name], writer.name)
    try:
        _limit(hosts, names[2])
        free = {name: free_memory(host) for name, host in hosts.items()}
        statuses = [_both(fleet, names, each_other=each_other) for _round in range(ROUNDS)]
        places = fleet.places()
        killed = {name: host.out_of_memory_kills() for name, host in hosts.items()}
        assert {name: [s for _h, s in found] for name, found in places.items()} == {
            w.name: ["running"] for w in writers
        }, (places, f"killed for memory: {killed}", f"free before: {free}", statuses)
        where = {name: found[0][0] for name, found in places.items()}
        arrived = {n: _arrived(n, host, where) for n, host in hosts.items()}
        wrong = {w.name: w.finish(fleet.hosts[where[w.name]]) for w in writers}
    finally:
        for host in hosts.values():
            host.limit_memory(None)
    made = Squeeze(free, arrived, killed, statuses, where)
    assert not any(wrong.values()), (wrong, made)
    assert not any(killed.values()), made
    assert all(arrived[name] <= free[name] for name in names), made
    assert any(arrived.values()), made
    return made


def _limit(hosts: dict[str, Host], third: str) -> None:
    """Room for so many containers more, by the planner's own reckoning."""
    reserve = RESERVE * Wish().parallel
    need = max(max(memory_of(host).values(), default=0) for host in hosts.values()) + BESIDE
    for name, host in hosts.items():
        fit = FIT if name == third else FIT_EACH_OTHER
        host.limit_memory(host.memory_used() + (reserve + fit * need + need // 2) * 20 // 19)


def _arrived(name: str, host: Host, where: dict[str, str]) -> int:
    """Bytes of the containers that came from elsewhere."""
    return sum(
        size for guest, size in memory_of(host).items()
        if where[guest] == name and not guest.startswith(f"{name}-")
    )  # fmt: skip


def _wait(host: Host, name: str) -> None:
    """Until it has filled its memory, and counts."""
    for _attempt in range(200):
        if host.run([MIGRATE, "logs", "--tail", "1", name]).stdout.strip():
            return
    raise AssertionError(f"{name} does not count")


def _both(
    fleet: Fleet, names: tuple[str, str, str], *, each_other: bool
) -> tuple[int, ...]:  # fmt: skip
    """The exit statuses of the two evacuations."""
    one, two, third = names
    commands = [
        fleet.popen(
            "evacuate", source, "--to", third, *(("--to", other) if each_other else ()), "--json"
        )
        for source, other in ((one, two), (two, one))
    ]
    try:
        for command in commands:
            out, err = command.communicate(timeout=LIMIT)
            known = {0, ClaimTaken.code, RoomTaken.code, EvacuationIncomplete.code}
            assert command.returncode in known, (out, err)
    finally:
        for command in commands:
            command.kill()
            command.wait()
    return tuple(command.returncode for command in commands)


def memory_of(host: Host) -> dict[str, int]:
    """Bytes in use by container's name, as the planner is told."""
    guests = state_of(host)["guests"]
    return {guest["name"]: guest["memory"] for guest in guests if guest["status"] != "moved"}


def free_memory(host: Host) -> int:
    """Bytes, as the planner is told."""
    return int(state_of(host)["memory_free"])


def state_of(host: Host) -> dict[str, Any]:
    """What it answers a planner."""
    told: dict[str, Any] = json.loads(host.run([sys.executable, "-c", SURVEY]).stdout)
    return told
