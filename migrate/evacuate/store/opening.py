"""From `--store` to a store."""

from __future__ import annotations

from pathlib import Path

from migrate.errors import UsageError
from migrate.evacuate.store.fleet import FleetStore
from migrate.runtime.paths import Paths


def open_store(url: str | None, paths: Paths) -> FleetStore:
    """The embedded store of this machine, or the etcd of etcd[s]://HOST:PORT[,...].

    Nothing is made or asked yet. Raises UsageError.
    """
    if not url:
        from migrate.evacuate.store.files import FileKeyValues

        return FleetStore(FileKeyValues(paths.state / "fleet"))
    if url.startswith("file:///"):
        from migrate.evacuate.store.files import FileKeyValues

        return FleetStore(FileKeyValues(Path(url.removeprefix("file://"))))
    if url.startswith(("etcd://", "etcds://")):
        from migrate.evacuate.store.etcd import EtcdKeyValues
        from migrate.evacuate.store.gateway import Address

        return FleetStore(EtcdKeyValues(Address.parse(url)))
    raise UsageError(
        "that is no store", mend="give it as etcd://HOST:PORT, etcds://HOST:PORT or file:///DIR"
    )
