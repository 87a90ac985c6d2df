"""Control groups version 2, one hierarchy (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from pathlib import Path

CPU_PERIOD = 100_000  # microseconds


def enable(root: Path, parent: str, controllers: set[str]) -> None:
    """Delegate controllers down to the groups in root/parent, which exists; raises OSError."""
    words = " ".join(f"+{controller}" for controller in sorted(controllers))
    parts = Path(parent).parts
    for depth in range(len(parts) + 1):
        (root.joinpath(*parts[:depth]) / "cgroup.subtree_control").write_text(words)


def limit(directory: Path, controller: str, value: float) -> None:
    """Set one limit: memory in bytes, cpu in cores, pids a count."""
    if controller == "memory":
        (directory / "memory.max").write_text(str(int(value)))
        swap = directory / "memory.swap.max"  # missing without swap accounting
        if swap.exists():
            swap.write_text("0")
    elif controller == "cpu":
        (directory / "cpu.max").write_text(f"{int(value * CPU_PERIOD)} {CPU_PERIOD}")
    else:
        (directory / "pids.max").write_text(str(int(value)))


def lift(directory: Path, controller: str) -> None:
    """Take the limit away."""
    if controller == "memory":
        (directory / "memory.max").write_text("max")
        swap = directory / "memory.swap.max"
        if swap.exists():
            swap.write_text("max")
    elif controller == "cpu":
        (directory / "cpu.max").write_text(f"max {CPU_PERIOD}")
    else:
        (directory / "pids.max").write_text("max")


def request_freeze(directory: Path) -> None:
    """Ask the freezer to freeze."""
    (directory / "cgroup.freeze").write_text("1")


def is_frozen(directory: Path) -> bool:
    """Whether every task is frozen."""
    return "frozen 1" in (directory / "cgroup.events").read_text()


def freeze_requested(directory: Path) -> bool:
    """Whether freezing was asked for."""
    return (directory / "cgroup.freeze").read_text().strip() == "1"


def thaw(directory: Path) -> None:
    """Let the tasks run."""
    (directory / "cgroup.freeze").write_text("0")
