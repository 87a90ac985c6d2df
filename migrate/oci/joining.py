"""A forked process on its way into namespaces, new ones or those of others by path.

The process between the command and a container's first process: it enters, forks init, tells its
pid, and ends, so that init goes to the caller's subreaper. It does not enter the control groups:
the command puts init there, alone, as a limit of one process demands.

Messages, one JSON object a packet: to the parent {"map": true} (it writes the id maps, and answers
{"go": true}), {"pid": n}, or {"step", "error"}.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from migrate.kernel.namespaces import FLAG_OF_NAME, setns, unshare
from migrate.oci.program import in_words

EXIT_SETUP = 125
_FILES = {"network": "net", "mount": "mnt"}  # types of the specification -> names in /proc/PID/ns
_LIMIT = 65536
# User first: its rights are needed for the others. Mount last: paths are the host's until then.
_ORDER = ("user", "ipc", "uts", "network", "pid", "cgroup", "time", "mount")


def flag_of(kind: str) -> int:
    """The CLONE_NEW* flag of a namespace's type in the specification."""
    return FLAG_OF_NAME[_FILES.get(kind, kind)]


class Joining:
    """What to enter; `paths` are namespaces by type, of others, `fresh` the types of new ones."""

    def __init__(
        self, spec: dict[str, Any], groups: list[str], remake: Callable[[], None] | None = None
    ) -> None:
        """`remake` makes and limits the groups again, of which systemd may prune some."""
        self.remake = remake
        entries = (spec.get("linux") or {}).get("namespaces") or []
        self.groups = groups
        self.paths = {e["type"]: str(e["path"]) for e in entries if e.get("path")}
        self.fresh = [e["type"] for e in entries if not e.get("path")]
        self.offsets = (spec.get("linux") or {}).get("timeOffsets") or {}
        self.oom_score = (spec.get("process") or {}).get("oomScoreAdj")


def be_middle(
    joining: Joining, channel: socket.socket, then: Callable[[socket.socket, int], NoReturn]
) -> NoReturn:
    """Enter everything, fork; the child does `then` with its pid, this process ends."""
    step = "oomScoreAdj"
    try:
        if joining.oom_score is not None:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(joining.oom_score))
        step = "namespaces"
        _enter(joining, channel)
        pid = os.fork()
    except Exception as error:  # noqa: BLE001 -- every failure travels to the parent
        channel.send(json.dumps({"step": step, "error": in_words(error)}).encode())
        os._exit(EXIT_SETUP)
    if pid == 0:
        try:
            if told := json.loads(channel.recv(_LIMIT) or b"{}").get("go"):
                if "cgroup" in joining.fresh:  # rooted where this process is now
                    unshare(flag_of("cgroup"))
                then(channel, told)
        finally:
            os._exit(EXIT_SETUP)
    channel.send(json.dumps({"pid": pid}).encode())
    os._exit(0)


def _enter(joining: Joining, channel: socket.socket) -> None:
    opened = {
        kind: os.open(joining.paths[kind], os.O_RDONLY | os.O_CLOEXEC)
        for kind in _ORDER if kind in joining.paths
    }  # fmt: skip
    fresh = [kind for kind in joining.fresh if kind not in {"user", "cgroup"}]
    if "user" in opened:
        _join("user", opened.pop("user"), joining.paths)
        _become_root()
    elif "user" in joining.fresh:
        unshare(flag_of("user"))
        channel.send(b'{"map": true}')
        if not channel.recv(_LIMIT):
            raise OSError(5, "the id maps could not be written")
        _become_root()
    for kind, descriptor in opened.items():
        if kind != "mount":
            _join(kind, descriptor, joining.paths)
    flags = 0
    for kind in fresh:
        flags |= flag_of(kind)
    if "mount" in opened:
        unshare(flags)
        _join("mount", opened["mount"], joining.paths)
    else:
        unshare(flags)
    if joining.offsets:
        with open("/proc/self/timens_offsets", "w") as file:
            for clock, offset in joining.offsets.items():
                seconds, nanoseconds = offset.get("secs") or 0, offset.get("nanosecs") or 0
                file.write(f"{clock} {seconds} {nanoseconds}\n")


def _join(kind: str, descriptor: int, paths: dict[str, str]) -> None:
    own = os.stat(f"/proc/self/ns/{_FILES.get(kind, kind)}")
    there = os.fstat(descriptor)
    if (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino):
        try:
            setns(descriptor, flag_of(kind))
        except OSError as error:
            raise OSError(
                error.errno, f"{kind} namespace {paths[kind]}: {error.strerror}"
            ) from None
    os.close(descriptor)


def _become_root() -> None:
    """Root of the user namespace, as far as it has one."""
    os.setgroups([]) if _may_set_groups() else None
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _may_set_groups() -> bool:
    with open("/proc/self/setgroups") as file:
        return file.read().strip() == "allow"


def write_maps(pid: int, linux: dict[str, Any]) -> None:
    """The id maps of a new user namespace (user_namespaces(7)); raises OSError."""
    for name, key in (("uid_map", "uidMappings"), ("gid_map", "gidMappings")):
        lines = "".join(
            f"{entry['containerID']} {entry['hostID']} {entry['size']}\n"
            for entry in linux.get(key) or []
        )
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(lines)
