"""All that is checked for one move, gathered at its source."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from migrate.checkpoint import preflight, subgroups
from migrate.checkpoint.netns import contents
from migrate.checkpoint.preflight import Verdict
from migrate.checkpoint.state import State
from migrate.criu import cpu
from migrate.errors import MigrateError
from migrate.move.errors import ContainerUnfit, TargetUnfit
from migrate.move.facts import Facts
from migrate.move.modes import LATE, LAZY, NOT_FILLED, lacking_for_late, lacking_for_pre_copy
from migrate.move.preflight import connections, hosts
from migrate.move.preflight.target import NETWORK_SUBJECT, USER_NAMESPACE_SUBJECT
from migrate.move.sharing import Apart
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.records import Network, Process

ROOM = 64 << 20  # bytes kept free at the target beside what is sent


SKIPPABLE = (
    *(check.name for check in preflight.CHECKS), "connections", "cpu", "clock", "labels", "memory",
    "disk",
)  # fmt: skip
"""What `--skip-check` takes. What fails then, fails in a dump or a restore, and is rolled back."""


@dataclass(frozen=True)
class Case:
    """One move that is thought of: the mode, both hosts, and the container's memory in bytes."""

    mode: str
    here: Facts
    there: Facts
    memory: int
    apart: Apart
    process: Process | None = None  # None when it does not run
    tcp: str = connections.KEEP
    address: str = "keep"
    network: Network = Network()  # noqa: RUF009 -- frozen
    """With the addresses that it has here."""
    labels: tuple[str, ...] = ()  # as what its processes are confined (kernel/lsm.py)
    mapped: bool = False  # it has a user namespace

    @property
    def keeps_memory(self) -> bool:
        """Whether processes go along."""
        return self.mode != "cold" and self.process is not None

    def cpu(self) -> bytes:
        """This host's CPU for the target to compare, where that matters; b"" where not."""
        if not (self.keeps_memory and self.here.criu and self.there.criu):
            return b""
        return cpu.describe()


def verdicts_of(case: Case, state: State, skip: Collection[str]) -> list[Verdict]:
    """This side's, of both hosts and the container."""
    same = hosts.same_host(case.here, case.there)
    if not same.passed:
        return [same]
    new = []
    if case.address == connections.NEW:
        found = tuple(connections.of_a_new_address(state.record, case.network, state.netns))
        new.append(Verdict("address", "whether it can have a new address", found, skippable=False))
    new.append(_network(case, state))
    if state.record.terminal:
        new.append(_terminal(case))
    if state.record.user_namespace:
        new.append(_user_namespace(case))
    if not case.keeps_memory:
        return [same, *new, *hosts.room(case.there, memory=case.memory, disk=ROOM, skip=skip)]
    assert case.process
    lazy = case.mode in LAZY
    needed = case.memory + ROOM
    return [
        same,
        *new,
        *hosts.with_memory(case.here, case.there, skip),
        hosts.own_groups(case.there, subgroups.read(ControlGroup.of(state.record.identifier))),
        hosts.labels(case.here, case.there, case.labels, skip),
        *hosts.room(
            case.there, memory=needed + (case.apart.more if lazy else 0),
            disk=ROOM if lazy else needed, skip=skip,
        ),
        Verdict("mode", "what the mode needs", tuple(_lacking(case)), skippable=False),
        *preflight.look(state.record, state.spec, case.process, skip),
        Verdict("connections", "TCP connections that can't follow, or may not",
                tuple(connections.obstacles(state, case.process, case.tcp)),
                skipped="connections" in skip),
    ]  # fmt: skip


def _network(case: Case, state: State) -> Verdict:
    """An older target would pass over what it does not know, and say nothing."""
    network = state.record.network
    known_before = Network(
        network.driver, network.bridge, network.address, network.mac, network.gateway
    )
    needs = network != known_before or state.close_connections
    found: tuple[MigrateError, ...] = ()
    if needs and not case.there.networks:
        found = (TargetUnfit(
            "the target's migrate is too old for the container's network",
            cause="it knows no networks by name, no published ports, no IPv6 and no limits",
            mend="install this version there: 'migrate host setup'",
        ),)  # fmt: skip
    elif (
        case.keeps_memory
        and not case.there.own_network
        and (more := list(contents.added(state.netns, case.network)))
    ):
        found = (TargetUnfit(
            f"the target's migrate is too old for the container's own {', '.join(more)}",
            cause="it would leave away what was set in the container's network namespace",
            mend="install this version there: 'migrate host setup'",
        ),)  # fmt: skip
    return Verdict("network", NETWORK_SUBJECT, found, skippable=False)


def _terminal(case: Case) -> Verdict:
    """An older target would restore it without its other end: nobody could attach to it."""
    found: tuple[MigrateError, ...] = ()
    if not case.there.terminals:
        found = (TargetUnfit(
            "the target's migrate is too old for the container's terminal",
            cause="its monitor holds no terminals", mend="install this version there: "
            "'migrate host setup'",
        ),)  # fmt: skip
    return Verdict("terminal", "whether the target can keep its terminal", found, skippable=False)


def _user_namespace(case: Case) -> Verdict:
    """An older target would give its processes the host's own ids."""
    found: tuple[MigrateError, ...] = ()
    if not case.there.user_namespaces:
        found = (TargetUnfit(
            "the target's migrate is too old for the container's user namespace",
            cause="it knows none", mend="install this version there: 'migrate host setup'",
        ),)  # fmt: skip
    elif case.keeps_memory and not case.there.skeleton:
        found = (TargetUnfit(
            "the target can't restore into a user namespace",
            cause="the library that is preloaded into its CRIU is not built",
            mend="run 'migrate host setup' for it, or 'migrate doctor --fix' there",
        ),)  # fmt: skip
    return Verdict("user-namespace", USER_NAMESPACE_SUBJECT, found, skippable=False)


def _lacking(case: Case) -> Iterator[MigrateError]:
    """What stands against memory that is filled in after the thaw."""
    if case.mode not in LAZY:
        return
    if why := case.apart.beyond_limit():
        mend = "use --mode stop-copy, which keeps it shared"
        yield ContainerUnfit(f"{case.mode} would need too much memory", cause=why, mend=mend)
    if case.mapped:
        yield ContainerUnfit(
            f"{case.mode} is not possible with a user namespace", cause=NOT_FILLED,
            mend="use --mode auto, or stop-copy",
        )  # fmt: skip
    lacks = lacking_for_late if case.mode in LATE else lacking_for_pre_copy
    if lacking := lacks(case.here, case.there):
        yield TargetUnfit(f"{case.mode} is not possible", cause=lacking, mend="use --mode auto")
