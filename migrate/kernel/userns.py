"""User namespaces bound to a file: made with their id maps, and unmade; and acting as their ids."""

from __future__ import annotations

import os

from migrate.kernel import capabilities, mounts
from migrate.kernel.bare import contextlib, signal
from migrate.kernel.libc import libc, oserror
from migrate.kernel.namespaces import CLONE_NEWNET, CLONE_NEWUSER, CLONE_PARENT, setns
from migrate.kernel.netns import delete
from migrate.kernel.processes import fork_into

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Extent = tuple[int, int, int]
    """Ids of the namespace from the first on, those of its parent that they are, and how many."""

__all__ = ["acting_as", "become_root", "create", "delete", "fork_within", "write_map"]
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def create(
    path: str | os.PathLike[str], uids: Sequence[Extent], gids: Sequence[Extent], *,
    netns: str | os.PathLike[str] | None = None,
) -> None:  # fmt: skip
    """Make a user namespace with these maps, and bind it to the new file `path`.

    `netns`: with a network namespace that belongs to it, bound to that new file; its lo is down.
    Raises OSError: EINVAL for maps that overlap, EPERM for ids that are none of ours to give.
    """
    bound = {"user": path} | ({"net": netns} if netns else {})
    for place in bound.values():
        os.close(os.open(place, _FILE, 0o600))
    # The child runs no code that matters: a fork of a process with threads may hang at any step.
    child = fork_into(CLONE_NEWUSER | (CLONE_NEWNET if netns else 0))
    if child == 0:
        while True:
            signal.pause()
    try:
        write_map(child, "uid_map", uids)
        write_map(child, "gid_map", gids)
        for kind, place in bound.items():
            mounts.mount(f"/proc/{child}/ns/{kind}", place, flags=mounts.MS_BIND)
    except BaseException:
        for place in bound.values():
            delete(place)
        raise
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def write_map(pid: int, name: str, extents: Sequence[Extent]) -> None:
    """Write `uid_map` or `gid_map` of a process (user_namespaces(7)); raises OSError."""
    text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in extents)
    with open(f"/proc/{pid}/{name}", "w") as file:
        file.write(text)


def become_root() -> None:
    """Take the ids 0 of the user namespace that this process has entered; raises OSError."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def fork_within(path: str, flags: int, before: Callable[[], None]) -> int:
    """As `fork_into` with `flags`, the child in the bound user namespace `path`; 0 in the child.

    New namespaces among `flags` belong to it. `before` is called in a process in between that has
    left none yet; what it raises, OSError, is raised here. The child is the caller's own; it has
    all capabilities there, and its ids are the host's still (`become_root`).
    """
    reader, writer = os.pipe()
    between = fork_into(0)
    if between == 0:
        told = b""
        try:
            os.close(reader)
            before()
            namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            setns(namespace, CLONE_NEWUSER)
            os.close(namespace)
            pid = fork_into(flags | CLONE_PARENT)
            if pid == 0:
                os.close(writer)
                return 0
            told = str(pid).encode()
        except BaseException as error:  # noqa: BLE001 -- told to the caller's process
            number = getattr(error, "errno", 0) or 0
            told = f"!{number} {getattr(error, 'strerror', '') or error}".encode()
        os.write(writer, told)
        os._exit(0)
    os.close(writer)
    told = os.read(reader, 4096)
    os.close(reader)
    os.waitpid(between, 0)
    if told.startswith(b"!"):
        number, _, text = told[1:].decode(errors="replace").partition(" ")
        raise OSError(int(number), text)
    if not told:
        raise OSError(5, "the process between ended without a word")
    return int(told)


@contextlib.contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """The calling thread makes files with these ids, and keeps its capabilities; raises OSError.

    Through an idmapped mount nobody can make a file whose ids it does not map (EOVERFLOW), root
    neither: this is for those of the namespace's root, as the host numbers them (credentials(7)).
    """
    before = capabilities.sets("thread-self")
    kept = before["CapEff"], before["CapPrm"], before["CapInh"]
    try:
        _set_file_ids(uid, gid)
        # The kernel takes those about files away from who leaves the uid 0 (capabilities(7)).
        capabilities.set_thread(*kept)
        yield
    finally:
        _set_file_ids(os.geteuid(), os.getegid())
        capabilities.set_thread(*kept)


def _set_file_ids(uid: int, gid: int) -> None:
    """setfsuid(2) tells no error: asked for -1 it changes nothing, and says what is set."""
    libc.setfsgid(gid)
    libc.setfsuid(uid)
    if libc.setfsuid(-1) != uid or libc.setfsgid(-1) != gid:
        raise oserror(f"setfsuid {uid}:{gid}")
