"""The plan of an evacuation: who goes where, in which order, how, and what it will cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from migrate.errors import UsageError
from migrate.evacuate.model import Guest, HostState, Plan, Stays, Step
from migrate.evacuate.planning.constraints import (
    MOVABLE,
    Prospect,
    has_bad_priority,
    priority_of,
    remarks,
    shown,
    why_without_memory,
)
from migrate.evacuate.planning.placement import NO_REFUSALS, Refusals, place
from migrate.evacuate.planning.prediction import Load, downtime_of, load_of, schedule
from migrate.evacuate.planning.room import WITH_PROCESSES
from migrate.evacuate.planning.wish import Wish, selects

NAMES_SHOWN = 5
_NOTHING: Mapping[str, float] = MappingProxyType({})


def make_plan(
    source: HostState, targets: Sequence[HostState], wish: Wish,
    measured: Mapping[str, float] = _NOTHING, refused: Refusals = NO_REFUSALS,
) -> Plan:  # fmt: skip
    """The plan to empty `source` of the containers that the wish selects.

    `measured` has the rate to a target in bytes/s by its name, where it is known; it only ever
    slows what `wish.rate` allows. `refused` are moves that the hosts have said no to. Containers
    that are not selected, or have left already, are not mentioned. Raises UsageError for two
    targets of one name, or a rate that is none.
    """
    for name, rate in measured.items():
        if not (math.isfinite(rate) and rate > 0):
            raise UsageError(f"the rate to '{name}' must be a number above 0, not {rate}")
    guests = [guest for guest in source.guests if is_selected(guest, wish)]
    placement = place(guests, source, targets, refused, wish.parallel)
    names = {guest.identifier: guest.name for guest in guests}
    going = [guest for guest in guests if guest.identifier in placement.assigned]
    steps = [_step(guest, placement.assigned[guest.identifier]) for guest in going]
    by_identifier = {guest.identifier: guest for guest in guests}
    plan = Plan(
        source=source.name,
        source_id=source.host_id,
        addresses={target.name: target.address for target in targets},
        steps=tuple(sorted(steps, key=lambda step: _order(step, by_identifier[step.container]))),
        stay=tuple(
            Stays(identifier, names[identifier], why)
            for identifier, why in sorted(
                placement.refused.items(), key=lambda item: (names[item[0]], item[0])
            )
        ),
    )
    plan = predicted(plan, by_identifier, wish, measured)
    return msgspec.structs.replace(plan, warnings=tuple(_warnings(plan, guests, wish)))


def is_selected(guest: Guest, wish: Wish) -> bool:
    """Whether the plan is about the container at all: one that has moved away is none of it."""
    return guest.status != "moved" and selects(wish.selector, guest.labels)


def predicted(
    plan: Plan, guests: Mapping[str, Guest], wish: Wish, measured: Mapping[str, float] = _NOTHING
) -> Plan:  # fmt: skip
    """The plan with bytes, seconds and downtimes anew; `guests` by identifier, with all of it."""
    loads = [_load(step, guests[step.container], measured) for step in plan.steps]
    spans = schedule(loads, wish.parallel, wish.rate)
    steps = [
        msgspec.structs.replace(
            step,
            bytes=load.bytes,
            seconds=round(span.end - span.start, 3),
            downtime=round(
                downtime_of(
                    guests[step.container], load, span, cold=step.mode == "cold",
                    max_downtime=wish.max_downtime,
                ), 3,
            ),
        )
        for step, load, span in zip(plan.steps, loads, spans, strict=True)
    ]  # fmt: skip
    return msgspec.structs.replace(
        plan,
        steps=tuple(steps),
        seconds=round(max((span.end for span in spans), default=0.0), 3),
        bytes=sum(load.bytes for load in loads),
    )


def late_warning(plan: Plan, wish: Wish) -> str:
    """That the predicted duration is beyond the deadline, "" when it is not."""
    if wish.deadline is None or plan.seconds <= wish.deadline:
        return ""
    return (
        f"the plan takes about {plan.seconds:.0f} s, longer than the deadline of"
        f" {wish.deadline:.0f} s: what is last in it may not be moved in time"
    )


def _step(guest: Guest, prospect: Prospect) -> Step:
    why_cold = prospect.why_cold(guest)
    notes = remarks(guest, prospect.host)
    if why_cold:
        lost = "; its memory is lost" if guest.status in WITH_PROCESSES else ""
        notes.insert(0, f"cold: {why_cold}{lost}")
    return Step(
        guest.identifier, guest.name, prospect.host.name, "cold" if why_cold else "auto",
        bytes=load_of(guest, cold=bool(why_cold)).bytes, note=". ".join(notes),
    )  # fmt: skip


def _order(step: Step, guest: Guest) -> tuple[int, int, str, str]:
    """The important ones first, then large before small: a large one at the end runs alone."""
    return (-priority_of(guest), -step.bytes, step.name, step.container)


def _load(step: Step, guest: Guest, measured: Mapping[str, float]) -> Load:
    cold = step.mode == "cold" or guest.status not in WITH_PROCESSES
    return load_of(guest, cold=cold, most=measured.get(step.target, math.inf))


def _warnings(plan: Plan, guests: Sequence[Guest], wish: Wish) -> list[str]:
    found = []
    if late := late_warning(plan, wish):
        found.append(late)
    by_identifier = {guest.identifier: guest for guest in guests}
    losing = [
        step.name
        for step in plan.steps
        if step.mode == "cold" and not why_without_memory(by_identifier[step.container])
    ]
    if losing:
        found.append(f"these can only go cold, without their memory: {_names(losing)}")
    limit = wish.max_downtime
    if limit is not None:
        long = [step.name for step in plan.steps if step.downtime > limit]
        if long:
            found.append(f"these will be down for longer than {limit:g} s: {_names(long)}")
    bad = [guest.name for guest in guests if has_bad_priority(guest) and guest.status in MOVABLE]
    if bad:
        found.append(f"the label migrate.priority is no whole number, so 0: {_names(bad)}")
    return found


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(shown(name) for name in names[:NAMES_SHOWN]) + more
