"""The shortest way to a container for `migrate run` of an image or a root directory.

It makes the same as `lifecycle.create` and `start` and undoes the same as `delete` (a test compares
them), but loads a tenth: no msgspec, no pathlib. It reports nothing: what is unusual, or fails
before the program runs, is undone and raises NotQuick; then the general way does it or says why.
"""

from __future__ import annotations

import os
import stat
import time

from migrate.images import quicklook
from migrate.kernel import mounts, netns
from migrate.kernel.bare import contextlib, json
from migrate.kernel.files import write_atomically
from migrate.kernel.processes import boot_id, start_time
from migrate.runtime import monitorstart, users, usual
from migrate.runtime.cgroups import tree
from migrate.runtime.cgroups.moving import meanwhile
from migrate.runtime.locks import locked
from migrate.runtime.waiting import release_init

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from migrate.runtime.cgroups.moving import Preparing
    from migrate.runtime.wanted import Wanted

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@+=~-")
_OVERLAY_LIMIT = 4000  # bytes of options, images/overlay.py
_OVERLAY_OPTIONS = "index=off,metacopy=off,redirect_dir=off"
_DEPTH_LIMIT = 32
_DRIVER = "overlay"
_ROOTS = ("", "0", "root", "0:0", "root:root")


class NotQuick(Exception):
    """This has to go the general way; nothing is left of the attempt."""


class Place:
    """The files of one container, as in `paths.ContainerPaths`."""

    def __init__(self, state: str, run: str, identifier: str) -> None:
        self.identifier = identifier
        self.images = f"{state}/images"
        self.state = f"{state}/containers/{identifier}"
        self.run = f"{run}/containers/{identifier}"
        self.lock = f"{run}/containers/.{identifier}.lock"
        self.netns = f"{run}/netns/{identifier}"
        self.userns = f"{run}/userns/{identifier}"
        self.rootfs = f"{self.run}/rootfs"
        self.process = f"{self.run}/process.json"


class Started:
    """A container whose init waits for `let_run`."""

    def __init__(self, place: Place, process: dict[str, Any]) -> None:
        self.place = place
        self.monitor = int(process["monitor"])
        self._process = process

    def let_run(self) -> None:
        """Let init execute the program; raises StartFailed."""
        release_init(f"{self.place.run}/exec.fifo")
        started = json.dumps(self._process | {"started": True}).encode()
        write_atomically(self.place.process, started, durable=False)

    def remove(self) -> None:
        """What `delete` does to an ended container, if it is ours still; raises CgroupFailed."""
        with locked(self.place.lock, "rm", owner=self.place.state):
            if self._is_ours():
                _unmake(self.place, tree.detect())
                _remove_files(self.place)

    def _is_ours(self) -> bool:
        """Not removed, started again, held by a move or by a restore since."""
        try:
            record = _read(f"{self.place.state}/record.json")
            process = _read(self.place.process)
        except (OSError, ValueError):
            return False
        free = not record.get("held") and not os.path.exists(f"{self.place.state}/before-restore")
        return free and process.get("monitor") == self.monitor


def make(state: str, run: str, wanted: Wanted, preparing: Preparing) -> Started:
    """Create it beneath the directories `state` and `run`; raises NotQuick."""
    try:
        if os.path.exists(f"{state}/cordoned") or _chooses_storage():
            raise NotQuick
        place = Place(state, run, os.urandom(6).hex())
        image = _image(place, wanted)
        config = image["config"] if image else {}
        with locked(place.lock, "create", owner=place.state):
            return _made(place, wanted, image, config, preparing)
    except Exception as error:
        preparing.end()
        raise NotQuick from error


def _chooses_storage() -> bool:
    """Whether somebody may have chosen another storage driver (`storage.driver_for`)."""
    if chosen := os.environ.get("MIGRATE_STORAGE_DRIVER"):
        return chosen != _DRIVER
    return os.path.exists(os.environ.get("MIGRATE_CONFIG") or "/etc/migrate/config.toml")


