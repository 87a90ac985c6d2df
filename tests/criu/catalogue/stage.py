"""CRIU against one of the victims, in a pid, mount, network and IPC namespace of its own.

`python -m tests.criu.catalogue.stage SCENE DIRECTORY`; the namespaces must have been made
(`unshare`), and all that is in them ends with this process. CRIU's log is DIRECTORY/log.
"""

from __future__ import annotations

import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from migrate.criu.provide import criu_binary
from migrate.kernel import interfaces, mounts

VICTIMS = Path(__file__).with_name("victims.py")
LIMIT = 30.0  # seconds


class Stage:
    """A victim, and CRIU as it is run by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.images = directory / "images"
        self.log = directory / "log"
        self.images.mkdir()
        self.pid = 0
        self.kept: list[object] = []

    def start(self, kind: str) -> None:
        process = subprocess.Popen(
            [sys.executable, VICTIMS, kind, self.directory], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=(self.directory / "victim").open("w"),
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout
        ready = process.stdout.read()  # to its end: then it has closed it, too
        process.stdout.close()
        assert ready == b"ready\n", (self.directory / "victim").read_text()
        self.pid = process.pid
        self.kept.append(process)

    def criu(self, verb: str, *options: str) -> int:
        return subprocess.run(
            [criu_binary(), verb, "--images-dir", self.images, "--log-file", self.log, "-v2",
             "--network-lock", "skip", "--manage-cgroups=ignore", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False, timeout=LIMIT,
        ).returncode  # fmt: skip

    def dump(self, *options: str) -> int:
        return self.criu("dump", "--tree", str(self.pid), *options)

    def dump_well(self, kind: str, *options: str) -> None:
        """A dump that passes; the victim is gone."""
        self.start(kind)
        assert self.dump(*options) == 0, self.log.read_text()
        os.waitpid(self.pid, 0)

    def restore(self, *options: str) -> int:
        return self.criu("restore", "--restore-detached", *options)


def only_dump(kind: str, *options: str) -> Callable[[Stage], int]:
    def scene(stage: Stage) -> int:
        stage.start(kind)
        return stage.dump(*options)

    return scene


def unix_outside(stage: Stage) -> int:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(stage.directory / "outside"))
    listener.listen()
    stage.start("unix_outside")
    stage.kept.append(listener.accept())
    return stage.dump()


def terminals(count: int, *options: str) -> Callable[[Stage], int]:
    """Terminals whose masters are outside."""

    def scene(stage: Stage) -> int:
        for number in range(count):
            ends = pty.openpty()
            stage.kept.append(ends)
            (stage.directory / f"terminal{number}").symlink_to(os.ttyname(ends[1]))
        stage.start("terminals")
        return stage.dump(*options)

    return scene


def traced(stage: Stage) -> int:
    """A tracer holds the victim: this process, by PTRACE_SEIZE."""
    import ctypes

    stage.start("plain")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(0x4206, stage.pid, None, None) == 0
    return stage.dump()


def silent_page_server(stage: Stage) -> int:
    """It hangs up at once."""
    listener = socket.create_server(("127.0.0.1", 7013))
    if os.fork() == 0:
        while True:
            listener.accept()[0].close()
    stage.start("plain")
    return stage.dump("--page-server", "--address", "127.0.0.1", "--port", "7013")


def changed_file(change: Callable[[Path], None]) -> Callable[[Stage], int]:
    def scene(stage: Stage) -> int:
        kept = stage.directory / "kept"
        kept.write_bytes(b"x" * 8192)
        kept.chmod(0o644)
        stage.dump_well("open_file")
        change(kept)
        return stage.restore()

    return scene


def changed_image(name: str, change: Callable[[Path], None]) -> Callable[[Stage], int]:
    def scene(stage: Stage) -> int:
        stage.dump_well("plain")
        for path in stage.images.glob(name):
            change(path)
        return stage.restore()

    return scene


def newer_version(inventory: Path) -> None:
    import pycriu

    with inventory.open("rb") as file:
        image = pycriu.images.load(file)
    image["entries"][0]["img_version"] = 99
    with inventory.open("wb") as file:
        pycriu.images.dump(image, file)


def no_images(stage: Stage) -> int:
    return stage.restore()


def pid_taken(stage: Stage) -> int:
    stage.start("plain")
    assert stage.dump("--leave-running") == 0, stage.log.read_text()
    return stage.restore()


def port_taken(stage: Stage) -> int:
    stage.dump_well("listening")
    stage.kept.append(socket.create_server(("127.0.0.1", 7011)))
    return stage.restore()


def address_gone(stage: Stage) -> int:
    """All of 127.0.0.0/8 is here only as long as lo has its address."""
    stage.dump_well("bound")
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert ip, "'make setup' installs iproute2"
    subprocess.run([ip, "addr", "flush", "dev", "lo"], check=True)
    return stage.restore()


def no_page_server(stage: Stage) -> int:
    stage.dump_well("plain")
    return stage.restore("--lazy-pages")


SCENES: dict[str, Callable[[Stage], int]] = {
    "io-uring-not-passed": only_dump("io_uring"),
    "userfaultfd": only_dump("userfaultfd"),
    "perf-event": only_dump("perf_event"),
    "bpf": only_dump("bpf_map"),
    "block-device": only_dump("block_device"),
    "packet-pipe": only_dump("packet_pipe"),
    "pidfd-outside": only_dump("pidfd_of_init"),
    "ghost-too-large": only_dump("deleted_large"),
    "link-remap-off": only_dump("deleted_but_linked"),
    "name-reused": only_dump("mounted_over"),
    "file-overmounted": only_dump("overmounted"),
    "file-locks-off": only_dump("lock"),
    "watch-on-tmpfs": only_dump("watch_deleted"),
    "socket-family": only_dump("socket_family"),
    "mptcp": only_dump("mptcp"),
    "netlink-data": only_dump("netlink_unread"),
    "message-credentials": only_dump("credentials_in_queue"),
    "corked-udp": only_dump("corked"),
    "tcp-connected": only_dump("connected"),
    "unix-external": unix_outside,
    "ptys-without-master": terminals(2, "--shell-job"),
    "pty-without-master": terminals(1),
    "not-seizable": traced,
    "main-thread-gone": only_dump("main_thread_gone"),
    "nested-namespace": only_dump("nested_ipc"),
    "sysv-shared-outside": only_dump("system_v"),
    "page-server-silent": silent_page_server,
    "file-missing": changed_file(lambda file: file.unlink()),
    "file-size": changed_file(lambda file: os.truncate(file, 9000)),
    "file-mode": changed_file(lambda file: file.chmod(0o600)),
    "image-absent": no_images,
    "image-head-magic": changed_image("pstree.img", lambda path: path.write_bytes(bytes(64))),
    "image-truncated": changed_image("core-*.img", lambda path: os.truncate(path, 8)),
    "image-cut-off": changed_image("core-*.img", lambda path: os.truncate(path, 40)),
    "image-version": changed_image("inventory.img", newer_version),
    "pid-taken": pid_taken,
    "port-taken": port_taken,
    "address-not-here": address_gone,
    "lazy-pages-absent": no_page_server,
}


def main(scene: str, directory: Path) -> int:
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.mount("proc", "/proc", "proc")
    mounts.mount("tmpfs", "/run", "tmpfs", data="mode=755")  # CRIU writes its feature cache there
    interfaces.bring_up("lo")
    return SCENES[scene](Stage(directory))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
