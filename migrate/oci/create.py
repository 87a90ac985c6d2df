"""create and run: a container from a bundle, without a monitor of ours."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from migrate.oci import groups, notify, records
from migrate.oci.checking import check
from migrate.oci.errorlog import warn_of_capabilities
from migrate.oci.errors import BadConfig, BadUsage, NotAllowedNow
from migrate.oci.hooks import run_hooks
from migrate.oci.init import Place
from migrate.oci.joining import Joining
from migrate.oci.launching import launch
from migrate.oci.listener import listener_of
from migrate.oci.main import SPEC_VERSION
from migrate.oci.netdevices import move
from migrate.oci.processcheck import take_out_capabilities
from migrate.oci.records import Container
from migrate.oci.sources import opened
from migrate.oci.streams import connected, listening, written_pid
from migrate.runtime import seccomp
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.paths import Paths

_SIZE_LIMIT = 4 << 20


def create(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Make the container; its first process waits for `start`."""
    spec = load_config(values["bundle"])
    if values["console_socket"] and not spec["process"].get("terminal"):
        raise BadUsage("--console-socket given, but process.terminal is false")
    if spec["process"].get("terminal") and not values["console_socket"]:
        raise BadUsage("cannot allocate tty without --console-socket", cause="process.terminal")
    with contextlib.ExitStack() as stack:
        console = None
        if values["console_socket"]:
            console = stack.enter_context(contextlib.closing(connected(values["console_socket"])))
        make(settings, values, words[0], spec, console)


def load_config(bundle: str) -> dict[str, Any]:
    """config.json of a bundle, checked; raises BadConfig, Unsupported."""
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            data = file.read(_SIZE_LIMIT + 1)
        if len(data) > _SIZE_LIMIT:
            raise ValueError(f"more than {_SIZE_LIMIT} bytes")
        return check(json.loads(data))
    except (OSError, ValueError) as error:
        raise BadConfig(f"can't read {path}", cause=str(error)) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise BadConfig(f"{path} is not valid", cause=repr(error)) from error


def make(
    settings: dict[str, Any], values: dict[str, Any], identifier: str, spec: dict[str, Any],
    console: socket.socket | None,
) -> Container:  # fmt: skip
    """All of `create`, with the terminal's other end for `console`; unmade on failure."""
    warn_of_capabilities(settings, take_out_capabilities(spec["process"]))
    program_filter = _filter_of(spec)
    preserved = listening(spec["process"]) + values["preserve_fds"]
    _check_descriptors(preserved)
    settled = settle(settings, values, identifier, spec)
    container = claim(settings, identifier, spec, settled, waits=True)
    try:
        with _init_place(container, spec, values, settled.group, console) as place:
            place.preserved, place.seccomp = preserved, program_filter
            _make(container, spec, settled.group, place)
            container.save(ready=True)
            if values["pid_file"]:
                written_pid(values["pid_file"], container.pid)
    except BaseException:
        from migrate.oci.delete import remove

        remove(container)
        raise
    return container


class Settled(NamedTuple):
    """Where a container's bundle and root file system are, and its group will be."""

    bundle: str
    rootfs: str
    group: ControlGroup


def settle(
    settings: dict[str, Any], values: dict[str, Any], identifier: str, spec: dict[str, Any]
) -> Settled:
    """Settle what is relative, in `spec` too.

    Raises BadUsage, BadConfig, Unsupported, and HostCordoned on a host that takes no containers.
    """
    records.check_identifier(identifier)
    host = Paths.from_environment()
    if host.cordoned.exists():
        from migrate.runtime.cordon import refuse_if_cordoned

        refuse_if_cordoned(host, f"create '{identifier}'")
    bundle = os.path.realpath(values["bundle"])
    path = str((spec.get("linux") or {}).get("cgroupsPath") or "")
    group = groups.group_of(path, identifier, systemd=bool(settings["systemd_cgroup"]))
    rootfs = os.path.realpath(os.path.join(bundle, spec["root"]["path"]))
    if not os.path.isdir(rootfs):
        raise BadConfig(f"rootfs {rootfs} is no directory", cause="root.path names it")
    _settle_mounts(spec, bundle)
    return Settled(bundle, rootfs, group)


def _filter_of(spec: dict[str, Any]) -> tuple[bytes, int]:
    wanted = (spec.get("linux") or {}).get("seccomp")
    if not wanted:
        return b"", 0
    return seccomp.compile_filter(wanted), seccomp.flags_of(wanted)


