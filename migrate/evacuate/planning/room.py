"""What a target has left, in memory and on disk, as containers are placed on it.

Counted is the memory that a container uses now, not the limit that it may grow to: hosts are run
with limits that together exceed their memory, and a plan that reserved them would refuse most
moves. Missing layers are not counted (a plan does not know them), nor the images that mode
stop-copy keeps on the disk for the time of a move: each move's own preflight looks at both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from migrate.evacuate.model import Guest, HostState
from migrate.move.preflight.source import ROOM

RESERVE = ROOM
"""Bytes of memory and of disk that a move wants free at the target beside what it brings: agent,
CRIU and page server. For each of those that move at once, not for each container: by the time of
the next move the last one's has come free."""
MARGIN_SHARE, MARGIN_MOST = 20, 256 << 20
"""Of a target's free memory 1/20 (5 %) stays free, but no more than 256 MiB: it is in use."""
BESIDE = 16 << 20
"""Bytes for a container with processes beside its own: its monitor, of which 9 MiB are its alone
(measured, smaps_rollup), and an estimate for what the kernel keeps for it."""

WITH_PROCESSES = frozenset({"running", "paused"})


def memory_need(guest: Guest) -> int:
    """Bytes of a target's memory that the container takes."""
    return max(guest.memory, 0) + BESIDE if guest.status in WITH_PROCESSES else 0


def disk_need(guest: Guest) -> int:
    """Bytes of a target's disk that the container takes."""
    return max(guest.disk, 0)


@dataclass(frozen=True)
class Room:
    """Bytes that may still be given, out of those that were there to give."""

    memory: int
    disk: int
    all_memory: int
    all_disk: int

    def less(self, guest: Guest) -> Room:
        """What is left when the container has come."""
        return replace(
            self, memory=self.memory - memory_need(guest), disk=self.disk - disk_need(guest)
        )

    def why_not(self, guest: Guest) -> str:
        """What there is too little of, "" when the container fits."""
        for what, need, left, full in (
            ("memory", memory_need(guest), self.memory, self.all_memory),
            ("disk", disk_need(guest), self.disk, self.all_disk),
        ):
            if need > left:
                given = left < full and need <= full  # else it would not fit alone, either
                taken = f", {mebibytes(full - left)} are given to others" if given else ""
                return (
                    f"too little {what}: {mebibytes(need)} needed, {mebibytes(full)} to give{taken}"
                )
        return ""


def room_of(target: HostState, at_once: int = 1) -> Room:
    """The room on a target, into which so many move at once, before anything is placed there."""
    memory = max(memory_to_give(target) - RESERVE * at_once, 0)
    disk = max(target.disk_free - RESERVE, 0)
    return Room(memory, disk, memory, disk)


def memory_to_give(target: HostState) -> int:
    """Bytes of a target's free memory that containers and their moves may take together."""
    return target.memory_free - min(target.memory_free // MARGIN_SHARE, MARGIN_MOST)


def mebibytes(size: int) -> str:
    """A size for people, in MiB, or in GiB with one digit."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"
