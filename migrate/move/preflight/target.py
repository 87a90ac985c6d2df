"""What on this host, the target, stands against taking a container; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from migrate.checkpoint.files import refuse_foreign_volumes
from migrate.checkpoint.preflight import Verdict
from migrate.checkpoint.state import State
from migrate.criu import cpu
from migrate.errors import MigrateError, from_wire
from migrate.move import policy
from migrate.runtime import usernamespaces
from migrate.runtime.cordon import refuse_if_cordoned
from migrate.runtime.errors import NameTaken
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_all
from migrate.runtime.storage import bind_source, driver_for

CPU_SUBJECT = "what the CPUs can do"
USER_NAMESPACE_SUBJECT = "whether it can have its ids there"
NETWORK_SUBJECT = "its network, and whether its addresses and ports are free"
MOST = 64  # verdicts and obstacles that are taken from another host


def verdicts_here(
    paths: Paths, state: State, source_cpu: bytes = b"", *, sender: str = "", mode: str = ""
) -> list[Verdict]:
    """Policy, cordon, name, host paths, network, volumes; the CPU, where the source's is told."""
    record = state.record
    own = paths.container(record.identifier)
    others = [r for r in load_all(paths) if not r.moved_to]
    checks: list[tuple[str, str, Callable[[], None]]] = [
        ("policy", "what the target takes from this sender",
         lambda: policy.permission(sender).refuse(mode, state)),
        ("cordon", "whether the target takes containers",
         lambda: refuse_if_cordoned(paths, f"take '{record.name}'", "the target")),
        ("name", "whether name and id are free there", lambda: _name_free(record, others)),
        ("paths", "the host's paths that it mounts", lambda: _binds_there(paths, record)),
        ("network", NETWORK_SUBJECT,
         lambda: driver_of(record.network.driver).check(own, record.network, others)),
        ("storage", "whether a storage driver works there", lambda: _storage_works(paths)),
        ("volumes", "volumes of other containers by these names",
         lambda: refuse_foreign_volumes(paths, record, others)),
    ]  # fmt: skip
    if record.user_namespace:
        checks.append(("user-namespace", USER_NAMESPACE_SUBJECT,
                       lambda: _ids_fit(paths, record, others)))  # fmt: skip
    found = [_verdict(*check) for check in checks]
    if source_cpu:
        found.append(_verdict("cpu", CPU_SUBJECT, lambda: cpu.check(source_cpu), skippable=True))
    return found


def _verdict(
    name: str, subject: str, check: Callable[[], None], *, skippable: bool = False
) -> Verdict:  # fmt: skip
    try:
        check()
    except MigrateError as error:
        return Verdict(name, subject, (error,), skippable=skippable)
    return Verdict(name, subject, skippable=skippable)


def _name_free(record: Record, others: Iterable[Record]) -> None:
    for other in others:
        if record.name in {other.name, other.identifier} or other.identifier == record.identifier:
            raise NameTaken(
                f"the name '{record.name}' is taken at the target",
                cause=f"container {other.identifier} there has it",
                mend="rename or remove one of the two",
            )


def _binds_there(paths: Paths, record: Record) -> None:
    for bind in record.binds:
        if not bind.volume:
            bind_source(paths, bind)


def _ids_fit(paths: Paths, record: Record, others: Iterable[Record]) -> None:
    usernamespaces.refuse_taken(record, others)
    usernamespaces.require_idmapped_mounts(paths, record)


def _storage_works(paths: Paths) -> None:
    if paths.state.is_dir():
        driver_for(paths)


def to_wire(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """A list of what `Verdict.as_json` tells, for `read_wire` at the source."""
    return [verdict.as_json() for verdict in verdicts]


def read_wire(answer: object, skip: Collection[str]) -> list[Verdict]:
    """The verdicts in the answer to `move.check`, whatever there is of them.

    An older target tells `obstacles` alone. Everything is untrusted: what is not understood counts
    as nothing where it is only words, and as an obstacle where it may be one.
    """
    fields = answer if isinstance(answer, dict) else {}
    told = fields.get("verdicts")
    if not isinstance(told, list):
        return [Verdict("target", "the target's own checks", _errors(fields.get("obstacles")),
                        skippable=False)]  # fmt: skip
    found = []
    for entry in told[:MOST]:
        plain = entry if isinstance(entry, dict) else {}
        name, subject = plain.get("check"), plain.get("subject")
        skippable = plain.get("skippable") is True
        found.append(Verdict(
            name[:40] if isinstance(name, str) else "target",
            subject[:200] if isinstance(subject, str) else "", _errors(plain.get("obstacles")),
            skippable, skippable and name in skip,
        ))  # fmt: skip
    return found


def _errors(told: object) -> tuple[MigrateError, ...]:
    entries = told[:MOST] if isinstance(told, list) else [told]
    return tuple(from_wire(entry if isinstance(entry, dict) else {}) for entry in entries)
