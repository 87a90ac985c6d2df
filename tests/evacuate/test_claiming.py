"""Memory of a target that two evacuations want: given once, whatever they knew when planning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from migrate.errors import MigrateError
from migrate.evacuate import claiming
from migrate.evacuate.claiming import Claims, refuse_overdrawn
from migrate.evacuate.evacuation import Evacuation
from migrate.evacuate.execution.errors import EvacuationIncomplete
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import HostState
from migrate.evacuate.moves import Moves
from migrate.evacuate.order import Order
from migrate.evacuate.planning.room import BESIDE, RESERVE
from migrate.evacuate.planning.wish import Wish
from migrate.evacuate.store.errors import RoomTaken
from migrate.evacuate.store.files import FileKeyValues
from migrate.evacuate.store.fleet import FleetStore
from migrate.runtime.paths import Paths
from tests.evacuate.planning.examples import MIB, fitting, guest, host

SIZE = 100 * MIB
NEED = SIZE + BESIDE


@pytest.fixture
def store(tmp_path: Path) -> FleetStore:
    return FleetStore(FileKeyValues(tmp_path / "fleet"))


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "PAUSE", 0)


def lose(error: MigrateError) -> None:
    raise AssertionError(error)


class Silent:
    """Nobody watches."""

    def note(self, words: str) -> None: ...
    def intent(self, plan: object) -> None: ...
    def course(self, course: object) -> None: ...
    def moment(self, courses: object) -> None: ...


def of(*states: HostState):
    """They answer so."""

    def ask(hosts: Sequence[Host]) -> Mapping[str, HostState | MigrateError]:
        return {h.name: s for h in hosts for s in states if s.name == h.name}

    return ask


def reserved_by_another(store: FleetStore, size: int) -> Claims:
    claims = Claims(store, host("other"), "empties other", lose)
    claims.reserve({"theirs": ("host-beta", size)}, {"host-beta": 1 << 40})
    return claims


def evacuation(store: FleetStore, tmp_path: Path, beta: HostState) -> Evacuation:
    alpha = host("alpha", guest("web", memory=SIZE))
    order = Order(Host("alpha", alpha.address), (Host("beta", beta.address),), Wish(parallel=1),
                  check=False)  # fmt: skip
    paths = Paths(tmp_path / "state", tmp_path / "run")
    return Evacuation(paths, order, store, Silent(), ask=of(alpha, beta))


def test_a_reservation_leaves_what_a_move_needs_beside(store: FleetStore, tmp_path: Path) -> None:
    """Another comes between the plan and its reservation: both fit into what is free, but not with
    the reserve that their moves need."""
    beta = fitting("beta", SIZE)
    mine = evacuation(store, tmp_path, beta)
    plan = mine.plan()
    assert [step.target for step in plan.steps] == ["beta"]
    theirs = RESERVE // 2
    assert NEED + theirs < beta.memory_free
    with reserved_by_another(store, theirs), pytest.raises(RoomTaken):
        mine.carry_out(plan, fixed=True)


def test_what_others_had_reserved_before_is_counted_once(
    store: FleetStore, tmp_path: Path
) -> None:  # fmt: skip
    """Room for two, one of them another's: ours is planned, and not refused."""
    beta = fitting("beta", SIZE, SIZE, RESERVE - BESIDE)
    with reserved_by_another(store, NEED):
        mine = evacuation(store, tmp_path, beta)
        plan = mine.plan()
        assert [step.target for step in plan.steps] == ["beta"]
        with Claims(store, mine.source, "empties alpha", lose) as claims:
            claims.reserve({"web": ("host-beta", NEED)}, mine.capacity())


def test_what_came_after_the_plan_is_noticed(store: FleetStore, no_pause: None) -> None:
    """It was another's: its reservation is gone, and so is the memory."""
    targets = [Host("beta", "root@beta")]
    with reserved_by_another(store, NEED):
        refuse_overdrawn(store, of(host("beta", memory_free=NEED + RESERVE)), targets)
        with pytest.raises(RoomTaken, match="less free memory"):
            refuse_overdrawn(store, of(host("beta", memory_free=NEED + RESERVE - 1)), targets)
    refuse_overdrawn(store, of(host("beta", memory_free=0)), targets)  # nothing is reserved there


def test_what_is_on_its_way_is_waited_for(store: FleetStore, no_pause: None) -> None:
    """A container that arrives is both reserved and there; when it has arrived, only there."""
    beta = host("beta", memory_free=2 * NEED + RESERVE - 1)
    looks = []

    def ask(hosts: Sequence[Host]) -> Mapping[str, HostState | MigrateError]:
        looks.append(len(hosts))
        if len(looks) == 2:
            other.__exit__()
        return {"beta": beta}

    other = reserved_by_another(store, NEED)
    with Claims(store, host("alpha"), "empties alpha", lose) as claims:
        claims.reserve({"web": ("host-beta", NEED)}, {"host-beta": 1 << 40})
        refuse_overdrawn(store, ask, [Host("beta", "root@beta")])
    assert len(looks) == 3


def test_a_plan_is_made_anew_where_others_took_the_room(
    store: FleetStore, tmp_path: Path
) -> None:  # fmt: skip
    """Two hosts with room for one; another takes that of the first between plan and reservation."""
    states = fitting("beta", SIZE), fitting("gamma", SIZE)
    alpha = host("alpha", guest("web", memory=SIZE))
    order = Order(
        Host("alpha", "root@alpha"), tuple(Host(s.name, s.address) for s in states),
        Wish(parallel=1, on_failure="stop"), check=False,
    )  # fmt: skip
    view = Silent()
    paths = Paths(tmp_path / "state", tmp_path / "run")
    mine = Evacuation(paths, order, store, view, ask=of(alpha, *states))
    (step,) = mine.plan().steps
    other = Claims(store, host("other"), "empties other", lose)
    with other:
        other.reserve({"theirs": (f"host-{step.target}", NEED)}, {f"host-{step.target}": 1 << 40})
        plan, claims = mine._claim(mine.plan(), Moves(order, None, view, None, 0.0), 3)  # type: ignore[arg-type]
        with claims:
            assert [s.target for s in plan.steps] == [
                {"beta", "gamma"}.difference({step.target}).pop()
            ]
        other.reserve(
            {n: (f"host-{n}", NEED) for n in ("beta", "gamma")},
            {f"host-{n}": 1 << 40 for n in ("beta", "gamma")},
        )
        with pytest.raises(EvacuationIncomplete, match="can't go"):
            mine._claim(plan, Moves(order, None, view, None, 0.0), 3)  # type: ignore[arg-type]
    assert not store.overview().claims