def _image(place: Place, wanted: Wanted) -> dict[str, Any] | None:
    """Its record; None where the container stands on a directory."""
    if wanted.rootfs:
        if not os.path.isdir(wanted.rootfs):
            raise NotQuick
        return None
    found = quicklook.find(place.images, wanted.image)
    if not found or found["config"].get("User", "") not in _ROOTS:
        raise NotQuick
    return found


def _made(
    place: Place, wanted: Wanted, image: dict[str, Any] | None, config: dict[str, Any],
    preparing: Preparing,
) -> Started:  # fmt: skip
    record = _record(place, wanted, image, config)
    trees = preparing.trees
    durable = not wanted.remove_at_exit
    try:
        with _registration(place, wanted.name):
            os.mkdir(place.state, 0o700)
            _write(place, "record.json", json.dumps(record).encode(), durable=durable)
        if image:
            quicklook.pin(place.images, place.identifier, image, durable=durable)
        _mount(place, _lower(place, wanted, image))
        spec = _spec(place, wanted, config)
        _write(place, "config.json", json.dumps(spec).encode(), durable=durable)
        os.mkfifo(f"{place.run}/exec.fifo", 0o600)
        if wanted.network == "none":
            netns.create(place.netns)
        monitorstart.load()
        preparing.end()  # it holds the lock that making a group needs, too
        tree.make(trees, tree.PARENT, place.identifier)
        return _launched(place, wanted, spec, trees)
    except BaseException:
        _unmake(place, trees)
        _remove_files(place)
        raise


def _record(
    place: Place, wanted: Wanted, image: dict[str, Any] | None, config: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """As `records.Record` is written: what has its default is left out."""
    found: dict[str, Any] = {
        "identifier": place.identifier, "name": wanted.name or place.identifier,
        "created": time.time(), "storage": _DRIVER,
    }  # fmt: skip
    if image:
        found |= {"image": wanted.image, "layers": image["diff_ids"]}
    else:
        found["rootfs"] = os.path.realpath(wanted.rootfs)
    if wanted.network != "none":
        found["network"] = {"driver": wanted.network}
    if signal := config.get("StopSignal"):
        if not (isinstance(signal, str) and signal.isalnum()):
            raise NotQuick
        found["stop_signal"] = signal
    return found | ({"remove_at_exit": True} if wanted.remove_at_exit else {})


@contextlib.contextmanager
def _registration(place: Place, name: str) -> Iterator[None]:
    """One at a time, so that the name is nobody else's; an id alone needs no turn."""
    if not name:
        yield
        return
    lock = os.path.join(os.path.dirname(place.lock), ".registration.lock")
    with locked(lock, "create", wait=30):
        directory = os.path.dirname(place.state)
        for identifier in os.listdir(directory):
            if name in {identifier, _name_in(f"{directory}/{identifier}/record.json")}:
                raise NotQuick
        yield


def _name_in(path: str) -> str:
    try:
        return str(_read(path)["name"])
    except FileNotFoundError:
        return ""


def _lower(place: Place, wanted: Wanted, image: dict[str, Any] | None) -> list[str]:
    """The overlay's lower directories, top first."""
    if image is None:
        return [os.path.realpath(wanted.rootfs)]
    layers = reversed(image["diff_ids"])
    return [quicklook.layer_directory(place.images, diff_id) for diff_id in layers]


def _mount(place: Place, lower: list[str]) -> None:
    upper, work = f"{place.state}/upper", f"{place.state}/work"
    for directory in (upper, work, place.run, place.rootfs):
        os.mkdir(directory, 0o700)
    # Others than root live in the container and must be able to enter its root.
    top = os.stat(lower[0])
    os.chown(upper, top.st_uid, top.st_gid)
    os.chmod(upper, stat.S_IMODE(top.st_mode))
    joined = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work}"
    if len(joined) > _OVERLAY_LIMIT or not _PLAIN.issuperset("".join((*lower, upper))):
        raise NotQuick
    mounts.mount("overlay", place.rootfs, "overlay", 0, f"{joined},{_OVERLAY_OPTIONS}")


