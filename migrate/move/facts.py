"""What a host is and has, as far as a move needs to know; and what stands against one there."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

import migrate
from migrate.checkpoint.files import refuse_foreign_volumes
from migrate.checkpoint.state import State
from migrate.checkpoint.tracking import choice
from migrate.criu.skeleton import filter as skeleton
from migrate.errors import MigrateError
from migrate.images.store import Store
from migrate.kernel import probes
from migrate.move.errors import TargetUnfit
from migrate.move.journal import host_id
from migrate.runtime.cgroups.layout import detect
from migrate.runtime.cgroups.room import memory_left
from migrate.runtime.cordon import refuse_if_cordoned
from migrate.runtime.errors import NameTaken
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record, load_all
from migrate.runtime.storage import bind_source, driver_for

# include/uapi/linux/userfaultfd.h: EVENT_FORK, EVENT_REMAP, EVENT_REMOVE, EVENT_UNMAP
_EVENTS = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6


class Facts(msgspec.Struct, frozen=True):
    """One host; sizes in bytes."""

    host_id: str
    name: str
    version: str
    machine: str
    kernel: str
    criu: str  # "" where there is none
    cpu_flags: tuple[str, ...]
    memory_free: int
    disk_free: int
    address: str = ""
    tracking: str = ""  # how written pages are found out; "" where they can't be
    skeleton: bool = False  # CRIU can leave out memory that has travelled already
    lazy: bool = False  # the kernel lets memory be filled in after the thaw
    lazy_criu: bool = True  # and CRIU leaves it to be filled
    staged_files: bool = False  # contents of files can be sent ahead of what names them
    no_tracking: str = ""  # why `tracking` is ""
    awaits_pages: bool = False  # memory can follow from the source after the thaw
    packs: bool = False  # small files can come many to a frame
    images_in_memory: bool = False  # CRIU's images can be received into memory
    eager_pages: bool = False  # changed pages of mapped files can come beside CRIU's images
    xor_pages: bool = False  # a page can be sent as what differs from the one sent before


def gather(paths: Paths, tracker: str = choice.AUTO) -> Facts:
    """This host's facts; raises TrackerUnfit when it can't use the tracker that was asked for."""
    from migrate.criu.provide import read_chosen

    paths.make()
    chosen = read_chosen()
    lazy = _can_fill()
    tracking, complaint = choice.choose(tracker)
    return Facts(
        host_id=host_id(paths), name=platform.node(), version=migrate.__version__,
        machine=platform.machine(), kernel=platform.release(),
        criu=chosen.version if chosen else "", cpu_flags=tuple(_cpu_flags()),
        memory_free=_memory_free(), disk_free=shutil.disk_usage(paths.state).free,
        tracking=tracking, no_tracking=complaint, skeleton=skeleton.is_built(), staged_files=True,
        awaits_pages=lazy, lazy=lazy, lazy_criu=chosen is not None and chosen.lazy,
        xor_pages=True, packs=True, images_in_memory=True, eager_pages=True,
    )  # fmt: skip


def _can_fill() -> bool:
    with contextlib.suppress(OSError, LookupError):
        return probes.userfaultfd_features() & _EVENTS == _EVENTS
    return False


def _cpu_flags() -> list[str]:
    with Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith(("flags", "Features")):
                return line.partition(":")[2].split()
    return []


def _memory_free() -> int:
    left = memory_left(detect())
    return _available() if left is None else min(left, _available())


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def obstacles_here(paths: Paths, state: State) -> list[MigrateError]:
    """What on this host, the target, stands against taking the container; changes nothing."""
    record = state.record
    others = [r for r in load_all(paths) if not r.moved_to]

    def name_free() -> None:
        for other in others:
            if record.name in {other.name, other.identifier} or other.identifier == (
                record.identifier
            ):
                raise NameTaken(
                    f"the name '{record.name}' is taken at the target",
                    cause=f"container {other.identifier} there has it",
                    mend="rename or remove one of the two",
                )

    def binds_there() -> None:
        for bind in record.binds:
            if not bind.volume:
                bind_source(paths, bind)

    def network_free() -> None:
        driver_of(record.network.driver).check(record.network, others)

    def storage_works() -> None:
        if paths.state.is_dir():
            driver_for(paths)

    checks: list[Callable[[], None]] = [
        lambda: refuse_if_cordoned(paths, f"take '{record.name}'", "the target"),
        name_free, binds_there, network_free, storage_works,
        lambda: refuse_foreign_volumes(paths, record, others),
    ]  # fmt: skip
    found: list[MigrateError] = []
    for check in checks:
        try:
            check()
        except MigrateError as error:
            found.append(error)
    return found


def missing_layers(paths: Paths, record: Record) -> list[str]:
    """The layers that this host lacks, bottom first."""
    store = Store(paths.images)
    return [diff_id for diff_id in record.layers if not store.has_layer(diff_id)]


def compare(here: Facts, there: Facts, *, memory: int, disk: int) -> list[MigrateError]:
    """What in the two hosts' facts stands against a move with memory; sizes in bytes."""
    found: list[MigrateError] = []
    if here.machine != there.machine:
        found.append(
            TargetUnfit(
                f"the target is {there.machine}, this host {here.machine}",
                cause="memory images hold machine code of one architecture",
                mend="choose a host of the same architecture, or --mode cold",
            )
        )
    for side, facts in (("this host", here), ("the target", there)):
        if not facts.criu:
            found.append(
                TargetUnfit(
                    f"{side} has no CRIU",
                    cause="none was set up there",
                    mend="run 'migrate host setup' for the target, 'migrate doctor --fix' here",
                )
            )
    if here.criu and there.criu and version_numbers(there.criu) < version_numbers(here.criu):
        found.append(
            TargetUnfit(
                f"the target's CRIU is too old: {there.criu}",
                cause=f"images written by CRIU {here.criu} need that version or a newer one",
                mend="run 'migrate host setup' for the target",
            )
        )
    lacking = sorted(set(here.cpu_flags) - set(there.cpu_flags))
    if here.machine == there.machine and lacking:
        found.append(
            TargetUnfit(
                "the target's CPU lacks features that this one has",
                cause=f"missing: {' '.join(lacking[:12])}",
                mend="choose a host with these features, or --mode cold",
            )
        )
    found += enough_room(there, memory=memory, disk=disk)
    return found


def enough_room(there: Facts, *, memory: int, disk: int) -> list[MigrateError]:
    """Whether the target has the memory and disk; sizes in bytes."""
    found: list[MigrateError] = []
    if there.memory_free < memory:
        found.append(
            TargetUnfit(
                "the target has too little free memory",
                cause=f"{memory >> 20} MiB needed, {there.memory_free >> 20} MiB free",
                mend="free memory there, or choose another host",
            )
        )
    if there.disk_free < disk:
        found.append(
            TargetUnfit(
                "the target's disk is too full",
                cause=f"{disk >> 20} MiB needed, {there.disk_free >> 20} MiB free",
                mend="free space there, or choose another host",
            )
        )
    return found


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a dotted version, to compare by; parts that are no number are left out."""
    numbers = []
    for part in version.split("."):
        with contextlib.suppress(ValueError):
            numbers.append(int(part))
    return tuple(numbers)
