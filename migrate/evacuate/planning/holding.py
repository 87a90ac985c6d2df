"""Whether a plan that was edited, or made a while ago, still holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from migrate.evacuate.model import Guest, HostState, Plan, Step
from migrate.evacuate.planning.constraints import Prospect, shown
from migrate.evacuate.planning.placement import prospects_of
from migrate.evacuate.planning.plan import is_selected, late_warning, predicted
from migrate.evacuate.planning.room import WITH_PROCESSES
from migrate.evacuate.planning.wish import Wish


def check(
    plan: Plan, source: HostState, targets: Sequence[HostState], wish: Wish
) -> list[str]:  # fmt: skip
    """What does not hold of the plan with the hosts as they are now; empty when all does.

    The moves count in the plan's order: who comes first has the room. Raises UsageError for two
    targets of one name.
    """
    if plan.source_id != source.host_id:
        return [f"the plan is for '{plan.source}', another host than '{source.name}'"]
    known = prospects_of(source, targets, at_once=wish.parallel)
    prospects = {prospect.host.name: prospect for prospect in known}
    guests = {guest.identifier: guest for guest in source.guests}
    found = [
        f"'{name}' is at {prospects[name].host.address or 'this host'} now,"
        f" not at {address or 'this host'}"
        for name, address in plan.addresses.items()
        if name in prospects and prospects[name].host.address != address
        and any(step.target == name for step in plan.steps)
    ]  # fmt: skip
    holding = []
    for step in plan.steps:
        why = _why_gone(step, guests, targets, wish) or _why_not(step, guests, prospects)
        if why:
            found.append(f"'{step.name}' to {step.target}: {why}")
        else:
            prospects[step.target].add(guests[step.container])
            holding.append(step)
    rest = msgspec.structs.replace(plan, steps=tuple(holding))
    late = late_warning(predicted(rest, guests, wish), wish)
    return [*found, *([late] if late else [])]


def _why_gone(
    step: Step, guests: Mapping[str, Guest], targets: Sequence[HostState], wish: Wish
) -> str:  # fmt: skip
    """Why the container is none that this evacuation is about, "" when it is."""
    guest = guests.get(step.container)
    if guest is None or guest.status == "moved":
        for target in targets:
            if any(other.identifier == step.container for other in target.guests):
                return f"it is at {target.name} already"
        return "there is no such container any more"
    if guest.name != step.name:
        return f"the container is named '{shown(guest.name)}' now"
    return "" if is_selected(guest, wish) else "the selector does not take it"


def _why_not(step: Step, guests: Mapping[str, Guest], prospects: Mapping[str, Prospect]) -> str:
    """What stands against the step with those before it in place, "" when nothing does."""
    guest, prospect = guests[step.container], prospects.get(step.target)
    if prospect is None:
        return "it is none of the hosts that containers may go to"
    if why := prospect.why_not(guest):
        return why
    why_cold = prospect.why_cold(guest)
    # The mode auto is cold by itself for a container without processes.
    fitting = {"cold"} if guest.status in WITH_PROCESSES else {"auto", "cold"}
    if why_cold and step.mode not in fitting:
        return f"only mode cold is possible: {why_cold}"
    return ""
