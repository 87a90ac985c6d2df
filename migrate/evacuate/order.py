"""What an operator asks for when a host is to be emptied or filled again, and who watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from migrate.evacuate.execution.course import Course
from migrate.evacuate.execution.execution import with_share
from migrate.evacuate.execution.hooks import Hooks
from migrate.evacuate.execution.moving import How
from migrate.evacuate.inventory.hosts import Host, Inventory, resolve, this_host
from migrate.evacuate.model import Plan
from migrate.evacuate.planning.wish import Wish

HERE = "."


@dataclass(frozen=True)
class Order:
    """One host, and those that may receive. `bandwidth` in Mbit/s for all moves together."""

    source: Host
    targets: tuple[Host, ...]
    wish: Wish = field(default_factory=Wish)
    bandwidth: int | None = None
    stop_time: float | None = None  # seconds that a container may take to stop, mode cold
    hooks: Hooks = field(default_factory=Hooks)
    check: bool = True
    """Ask the hosts for each move before anything is begun."""

    @property
    def how(self) -> How:
        """What each single move is given."""
        return with_share(
            How(self.wish.max_downtime, stop_time=self.stop_time), self.bandwidth,
            self.wish.parallel,
        )  # fmt: skip


def order_of(
    source: str, targets: Sequence[str], inventory: Inventory, wish: Wish, *,
    bandwidth: int | None = None, stop_time: float | None = None, hooks: Hooks | None = None,
    check: bool = True,
) -> Order:  # fmt: skip
    """The order in the words of a command line: names of the inventory or addresses, "." for here.

    Without `targets` all other hosts of the inventory may receive. Raises HostUnknown,
    TargetInvalid.
    """
    host = this_host() if source == HERE else resolve(source, inventory)
    if targets:
        named = [this_host() if text == HERE else resolve(text, inventory) for text in targets]
    else:
        named = list(inventory.hosts.values())
    others = {other.name: other for other in named if other.name != host.name}
    return Order(
        host, tuple(others.values()), wish, bandwidth, stop_time, hooks or Hooks(), check
    )  # fmt: skip


class View(Protocol):
    """Who watches. `course` is called from several threads, the others from the conducting one."""

    def note(self, words: str) -> None:
        """Something to know."""

    def intent(self, plan: Plan) -> None:
        """The plan that is carried out now."""

    def course(self, course: Course) -> None:
        """One container has come further."""

    def moment(self, courses: Sequence[Course]) -> None:
        """Some time has passed."""
