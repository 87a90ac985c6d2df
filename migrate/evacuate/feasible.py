"""A plan to which both hosts of every move have said yes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from migrate.evacuate.execution.course import Task
from migrate.evacuate.execution.launching import Launch
from migrate.evacuate.execution.moving import How
from migrate.evacuate.model import EVACUATE_LABEL, KEEP, HostState, Plan, Stays, Step
from migrate.evacuate.planning.plan import make_plan
from migrate.evacuate.planning.wish import Wish
from migrate.evacuate.preflight import check_all
from migrate.evacuate.survey import Survey

ROUNDS = 4
"""Plans that are made at most; a container that finds no host in so many stays."""
Told = Callable[[str], None]


def tasks_of(plan: Plan, source: HostState) -> list[Task]:
    """The plan's steps as they are asked of the source; names as it tells them, not as a file."""
    guests = {guest.identifier: guest for guest in source.guests}
    return [
        Task(
            step.container, guests[step.container].name, plan.source, source.address, step.target,
            plan.addresses[step.target], step.mode, step.bytes, step.seconds,
            guests[step.container].address,
        )
        for step in plan.steps
    ]  # fmt: skip


def feasible_plan(seen: Survey, wish: Wish, how: How, start: Launch, told: Told) -> Plan:
    """Plan, ask the hosts for each move, and plan anew around what they refuse."""
    refused: dict[str, dict[str, str]] = {}  # by target's name and container's id
    agreed: dict[tuple[str, str], str] = {}  # (container, target) -> mode
    plan = make_plan(seen.source, seen.targets, wish, refused=refused)
    for _round in range(ROUNDS):
        fresh = [step for step in plan.steps if (step.container, step.target) not in agreed]
        if not fresh:
            break
        obstacles = _ask(fresh, plan, seen, wish, how, start, told, agreed)
        if not obstacles:
            break
        for (container, target), why in obstacles.items():
            refused.setdefault(target, {})[container] = why
        plan = make_plan(seen.source, seen.targets, wish, refused=refused)
    return agreed_part(plan, agreed, refused)


def agreed_part(
    plan: Plan, agreed: dict[tuple[str, str], str], refused: dict[str, dict[str, str]]
) -> Plan:  # fmt: skip
    """The plan without the steps that no host has agreed to; those containers stay."""
    going, staying = [], list(plan.stay)
    for step in plan.steps:
        mode = agreed.get((step.container, step.target))
        if mode is None:
            why = {host: by[step.container] for host, by in refused.items() if step.container in by}
            staying.append(Stays(step.container, step.name, why or {"": "nobody was asked"}))
        elif mode != step.mode:
            note = ". ".join(filter(None, ["cold: its memory can't go along", step.note]))
            going.append(msgspec.structs.replace(step, mode=mode, note=note))
        else:
            going.append(step)
    return msgspec.structs.replace(plan, steps=tuple(going), stay=tuple(staying))


def _ask(
    steps: Sequence[Step], plan: Plan, seen: Survey, wish: Wish, how: How, start: Launch,
    told: Told, agreed: dict[tuple[str, str], str],
) -> dict[tuple[str, str], str]:  # fmt: skip
    """The obstacles by container and target; what has none goes to `agreed`."""
    asked = msgspec.structs.replace(plan, steps=tuple(steps))
    tasks = tasks_of(asked, seen.source)

    def tell(done: int) -> None:
        if done % 10 == 0 or done == len(tasks):
            told(f"{done} of {len(tasks)} moves checked")

    obstacles: dict[tuple[str, str], str] = {}
    colder = []
    for task, checked in zip(tasks, check_all(tasks, how, start, tell), strict=True):
        if not checked.obstacle:
            agreed[task.container, task.target] = task.mode
        else:
            obstacles[task.container, task.target] = checked.obstacle
            if wish.on_failure == "cold" and task.mode != "cold":
                colder.append(msgspec.structs.replace(task, mode="cold"))
    for task, checked in zip(colder, check_all(colder, how, start), strict=True):
        if not checked.obstacle:
            agreed[task.container, task.target] = "cold"
            del obstacles[task.container, task.target]
    return obstacles


def confirm(plan: Plan, seen: Survey, wish: Wish, how: How, start: Launch, told: Told) -> Plan:
    """A plan that was given, asked for move by move; what is refused stays."""
    agreed: dict[tuple[str, str], str] = {}
    refused: dict[str, dict[str, str]] = {}
    for (container, target), why in _ask(
        plan.steps, plan, seen, wish, how, start, told, agreed
    ).items():
        refused.setdefault(target, {})[container] = why
    return agreed_part(plan, agreed, refused)


def unwilling(plan: Plan, source: HostState) -> list[Stays]:
    """Those that stay although nobody wished it: all but the ones with the label `keep`."""
    kept = {g.identifier for g in source.guests if g.labels.get(EVACUATE_LABEL) == KEEP}
    return [stays for stays in plan.stay if stays.container not in kept]
