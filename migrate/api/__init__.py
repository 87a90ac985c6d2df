"""migrate from Python: the functions that the command line itself calls.

    from migrate import api

    result = api.move("redis", "root@10.0.0.3", api.MoveWish(max_downtime=0.2))
    print(result.freeze_seconds)

    order = api.order("alpha", to=["beta", "gamma"], wish=api.Wish(parallel=3))
    report = api.evacuate(order)
    assert report.complete
    ...
    api.return_to(order)

Everything works on this host's state as root, as the commands do; MIGRATE_STATE and MIGRATE_RUN
name other directories. What goes wrong is a `MigrateError`: `what`, `cause`, `mend`, and a `code`
that stays. Times are seconds, sizes bytes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrate.api.fleet import (
        HERE,
        cordon,
        evacuate,
        hosts,
        order,
        plan_evacuation,
        plan_return,
        return_to,
        uncordon,
    )
    from migrate.api.local import (
        Checkpoint,
        Container,
        Restored,
        Settled,
        check_checkpoint,
        checkpoint,
        containers,
        move,
        plan_move,
        recover,
        restore,
    )
    from migrate.checkpoint.preflight import Verdict
    from migrate.errors import MigrateError, UsageError
    from migrate.evacuate.evacuation import raise_incomplete
    from migrate.evacuate.execution.course import Course, Outcome, State, Task
    from migrate.evacuate.execution.errors import NothingToReturn
    from migrate.evacuate.execution.report import Report
    from migrate.evacuate.inventory.hosts import Host
    from migrate.evacuate.model import HostState, Plan
    from migrate.evacuate.order import Order, View
    from migrate.evacuate.planning.wish import Wish, parse_selector
    from migrate.move.outgoing import Wish as MoveWish
    from migrate.move.plan import Plan as MovePlan
    from migrate.move.progress import Event, Result

__all__ = [
    "MigrateError", "UsageError", "NothingToReturn", "raise_incomplete",
    "Container", "containers",
    "check_checkpoint", "Verdict", "checkpoint", "Checkpoint", "restore", "Restored",
    "plan_move", "MovePlan", "move", "MoveWish", "Result", "Event", "recover", "Settled",
    "Host", "HostState", "hosts", "cordon", "uncordon", "HERE",
    "order", "Order", "Wish", "parse_selector", "plan_evacuation", "Plan", "evacuate",
    "plan_return", "return_to", "Task", "Report", "Outcome", "State", "Course", "View",
]  # fmt: skip

_PLACES = {
    "MigrateError": "migrate.errors",
    "UsageError": "migrate.errors",
    "NothingToReturn": "migrate.evacuate.execution.errors",
    "raise_incomplete": "migrate.evacuate.evacuation",
    "Container": "migrate.api.local",
    "containers": "migrate.api.local",
    "check_checkpoint": "migrate.api.local",
    "Verdict": "migrate.checkpoint.preflight",
    "checkpoint": "migrate.api.local",
    "Checkpoint": "migrate.api.local",
    "restore": "migrate.api.local",
    "Restored": "migrate.api.local",
    "plan_move": "migrate.api.local",
    "MovePlan": "migrate.move.plan:Plan",
    "move": "migrate.api.local",
    "MoveWish": "migrate.move.outgoing:Wish",
    "Result": "migrate.move.progress",
    "Event": "migrate.move.progress",
    "recover": "migrate.api.local",
    "Settled": "migrate.api.local",
    "Host": "migrate.evacuate.inventory.hosts",
    "HostState": "migrate.evacuate.model",
    "hosts": "migrate.api.fleet",
    "cordon": "migrate.api.fleet",
    "uncordon": "migrate.api.fleet",
    "HERE": "migrate.api.fleet",
    "order": "migrate.api.fleet",
    "Order": "migrate.evacuate.order",
    "Wish": "migrate.evacuate.planning.wish",
    "parse_selector": "migrate.evacuate.planning.wish",
    "plan_evacuation": "migrate.api.fleet",
    "Plan": "migrate.evacuate.model",
    "evacuate": "migrate.api.fleet",
    "plan_return": "migrate.api.fleet",
    "return_to": "migrate.api.fleet",
    "Task": "migrate.evacuate.execution.course",
    "Report": "migrate.evacuate.execution.report",
    "Outcome": "migrate.evacuate.execution.course",
    "State": "migrate.evacuate.execution.course",
    "Course": "migrate.evacuate.execution.course",
    "View": "migrate.evacuate.order",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, and no more (PEP 562): the commands stand on this, too."""
    if name not in _PLACES:
        raise AttributeError(f"module 'migrate.api' has no attribute '{name}'")
    module, _colon, original = _PLACES[name].partition(":")
    return getattr(importlib.import_module(module), original or name)
