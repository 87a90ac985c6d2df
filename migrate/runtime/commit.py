"""commit: what a container has written becomes the top layer of a new image."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from migrate.errors import MigrateError
from migrate.images.diff import write_layer
from migrate.images.model import Image, image_from_document, new_document, normalize_name
from migrate.images.store import Store
from migrate.images.streams import piped
from migrate.runtime import records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.lifecycle.create import load_spec
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.spec import Spec
from migrate.runtime.status import require
from migrate.runtime.storage import snapshot_of


def commit(paths: Paths, record: Record, name: str, *, pause: bool = True) -> Image:
    """The new image; its layers are the container's and one more, its volumes are not in it.

    A running container is frozen while its files are read, unless not `pause`. Raises WrongState,
    ImageNameBad, LayerNotWritten, DiskFull; then there is no new image.
    """
    wanted = normalize_name(name)
    store = Store(paths.images)
    with records.locked(paths.container(record.identifier), "commit"), store.hold():
        status = require(paths, record, "running", "paused", "created", "stopped")
        layers = list(record.layers) or [_rootfs_layer(store, record)]
        group = ControlGroup.of(record.identifier)
        freeze = pause and status.word == "running"
        with contextlib.ExitStack() as stack:
            if freeze:
                stack.enter_context(group.held())
            stream = stack.enter_context(piped(snapshot_of(paths, record).write_diff))
            layers.append(store.add_layer(stream))
        document = new_document(layers, _config(store, record, load_spec(paths, record)))
        return store.put_image(image_from_document(document, (wanted,)))


def _rootfs_layer(store: Store, record: Record) -> str:
    with piped(lambda out: write_layer(Path(record.rootfs), out, overlay=False)) as stream:
        return store.add_layer(stream)


def _config(store: Store, record: Record, spec: Spec) -> dict[str, Any]:
    """How the image is run: as the container is, by the image's own words where they say that."""
    base: dict[str, Any] = {}
    if record.image:
        with contextlib.suppress(MigrateError):  # it may have been removed meanwhile
            base = dict(store.resolve(record.image).config)
    process = spec["process"]
    arguments = [str(word) for word in process["args"]]
    entrypoint = [str(word) for word in base.get("Entrypoint") or []]
    if not entrypoint or arguments[: len(entrypoint)] != entrypoint:
        base.pop("Entrypoint", None)
        entrypoint = []
    user = process.get("user") or {}
    return base | {
        "Cmd": arguments[len(entrypoint) :], "Env": list(process.get("env") or []),
        "WorkingDir": str(process["cwd"]), "StopSignal": record.stop_signal,
        "User": f"{user.get('uid', 0)}:{user.get('gid', 0)}",
    }  # fmt: skip
