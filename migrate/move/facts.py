"""What a host is and has, as far as a move needs to know."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from pathlib import Path

import msgspec

import migrate
from migrate.checkpoint import subgroups
from migrate.checkpoint.tracking import choice
from migrate.criu.skeleton import filter as skeleton
from migrate.images.store import Store
from migrate.kernel import lsm, probes
from migrate.move.journal import host_id
from migrate.runtime.cgroups.layout import detect
from migrate.runtime.cgroups.room import memory_left
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record

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
    trees_ahead: bool = False  # whole trees of files, too, and then what has changed in them
    no_tracking: str = ""  # why `tracking` is ""
    awaits_pages: bool = False  # memory can follow from the source after the thaw
    packs: bool = False  # small files can come many to a frame
    images_in_memory: bool = False  # CRIU's images can be received into memory
    eager_pages: bool = False  # changed pages of mapped files can come beside CRIU's images
    xor_pages: bool = False  # a page can be sent as what differs from the one sent before
    networks: bool = False  # it knows networks by name, IPv6, published ports, and --tcp close
    own_network: bool = False  # it puts in what was set in a container's network namespace
    user_namespaces: bool = False  # it gives containers user namespaces
    terminals: bool = False  # its monitors hold the other ends of containers' terminals
    control_groups: tuple[str, ...] = ()  # where it makes a container's own (subgroups.py)
    lsm: str = ""  # which security module confines processes (kernel/lsm.py); "" if not told
    lsm_profiles: tuple[str, ...] = ()  # AppArmor's, that are loaded
    clock: float = 0.0  # seconds since the epoch, when it was asked; 0 where that is not told


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
        trees_ahead=True,
        awaits_pages=lazy, lazy=lazy, lazy_criu=chosen is not None and chosen.lazy,
        xor_pages=True, packs=True, images_in_memory=True, eager_pages=True, networks=True,
        own_network=True, user_namespaces=True, terminals=True, lsm=lsm.module(),
        lsm_profiles=lsm.loaded_profiles(), control_groups=subgroups.hierarchies(),
        clock=time.time(),
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


def missing_layers(paths: Paths, record: Record) -> list[str]:
    """The layers that this host lacks, bottom first."""
    store = Store(paths.images)
    return [diff_id for diff_id in record.layers if not store.has_layer(diff_id)]