def _spec(place: Place, wanted: Wanted, config: dict[str, Any]) -> dict[str, Any]:
    entrypoint, command = list(config.get("Entrypoint") or []), list(config.get("Cmd") or [])
    arguments = [str(word) for word in (*entrypoint, *(wanted.arguments or command))]
    if not arguments:
        raise NotQuick
    entries = [str(entry) for entry in config.get("Env") or [] if "=" in str(entry)]
    merged = dict(entry.split("=", 1) for entry in (*entries, *wanted.environment))
    user = users.look_up(place.rootfs, config.get("User") or "0")
    spec = usual.build(usual.Options(
        arguments, [f"{key}={value}" for key, value in merged.items()],
        directory=wanted.directory or str(config.get("WorkingDir") or "/"),
        host_name=place.identifier, host_network=wanted.network == "host",
    ))  # fmt: skip
    if not str(spec["process"]["cwd"]).startswith("/"):
        raise NotQuick
    usual.run_by(spec, user)
    return spec


def _launched(
    place: Place, wanted: Wanted, spec: dict[str, Any], trees: tree.Hierarchies
) -> Started:  # fmt: skip
    launch = monitorstart.message(
        place, spec, trees, mode="create", network=wanted.network == "none",
        remove=wanted.remove_at_exit,
    )  # fmt: skip
    pid, line = monitorstart.start(launch, f"{place.run}/monitor.log")
    answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended"}
    if "error" in answer:
        raise NotQuick
    process = {
        "pid": answer["pid"], "start_time": start_time(int(answer["pid"])), "boot": boot_id(),
        "started": False, "monitor": pid, "monitor_start_time": start_time(pid),
        "restored_from": "", "log_pipes": answer["pipes"],
    }  # fmt: skip
    write_atomically(place.process, json.dumps(process).encode(), durable=False)
    return Started(place, process)


def _write(place: Place, name: str, data: bytes, *, durable: bool) -> None:
    """What is removed at its end need not outlive a crash of the host."""
    write_atomically(f"{place.state}/{name}", data, durable=durable)


def _unmake(place: Place, trees: tree.Hierarchies) -> None:
    """All processes, cgroup, network, mount; an unmount waits for as long as all else takes."""
    tree.kill(f"{trees.freezer}/{tree.PARENT}/{place.identifier}")
    unmounted = meanwhile(lambda: _unmount(place))
    try:
        tree.remove(trees, tree.PARENT, place.identifier)
    finally:
        unmounted()


def _unmount(place: Place) -> None:
    if os.path.exists(place.netns):
        netns.delete(place.netns)
    with contextlib.suppress(OSError):
        while True:
            mounts.unmount(place.rootfs, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)


def _remove_files(place: Place) -> None:
    """The record last: as long as it is there, `rm` finds the container."""
    quicklook.unpin(place.images, place.identifier)
    with contextlib.suppress(FileNotFoundError):
        _remove_tree(place.run)
    record = f"{place.state}/record.json"
    with contextlib.suppress(FileNotFoundError):
        _empty(place.state, keep=record)
    _unlink(record)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(place.state)
    _unlink(place.lock)


def _remove_tree(directory: str, depth: int = 0) -> None:
    if depth > _DEPTH_LIMIT:
        from migrate.images.rootdir import remove_tree

        remove_tree(os.fsencode(directory))
        return
    _empty(directory, depth=depth)
    os.rmdir(directory)


def _empty(directory: str, keep: str = "", depth: int = 0) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(entry.path, depth + 1)
            elif entry.path != keep:
                os.unlink(entry.path)


def _read(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        found: dict[str, Any] = json.loads(file.read())
    return found


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
