"""Hosts of an inventory: asked, cordoned, emptied, and filled again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from migrate.errors import MigrateError
from migrate.evacuate.execution.course import Course, Task
from migrate.evacuate.execution.hooks import Hooks
from migrate.evacuate.execution.report import Report
from migrate.evacuate.inventory.asking import ask_all, lift_cordon, set_cordon
from migrate.evacuate.inventory.hosts import Host, resolve
from migrate.evacuate.inventory.reading import load, load_for, locate
from migrate.evacuate.model import HostState, Plan
from migrate.evacuate.order import HERE, Order, View, order_of
from migrate.evacuate.planning.wish import Wish
from migrate.evacuate.store.opening import open_store
from migrate.runtime.paths import Paths

if TYPE_CHECKING:
    from migrate.evacuate.evacuation import Evacuation


class Silent:
    """A view that shows nothing."""

    def note(self, words: str) -> None:
        """Nothing."""

    def intent(self, plan: Plan) -> None:
        """Nothing."""

    def course(self, course: Course) -> None:
        """Nothing."""

    def moment(self, courses: Sequence[Course]) -> None:
        """Nothing."""


def hosts(inventory: Path | None = None) -> dict[str, HostState | MigrateError]:
    """Every host of the inventory as it answers now, or why it does not; by name.

    `inventory`: the file, else MIGRATE_INVENTORY, else /etc/migrate/hosts.toml. Raises
    InventoryBad.
    """
    return ask_all(load(locate(inventory)).hosts.values())


def cordon(host: str, why: str = "", *, by: str = "", inventory: Path | None = None) -> None:
    """`migrate host cordon`: let it take no containers. Raises HostUnknown, what asking raises."""
    set_cordon(_host(host, inventory), by=by, why=why)


def uncordon(host: str, *, inventory: Path | None = None) -> bool:
    """`migrate host uncordon`; whether it was cordoned."""
    return lift_cordon(_host(host, inventory))


def _host(text: str, inventory: Path | None) -> Host:
    return resolve(text, load_for([text], inventory))


def order(
    host: str, to: Sequence[str] = (), wish: Wish | None = None, *, inventory: Path | None = None,
    bandwidth: int | None = None, stop_time: float | None = None, before: str = "",
    after: str = "", check: bool = True,
) -> Order:  # fmt: skip
    """The options of `migrate evacuate` as a value; names of the inventory, or addresses.

    Raises InventoryBad, HostUnknown, TargetInvalid.
    """
    named = [text for text in (host, *to) if text != HERE]
    known = load_for(named, inventory) if to else load(locate(inventory))
    return order_of(
        host, to, known, wish or Wish(), bandwidth=bandwidth, stop_time=stop_time,
        hooks=Hooks(before, after), check=check,
    )  # fmt: skip


def plan_evacuation(
    wanted: Order, *, edited: Plan | None = None, store: str | None = None, view: View | None = None
) -> tuple[Plan, HostState]:  # fmt: skip
    """`migrate evacuate --dry-run`: the plan (or what holds of `edited`), and the host as it is.

    Nothing is touched. Raises UsageError, PlanBad, and what asking the host raises.
    """
    evacuation = _evacuation(wanted, store, view)
    return _plan(evacuation, edited), evacuation.source


def evacuate(
    wanted: Order, *, edited: Plan | None = None, store: str | None = None, view: View | None = None
) -> Report:  # fmt: skip
    """`migrate evacuate`: plan, cordon, move. What fails is in the report.

    `edited`: a plan to be carried out instead of a new one. Goes on where an earlier call was cut
    off. Raises, before anything is touched, what `plan_evacuation` does, ClaimTaken, RoomTaken,
    StoreUnreachable, and EvacuationIncomplete where the wish is to stop then. In the main thread
    SIGINT, SIGTERM and SIGHUP are heard while containers move (see `Execution`).
    """
    evacuation = _evacuation(wanted, store, view)
    evacuation.take_up()
    return evacuation.carry_out(_plan(evacuation, edited), fixed=edited is not None)


def _evacuation(wanted: Order, store: str | None, view: View | None) -> Evacuation:
    from migrate.evacuate.evacuation import Evacuation

    paths = Paths.from_environment()
    return Evacuation(paths, wanted, open_store(store, paths), view or Silent())


def _plan(evacuation: Evacuation, edited: Plan | None) -> Plan:
    return evacuation.plan() if edited is None else evacuation.confirmed(edited)


def plan_return(
    wanted: Order, *, store: str | None = None, view: View | None = None
) -> list[Task]:  # fmt: skip
    """`migrate evacuate --return --dry-run`: what would come back. Raises NothingToReturn."""
    from migrate.evacuate.returning import Return

    paths = Paths.from_environment()
    return Return(paths, wanted, open_store(store, paths), view or Silent()).tasks()[0]


def return_to(wanted: Order, *, store: str | None = None, view: View | None = None) -> Report:
    """`migrate evacuate --return`: uncordon the host and bring back what an evacuation has moved.

    Raises NothingToReturn, UsageError, ClaimTaken, RoomTaken, StoreUnreachable.
    """
    from migrate.evacuate.returning import Return

    paths = Paths.from_environment()
    return Return(paths, wanted, open_store(store, paths), view or Silent()).carry_out()


__all__ = [
    "HERE", "Silent", "cordon", "evacuate", "hosts", "order", "plan_evacuation", "plan_return",
    "return_to", "uncordon",
]  # fmt: skip
