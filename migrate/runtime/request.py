"""From what `run` and `create` were asked for to a container's record and specification."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrate.images.store import Store
from migrate.runtime import records, spec, usernamespaces
from migrate.runtime.bundle import (
    refuse_what_would_be_ignored,
    resources_of,
    separate_binds,
)
from migrate.runtime.errors import RootfsBad, SpecInvalid
from migrate.runtime.lifecycle.create import create
from migrate.runtime.lifecycle.stop import signal_number
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.records import Bind, IdRange, Network, Record, Resources, UserNamespace

_SOME_IDS = UserNamespace((IdRange(0, 1, 1),), (IdRange(0, 1, 1),))


@dataclass(frozen=True)
class Request:
    """What the user wants; exactly one of image, rootfs and bundle is given."""

    image: str = ""
    rootfs: Path | None = None
    bundle: Path | None = None
    name: str = ""
    arguments: Sequence[str] = ()
    entrypoint: str | None = None
    environment: Sequence[str] = ()
    directory: str = ""
    user: str = ""
    binds: Sequence[Bind] = ()
    network: Network = field(default_factory=Network)
    resources: Resources = field(default_factory=Resources)
    add_capabilities: Sequence[str] = ()
    drop_capabilities: Sequence[str] = ()
    read_only: bool = False
    host_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    remove_at_exit: bool = False
    restart: str = ""
    log_max_size: int = 0
    log_max_files: int = 3
    terminal: bool = False
    interactive: bool = False
    user_namespace: UserNamespace = field(default_factory=UserNamespace)
    ids_to_choose: int = 0
    """So many for a user namespace whose maps are not given; 0: none."""


def make(paths: Paths, request: Request) -> Record:
    """Create the container that is asked for; its init waits for `start`.

    Raises what `lifecycle.create` raises, ImageUnknown, and SpecInvalid for what does not fit.
    """
    driver_of(request.network.driver)
    if request.user_namespace or request.ids_to_choose:
        # With ids that are still to be chosen, whatever they are.
        usernamespaces.check(request.user_namespace or _SOME_IDS, request.network.driver)
    record = _record(request)
    if request.bundle:
        return _from_bundle(paths, request, record)
    config: dict[str, Any] = {}
    image = None
    if request.image:
        image = Store(paths.images).resolve(request.image)
        config = image.config
        record = _replaced(record, image=request.image, layers=image.diff_ids)
    record = _replaced(record, stop_signal=_stop_signal(request, config))
    return create(
        paths, record, spec.build(_options(request, config, record)),
        user=request.user or str(config.get("User") or "0"), image=image,
        ids_to_choose=request.ids_to_choose,
    )  # fmt: skip


def _replaced(record: Record, **changes: Any) -> Record:
    import msgspec

    return msgspec.structs.replace(record, **changes)


def _record(request: Request) -> Record:
    identifier = records.new_identifier()
    rootfs = ""
    if request.rootfs:
        if not request.rootfs.is_dir():
            raise RootfsBad(
                f"{request.rootfs} is no directory", cause="--rootfs wants a root file system",
                mend="give the directory that holds its /bin, /etc and so on",
            )  # fmt: skip
        rootfs = str(request.rootfs.resolve())
    return Record(
        identifier=identifier, name=request.name or identifier, created=time.time(), rootfs=rootfs,
        network=request.network, binds=tuple(request.binds), resources=request.resources,
        labels=dict(request.labels), remove_at_exit=request.remove_at_exit,
        stop_signal=_stop_signal(request, {}), restart=request.restart,
        log_max_size=request.log_max_size, log_max_files=request.log_max_files,
        terminal=request.terminal, interactive=request.interactive,
        user_namespace=request.user_namespace,
    )  # fmt: skip


def _stop_signal(request: Request, config: Mapping[str, Any]) -> str:
    signal = request.stop_signal or str(config.get("StopSignal") or "SIGTERM")
    signal_number(signal)
    return signal


def _options(request: Request, config: Mapping[str, Any], record: Record) -> spec.Options:
    return spec.Options(
        arguments=_arguments(request, config),
        environment=_environment(config.get("Env") or [], request.environment),
        directory=request.directory or str(config.get("WorkingDir") or "/"),
        host_name=request.host_name or record.identifier,
        host_network=request.network.driver == "host",
        add_capabilities=request.add_capabilities,
        drop_capabilities=request.drop_capabilities,
        read_only=request.read_only,
        binds=request.binds,
        terminal=request.terminal,
    )


def _arguments(request: Request, config: Mapping[str, Any]) -> list[str]:
    """Entrypoint and command as Docker joins them: a new entrypoint forgets the image's command."""
    if request.entrypoint is not None:
        entrypoint = [request.entrypoint] if request.entrypoint else []
        command: list[str] = []
    else:
        entrypoint, command = list(config.get("Entrypoint") or []), list(config.get("Cmd") or [])
    found = [*entrypoint, *(request.arguments or command)]
    if not found:
        raise SpecInvalid(
            "there is no program to run", cause="neither the image nor the command names one",
            mend="give it behind the image's name or --rootfs DIR",
        )  # fmt: skip
    return [str(argument) for argument in found]


def _environment(base: Sequence[str], more: Sequence[str]) -> list[str]:
    merged = dict(str(entry).split("=", 1) for entry in base if "=" in str(entry))
    merged |= dict(entry.split("=", 1) for entry in more)
    return [f"{key}={value}" for key, value in merged.items()]


def _from_bundle(paths: Paths, request: Request, record: Record) -> Record:
    assert request.bundle is not None
    loaded = spec.load(request.bundle / "config.json")
    refuse_what_would_be_ignored(loaded)
    if bool(loaded["process"].get("terminal")) != request.terminal:
        raise SpecInvalid(
            f"the bundle wants {'no' if request.terminal else 'a'} terminal",
            cause="process.terminal in its config.json says so", mend="leave out -t, or give it"
        )  # fmt: skip
    root = request.bundle / str(loaded.get("root", {}).get("path", "rootfs"))
    if not root.is_dir():
        raise RootfsBad(
            f"{root} is no directory", cause="the bundle's root.path names it",
            mend="unpack the root file system there",
        )  # fmt: skip
    own_network = "network" in spec.namespace_kinds(loaded)
    if own_network == (request.network.driver == "host"):
        if own_network or request.network.driver not in {"", "none"}:
            raise SpecInvalid(
                "the bundle's network does not fit --network",
                cause=f"it {'has a' if own_network else 'has no'} network namespace of its own",
            )
        record = _replaced(record, network=Network(driver="host"))
    record = _replaced(
        record, rootfs=str(root.resolve()), binds=separate_binds(loaded, request.bundle),
        resources=resources_of(loaded, request.resources),
    )  # fmt: skip
    return create(paths, record, loaded)
