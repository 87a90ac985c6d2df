"""Control groups version 1, one hierarchy a controller (Documentation/admin-guide/cgroup-v1)."""

from __future__ import annotations

from pathlib import Path

CPU_PERIOD = 100_000  # microseconds


def limit(directory: Path, controller: str, value: float) -> None:
    """Set one limit: memory in bytes, cpu in cores, pids a count."""
    if controller == "memory":
        (directory / "memory.limit_in_bytes").write_text(str(int(value)))
        with_swap = directory / "memory.memsw.limit_in_bytes"  # missing without swap accounting
        if with_swap.exists():
            with_swap.write_text(str(int(value)))
    elif controller == "cpu":
        (directory / "cpu.cfs_period_us").write_text(str(CPU_PERIOD))
        (directory / "cpu.cfs_quota_us").write_text(str(int(value * CPU_PERIOD)))
    else:
        (directory / "pids.max").write_text(str(int(value)))


def lift_cpu_limit(directory: Path) -> None:
    """Let it use all cores."""
    (directory / "cpu.cfs_quota_us").write_text("-1")


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