def _check_descriptors(count: int) -> None:
    for number in range(3, 3 + count):
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:
            raise BadUsage(
                f"--preserve-fds: descriptor {number} is not open", cause=f"{count} are asked for"
            ) from None


def _settle_mounts(spec: dict[str, Any], bundle: str) -> None:
    """Sources relative to the bundle, destinations from the root (config.md, "Mounts")."""
    settled = []
    for entry in spec.get("mounts") or []:
        bind = entry.get("type") == "bind" or {"bind", "rbind"} & set(entry.get("options") or [])
        place = "/" + str(entry["destination"]).lstrip("/")
        source = str(entry.get("source") or "")
        if bind:
            source = os.path.normpath(os.path.join(bundle, source))
        settled.append(entry | {"destination": place, "source": source})
    spec["mounts"] = settled


def claim(
    settings: dict[str, Any], identifier: str, spec: dict[str, Any], settled: Settled, *,
    waits: bool,
) -> Container:  # fmt: skip
    """Claim the id; from here on `delete --force` finds all that there is.

    `waits`: with the fifo on which a created container's first process waits.
    """
    os.makedirs(settings["root"], 0o700, exist_ok=True)
    state = {
        "ociVersion": spec.get("ociVersion", SPEC_VERSION), "pid": 0, "startTime": 0,
        "boot": records.boot(), "bundle": settled.bundle, "rootfs": settled.rootfs,
        "created": _now(),
        "annotations": spec.get("annotations") or {}, "owner": "root", "ready": False,
        "maker": records.identity(os.getpid()),
        "cgroup": groups.describe(settled.group, systemd=bool(settings["systemd_cgroup"])),
    }  # fmt: skip
    container = Container(settings["root"], identifier, state)
    try:
        os.mkdir(container.directory, 0o711)
    except FileExistsError:
        raise NotAllowedNow(
            f"container with given ID already exists: {identifier}",
            cause=f"it is in {settings['root']}", mend=f"choose another id, or delete {identifier}",
        ) from None  # fmt: skip
    container.save()
    notify.show(container.directory, spec)
    records.write(f"{container.directory}/config.json", spec)
    if not waits:
        return container
    os.mkfifo(container.fifo, 0o600)
    if any(e["type"] == "user" for e in (spec.get("linux") or {}).get("namespaces") or []):
        os.chmod(container.fifo, 0o622)  # noqa: S103 -- its root's; --root lets nobody else in
    return container


def _now() -> str:
    """RFC 3339 with nanoseconds."""
    seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:09}Z"


@contextlib.contextmanager
def _init_place(
    container: Container, spec: dict[str, Any], values: dict[str, Any], group: ControlGroup,
    console: socket.socket | None,
) -> Iterator[Place]:  # fmt: skip
    entries = (spec.get("linux") or {}).get("namespaces") or []
    state = container.describe() | {"status": "creating"}
    with contextlib.ExitStack() as stack:
        trees = stack.enter_context(opened(spec, container.state["rootfs"]))
        listener = listener_of(spec, state | {"status": "created"})
        if listener:
            stack.enter_context(contextlib.closing(listener))
        fifo = os.open(container.fifo, os.O_PATH | os.O_CLOEXEC)
        stack.callback(os.close, fifo)
        yield Place(
            state=state, rootfs=container.state["rootfs"],
            groups=groups.to_mount(group), fifo=fifo, console=console, preserved=0,
            pivot=not values["no_pivot"], seccomp=(b"", 0),
            keyring="" if values["no_new_keyring"] else f"_ses.{container.identifier}",
            joins_mounts=any(e["type"] == "mount" and e.get("path") for e in entries),
            trees=trees, listener=listener,
        )  # fmt: skip


def _make(
    container: Container, spec: dict[str, Any], group: ControlGroup, place: Place
) -> None:  # fmt: skip
    def when_known(pid: int) -> None:
        container.save(pid=pid, startTime=records.identity(pid)[1])
        if devices := (spec.get("linux") or {}).get("netDevices"):
            move(devices, pid)
        state = container.describe() | {"pid": pid, "status": "creating"}
        for kind in ("prestart", "createRuntime"):
            run_hooks(spec, kind, state)

    wanted = (spec.get("linux") or {}).get("resources") or {}
    with groups.made(container, group, spec) as directories:
        remake = functools.partial(groups.make, group, wanted)
        launch(spec, Joining(spec, directories, remake), place, when_known)
