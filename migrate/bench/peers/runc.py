"""runc as a side of `migrate bench peers` (runc-checkpoint(8), runc-restore(8))."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.loads.load import PACKAGE
from migrate.bench.loads.memory import Memory
from migrate.bench.peers.place import LIMIT, MACHINE, PeerHost, ended
from migrate.bench.peers.side import NAME, WORK, Parts, Shipping, program

BUNDLE, IMAGES, BEFORE = f"{WORK}/bundle", f"{WORK}/images", f"{WORK}/before"
LOG, CRIU_LOG = f"{WORK}/runc.log", f"{WORK}/log"
LAZY_PORT = 27277
PIPE_SIZE = 128 << 20
"""Bytes: CRIU's page server wants pipes of 107 MB (seen with CRIU 4.2.1)."""
_PIPE_LIMIT = Path("/proc/sys/fs/pipe-max-size")


@dataclass(frozen=True)
class Runc:
    """`checkpoint`, ship, `restore`; `way`: plain, pre-dump (one round before) or lazy-pages."""

    way: str = "plain"
    is_peer = True

    @property
    def name(self) -> str:
        """See `Side`."""
        return "runc" if self.way == "plain" else f"runc {self.way}"

    def start(self, source: PeerHost, load: Memory) -> None:
        """See `Side`."""
        source.run("sh", "-c", f"mkdir -p {BUNDLE} && cat > {BUNDLE}/config.json",
                   input=json.dumps(specification(program(load))))  # fmt: skip
        source.run("runc", "--log", LOG, "run", "--detach", "--bundle", BUNDLE, NAME, log=LOG)

    def move(self, source: PeerHost, target: PeerHost) -> dict[str, float]:
        """See `Side`."""
        shipping = Shipping(source.host, target.host)
        shipping.directory(BUNDLE)
        return (_lazily if self.way == "lazy-pages" else self._plainly)(source, target, shipping)

    def _plainly(
        self, source: PeerHost, target: PeerHost, shipping: Shipping
    ) -> dict[str, float]:  # fmt: skip
        parts = Parts()
        checkpoint = ["runc", "checkpoint"]
        if self.way == "pre-dump":
            with parts.timed("pre-dump"):
                source.run(
                    *checkpoint, "--pre-dump", "--image-path", BEFORE, NAME, criu=f"{BEFORE}/*.log"
                )
                shipping.directory(BEFORE)
            checkpoint += ["--parent-path", f"../{Path(BEFORE).name}"]
        with parts.timed("checkpoint"):
            source.run(
                *checkpoint, "--image-path", IMAGES, "--work-path", CRIU_LOG, NAME,
                criu=f"{CRIU_LOG}/*.log",
            )  # fmt: skip
        with parts.timed("ship"):
            shipping.directory(IMAGES)
        with parts.timed("restore"):
            target.run(*_restore(), log=LOG, criu=f"{CRIU_LOG}/*.log")
        return parts.seconds

    def remove(self, place: PeerHost) -> None:
        """See `Side`."""
        place.host.run(place.command("runc", "delete", "--force", NAME), check=False)
        place.host.run(["rm", "-rf", BUNDLE, IMAGES, BEFORE, LOG, CRIU_LOG])


def _restore(*more: str) -> list[str]:
    return [
        "runc", "--log", LOG, "restore", "--detach", "--bundle", BUNDLE, "--image-path", IMAGES,
        "--work-path", CRIU_LOG, *more, NAME,
    ]  # fmt: skip


def _lazily(source: PeerHost, target: PeerHost, shipping: Shipping) -> dict[str, float]:
    """The source keeps the pages until the target has fetched all."""
    parts = Parts()
    with _large_pipes(), contextlib.ExitStack() as stack:
        with parts.timed("checkpoint"):
            dump = stack.enter_context(_dump_lazily(source))
        with parts.timed("ship"):
            shipping.directory(IMAGES)
        with parts.timed("restore"):
            pages = stack.enter_context(_fetching(source, target))
            target.run(*_restore("--lazy-pages"), log=LOG, criu=f"{CRIU_LOG}/*.log")
        with parts.timed("pages"):
            for child in (dump, pages):
                if ended(child):
                    raise BenchImpossible("the pages did not all come", cause=_complaint(child))
    return parts.seconds


@contextlib.contextmanager
def _dump_lazily(source: PeerHost) -> Iterator[Any]:
    """It runs, and CRIU has said that its page server is ready."""
    reader, writer = os.pipe()
    child = source.popen(
        "runc", "checkpoint", "--lazy-pages", "--page-server", f"0.0.0.0:{LAZY_PORT}",
        "--status-fd", str(writer), "--image-path", IMAGES, "--work-path", CRIU_LOG, NAME,
        pass_fds=(writer,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writer)
    try:
        ready = select.select([reader], [], [], LIMIT)[0] and os.read(reader, 1)
        if not ready:
            child.kill()
            raise BenchImpossible("runc checkpoint --lazy-pages failed", cause=_complaint(child))
        yield child
    finally:
        os.close(reader)
        child.kill()
        child.wait()
        child.stderr.close()


@contextlib.contextmanager
def _fetching(source: PeerHost, target: PeerHost) -> Iterator[Any]:
    """`criu lazy-pages` listens at the target."""
    target.run("mkdir", "-p", CRIU_LOG)
    child = target.popen(
        "criu", "lazy-pages", "--page-server", "--address", source.host.address, "--port",
        str(LAZY_PORT), "--images-dir", IMAGES, "--work-dir", CRIU_LOG,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    socket = Path(f"/proc/{target.host.pid}/root{WORK}/log/lazy-pages.socket")
    try:
        deadline = time.monotonic() + LIMIT
        while not socket.exists():
            if child.poll() is not None or time.monotonic() > deadline:
                child.kill()
                raise BenchImpossible("criu lazy-pages failed", cause=_complaint(child))
            time.sleep(0.001)
        yield child
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def _complaint(child: Any) -> str:
    return str(child.stderr.read()).strip()[-400:] or "it said nothing"


@contextlib.contextmanager
def _large_pipes() -> Iterator[None]:
    """The machine's limit is raised meanwhile, as `migrate doctor --fix` does it for good."""
    before = int(_PIPE_LIMIT.read_text())
    if before < PIPE_SIZE:
        _PIPE_LIMIT.write_text(str(PIPE_SIZE))
    try:
        yield
    finally:
        if before < PIPE_SIZE:
            _PIPE_LIMIT.write_text(str(before))


def specification(words: tuple[str, ...]) -> dict[str, Any]:
    """config.json (OCI runtime specification 1.0.2) of a container in its host's network."""
    tmpfs = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False, "user": {"uid": 0, "gid": 0}, "args": list(words), "cwd": "/",
            "env": ["PATH=/usr/sbin:/usr/bin", "PYTHONPATH=/bench"], "noNewPrivileges": True,
        },
        "root": {"path": f"{WORK}/rootfs", "readonly": False},
        "hostname": NAME,
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", **tmpfs},
            {"destination": "/tmp", **tmpfs},
            _bound(f"{MACHINE}/usr", "/usr"), _bound(str(PACKAGE), "/bench/migrate"),
        ],
        "linux": {
            "namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount")],
            "resources": {"devices": [{"allow": True, "access": "rwm"}]},
        },
    }  # fmt: skip


def _bound(source: str, target: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": ["rbind", "ro"]}
