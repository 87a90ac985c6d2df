"""restore: a new container from a bundle and the images of a checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
from collections.abc import Iterator
from typing import Any

from migrate.criu import client
from migrate.kernel import mounts
from migrate.kernel.namespaces import CLONE_NEWCGROUP, CLONE_NEWNS, setns, unshare
from migrate.kernel.processes import set_child_subreaper
from migrate.oci import external, groups, images, notify, records
from migrate.oci.attached import passing_signals, relay_terminal, wait_for
from migrate.oci.create import claim, load_config, settle
from migrate.oci.delete import remove
from migrate.oci.errors import BadImage, BadUsage, HookFailed, Unsupported
from migrate.oci.hooks import run_hooks
from migrate.oci.main import Ended
from migrate.oci.records import Container
from migrate.oci.requests import ask, environment, options_of
from migrate.oci.streams import connected, written_pid
from migrate.runtime.cgroups.group import ControlGroup

LOG = "restore.log"


def restore(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Restore it; in the foreground wait and delete. Raises BadImage, CriuFailed, SetupFailed."""
    for name in ("lsm_profile", "lsm_mount_context"):
        if values[name]:
            raise Unsupported(f"--{name.replace('_', '-')} is not supported")
    spec = load_config(values["bundle"])
    directory = os.path.realpath(values["image_path"] or "checkpoint")
    description = images.read(directory)
    if values["work_path"]:
        images.make_directory(values["work_path"])
    terminal = any(name.startswith("/dev/pts/") for name in description.streams)
    if terminal and values["detach"] and not values["console_socket"]:
        raise BadUsage("cannot restore a tty without --console-socket", cause="--detach was given")
    if not values["detach"] and not values["no_subreaper"]:
        set_child_subreaper()
    with contextlib.ExitStack() as stack:
        ours: socket.socket | None = None
        console: socket.socket | None = None
        if values["console_socket"]:
            console = stack.enter_context(contextlib.closing(connected(values["console_socket"])))
        elif terminal:
            ours, console = socket.socketpair()
        container = _restored(settings, values, words[0], spec, description, console)
        if not values["detach"]:
            raise Ended(_attend(container, console if ours else None, ours))


def _attend(container: Container, theirs: socket.socket | None, ours: socket.socket | None) -> int:
    """Wait for the end; its exit status (128 + n for signal n)."""
    pid = container.state["pid"]
    try:
        with passing_signals(pid):
            if theirs and ours:
                theirs.close()
                relay_terminal(ours, pid)
            return wait_for(pid)
    finally:
        remove(container)


def _restored(
    settings: dict[str, Any], values: dict[str, Any], identifier: str, spec: dict[str, Any],
    description: images.Description, console: socket.socket | None,
) -> Container:  # fmt: skip
    """The container, unmade on failure."""
    place = settle(settings, values, identifier, spec)
    container = claim(settings, identifier, spec, place, waits=False)
    try:
        if notify.is_missing(spec, [entry.place for entry in description.mounts]):
            notify.show(container.directory, spec, wanted=True)
            records.write(f"{container.directory}/config.json", spec)
        with contextlib.ExitStack() as stack:
            joined = stack.enter_context(groups.made(container, place.group, spec))
            stack.enter_context(_private_mounts(place.rootfs))
            external.make_places(place.rootfs, spec)
            request = _Restore(container, spec, place.group, joined, console)
            request.carry_out(values, description, stack)
        if values["pid_file"]:
            written_pid(values["pid_file"], container.pid)
        _run_poststart(spec, container)
    except BaseException:
        remove(container)
        raise
    return container


def _run_poststart(spec: dict[str, Any], container: Container) -> None:
    try:
        run_hooks(spec, "poststart", container.describe())
    except HookFailed:
        os.kill(container.state["pid"], signal.SIGKILL)
        raise


@contextlib.contextmanager
def _private_mounts(rootfs: str) -> Iterator[None]:
    """The root file system as a mount point, which CRIU wants, and nobody but it sees."""
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    directory = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNS)
        mounts.mount("", "/", flags=mounts.MS_SLAVE | mounts.MS_REC)
        mounts.mount(rootfs, rootfs, flags=mounts.MS_BIND | mounts.MS_REC)
        mounts.mount("", rootfs, flags=mounts.MS_PRIVATE)
        yield
    finally:
        setns(outside, CLONE_NEWNS)
        os.fchdir(directory)
        os.close(outside)
        os.close(directory)


def _mapped_root(spec: dict[str, Any]) -> tuple[int, int]:
    """The host's ids of a new user namespace's root; -1 where there is none."""
    linux = spec.get("linux") or {}
    if not any(e["type"] == "user" for e in linux.get("namespaces") or []):
        return -1, -1
    ids = []
    for key in ("uidMappings", "gidMappings"):
        roots = (int(m["hostID"]) for m in linux.get(key) or [] if m["containerID"] == 0)
        ids.append(next(roots, -1))
    return ids[0], ids[1]


