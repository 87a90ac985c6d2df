"""What an evacuation has moved away, brought back by its journal."""

from __future__ import annotations

import time
from collections.abc import Mapping

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.claiming import Claims
from migrate.evacuate.execution.course import Outcome, Task
from migrate.evacuate.execution.errors import NothingToReturn
from migrate.evacuate.execution.journal import Journal, directory_of
from migrate.evacuate.execution.launching import Launch, launch
from migrate.evacuate.execution.report import Report
from migrate.evacuate.inventory.asking import ask_all, lift_cordon
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import Guest, HostState
from migrate.evacuate.moves import Moves
from migrate.evacuate.order import Order, View
from migrate.evacuate.planning.room import memory_need, memory_to_give
from migrate.evacuate.settling import settle_unfinished
from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.survey import Ask
from migrate.runtime.paths import Paths


class Return:
    """One return. Of the order, source, bandwidth, hooks and the wish's moves at once count."""

    def __init__(
        self, paths: Paths, order: Order, store: FleetStore, view: View, *, ask: Ask = ask_all,
        start: Launch = launch,
    ) -> None:  # fmt: skip
        self._order, self._store, self._view = order, store, view
        self._ask, self._start = ask, start
        self._begun = time.monotonic()
        view.note(f"asking {order.source.name}")
        answer = ask([order.source])[order.source.name]
        if isinstance(answer, MigrateError):
            raise answer
        self._home = answer
        self._journal = Journal(directory_of(paths, answer.host_id))
        if not order.source.address:
            raise UsageError(
                f"other hosts do not know how to reach {answer.name}",
                cause="it was named as this host, without an address",
                mend="'migrate host add' it with the address that others use, and name it so",
            )

    def tasks(self) -> tuple[list[Task], dict[str, HostState]]:
        """What is to come back, and the hosts where it is, by name. Nothing is touched.

        Raises NothingToReturn.
        """
        moved = self._journal.moved
        if not moved and not self._journal.unfinished:
            raise NothingToReturn(
                f"nothing is to be brought back to {self._home.name}",
                cause=f"no journal in {self._journal.directory} says that something left it",
            )
        names = sorted({o.target for o in moved.values()})
        addresses = self._journal.addresses
        self._view.note(f"asking {', '.join(names) or 'nobody'}")
        answers = self._ask([Host(name, addresses.get(name, "")) for name in names])
        found = []
        for outcome in moved.values():
            if (task := self._task(outcome, answers)) is not None:
                found.append(task)
        hosts = {n: a for n, a in answers.items() if isinstance(a, HostState)}
        return sorted(found, key=lambda task: -task.bytes), hosts

    def _task(
        self, outcome: Outcome, answers: Mapping[str, HostState | MigrateError]
    ) -> Task | None:  # fmt: skip
        answer = answers[outcome.target]
        if isinstance(answer, MigrateError):
            self._view.note(f"{outcome.name} stays on {outcome.target}: {answer.what}")
            return None
        guest = _guest(answer, outcome.container)
        if guest is None:
            self._view.note(f"{outcome.name} is not on {outcome.target} any more")
            return None
        mode = "cold" if outcome.mode == "cold" else "auto"
        return Task(
            guest.identifier, guest.name, answer.name, answer.address, self._home.name,
            self._order.source.address, mode, guest.memory, address=guest.address,
        )  # fmt: skip

    def carry_out(self) -> Report:
        """Uncordon the host and bring everything back.

        Raises NothingToReturn, ClaimTaken, RoomTaken, StoreUnreachable.
        """
        begun = time.time()
        moves = Moves(self._order, self._journal, self._view, self._start, self._begun)
        what = f"brings containers back to {self._home.name}"
        with Claims(
            self._store, self._home, what, moves.lose, self._order.wish.parallel
        ) as claims:  # fmt: skip
            moves.journal = self._journal = Journal(self._journal.directory)  # as it is now
            if self._journal.unfinished:
                settle_unfinished(self._journal, self._start, self._view.note)
            tasks, hosts = self.tasks()
            expected = len(self._journal.moved)
            needs = {t.container: (self._home.host_id, _need(hosts[t.origin], t)) for t in tasks}
            claims.reserve(needs, {self._home.host_id: memory_to_give(self._home)})
            lift_cordon(self._order.source)
            claims.tell_hosts([self._home])
            ids = {host.name: host.host_id for host in (self._home, *hosts.values())}
            outcomes = moves.carry_out(tasks, claims, ids)
            known = (self._home, *hosts.values())
            misplaced = moves.look_after(self._ask, known, outcomes)
        gone = f"{expected - len(tasks)} of the journal's containers are elsewhere or unreachable"
        report = Report(
            self._home.name, begun, time.time(), tuple(outcomes), returned=True,
            misplaced=(*misplaced, *([gone] if expected > len(tasks) else [])),
        )  # fmt: skip
        if report.complete:
            moves.journal.write("returned")
        return report


def _guest(host: HostState, identifier: str) -> Guest | None:
    return next(
        (g for g in host.guests if g.identifier == identifier and g.status != "moved"), None
    )


def _need(host: HostState, task: Task) -> int:
    guest = _guest(host, task.container)
    return memory_need(guest) if guest else 0
