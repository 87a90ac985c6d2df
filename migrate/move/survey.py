"""What this host is, has and runs, as plain values: the answer to another host's question.

`migrate.evacuate.inventory.asking` reads it. Only additions may be made to its keys: hosts of
different versions ask each other.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from migrate.checkpoint.files import volume_names
from migrate.errors import MigrateError
from migrate.kernel import netlink
from migrate.move import facts
from migrate.runtime import cordon
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.diskuse import disk_use
from migrate.runtime.networks.definition import belonging, likeness
from migrate.runtime.networks.definition import load_all as load_networks
from migrate.runtime.paths import Paths
from migrate.runtime.records import Network, Record, load_all
from migrate.runtime.status import status_of
from migrate.runtime.storage import own_files

COUNT_SECONDS = 10.0
"""For counting disk space of all containers together."""
LABELS_LIMIT = 100
NETWORKS_LIMIT = 1000
TEXT_LIMIT = 4096
_HEEDED = "migrate."
"""Labels that begin so mean something to migrate: they are told before others."""


def survey(paths: Paths) -> dict[str, Any]:
    """This host's facts, whether it is cordoned, its bridges, and the containers that it has.

    Sizes in bytes. Containers that have moved away are none. Raises OSError, SpecInvalid for a
    record that can't be read.
    """
    found = facts.gather(paths)
    return {
        "host_id": found.host_id, "machine": found.machine, "kernel": found.kernel,
        "criu": found.criu, "cpu_flags": list(found.cpu_flags),
        "memory_free": found.memory_free, "disk_free": found.disk_free,
        "cordoned": cordon.read(paths) is not None, "bridges": _bridges(),
        "networks": _networks(paths),
        "guests": list(_guests(paths)),
    }  # fmt: skip


def _guests(paths: Paths) -> Iterator[dict[str, Any]]:
    """Each has an equal share of the time that is left for counting."""
    records = [record for record in load_all(paths) if not record.moved_to]
    deadline = time.monotonic() + COUNT_SECONDS
    for index, record in enumerate(records):
        left = deadline - time.monotonic()
        yield _guest(paths, record, left / (len(records) - index))


def _bridges() -> list[str]:
    with contextlib.suppress(OSError):
        return netlink.bridges()
    return []


def _networks(paths: Paths) -> dict[str, str]:
    """This host's networks by name, each as `definition.likeness` tells it."""
    with contextlib.suppress(MigrateError):
        return {
            found.name: likeness(belonging(Network(), found))
            for found in load_networks(paths)[:NETWORKS_LIMIT]
        }
    return {}


def _guest(paths: Paths, record: Record, seconds: float) -> dict[str, Any]:
    status = status_of(paths, record)
    volumes = [paths.volumes / name for name in volume_names(record)]
    disk, counted = disk_use([own_files(paths, record), *volumes], seconds)
    memory = ControlGroup.of(record.identifier).memory_bytes() if status.pid else 0
    return {
        "identifier": record.identifier, "name": record.name, "status": status.word,
        "memory": memory, "limit": record.resources.memory, "disk": disk,
        "disk_counted": counted, "labels": _labels(record.labels),
        "network": record.network.driver, "bridge": record.network.bridge,
        "address": record.network.address, "address6": record.network.address6,
        "network_name": record.network.name, "network_like": likeness(record.network),
        "ports": [str(port) for port in record.network.ports], "held": record.held,
        "host_paths": [bind.source for bind in record.binds if not bind.volume],
    }  # fmt: skip


def _labels(labels: dict[str, str]) -> dict[str, str]:
    """As many as one answer can hold, those first that a plan heeds; others are nobody's here."""
    order = sorted(labels.items(), key=lambda pair: (not pair[0].startswith(_HEEDED), pair[0]))
    short = [pair for pair in order if len(pair[0]) + len(pair[1]) <= TEXT_LIMIT]
    return dict(short[:LABELS_LIMIT])