class _Restore:
    """One request to CRIU, and what is done at its notifications."""

    def __init__(
        self, container: Container, spec: dict[str, Any], group: ControlGroup, joined: list[str],
        console: socket.socket | None,
    ) -> None:  # fmt: skip
        self._container, self._spec, self._group = container, spec, group
        self._joined = joined
        self._console = console
        self._root = _mapped_root(spec)
        self._criu: client.Swrk | None = None

    def carry_out(
        self, values: dict[str, Any], description: images.Description, stack: contextlib.ExitStack
    ) -> None:
        """Restore; the container's record then has its pid. Raises CriuFailed, CriuDied."""
        directory = os.path.realpath(values["image_path"] or "checkpoint")
        self._give_to_root(directory)
        options = stack.enter_context(options_of(values, directory, LOG))
        options.root = self._container.state["rootfs"]
        options.rst_sibling = True
        shown = groups.to_mount(self._group)
        for entry in description.mounts:
            source = external.source_of(entry, self._spec, shown)
            options.external.append(f"mnt[{entry.place}]:{source}")
        passed = [options.work_dir_fd, *self._inherit(options, description, stack)]
        self._root_cgroup_namespace()
        log = f"{values['work_path'] or directory}/{LOG}"
        self._criu = stack.enter_context(client.swrk(environment(), passed))
        pid = int(ask(self._criu, "RESTORE", options, self._notify, log).restore.pid)
        self._container.save(pid=pid, startTime=records.identity(pid)[1], ready=True)

    def _give_to_root(self, directory: str) -> None:
        """CRIU reads some images, and opens the streams, as the root of a new user namespace.

        Others it reads as the host's root without its capabilities, who stays their owner.
        """
        if self._root == (-1, -1):
            return
        for name in ("", *os.listdir(directory)):
            if os.path.islink(f"{directory}/{name}"):  # to the images of a pre-dump
                continue
            place = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            os.fchown(place, -1, self._root[1])
            os.fchmod(place, os.fstat(place).st_mode | (0o040 if name else 0o050))
            os.close(place)
        for number in range(3):
            if not stat.S_ISCHR(os.fstat(number).st_mode):
                os.fchown(number, *self._root)

    def _inherit(
        self, options: Any, description: images.Description, stack: contextlib.ExitStack
    ) -> list[int]:
        """Our streams in place of the container's old ones, and namespaces by path."""
        passed = []
        for number, name in enumerate(description.streams):
            key = description.files[number] or name
            if key.startswith(("pipe:[", "socket:[", "file[")):
                descriptor = os.dup(number)
                stack.callback(os.close, descriptor)
                options.inherit_fd.add(key=key, fd=descriptor)
                passed.append(descriptor)
        if console := self._console:
            os.set_inheritable(console.fileno(), False)
        for kind, key in (("network", images.NETWORK_KEY), ("pid", images.PID_KEY)):
            if kind in description.namespaces:
                descriptor = os.open(self._path_of(kind), os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
                options.inherit_fd.add(key=key, fd=descriptor)
                passed.append(descriptor)
        return passed

    def _path_of(self, kind: str) -> str:
        for entry in (self._spec.get("linux") or {}).get("namespaces") or []:
            if entry["type"] == kind and entry.get("path"):
                return str(entry["path"])
        raise BadImage(
            f"the checkpoint's {kind} namespace was not its own",
            cause=f"this bundle has no path of a {kind} namespace",
            mend="name one in linux.namespaces",
        )

    def _root_cgroup_namespace(self) -> None:
        """What is restored inherits CRIU's, which has to be rooted at the container's group."""
        entries = (self._spec.get("linux") or {}).get("namespaces") or []
        if not any(e["type"] == "cgroup" and not e.get("path") for e in entries):
            return
        homes = self._group.layout.trees.homes()
        self._group.add(os.getpid())
        try:
            unshare(CLONE_NEWCGROUP)
        finally:
            for home in homes:
                with open(f"{home}/cgroup.procs", "w") as file:
                    file.write("0")

    def _notify(self, script: str, pid: int) -> None:
        """At setup-namespaces only the root task exists: what it forks is in its group, too."""
        if script == "setup-namespaces":
            for directory in self._joined:
                with open(f"{directory}/cgroup.procs", "w") as file:
                    file.write(str(pid))
            self._container.save(pid=pid, startTime=records.identity(pid)[1])
            state = self._container.describe() | {"pid": pid, "status": "creating"}
            for kind in ("prestart", "createRuntime"):
                run_hooks(self._spec, kind, state)
        elif script == "orphan-pts-master" and self._console and self._criu:
            master = self._criu.received.pop()
            socket.send_fds(self._console, [b"m"], [master])
            os.close(master)
