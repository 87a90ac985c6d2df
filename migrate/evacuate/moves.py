"""The moves of an evacuation or a return, under its claims; and a last look where all are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from migrate.errors import MigrateError
from migrate.evacuate.claiming import Claims
from migrate.evacuate.execution.course import Outcome, State, Task
from migrate.evacuate.execution.execution import Conduct, Execution
from migrate.evacuate.execution.journal import Journal
from migrate.evacuate.execution.launching import Launch
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import HostState
from migrate.evacuate.order import Order, View
from migrate.evacuate.survey import Ask


class Moves:
    """Carries tasks out for an order. `begun`: when the operator asked, for the deadline."""

    def __init__(
        self, order: Order, journal: Journal, view: View, start: Launch, begun: float
    ) -> None:  # fmt: skip
        self._order, self._view, self._start, self._begun = order, view, start, begun
        self.journal = journal
        self._execution: Execution | None = None
        self._lost: MigrateError | None = None

    def lose(self, error: MigrateError) -> None:
        """The claim is lost: begin nothing new. Called by the thread that renews it."""
        self._lost = error
        if self._execution is not None:
            self._execution.stop(error.what)

    def carry_out(
        self, tasks: Sequence[Task], claims: Claims, ids: Mapping[str, str]
    ) -> list[Outcome]:  # fmt: skip
        """All of them; `ids` are the host ids by name."""
        wish = self._order.wish

        def concluded(outcome: Outcome) -> None:
            try:
                claims.done(outcome, ids)
            except MigrateError as error:
                self._view.note(f"{outcome.name}: {error.what}")

        @contextmanager
        def claim(task: Task) -> Iterator[None]:
            if self._lost is not None:
                raise self._lost
            with claims.container(task):
                yield

        conduct = Conduct(
            wish.parallel, self._order.how, wish.on_failure,
            self._begun + wish.deadline if wish.deadline is not None else None,
            self._order.hooks, self._start, claim, concluded,
        )  # fmt: skip
        self._execution = execution = Execution(
            tasks, conduct, self.journal, self._view.course
        )  # fmt: skip
        if not tasks:
            return []
        return execution.carry_out(lambda: self._view.moment(execution.courses))

    def look_after(
        self, ask: Ask, known: Iterable[HostState], outcomes: Sequence[Outcome]
    ) -> list[str]:  # fmt: skip
        """Ask those that had to do with it once more: what contradicts the outcomes, in words."""
        names = {name for o in outcomes for name in (o.origin, o.target)}
        hosts = [Host(host.name, host.address) for host in known if host.name in names]
        if not hosts:
            return []
        answers = ask(hosts)
        found = []
        for outcome in outcomes:
            found += _contradictions(outcome, answers, hosts)
        return found


def _contradictions(
    outcome: Outcome, answers: Mapping[str, HostState | MigrateError], hosts: Sequence[Host]
) -> list[str]:
    """Where the container is by the hosts' own words, if not where the outcome says."""
    if outcome.state is State.UNSETTLED:
        return []  # told already
    silent = [h.name for h in hosts if not isinstance(answers[h.name], HostState)]
    places = [
        name
        for name, answer in answers.items()
        if isinstance(answer, HostState)
        and any(g.identifier == outcome.container and g.status != "moved" for g in answer.guests)
    ]
    wanted = outcome.target if outcome.state is State.MOVED else outcome.origin
    if places == [wanted] or (wanted in silent and not places):
        return []
    where = " and ".join(places) or "none of the hosts that answer"
    return [f"{outcome.name} should be on {wanted}, and is on {where}"]
