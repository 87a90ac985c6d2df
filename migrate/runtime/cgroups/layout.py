"""Which cgroup hierarchies this host has, and where they are mounted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from migrate.runtime.cgroups import tree


@dataclass(frozen=True)
class Layout:
    """Mount points: `v1` by controller, and the v2 tree with the controllers it offers."""

    v1: dict[str, Path]
    v2: Path | None
    v2_controllers: frozenset[str]

    @property
    def freezer_version(self) -> int:
        """1 where the v1 freezer is mounted, else 2; 0 if there is neither."""
        if "freezer" in self.v1:
            return 1
        return 2 if self.v2 else 0

    @property
    def roots(self) -> list[Path]:
        """The mount point of each hierarchy, each once."""
        return [Path(root) for root in self.trees.roots]

    @property
    def trees(self) -> tree.Hierarchies:
        """The same by plain paths."""
        v1 = {controller: str(root) for controller, root in self.v1.items()}
        return tree.Hierarchies(v1, str(self.v2 or ""), self.v2_controllers)


def detect() -> Layout:
    """The layout of this host (its mount namespace)."""
    found = tree.detect()
    v1 = {controller: Path(root) for controller, root in found.v1.items()}
    return Layout(v1, Path(found.v2) if found.v2 else None, found.offered)
