"""Restoring a container's processes from CRIU images, into a frozen cgroup and a held network."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

from migrate.checkpoint import linkremaps, subgroups
from migrate.checkpoint.besidecriu import BesideCriu
from migrate.checkpoint.dump import UNREAD
from migrate.checkpoint.errors import PlaceUnfit
from migrate.checkpoint.netns.putting import Namespace
from migrate.checkpoint.state import DEVICE_PLACES, NETNS_KEY, State, has_own_netns, mask_directory
from migrate.criu import client, cpu, timer_images
from migrate.criu.diagnosis import explain
from migrate.criu.errors import CriuDied, CriuFailed, ImageBad
from migrate.criu.lazypages.protocol import SOCKET_NAME
from migrate.criu.skeleton.filter import joining, preloading
from migrate.kernel.closednetns import ClosedNamespace
from migrate.kernel.threads import quick_switches
from migrate.runtime import openbinds, records
from migrate.runtime.cgroups.group import ControlGroup
from migrate.runtime.control import ask, launch_monitor
from migrate.runtime.errors import MonitorFailed
from migrate.runtime.networks import driver_of
from migrate.runtime.paths import Paths
from migrate.runtime.storage import bind_source

LOG = "restore.log"
PAGE_SERVER = "migrate.criu.lazypages.server"
SILENCE_LIMIT = 300.0  # seconds
CRIU_MARK = 0xC114
"""Of packets by which CRIU brings a restored socket to its state (soccr/soccr.h, SOCCR_MARK)."""


class Restorer:
    """A place that is ready, a monitor that serves, and a CRIU that waits for its request.

    Made before the freeze; `restore` is all that is left for the pause.
    """

    def __init__(
        self, paths: Paths, state: State, pages: Path | None = None, *, fill_rate: int = 0
    ) -> None:
        """Start monitor and CRIU; the place (rootfs, cgroup, network) must have been made.

        With `pages`, the directory of a page store (`migrate.criu.lazypages.protocol`), memory is
        restored lazily from it, and the page server is started here. The store may be written until
        `restore`; from then on it is the server's, which empties it. `fill_rate` in bytes a second
        slows the background fill down, 0 does not.
        """
        import pycriu.rpc_pb2  # noqa: F401 -- 0.1 s, not to be spent in `restore`

        self._paths = paths
        self._state = state
        self._own = paths.container(state.record.identifier)
        self._group = ControlGroup.of(state.record.identifier)
        self._netns = has_own_netns(state.record)
        network = state.record.network
        driver_of(network.driver).teach(self._own, network, state.neighbours)
        self._inner = Namespace(self._own.netns) if self._netns else None
        if self._inner:
            self._inner.prepare(state.netns)
        answer = launch_monitor(
            self._own, state.record, state.spec, mode="restore", network=self._netns
        )
        self._subgroups = state.subgroups
        self._monitor = int(answer["monitor"])
        self._pipes = dict(answer["pipes"])
        openbinds.show(paths, state.record)
        self._start_criu()
        self._closed = self._close_network()
        self._lazy = pages is not None
        self._pages = pages
        self._beside: BesideCriu | None = None
        self._init = 0  # its pid on this host, as soon as there is one
        if pages is not None:
            try:
                self._start_page_server(pages, fill_rate)
            except BaseException:
                self.abandon()
                raise

    def _start_criu(self) -> None:
        """By the monitor, whose child the restored init will be; raises MonitorFailed, CriuDied."""
        mapped = self._state.record.user_namespace
        request = {
            "do": "criu", "argv": client.swrk_arguments(10),
            "environment": self._joining() if mapped else preloading(),
        }  # fmt: skip
        with contextlib.ExitStack() as stack, contextlib.ExitStack() as on_failure:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            on_failure.callback(ours.close)
            passed = [stack.enter_context(theirs).fileno()]
            if self._netns:
                passed.append(os.open(self._own.netns, os.O_RDONLY | os.O_CLOEXEC))
                stack.callback(os.close, passed[-1])
            told = ask(self._own, request, passed)
            self._numbers = list(told["descriptors"])
            self.criu_pid = int(told["pid"])
            self._criu = client.Swrk(ours, self.criu_pid)
            on_failure.pop_all()

    def _joining(self) -> dict[str, str]:
        places = openbinds.places(self._own, self._state.record)
        return joining(self._own.userns, [self._own.rootfs, *places])

    def _close_network(self) -> ClosedNamespace | None:
        """Also its loopback, until all sockets are restored; None where that can't be."""
        with contextlib.suppress(OSError):  # a kernel without nf_tables
            return ClosedNamespace(self._own.netns, CRIU_MARK) if self._netns else None
        return None

    def _start_page_server(self, pages: Path, rate: int) -> None:
        directory = os.open(pages, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        request = {
            "do": "pages", "module": PAGE_SERVER, "socket": str(self._own.pages_socket),
            "filling": str(self._own.filling), "options": {"rate": rate},
        }  # fmt: skip
        try:
            ask(self._own, request, [directory])
        finally:
            os.close(directory)

    def restore(self, images: Path, state: State, keep_log: Path | None = None) -> records.Process:
        """Restore, and leave the processes frozen; returns init's identity, written down.

        `state` is that of the dump, which is newer than what the place was prepared for. Raises
        CriuFailed, CriuDied, ImageBad; then no process of the container is left.
        """
        try:
            if self._inner:
                self._inner.update(state.netns)
            self._give_images(images)
            linkremaps.put_in_place(self._paths, state, images, self._own.rootfs)
            timer_images.revive(images)
            subgroups.make(self._group, state.subgroups)
            self._subgroups = state.subgroups
            if self._pages:
                self._place_socket(images)
            options = self._options(images, state)
            with quick_switches():
                if self._pages:
                    self._beside = BesideCriu(images, self._pages)
                response = self._criu.request("RESTORE", options, self._notify, SILENCE_LIMIT)
            pid = int(response.restore.pid)
            self._group.freeze()
            if self._inner:
                self._inner.put_rules(state.netns)
            if self._beside:
                self._beside.written()
        except (CriuFailed, CriuDied) as error:
            self._group.kill()
            self._check_page_server()
            raise explain(images / LOG, error.what, keep_log) from error
        except BaseException:
            self._group.kill()
            raise
        finally:
            self._criu.close()
            if self._beside:
                self._beside.close()
        ask(self._own, {"do": "adopt", "pid": pid})
        if (images / UNREAD).exists():
            self._type(images / UNREAD)
        self._check_page_server()
        process = records.process_of(
            pid, started=True, monitor=self._monitor, log_pipes=self._pipes
        )
        records.save_process(self._own, process)
        return process

    def _give_images(self, images: Path) -> None:
        """CRIU reads most of them as the root of the user namespace, who needs no more of them.

        By descriptors that it has: nobody else reaches the directory.
        """
        if not (mapped := self._state.record.user_namespace):
            return
        group = mapped.root[1]
        for name in ("", *os.listdir(images)):  # noqa: PTH208
            place = os.open(images / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            os.fchown(place, -1, group)
            os.fchmod(place, os.fstat(place).st_mode | (0o040 if name else 0o050))
            os.close(place)

    def _place_socket(self, images: Path) -> None:
        """CRIU looks in its working directory, which is that of the images."""
        (images / SOCKET_NAME).unlink(missing_ok=True)
        (images / SOCKET_NAME).symlink_to(self._own.pages_socket)

    def _type(self, unread: Path) -> None:
        with unread.open("rb") as file:
            ask(self._own, {"do": "type"}, [file.fileno()])

    def _check_page_server(self) -> None:
        """Raises ImageBad when it refused the page store; then nothing of the copy is left."""
        if not self._lazy:
            return
        try:
            ask(self._own, {"do": "pages"})
        except MonitorFailed as error:
            self._group.kill()
            raise ImageBad(
                f"the memory of '{self._state.record.name}' can't be restored",
                cause=error.cause, mend="move it again, or make the dump again",
            ) from error  # fmt: skip

    def _notify(self, script: str, pid: int) -> None:
        """At setup-namespaces only the root task exists: what it forks is in its cgroup, too.

        At post-restore every socket is there, and none sends yet: what one end of a connection
        within the container sends, and the other were not there to take, would end it.
        With orphan-pts-master comes the other end of the terminal, which was the old monitor's.

        At pre-resume all tasks are whole and stopped, and nothing but letting go is left: frozen
        now, they run when the cgroup is thawed (CRIU, criu/cr-restore.c, restore_root_task).

        At post-setup-namespaces no task has looked at its memory's images, at post-restore all
        have their memory: what is done of it beside CRIU has to be ready there, or can begin.
        """
        if script == "setup-namespaces":
            self._group.add(pid)
            self._init = pid
        elif script == "post-setup-namespaces" and self._beside:
            self._beside.prepared()
        elif script == "post-restore":
            if self._closed:
                self._closed.open()
            if self._beside:
                self._beside.begin_to_write(self._group.pids(), self._init)
        elif script == "pre-resume":
            subgroups.fill(self._group, self._subgroups)
            self._group.request_freeze()
        elif script == "orphan-pts-master":
            ask(self._own, {"do": "terminal"}, [self._criu.received[-1]])

    def _options(self, images: Path, state: State) -> Any:
        options = client.base_options(images, LOG)
        if (images / cpu.IMAGE).exists():
            options.cpu_cap = cpu.REQUIREMENTS
        if state.close_connections:
            client.close_connections(options)
        options.root = str(self._own.rootfs)
        options.rst_sibling = True
        options.lazy_pages = self._lazy
        for mount in state.mounts:
            options.external.append(f"mnt[{mount.key}]:{self._source(mount.kind, mount.target)}")
        if self._netns:
            options.inherit_fd.add(key=NETNS_KEY, fd=self._numbers[1])
        ours = [name for name in ("stdin", "stdout", "stderr") if name in self._pipes]
        for stream, number in zip(ours, self._numbers[-len(ours) :], strict=True):
            if stream in state.log_pipes:
                options.inherit_fd.add(key=state.log_pipes[stream], fd=number)
        return options

    def _source(self, kind: str, target: str) -> str:
        record = self._state.record
        if record.user_namespace:
            return self._mapped_source(kind, target)
        if kind == "mask-file":
            return "/dev/null"
        if kind == "mask-directory":
            return str(mask_directory(self._paths))
        for bind in record.binds:
            if bind.target == target:
                return str(bind_source(self._paths, bind))
        raise _unknown_mount(target)

    def _mapped_source(self, kind: str, target: str) -> str:
        """The same where its user namespace can mount it."""
        own, record = self._own, self._state.record
        if kind == "mask-directory":
            return str(own.binds / openbinds.MASK)
        if kind == "mask-file" or (kind == "device" and target in DEVICE_PLACES):
            return str(own.binds / (os.path.basename(target) if kind == "device" else "null"))  # noqa: PTH119
        for bind in record.binds:
            if bind.target == target:
                return str(openbinds.place_of(own, record, bind))
        raise _unknown_mount(target)

    def let_run(self) -> None:
        """Packets pass, then the processes run."""
        record = self._state.record
        driver_of(record.network.driver).release(self._own, record.network)
        self._group.thaw()
        self.unguard_network()
        self._begin_fill()

    def unguard_network(self) -> None:
        """Take away what kept the network closed, and what only the restore needed.

        It waits for RCU, so it is for after the thaw.
        """
        with contextlib.suppress(OSError):
            openbinds.hide(self._own)
        if self._closed:
            with contextlib.suppress(OSError):
                self._closed.remove()
            self._closed = None

    def _begin_fill(self) -> None:
        """Let the page server fill what nobody has asked for; does nothing without one.

        It begins by itself at the first fault after the thaw, and some seconds after the restore.
        """
        if self._lazy:
            with contextlib.suppress(MonitorFailed):
                ask(self._own, {"do": "fill"})

    def abandon(self) -> None:
        """End what there is of the copy, CRIU and the monitor included."""
        self._criu.close()
        self._group.kill()
        if self._closed:
            self._closed.close()
        with contextlib.suppress(MonitorFailed):
            ask(self._own, {"do": "leave"}, limit=2)


def _unknown_mount(target: str) -> PlaceUnfit:
    return PlaceUnfit(f"the mount at {target} is not in the container's record")
