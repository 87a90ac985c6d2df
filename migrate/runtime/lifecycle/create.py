"""create: a record, a rootfs, a cgroup, a network, a monitor, and init waiting for `start`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from migrate.images.store import Store
from migrate.kernel.files import write_atomically
from migrate.runtime import openbinds, records, usernamespaces
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.control import launch_monitor
from migrate.runtime.cordon import refuse_if_cordoned
from migrate.runtime.debris import clear_debris
from migrate.runtime.networks import driver_of, names
from migrate.runtime.paths import ContainerPaths, Paths
from migrate.runtime.records import Record, load_all, process_of, save_process
from migrate.runtime.spec import Spec, load, validate
from migrate.runtime.storage import (
    driver_for,
    mount_rootfs,
    remove_storage,
    unmount_rootfs,
    with_sources,
)
from migrate.runtime.users import look_up
from migrate.runtime.usual import run_by

if TYPE_CHECKING:
    from migrate.images.model import Image


def create(
    paths: Paths, record: Record, spec: Spec, *, user: str = "", image: Image | None = None,
    ids_to_choose: int = 0,
) -> Record:  # fmt: skip
    """Make the container up to its waiting init; on failure nothing of it is left.

    `user` ("name", "uid", "name:group") is looked up in the rootfs and put into `spec`; the layers
    of `image` are pinned. `ids_to_choose`: so many for a user namespace. The record is there before
    all else, so that `rm` finds what a killed command has left. Returns it with what was chosen
    (address, MAC, ids). Raises NameTaken,
    AddressTaken, RootfsBad, CgroupFailed, NetworkFailed, StartFailed, SpecInvalid, HostCordoned,
    LayerMissing, IdsUnfit.
    """
    refuse_if_cordoned(paths, f"make '{record.name}'")
    paths.make()
    validate(spec)
    records.check_name(record.name)
    own = paths.container(record.identifier)
    driver = driver_of(record.network.driver)
    with records.locked(own, "create"):
        record = _registered(paths, record, ids_to_choose)
        spec = usernamespaces.in_spec(spec, record.user_namespace)
        try:
            if image:
                Store(paths.images).pin(record.identifier, image)
            prepare_user_namespace(paths, record)
            mount_rootfs(paths, record)
            spec = with_user(spec, own.rootfs, user) if user else spec
            write_atomically(own.spec, json.dumps(spec, indent=1).encode())
            prepare_and_launch(paths, record, spec)
            driver.release(own, record.network)
            names.refresh(paths, record)
        except BaseException:
            unmake(paths, record)
            forget_network(paths, record)
            remove_storage(own)
            raise
    return record


def _registered(paths: Paths, record: Record, ids_to_choose: int) -> Record:
    """The record, settled and saved; one at a time, so that name and address are nobody else's."""
    import msgspec

    driver = driver_of(record.network.driver)
    own = paths.container(record.identifier)
    with records.locked(paths.container("registration"), "create", wait=30):
        try:
            clear_debris(paths)
            records.claim_name(paths, record.name)
            storage = driver_for(paths, record.storage)
            others = load_all(paths)
            record = usernamespaces.settle(record, others, ids_to_choose)
            network = driver.settle(own, record.network, others)
            record = msgspec.structs.replace(record, network=network, storage=storage)
            records.save(paths, record)
        except BaseException:
            own.lock.unlink(missing_ok=True)
            raise
    return record


def with_user(spec: Spec, root: Path, wanted: str) -> Spec:
    """The specification run by `wanted`, whose HOME is set if nothing else sets it."""
    spec = spec | {"process": {**spec["process"], "env": list(spec["process"].get("env", []))}}
    run_by(spec, look_up(root, wanted))
    return spec


def prepare_and_launch(paths: Paths, record: Record, spec: Spec) -> None:
    """Rootfs, cgroup, network, monitor and init for a record that is saved already."""
    own = paths.container(record.identifier)
    with making_place(paths, record):
        own.exit.unlink(missing_ok=True)
        own.fifo.unlink(missing_ok=True)
        os.mkfifo(own.fifo, 0o600)
        driver = driver_of(record.network.driver)
        filled = with_sources(paths, record, spec)
        answer = launch_monitor(own, record, filled, mode="create", network=driver.own_namespace)
        process = process_of(answer["pid"], monitor=answer["monitor"], log_pipes=answer["pipes"])
        save_process(own, process)


@contextlib.contextmanager
def making_place(paths: Paths, record: Record) -> Iterator[None]:
    """Rootfs mounted and everything of `make_place`; unmade on failure."""
    try:
        prepare_user_namespace(paths, record)
        mount_rootfs(paths, record)
        make_place(paths, record)
        yield
    except BaseException:
        unmake(paths, record)
        raise


def prepare_user_namespace(paths: Paths, record: Record) -> None:
    """Make it where the container is to have one, and has none on this host; raises IdsUnfit."""
    own = paths.container(record.identifier)
    driver = driver_of(record.network.driver)
    usernamespaces.ensure(own, record, with_network=driver.own_namespace)


def make_place(paths: Paths, record: Record) -> None:
    """User namespace, cgroup made and limited, network attached and held.

    Raises IdsUnfit, CgroupFailed, NetworkFailed.
    """
    own = paths.container(record.identifier)
    prepare_user_namespace(paths, record)
    own.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    group = ControlGroup.of(record.identifier)
    group.create()
    group.limit(record.resources)
    driver_of(record.network.driver).attach(own, record.network)


def unmake(paths: Paths, record: Record) -> None:
    """End all processes and undo what is volatile: cgroup, network, mount, user namespace."""
    own = paths.container(record.identifier)
    mark_stopped(own)
    group = ControlGroup.of(record.identifier)
    group.kill()
    group.remove()
    driver_of(record.network.driver).detach(own)
    unmount_rootfs(own)
    openbinds.hide(own)
    usernamespaces.remove(own)
    own.process.unlink(missing_ok=True)


def forget_network(paths: Paths, record: Record) -> None:
    """The container is gone from this host: what it had of its network is free for others."""
    driver_of(record.network.driver).forget(paths.container(record.identifier), record.network)


def mark_stopped(own: ContainerPaths) -> None:
    """Its end is wanted: whatever its restart policy, it stays as it will be."""
    with contextlib.suppress(FileNotFoundError):
        own.stopped.touch(mode=0o600)


def load_spec(paths: Paths, record: Record) -> Spec:
    """The container's specification."""
    return load(paths.container(record.identifier).spec)
