"""Which tracker of written pages is used: the first that works here, or the one asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from migrate.checkpoint.errors import TrackerUnfit
from migrate.checkpoint.tracking import soft_dirty, wp_async
from migrate.checkpoint.tracking.tracker import Tracker
from migrate.runtime.cgroups.group import ControlGroup

AUTO = "auto"
HOLD_LIMIT = 1.0  # seconds; the freezer needs some ms
# The better one first: write protection needs a freeze only for new mappings.
_WHY_NOT = {wp_async.NAME: wp_async.why_not, soft_dirty.NAME: soft_dirty.why_not}
TRACKERS = tuple(_WHY_NOT)


def choose(wanted: str = AUTO) -> tuple[str, str]:
    """A tracker and "", or "" and why this host has none.

    Less than 1 ms where the first works, some ms otherwise. Raises TrackerUnfit when the one that
    was asked for does not work here.
    """
    if wanted != AUTO:
        if complaint := _WHY_NOT[wanted]():
            raise TrackerUnfit(f"this host can't track by {wanted}", cause=complaint)
        return wanted, ""
    return first_able(_WHY_NOT)


def first_able(why_not: Mapping[str, Callable[[], str]]) -> tuple[str, str]:
    """The first that has no complaint, and ""; or "" and all complaints."""
    complaints = []
    for name, ask in why_not.items():
        if not (complaint := ask()):
            return name, ""
        complaints.append(f"{name}: {complaint}")
    return "", "; ".join(complaints)


def track(name: str, group: ControlGroup, init_pid: int, *, eager: bool = True) -> Tracker:
    """The tracker of that name for a container; see `wp_async.track` and `soft_dirty.track`.

    `eager`: whether it may vouch for private mappings of files, where it can.
    """
    if name == soft_dirty.NAME:
        return soft_dirty.track(group, init_pid)
    return wp_async.track(group.pids, init_pid, partial(group.held, HOLD_LIMIT), eager=eager)
