"""`migrate move` as a side of `migrate bench peers`."""

from __future__ import annotations

from dataclasses import dataclass

from migrate.bench import hosts, moving
from migrate.bench.loads.load import PACKAGE
from migrate.bench.loads.memory import Memory
from migrate.bench.peers.place import PeerHost
from migrate.bench.peers.side import NAME, Parts, program


@dataclass(frozen=True)
class Ours:
    """One mode of a move."""

    mode: str
    migrate: str
    is_peer = False

    @property
    def name(self) -> str:
        """See `Side`."""
        return f"migrate {self.mode}"

    def start(self, source: PeerHost, load: Memory) -> None:
        """See `Side`."""
        source.host.run([
            self.migrate, "run", "-d", "--name", NAME, "--network", "host", "-v", "/usr:/usr:ro",
            "-v", f"{PACKAGE}:/bench/migrate:ro", "-e", "PYTHONPATH=/bench", hosts.IMAGE,
            *program(load),
        ])  # fmt: skip

    def move(self, source: PeerHost, target: PeerHost) -> dict[str, float]:
        """See `Side`; `frozen` is what the move itself tells."""
        parts = Parts()
        with parts.timed("move"):
            moved = moving.move(source.host, target.host, self.migrate, self.mode)
        return {**parts.seconds, "frozen": moved.result["freeze_seconds"]}

    def remove(self, place: PeerHost) -> None:
        """See `Side`."""
        place.host.run([self.migrate, "rm", "-f", NAME], check=False)
