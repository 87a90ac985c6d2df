"""events: what a container uses, and when it lacked memory; a JSON object a line, as runc tells."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import time
from typing import Any

from migrate.oci import groups, records
from migrate.oci.errors import BadUsage
from migrate.oci.statistics import statistics
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.cgroups.outofmemory import COUNT_DUE, LOOK_AGAIN, Notices
from migrate.runtime.cgroups.usage import oom_kills

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def events(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """One object with --stats, else one an interval until the container has stopped, and `oom`."""
    interval = _seconds(values["interval"])
    container = records.load(settings["root"], words[0])
    container.require("get events of", records.CREATED, records.RUNNING, records.PAUSED)
    group = groups.of_state(container.state)
    if values["stats"]:
        _tell(container, "stats", data=statistics(group))
    else:
        _follow(container, group, interval)


def _follow(container: records.Container, group: ControlGroup, interval: float) -> None:
    ended = os.pidfd_open(container.state["pid"])
    killed = oom_kills(group)
    due, count_due = time.monotonic(), 0.0
    with Notices(group) as notices:
        watched = [ended] if notices.descriptor is None else [ended, notices.descriptor]
        while container.alive:
            if time.monotonic() >= due:
                _tell(container, "stats", data=statistics(group))
                due = time.monotonic() + interval
            now = time.monotonic()
            limit = LOOK_AGAIN if now < count_due else due - now
            ready, _, _ = select.select(watched, [], [], max(0.0, min(limit, due - now)))
            if notices.descriptor in ready:
                notices.take()
                count_due = time.monotonic() + COUNT_DUE
            for _ in range(killed, counted := oom_kills(group)):
                _tell(container, "oom")
            killed = max(killed, counted)
            if ended in ready:
                break
    os.close(ended)


def _tell(container: records.Container, kind: str, **more: Any) -> None:
    sys.stdout.write(json.dumps({"type": kind, "id": container.identifier, **more}) + "\n")
    sys.stdout.flush()


def _seconds(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise BadUsage(f"invalid duration {text!r}", cause="as 5s, 500ms, 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise BadUsage("duration interval must be greater than 0")
    return seconds
