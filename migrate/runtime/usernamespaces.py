"""A container's user namespace: which ids it gets, made and unmade on this host.

It is bound to a file before anything else is made of the container, since what belongs to it must
be made in it: network namespace, processes, idmapped mounts (user_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from migrate.images.errors import SnapshotFailed
from migrate.images.idmapped import IdMap, mapped_tree
from migrate.kernel import netns, userns
from migrate.runtime.errors import IdsUnfit, SpecInvalid
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import IdRange, Record, UserNamespace
from migrate.runtime.spec import Spec

SIZE = 1 << 16
"""Ids of a container whose ids are chosen, if nothing else is said: what OCI images use."""
FIRST, END = 1 << 19, 0x7000_0000
"""What systemd sets aside for containers' ids (its UIDS-GIDS.md): 524288 to 1879048191."""
_SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))


def chosen(identifier: str, others: Iterable[Record], size: int = SIZE) -> UserNamespace:
    """As many ids as `size` that are no other container's and, by subuid(5), no user's.

    Which is told by the identifier: so a container seldom meets its ids taken on another host.
    Raises IdsUnfit when none are left.
    """
    slot = -(-size // SIZE) * SIZE
    count = (END - FIRST) // slot
    used = sorted([*_used(others), *_subordinate()])
    at = int.from_bytes(identifier.encode(), "big") % max(count, 1)
    for step in range(count):
        begin = FIRST + (at + step) % count * slot
        if not any(start < begin + size and begin < end for start, end in used):
            ranges = (IdRange(0, begin, size),)
            return UserNamespace(ranges, ranges, exclusive=True)
    raise IdsUnfit(
        f"there are no {size} ids left for a user namespace",
        cause=f"of {FIRST} to {END - 1}, containers of this host and /etc/subuid have all",
        mend="give a map: --uidmap 0:100000:65536",
    )


def _spans(ranges: Sequence[IdRange]) -> Iterator[tuple[int, int]]:
    for entry in ranges:
        yield entry.outside, entry.outside + entry.size


def _used(others: Iterable[Record]) -> Iterator[tuple[int, int]]:
    for other in others:
        yield from _spans(other.user_namespace.uids)
        yield from _spans(other.user_namespace.gids)


def _subordinate() -> Iterator[tuple[int, int]]:
    for path in _SUBORDINATE:
        with contextlib.suppress(OSError):
            for line in path.read_text(errors="replace").splitlines():
                _, _, rest = line.partition(":")
                first, _, count = rest.partition(":")
                if first.strip().isdigit() and count.strip().isdigit():
                    yield int(first), int(first) + int(count)


def settle(record: Record, others: Iterable[Record], wanted_size: int = 0) -> Record:
    """The record with its ids: chosen where `wanted_size` says how many; raises IdsUnfit."""
    others = list(others)
    if wanted_size:
        found = chosen(record.identifier, others, wanted_size)
        return msgspec.structs.replace(record, user_namespace=found)
    refuse_taken(record, others)
    return record


def refuse_taken(record: Record, others: Iterable[Record]) -> None:
    """Raise IdsUnfit where another container has ids of the record's, and either has them alone."""
    own = record.user_namespace
    mine = {"user": list(_spans(own.uids)), "group": list(_spans(own.gids))}
    for other in others:
        its = other.user_namespace
        if other.identifier == record.identifier or not (own.exclusive or its.exclusive):
            continue
        for kind, ranges in (("user", its.uids), ("group", its.gids)):
            for start, end in _spans(ranges):
                if any(start < last and first < end for first, last in mine[kind]):
                    raise IdsUnfit(
                        f"{kind} ids of '{record.name}' are taken",
                        cause=f"container '{other.name}' has {start} to {end - 1}",
                        mend="remove that container, or give this one another map",
                    )


def check(wanted: UserNamespace, network: str) -> None:
    """Raise SpecInvalid for maps that make no user namespace a container can be in."""
    if not wanted:
        return
    wanted.root  # noqa: B018 -- raises where there is none
    for ranges in (wanted.uids, wanted.gids):
        for first in ("inside", "outside"):
            spans = sorted((getattr(r, first), getattr(r, first) + r.size) for r in ranges)
            overlap = any(one[1] > two[0] for one, two in itertools.pairwise(spans))
            if overlap or spans[-1][1] > 1 << 32:
                raise SpecInvalid(
                    "the id maps are not valid",
                    cause=f"{', '.join(map(str, ranges))}: ids {first} overlap, or are too high",
                )
    if network == "host":
        raise SpecInvalid(
            "a container with a user namespace can't use the host's network",
            cause="it would have no rights in it, and could not show /sys",
            mend="give it another network, or --userns host",
        )


def in_spec(spec: Spec, wanted: UserNamespace) -> Spec:
    """The specification with the user namespace (config-linux.md, "User namespace mappings")."""
    if not wanted:
        return spec
    linux = spec["linux"]
    kinds = [entry for entry in linux["namespaces"] if entry["type"] != "user"]
    return spec | {
        "linux": linux | {
            "namespaces": [*kinds, {"type": "user"}],
            "uidMappings": _mappings(wanted.uids), "gidMappings": _mappings(wanted.gids),
        }
    }  # fmt: skip


def _mappings(ranges: Sequence[IdRange]) -> list[dict[str, int]]:
    return [{"containerID": r.inside, "hostID": r.outside, "size": r.size} for r in ranges]


def require_same(spec: Spec, record: Record) -> None:
    """Raise SpecInvalid where the specification has other maps than the record."""
    linux = spec.get("linux") or {}
    there = [linux.get(key) or [] for key in ("uidMappings", "gidMappings")]
    own = record.user_namespace
    has = any(entry.get("type") == "user" for entry in linux.get("namespaces") or [])
    if has != bool(own) or there != [_mappings(own.uids), _mappings(own.gids)]:
        raise SpecInvalid(
            "the container's user namespace is not told twice alike",
            cause="its record and its specification have different id maps",
        )


def ensure(own: ContainerPaths, record: Record, *, with_network: bool) -> None:
    """Make it where it is not there yet, with the network namespace that belongs to it.

    Raises IdsUnfit.
    """
    if not record.user_namespace or own.userns.exists():
        return
    own.userns.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    maps = [[(r.inside, r.outside, r.size) for r in ranges]
            for ranges in (record.user_namespace.uids, record.user_namespace.gids)]  # fmt: skip
    try:
        userns.create(own.userns, *maps, netns=own.netns if with_network else None)
    except OSError as error:
        raise IdsUnfit(
            f"the user namespace of '{record.name}' can't be made", cause=str(error),
            mend="give other ids, or see /proc/sys/user/max_user_namespaces",
        ) from error  # fmt: skip


def make_network_namespace(own: ContainerPaths) -> None:
    """That of a container, its lo up: its own, or the one that its user namespace has brought.

    Raises OSError.
    """
    if own.userns.exists():
        netns.bring_up_loopback(own.netns)
    else:
        netns.create(own.netns)


def remove(own: ContainerPaths) -> None:
    """Unbind it; it ends with its last process. No error when there is none."""
    if own.userns.exists():
        userns.delete(own.userns)


@contextlib.contextmanager
def id_map(own: ContainerPaths, record: Record) -> Iterator[IdMap | None]:
    """For idmapped mounts; None for a container without a user namespace. Raises OSError."""
    if not record.user_namespace:
        yield None
        return
    descriptor = os.open(own.userns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield IdMap(descriptor, record.user_namespace.root)
    finally:
        os.close(descriptor)


def require_idmapped_mounts(paths: Paths, record: Record) -> None:
    """Try one where containers' files are; raises IdsUnfit where this host can't.

    Also where a user namespace with these maps can't be made here. Changes nothing.
    """
    if not record.user_namespace:
        return
    paths.make()
    with tempfile.TemporaryDirectory(dir=paths.state, prefix=".idmap-") as place:
        trial = ContainerPaths(Paths(Path(place), Path(place)), "trial")
        try:
            ensure(trial, record, with_network=False)
            with id_map(trial, record) as ids:
                assert ids
                os.close(mapped_tree(place, ids))
        except SnapshotFailed as error:
            raise IdsUnfit(
                f"'{record.name}' can't have its user namespace on this host",
                cause=error.cause, mend=error.mend,
            ) from error  # fmt: skip
        finally:
            remove(trial)
