"""Restart policies: whether a container that has ended is started again, and after what time."""

from __future__ import annotations

import os
import time

from migrate.kernel.bare import contextlib, json
from migrate.kernel.files import write_atomically

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any, NoReturn

SHORTEST, LONGEST = 0.1, 60.0
"""Seconds before a start: doubled by each, as long as the container lives no longer than..."""
LONG_LIFE = 10.0
"""... these seconds."""


def is_due(policy: str, status: int, restarts: int) -> bool:
    """Whether the policy ("", always, on-failure, on-failure:N) wants a start after that status."""
    kind, _, most = policy.partition(":")
    if kind == "on-failure":
        return status != 0 and (not most or restarts < int(most))
    return kind == "always"


def pause_before(quick_ends: int) -> float:
    """Seconds to wait after so many lives in a row that were short."""
    return min(SHORTEST * 2.0 ** min(quick_ends, 20), LONGEST)


def see_to_restart(launch: dict[str, Any], status: int, lived: float) -> None:
    """In the monitor, at the end: fork the process that waits and starts it again, if it is due.

    That process sleeps, and ends by becoming `migrate start`, which refuses what may not run here
    (the record has gone, moved on, or is held by a move; the host is cordoned).
    """
    counts = _counts(launch["restarts"])
    if lived >= LONG_LIFE:
        counts = {"restarts": 0, "quick_ends": 0}
    due = is_due(launch["restart"], status, counts["restarts"])
    if not due or os.path.exists(launch["stopped"]):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(launch["restarts"])  # it is counted anew when somebody starts it
        return
    if os.fork() != 0:
        return
    with contextlib.suppress(BaseException):
        _start_again(launch, counts)
    os._exit(1)


def _counts(path: str) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError):
        with open(path, "rb") as file:
            told = json.loads(file.read())
        return {"restarts": int(told["restarts"]), "quick_ends": int(told["quick_ends"])}
    return {"restarts": 0, "quick_ends": 0}


def _start_again(launch: dict[str, Any], counts: dict[str, int]) -> NoReturn:
    # Not by the same opening: that is locked for as long as there is a monitor.
    os.dup2(os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), 2)
    os.closerange(3, 4096)
    time.sleep(pause_before(counts["quick_ends"]))
    if os.path.exists(launch["stopped"]):
        os._exit(0)
    now = {name: count + 1 for name, count in counts.items()}
    write_atomically(launch["restarts"], json.dumps(now).encode(), durable=False)
    os.execv(launch["again"][0], launch["again"])
