"""A host emptied: from the survey over the plan to the report, taken up where it was cut off."""

from __future__ import annotations

import time

import msgspec

from migrate.evacuate.claiming import Claims, refuse_overdrawn, taken_by_others
from migrate.evacuate.errors import PlanBad
from migrate.evacuate.execution.course import Outcome, State
from migrate.evacuate.execution.errors import EvacuationIncomplete
from migrate.evacuate.execution.journal import Journal, directory_of
from migrate.evacuate.execution.launching import Launch, launch
from migrate.evacuate.execution.report import Report
from migrate.evacuate.feasible import confirm, feasible_plan, tasks_of, unwilling
from migrate.evacuate.inventory.asking import ask_all, set_cordon
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import HostState, Plan
from migrate.evacuate.moves import Moves
from migrate.evacuate.order import Order, View
from migrate.evacuate.planning.holding import check
from migrate.evacuate.planning.room import memory_need, memory_to_give
from migrate.evacuate.settling import settle_unfinished
from migrate.evacuate.store.errors import ClaimTaken, RoomTaken
from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.survey import Ask, Survey, survey
from migrate.runtime.paths import Paths

PLANS = 3
"""That are made at most, where others are quicker to take the room that each counts on."""


class Evacuation:
    """One evacuation: `plan`, then `carry_out` with that plan or an edited one."""

    def __init__(
        self, paths: Paths, order: Order, store: FleetStore, view: View, *, ask: Ask = ask_all,
        start: Launch = launch,
    ) -> None:  # fmt: skip
        self._paths, self._order, self._store, self._view = paths, order, store, view
        self._ask, self._start = ask, start
        self._begun = time.monotonic()
        self._reserved: dict[str, int] = {}  # by others when the hosts were asked; bytes by host id
        self._seen = self._look()

    @property
    def source(self) -> HostState:
        """The host as it answered last."""
        return self._seen.source

    def _look(self) -> Survey:
        order = self._order
        self._view.note(f"asking {1 + len(order.targets)} hosts")
        # Read first: what arrives in between is then counted twice, rather than not at all.
        self._reserved, emptied = taken_by_others(self._store)
        seen = survey(self._ask, order.source, order.targets).less(self._reserved, emptied)
        for name, why in seen.left_out.items():
            self._view.note(f"{name} receives nothing: {why}")
        return seen

    def plan(self) -> Plan:
        """The plan for the hosts as they are, every move of it confirmed; nothing is touched.

        Raises UsageError.
        """
        order = self._order
        if order.check:
            return feasible_plan(
                self._seen, order.wish, order.how, self._start, self._view.note
            )  # fmt: skip
        from migrate.evacuate.planning.plan import make_plan

        return make_plan(self._seen.source, self._seen.targets, order.wish)

    def confirmed(self, plan: Plan) -> Plan:
        """A plan that was given, with what the hosts refuse of it staying. Raises PlanBad."""
        seen, order = self._seen, self._order
        here = {guest.identifier for guest in seen.source.guests}
        left = tuple(step for step in plan.steps if step.container in here)
        for step in plan.steps:
            if step.container not in here:
                self._view.note(f"{step.name} is not on {plan.source} any more")
        plan = msgspec.structs.replace(plan, steps=left)
        if faults := check(plan, seen.source, seen.targets, order.wish):
            raise PlanBad(
                "the plan does not fit the hosts as they are now", cause="; ".join(faults)
            )
        plan = msgspec.structs.replace(
            plan, addresses={target.name: target.address for target in seen.targets}
        )
        if not order.check:
            return plan
        return confirm(plan, seen, order.wish, order.how, self._start, self._view.note)

    def take_up(self) -> None:
        """Settle what an earlier run of this evacuation had begun; then look anew.

        Raises ClaimTaken while that run still lives: what it has begun is on its way.
        """
        with Claims(self._store, self.source, f"takes up {self.source.name}", lambda _lost: None):
            journal = self._journal()
            if journal.is_open:
                self._view.note(f"going on with the evacuation of {self.source.name}")
            if not journal.unfinished:
                return
            settle_unfinished(journal, self._start, self._view.note)
        self._seen = self._look()

    def carry_out(self, plan: Plan, *, fixed: bool = False) -> Report:
        """Cordon the host, move what the plan says, and look where everything is.

        Where others have taken room meanwhile, a new plan is made, unless this one is `fixed`. What
        fails is in the report. Raises, before anything is touched: ClaimTaken, RoomTaken,
        StoreUnreachable, HostUnreachable; EvacuationIncomplete where something must stay and the
        wish is to stop then.
        """
        begun = time.time()
        moves = Moves(self._order, self._journal(), self._view, self._start, self._begun)
        plan, claims = self._claim(plan, moves, PLANS if not fixed else 1)
        with claims:
            outcomes, misplaced = self._move(plan, moves, claims)
        staying = {s.name: _why(s.why) for s in unwilling(plan, self._seen.source)}
        report = Report(
            plan.source, begun, time.time(), tuple(outcomes), staying, misplaced=tuple(misplaced)
        )
        if report.complete:
            moves.journal.write("ended")
        return report

    def _claim(self, plan: Plan, moves: Moves, plans: int) -> tuple[Plan, Claims]:
        """The claims for the plan, or for a later one of so many in all."""
        while True:
            if self._order.wish.on_failure == "stop":
                raise_staying(plan, self._seen.source)
            try:
                return plan, self._claimed(plan, moves)
            except (ClaimTaken, RoomTaken) as taken:
                plans -= 1
                if not plans:
                    raise
                self._view.note(f"{taken.what}: planning anew")
            self._seen = self._look()
            plan = self.plan()

    def _claimed(self, plan: Plan, moves: Moves) -> Claims:
        """The host and the room that the plan needs, ours; nothing is kept when it fails."""
        claims = Claims(
            self._store, self._seen.source, f"empties {plan.source}", moves.lose,
            self._order.wish.parallel,
        )  # fmt: skip
        try:
            needs = self._needs(plan)
            claims.reserve(needs, self.capacity())
            refuse_overdrawn(self._store, self._ask, self._receivers(needs))
        except BaseException:
            claims.__exit__()
            raise
        return claims

    def _move(
        self, plan: Plan, moves: Moves, claims: Claims
    ) -> tuple[list[Outcome], list[str]]:  # fmt: skip
        """The outcomes, and what the hosts say against them."""
        moves.journal = self._journal()  # as it is now that nobody else writes it
        self._view.intent(plan)
        why = f"{plan.source} is emptied"
        set_cordon(self._order.source, by=self._store.owner, why=why)
        claims.tell_hosts([self.source], cordoned=True, why=why)
        claims.tell_hosts(self._seen.targets)
        moves.journal.begin(plan.source, self.source.address, plan.addresses)
        known = (self.source, *self._seen.targets)
        ids = {host.name: host.host_id for host in known}
        outcomes = moves.carry_out(tasks_of(plan, self.source), claims, ids)
        return outcomes, moves.look_after(self._ask, known, outcomes)

    def _journal(self) -> Journal:
        return Journal(directory_of(self._paths, self.source.host_id))

    def capacity(self) -> dict[str, int]:
        """Bytes by host id that may be reserved in all: what a plan can use, and others had."""
        return {
            t.host_id: memory_to_give(t) + self._reserved.get(t.host_id, 0)
            for t in self._seen.targets
        }

    def _receivers(self, needs: dict[str, tuple[str, int]]) -> list[Host]:
        """The hosts whose memory is to be used."""
        used = {host_id for host_id, size in needs.values() if size}
        names = {t.name for t in self._seen.targets if t.host_id in used}
        return [host for host in self._order.targets if host.name in names]

    def _needs(self, plan: Plan) -> dict[str, tuple[str, int]]:
        needs = {}
        for step in plan.steps:
            guest = self._seen.guest(step.container)
            if guest is not None:
                needs[step.container] = (self._seen.target(step.target).host_id, memory_need(guest))
        return needs


