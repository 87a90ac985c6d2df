"""A container whose memory is still being filled: is it, how far is that, wait for the end."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from migrate.runtime.errors import StillFilling
from migrate.runtime.paths import ContainerPaths

LIMIT = 600.0  # seconds
_POLL = 0.005  # seconds


@dataclass(frozen=True)
class Progress:
    """How far the fill is; sizes in bytes. `processes` are those not complete yet.

    `faults` were answered, `zero_faults` of them with zeros; `stranded` bytes were given for
    addresses at which the restored process has no memory that may be filled; `restarts` counts the
    servers that followed a killed one.
    """

    total: int = 0
    filled: int = 0
    faults: int = 0
    zero_faults: int = 0
    stranded: int = 0
    restarts: int = 0
    processes: int = 0


def is_filling(own: ContainerPaths) -> bool:
    """Whether pages are missing still. A dump now would lose them."""
    return own.filling.exists()


def progress(own: ContainerPaths) -> Progress | None:
    """How far the fill is; None when there is none (any more)."""
    fields = Progress.__dataclass_fields__
    for _attempt in range(5):  # it may be read while it is written
        try:
            told = json.loads(own.filling.read_bytes())
            return Progress(**{name: int(told[name]) for name in fields if name in told})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            time.sleep(_POLL)
    return Progress()


def await_filled(own: ContainerPaths, limit: float = LIMIT) -> None:
    """Wait until all memory is there; raises StillFilling after `limit` seconds."""
    deadline = time.monotonic() + limit
    while is_filling(own):
        if time.monotonic() > deadline:
            seen = progress(own) or Progress()
            raise StillFilling(
                "the container's memory is not complete yet",
                cause=f"{seen.filled >> 20} of {seen.total >> 20} MiB have been filled after its "
                f"last restore or move; this waited {limit:g} s for the rest",
            )
        time.sleep(_POLL)
