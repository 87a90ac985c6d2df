"""checkpoint: a container's processes into CRIU images; then it is gone, or runs on."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from migrate.criu import client, timer_images
from migrate.criu.file_images import free_external
from migrate.kernel.mountinfo import read_mountinfo
from migrate.kernel.signals import Signals
from migrate.oci import external, groups, images, records
from migrate.oci.delete import remove
from migrate.oci.errorlog import warn
from migrate.oci.errors import BadUsage, NotCheckpointable, Unsupported
from migrate.oci.records import Container
from migrate.oci.requests import ask, environment, options_of

LOG = "dump.log"
_DEATH_LIMIT = 10.0  # seconds from CRIU's answer to the last task's end
_SHARED = ("ipc", "uts", "user", "mount", "cgroup", "time")


def checkpoint(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Dump it; raises NotAllowedNow, NotCheckpointable, CriuFailed, and then it runs on."""
    from migrate.criu.provide import criu_binary

    criu_binary()  # raises CriuMissing before anything is made
    with Signals() as signals, records.locked(records.load(settings["root"], words[0])) as found:
        found.require("checkpoint", records.RUNNING, records.PAUSED)
        spec = found.config
        _refuse_shared(spec)
        _refuse_untracked(values)
        directory = images.make_directory(values["image_path"] or "checkpoint")
        if values["work_path"]:
            images.make_directory(values["work_path"])
        # An interruption waits for CRIU: a dump cut off leaves its code in the processes.
        with signals.held():
            _dump(found, spec, values, directory)
        signals.deafen()
        if values["leave_running"] or values["pre_dump"]:
            return
        for error in remove(found):
            warn(settings, str(error))


def _refuse_shared(spec: dict[str, Any]) -> None:
    """A namespace of another container would be restored as one of its own."""
    for entry in (spec.get("linux") or {}).get("namespaces") or []:
        if entry.get("path") and entry["type"] in _SHARED:
            raise NotCheckpointable(
                f"a container with a joined {entry['type']} namespace can't be checkpointed",
                cause="CRIU would restore it with one of its own",
                mend="give the container a namespace of its own",
            )


def _dump(
    container: Container, spec: dict[str, Any], values: dict[str, Any], directory: str
) -> None:  # fmt: skip
    pid = container.state["pid"]
    description = _describe(spec, pid)
    with options_of(values, directory, LOG) as options:
        options.pid = pid
        options.leave_running = bool(values["leave_running"] or values["pre_dump"])
        group = groups.of_state(container.state)
        if not _has_stopped_task(group.pids()):  # the v1 freezer lets nobody seize those
            options.freeze_cgroup = str(group.freezer)
        _name_external(options, spec, pid, description)
        _set_memory(options, values, directory)
        kind = "PRE_DUMP" if values["pre_dump"] else "DUMP"
        log = f"{values['work_path'] or directory}/{LOG}"
        with client.swrk(environment(), (options.work_dir_fd,)) as criu:
            ask(criu, kind, options, lambda _script, _pid: None, log)
    if not values["pre_dump"]:
        if any(description.files):
            free_external(Path(directory))
        timer_images.revive(Path(directory))
        images.write(directory, description)
    if not options.leave_running:
        _await_end(container)


def _describe(spec: dict[str, Any], pid: int) -> images.Description:
    seen = read_mountinfo(pid)
    streams = [os.readlink(f"/proc/{pid}/fd/{number}") if os.path.lexists(
        f"/proc/{pid}/fd/{number}") else "" for number in range(3)]  # fmt: skip
    files = [_external_file(pid, number, {m.mount_id for m in seen}) for number in range(3)]
    entries = (spec.get("linux") or {}).get("namespaces") or []
    paths = [entry["type"] for entry in entries if entry.get("path")]
    return images.Description(streams, files, external.found(spec, pid, seen), paths)


def _external_file(pid: int, number: int, mounts: set[int]) -> str:
    """CRIU's key of a stream that is a file of the host's; "" where it is none."""
    try:
        with open(f"/proc/{pid}/fdinfo/{number}") as file:
            fields = dict(line.split(":", 1) for line in file.read().splitlines() if ":" in line)
        status = os.stat(f"/proc/{pid}/fd/{number}")
        path = os.readlink(f"/proc/{pid}/fd/{number}")
    except OSError:
        return ""
    mount = int(fields["mnt_id"])
    if mount in mounts or not path.startswith("/"):
        return ""
    return f"file[{mount:x}:{status.st_ino:x}]"


def _name_external(
    options: Any, spec: dict[str, Any], pid: int, description: images.Description
) -> None:  # fmt: skip
    options.external.extend(f"mnt[{m.place}]:{m.place}" for m in description.mounts)
    options.external.extend(filter(None, description.files))
    for kind, name, key in (("network", "net", images.NETWORK_KEY), ("pid", "pid", images.PID_KEY)):
        if kind in description.namespaces:
            inode = os.stat(f"/proc/{pid}/ns/{name}").st_ino
            options.external.append(f"{name}[{inode}]:{key}")


def _set_memory(options: Any, values: dict[str, Any], directory: str) -> None:
    if values["parent_path"]:
        if not os.path.isdir(os.path.join(directory, values["parent_path"])):
            raise BadUsage(
                f"--parent-path {values['parent_path']} is no directory",
                cause=f"it is relative to {directory}",
            )
        options.parent_img = values["parent_path"]
    options.track_mem = bool(values["pre_dump"] or values["parent_path"])
    if values["page_server"]:
        matched = re.fullmatch(r"\[?([\w.:-]+?)\]?:(\d{1,5})", values["page_server"])
        if not matched:
            raise BadUsage(f"--page-server {values['page_server']} is not ADDRESS:PORT")
        options.ps.address, options.ps.port = matched[1], int(matched[2])


def _refuse_untracked(values: dict[str, Any]) -> None:
    """Raise Unsupported for what needs a kernel that tells written pages, where it does not."""
    if not (values["pre_dump"] or values["parent_path"]):
        return
    from migrate.criu.probe import has_feature
    from migrate.criu.provide import criu_binary

    if not has_feature(criu_binary(), "mem_dirty_track"):
        raise Unsupported(
            "--pre-dump and --parent-path are not supported",
            cause="this kernel does not tell which pages were written (CONFIG_MEM_SOFT_DIRTY)",
            mend="leave them out; 'migrate move' has a tracker of its own",
        )


def _has_stopped_task(pids: list[int]) -> bool:
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                if file.read().rpartition(b")")[2].split()[0] == b"T":
                    return True
        except OSError:
            continue
    return False


def _await_end(container: Container) -> None:
    deadline = time.monotonic() + _DEATH_LIMIT
    while container.alive and time.monotonic() < deadline:
        time.sleep(0.002)
