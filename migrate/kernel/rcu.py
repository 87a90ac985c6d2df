"""Grace periods of the kernel's RCU, for which mounts and unmounts wait."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

EXPEDITED = Path("/sys/kernel/rcu_expedited")


@contextlib.contextmanager
def hurried(mark: Path) -> Iterator[None]:
    """Have them take microseconds rather than up to 10 ms, at the price of interrupts.

    /sys/kernel/rcu_expedited (Linux, RCU/Design/Requirements, "Expedited"), for all of the host.
    `mark` is a file that exists meanwhile: what a killed process left switched on is switched off
    by the next one. Where it can't be switched, all goes its usual way.
    """
    ours = False
    with contextlib.suppress(OSError):
        ours = mark.exists() or EXPEDITED.read_text().strip() == "0"
        if ours:
            mark.touch(mode=0o600)
            EXPEDITED.write_text("1")
    try:
        yield
    finally:
        if ours:
            with contextlib.suppress(OSError):
                EXPEDITED.write_text("0")
            mark.unlink(missing_ok=True)
