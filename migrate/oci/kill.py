"""kill: a signal to a container's first process, or to all."""

from __future__ import annotations

import os

from migrate.kernel.bare import contextlib, signal
from migrate.oci import records
from migrate.oci.errors import BadUsage, NotAllowedNow

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

_HIGHEST = 64


def signal_number(name: str) -> int:
    """The number of "9", "KILL", "SIGKILL", "rtmin+3"; 0 only looks (kill(2)). Raises BadUsage."""
    word = name.upper().removeprefix("SIG")
    if word.isdigit():
        number = int(word)
    elif word.startswith(("RTMIN", "RTMAX")):
        base = signal.SIGRTMIN if word.startswith("RTMIN") else signal.SIGRTMAX
        offset = word[5:] or "0"
        number = base + int(offset) if offset.lstrip("+-").isdigit() else 0
    else:
        number = getattr(signal, f"SIG{word}", 0) if word.isalnum() else 0
    if not 0 <= number <= _HIGHEST or (number == 0 and name != "0"):
        raise BadUsage(f"unknown signal {name!r}", cause="see signal(7)")
    return int(number)


def kill(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Send it; raises NotAllowedNow when there is no process to get it."""
    number = signal_number(words[1] if len(words) > 1 else "SIGTERM")
    container = records.load(settings["root"], words[0])
    if values["all"]:
        _kill_all(container, number)
        return
    if not container.alive:
        raise NotAllowedNow("container not running", cause=f"{words[0]} is {container.status}")
    descriptor = os.pidfd_open(container.state["pid"])
    try:
        if container.alive:
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
    if number == signal.SIGKILL and container.frozen:
        _thaw(container)


def _kill_all(container: records.Container, number: int) -> None:
    from migrate.oci import groups

    for pid in groups.of_state(container.state).pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    if number == signal.SIGKILL and container.frozen:
        _thaw(container)


def _thaw(container: records.Container) -> None:
    from migrate.oci import groups

    groups.of_state(container.state).thaw()