def _why(reasons: dict[str, str]) -> str:
    return "; ".join(f"{host}: {why}" if host else why for host, why in reasons.items())


def raise_staying(plan: Plan, source: HostState) -> None:
    """Raises EvacuationIncomplete when something of the plan stays that should go."""
    staying = unwilling(plan, source)
    if staying:
        raise EvacuationIncomplete(
            f"{len(staying)} of {len(staying) + len(plan.steps)} containers can't go; nothing was "
            "touched",
            cause="; ".join(f"{s.name}: {_why(s.why)}" for s in staying[:5]),
            mend="mend that, or move the others with --on-failure skip",
        )


def incomplete(report: Report) -> EvacuationIncomplete:
    """The error for a report that is not complete."""
    failed = [o for o in report.outcomes if o.state is not State.MOVED]
    words = [f"{o.name}: {(o.error or {}).get('what', o.state)}" for o in failed]
    words += [f"{name}: {why}" for name, why in report.stay.items()] + list(report.misplaced)
    return EvacuationIncomplete(
        f"{len(words)} containers are not where they were to go", cause="; ".join(words[:5])
    )


def raise_incomplete(report: Report) -> None:
    """Raises EvacuationIncomplete unless all that was asked has been done."""
    if not report.complete:
        raise incomplete(report)
