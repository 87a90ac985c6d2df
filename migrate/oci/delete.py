"""delete: everything that `create` made; the poststop hooks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

from migrate.errors import MigrateError
from migrate.oci import groups, notify, records
from migrate.oci.errorlog import warn
from migrate.oci.errors import NoSuchContainer, NotAllowedNow
from migrate.oci.hooks import run_all
from migrate.oci.records import Container

_LIMIT = 10.0  # seconds for init's end


def delete(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Remove a stopped or only created container (runc-delete(8)), any one with --force."""
    identifier, force = words[0], values["force"]
    try:
        with records.locked(records.load(settings["root"], identifier)) as container:
            status = container.status
            if status not in {records.STOPPED, records.CREATED} and not force:
                raise NotAllowedNow(
                    f"cannot delete container {identifier} that is not stopped: {status}",
                    mend="kill it first, or give --force",
                )
            failed = remove(container)
    except NoSuchContainer:
        if not force:
            raise
        records.check_identifier(identifier)
        _clear(f"{settings['root']}/{identifier}")  # of a create that was killed at once
        return
    for error in failed:
        warn(settings, str(error))


def remove(container: Container) -> list[Any]:
    """Kill and unmake it; the poststop hooks that failed. Raises CgroupFailed."""
    group = groups.of_state(container.state)
    if pid := container.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError, MigrateError):
            group.thaw()
        _await_end(container)
    with contextlib.suppress(OSError):  # a group that was never made has nobody to kill
        group.kill()
    groups.remove(container)
    failed = []
    with contextlib.suppress(OSError, ValueError):
        state = container.describe() | {"status": "stopped", "pid": 0}
        failed = run_all(container.config, "poststop", state)
    _clear(container.directory)
    return failed


def _await_end(container: Container) -> None:
    deadline = time.monotonic() + _LIMIT
    while container.alive and time.monotonic() < deadline:
        time.sleep(0.002)


def _clear(directory: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for place in (f"{directory}/{notify.DIRECTORY}", directory):
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(place):
                    if name != notify.DIRECTORY:
                        os.unlink(f"{place}/{name}")
                os.rmdir(place)
