"""Control groups version 1, one hierarchy a controller (Documentation/admin-guide/cgroup-v1)."""

from __future__ import annotations

from pathlib import Path

CPU_PERIOD = 100_000  # microseconds


def limit(directory: Path, controller: str, value: float) -> None:
    """Set one limit: memory in bytes, cpu in cores, pids a count."""
    if controller == "memory":
        _limit_memory(directory, str(int(value)))
    elif controller == "cpu":
        (directory / "cpu.cfs_period_us").write_text(str(CPU_PERIOD))
        (directory / "cpu.cfs_quota_us").write_text(str(int(value * CPU_PERIOD)))
    else:
        (directory / "pids.max").write_text(str(int(value)))


def _limit_memory(directory: Path, value: str) -> None:
    """Memory alone, and memory with swap, which must never be less: when raised, it goes first."""
    alone, with_swap = (directory / f"memory.{name}limit_in_bytes" for name in ("", "memsw."))
    order = [alone]
    if with_swap.exists():  # missing without swap accounting
        raised = value == "-1" or int(value) > int(with_swap.read_text())
        order.insert(0 if raised else 1, with_swap)
    for file in order:
        file.write_text(value)


def lift(directory: Path, controller: str) -> None:
    """Take the limit away."""
    if controller == "memory":
        _limit_memory(directory, "-1")
    elif controller == "cpu":
        (directory / "cpu.cfs_quota_us").write_text("-1")
    else:
        (directory / "pids.max").write_text("max")


def request_freeze(directory: Path) -> None:
    """Ask the freezer to freeze."""
    (directory / "freezer.state").write_text("FROZEN")


def is_frozen(directory: Path) -> bool:
    """Whether every task is frozen."""
    return (directory / "freezer.state").read_text().strip() == "FROZEN"


def freeze_requested(directory: Path) -> bool:
    """Whether the state is FROZEN or FREEZING."""
    return (directory / "freezer.state").read_text().strip() != "THAWED"


def thaw(directory: Path) -> None:
    """Let the tasks run."""
    (directory / "freezer.state").write_text("THAWED")
