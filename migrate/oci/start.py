"""start: a created container's first process executes the user's program."""

from __future__ import annotations

import os
import select

from migrate.kernel.bare import signal
from migrate.oci import records
from migrate.oci.errors import HookFailed, SetupFailed
from migrate.oci.records import Container

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

LIMIT = 60.0  # seconds until the program is executed, the startContainer hooks included


def start(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Start it; raises NotAllowedNow when it is not created, SetupFailed.

    Where NOTIFY_SOCKET is set it returns when the program is ready, or has ended.
    """
    if channel := released(settings, words[0]):
        from migrate.oci import notify

        notify.pass_on(channel, records.load(settings["root"], words[0]).state["pid"], main=True)


def released(settings: dict[str, Any], identifier: str) -> Any:
    """Let it execute its program; the socket of `notify`, or None. Raises as `start`."""
    with records.locked(records.load(settings["root"], identifier)) as container:
        container.require("start", records.CREATED)
        spec = container.config
        channel = None
        if os.environ.get("NOTIFY_SOCKET"):
            from migrate.oci import notify

            channel = notify.listen(container.directory)
        _release(container, spec)
        if not (spec.get("hooks") or {}).get("poststart"):
            return channel
        from migrate.oci.hooks import run_hooks

        try:
            run_hooks(spec, "poststart", container.describe())
        except HookFailed:  # as runc does: an error, and the container is stopped
            os.kill(container.state["pid"], signal.SIGKILL)
            raise
        return channel


def _release(container: Container, spec: dict[str, Any]) -> None:
    """Open the fifo, and read it until the exec has closed its other end."""
    hooks = (spec.get("hooks") or {}).get("startContainer") or []
    limit = LIMIT if all(hook.get("timeout") for hook in hooks) else None
    limit = limit and limit + sum(hook["timeout"] for hook in hooks)
    descriptor = os.open(container.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    told = b""
    try:
        os.unlink(container.fifo)
        while True:
            ready, _, _ = select.select([descriptor], [], [], limit)
            data = os.read(descriptor, 65536) if ready else b""
            if not data:
                break
            told += data
    finally:
        os.close(descriptor)
    if told == b"0" and ready:
        return
    cause = told[1:].decode(errors="replace") or "its first process has died or hangs"
    raise SetupFailed(f"cannot start container {container.identifier}", cause=cause)
