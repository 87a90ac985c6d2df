"""What the conduct makes of hosts' answers: who receives, what is planned around, what is claimed.

Hosts and their `migrate move --dry-run` are values here; test_evacuate.py has real ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.claiming import Claims, taken_by_others
from migrate.evacuate.errors import PlanBad
from migrate.evacuate.evacuation import Evacuation
from migrate.evacuate.execution.course import Outcome, State
from migrate.evacuate.execution.errors import EvacuationIncomplete
from migrate.evacuate.feasible import feasible_plan, tasks_of, unwilling
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import EVACUATE_LABEL, KEEP, HostState
from migrate.evacuate.moves import Moves
from migrate.evacuate.order import Order
from migrate.evacuate.planning.room import RESERVE
from migrate.evacuate.planning.wish import Wish
from migrate.evacuate.store.errors import ClaimTaken, RoomTaken
from migrate.evacuate.store.files import FileKeyValues
from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.survey import Survey, survey
from migrate.move.errors import MoveRefused, TargetUnfit
from migrate.runtime.paths import Paths
from migrate.transfer.errors import HostUnreachable
from tests.evacuate.execution.fakes import Said
from tests.evacuate.planning.examples import GIB, MIB, guest, host


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, words: str) -> None:
        self.notes.append(words)

    def intent(self, plan: object) -> None: ...
    def course(self, course: object) -> None: ...
    def moment(self, courses: object) -> None: ...


class DryRuns:
    """`migrate move --dry-run` at the hosts: refusals by (container id, address, mode)."""

    def __init__(
        self, refused: Mapping[tuple[str, str, str], MigrateError], *, old: bool = False
    ) -> None:
        self.refused, self.old = refused, old
        self.asked: list[tuple[str, str, str]] = []

    def __call__(self, address: str, arguments: tuple[str, ...]) -> Any:
        assert "--dry-run" in arguments
        mode = arguments[arguments.index("--mode") + 1]
        others = [arguments[n + 1] for n, word in enumerate(arguments) if word == "--beside"]
        if others and self.old:
            return Said("", 2)
        plan = {"plan": {"mode": "pre-copy", "memory_bytes": 5}}
        told = []
        for container in (arguments[-2], *others):
            key = (container, arguments[-1], mode)
            self.asked.append(key)
            error = self.refused.get(key)
            answer = {"error": error.to_wire()} if error else plan
            if others:
                told.append(answer | {"of": container})
            else:
                told += [plan, answer]
        return Said("\n".join(map(json.dumps, told)))


def seen(source: HostState, *targets: HostState) -> Survey:
    return Survey(source, targets)


def silence(_words: str) -> None: ...


def plan_of(dry: DryRuns, view: Survey, **wish: Any) -> Any:
    order = Order(Host("alpha", "root@alpha"), (), Wish(**wish))
    return feasible_plan(view, order.wish, order.how, dry, silence)


def test_what_a_host_refuses_is_planned_around() -> None:
    view = seen(host("alpha", guest("a"), guest("b")), host("beta"), host("gamma"))
    where = {s.name: s.target for s in plan_of(DryRuns({}), view).steps}
    no = TargetUnfit("no such directory")
    dry = DryRuns({("id-a", f"root@{where['a']}", "auto"): no})
    plan = plan_of(dry, view)
    moved = {s.name: s.target for s in plan.steps}
    assert set(moved) == {"a", "b"}
    assert moved["a"] != where["a"]
    assert plan.stay == ()


@pytest.mark.parametrize("old", [False, True])
def test_many_are_asked_for_together_and_each_has_its_answer(old: bool) -> None:
    guests = [guest(f"c{number:02}") for number in range(20)]
    no = {(f"id-c{number:02}", "root@beta", "auto"): TargetUnfit("no") for number in (3, 17)}
    dry = DryRuns(no, old=old)
    plan = plan_of(dry, seen(host("alpha", *guests), host("beta")))
    assert {stays.name for stays in plan.stay} == {"c03", "c17"}
    assert len(dry.asked) == len(set(dry.asked)) == 20


def test_what_every_host_refuses_stays_with_all_reasons() -> None:
    view = seen(host("alpha", guest("a"), guest("b")), host("beta"), host("gamma"))
    refused = {
        ("id-a", "root@beta", "auto"): TargetUnfit("no directory"),
        ("id-a", "root@gamma", "auto"): MoveRefused.together(
            "'a' can't move", [TargetUnfit("no CRIU"), TargetUnfit("a full disk")]
        ),
    }
    plan = plan_of(DryRuns(refused), view)
    assert [s.name for s in plan.steps] == ["b"]
    (stays,) = plan.stay
    assert stays.why["beta"] == "no directory"
    assert "no CRIU" in stays.why["gamma"]
    assert "a full disk" in stays.why["gamma"]


def test_cold_is_asked_for_where_it_may_be() -> None:
    view = seen(host("alpha", guest("a")), host("beta"))
    refused = {("id-a", "root@beta", "auto"): TargetUnfit("io_uring")}
    assert plan_of(DryRuns(refused), view).steps == ()
    (step,) = plan_of(DryRuns(refused), view, on_failure="cold").steps
    assert step.mode == "cold"
    assert "memory" in step.note


@pytest.mark.parametrize(
    "said", ["", "nonsense", "[1]", '{"plan": 3}', '{"plan": {}}', '{"error": 3}']
)
def test_a_host_that_answers_with_nonsense_agrees_to_nothing(said: str) -> None:
    view = seen(host("alpha", guest("a")), host("beta"))
    order = Order(Host("a", ""), ())
    plan = feasible_plan(view, Wish(), order.how, lambda *_: Said(said), silence)
    assert plan.steps == ()


def test_who_is_to_stay_is_not_counted() -> None:
    source = host("alpha", guest("a", labels={EVACUATE_LABEL: KEEP}), guest("b", status="paused"))
    plan = plan_of(DryRuns({}), seen(source, host("beta")))
    assert {stays.name for stays in plan.stay} == {"a", "b"}
    assert [stays.name for stays in unwilling(plan, source)] == ["b"]


def answering(**answers: HostState | MigrateError) -> Any:
    def ask(hosts: Sequence[Host]) -> dict[str, HostState | MigrateError]:
        return {h.name: answers[h.name] for h in hosts}

    return ask


def hosts_of(*names: str) -> list[Host]:
    return [Host(name, f"root@{name}") for name in names]


def test_who_receives() -> None:
    alpha, beta = host("alpha", guest("a")), host("beta", address="")  # it is this very machine
    twin = msgspec.structs.replace(alpha, name="twin")
    ask = answering(alpha=alpha, beta=beta, twin=twin, down=HostUnreachable("no route"))
    found = survey(ask, *[hosts_of("alpha")[0]], hosts_of("beta", "twin", "down"))
    assert [t.address for t in found.targets] == ["root@beta"]
    assert found.left_out == {"twin": "it is the host itself", "down": "no route"}
    with pytest.raises(UsageError) as refused:
        survey(ask, hosts_of("alpha")[0], hosts_of("down"))
    assert "no route" in refused.value.cause
    with pytest.raises(HostUnreachable):
        survey(ask, hosts_of("down")[0], hosts_of("beta"))


def test_what_others_have_claimed_is_left_to_them() -> None:
    view = seen(host("alpha"), host("beta"), host("gamma"))
    less = view.less({"host-beta": 5 * GIB}, {"host-gamma": "root@desk"})
    assert [(t.name, t.memory_free) for t in less.targets] == [("beta", 3 * GIB)]
    assert "root@desk" in less.left_out["gamma"]


@pytest.fixture
def store(tmp_path: Path) -> FleetStore:
    return FleetStore(FileKeyValues(tmp_path / "fleet"))


def lost(_error: MigrateError) -> None: ...


def test_memory_is_given_away_once(store: FleetStore) -> None:
    beta = {"host-beta": 1200 * MIB}
    with Claims(store, host("alpha"), "empties alpha", lost) as one:
        one.reserve({"id-a": ("host-beta", 400 * MIB), "id-b": ("host-beta", 300 * MIB)}, beta)
        assert taken_by_others(store) == (
            {"host-beta": 700 * MIB + RESERVE},
            {"host-alpha": store.owner},
        )
        with Claims(store, host("gamma"), "empties gamma", lost) as two:
            with pytest.raises(RoomTaken):
                two.reserve({"id-c": ("host-beta", 400 * MIB)}, beta)
            with pytest.raises(ClaimTaken):
                two.reserve({"id-c": ("host-alpha", 1)}, {"host-alpha": 1000 * MIB})
            two.reserve({"id-c": ("host-beta", 300 * MIB)}, beta)
        outcome = Outcome("id-a", "a", "alpha", "beta", State.MOVED, generation=2)
        one.done(outcome, {"alpha": "host-alpha", "beta": "host-beta"})
        assert taken_by_others(store)[0] == {"host-beta": 300 * MIB + RESERVE}
        generation = store.generation("id-a")
        assert generation is not None
        assert (generation.number, generation.host) == (2, "host-beta")
        with pytest.raises(ClaimTaken):
            Claims(store, host("alpha"), "empties alpha, too", lost)
    assert taken_by_others(store) == ({}, {})


def test_who_fills_a_host_again_may_reserve_there(store: FleetStore) -> None:
    with Claims(store, host("alpha"), "fills alpha", lost) as claims:
        claims.reserve({"id-a": ("host-alpha", MIB)}, {"host-alpha": GIB})
        claims.tell_hosts([host("alpha")], cordoned=True, why="new disks")
    (known,) = store.overview().hosts
    assert (known.name, known.cordoned, known.why) == ("alpha", True, "new disks")


def evacuation(tmp_path: Path, store: FleetStore, *states: HostState, **wish: Any) -> Evacuation:
    first, *others = states
    order = Order(Host(first.name, first.address), tuple(hosts_of(*(o.name for o in others))),
                  Wish(**wish))  # fmt: skip
    return Evacuation(
        Paths(tmp_path, tmp_path), order, store, Silent(),
        ask=answering(**{state.name: state for state in states}), start=DryRuns({}),
    )  # fmt: skip


def test_stop_begins_nothing_when_something_must_stay(tmp_path: Path, store: FleetStore) -> None:
    alpha = host("alpha", guest("a"), guest("b", status="paused"))
    made = evacuation(tmp_path, store, alpha, host("beta"), on_failure="stop")
    with pytest.raises(EvacuationIncomplete) as refused:
        made.carry_out(made.plan())
    assert "paused" in refused.value.cause
    assert store.overview().claims == ()
    assert not (tmp_path / "evacuations").exists()


def test_a_plan_for_another_host_is_refused(tmp_path: Path, store: FleetStore) -> None:
    alpha, beta = host("alpha", guest("a")), host("beta")
    plan = evacuation(tmp_path, store, alpha, beta).plan()
    with pytest.raises(PlanBad):
        evacuation(tmp_path, store, beta, alpha).confirmed(msgspec.structs.replace(plan, steps=()))
    there = evacuation(tmp_path, store, host("alpha"), beta)
    assert there.confirmed(plan).steps == ()  # it has gone meanwhile


def test_where_the_hosts_say_that_containers_are() -> None:
    alpha, beta = host("alpha", guest("c")), host("beta", guest("a"), guest("c"))
    moves = Moves(Order(Host("alpha", ""), ()), None, Silent(), None, 0.0)  # type: ignore[arg-type]
    outcomes = [
        Outcome("id-a", "a", "alpha", "beta", State.MOVED),
        Outcome("id-b", "b", "alpha", "beta", State.MOVED),
        Outcome("id-c", "c", "alpha", "beta", State.FAILED),
        Outcome("id-d", "d", "alpha", "down", State.MOVED),
        Outcome("id-e", "e", "alpha", "beta", State.UNSETTLED),
    ]
    down = host("down")
    ask = answering(alpha=alpha, beta=beta, down=HostUnreachable("no route"))
    assert moves.look_after(ask, [alpha, beta, down], outcomes) == [
        "b should be on beta, and is on none of the hosts that answer",
        "c should be on alpha, and is on alpha and beta",
    ]


def test_names_are_the_hosts_own_whatever_a_plan_says(tmp_path: Path, store: FleetStore) -> None:
    """A log is named by it."""
    made = evacuation(tmp_path, store, host("alpha", guest("a")), host("beta"))
    plan = made.plan()
    steps = tuple(msgspec.structs.replace(step, name="../../x") for step in plan.steps)
    tasks = tasks_of(msgspec.structs.replace(plan, steps=steps), made.source)
    assert [task.name for task in tasks] == ["a"]


def test_what_another_run_has_begun_is_left_to_it(tmp_path: Path, store: FleetStore) -> None:
    """It lives: `migrate recover` must not be asked to settle its moves."""
    made = evacuation(tmp_path, store, host("alpha", guest("a")), host("beta"))
    with Claims(store, made.source, "empties alpha", lost), pytest.raises(ClaimTaken):
        made.take_up()
    made.take_up()
    assert store.overview().claims == ()
