"""Open files whose name is gone while another name of theirs is left.

CRIU gives such a file a helper name (`link_remap.N`) beside the lost one, for the time of the dump
(criu/files-reg.c, create_link_remap), and wants to find it at the restore. Our copy of the files is
made by name, and the helper may not be in it: so while it exists, another name of the same file is
written down, and before the restore the helper is linked to that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from migrate.checkpoint.state import State
from migrate.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from migrate.runtime.paths import Paths
from migrate.runtime.storage import bind_source, own_files

FILE = "link-remaps.img"
LIMIT = 4 << 20
_LINKED = 0  # remap-file-path.proto
_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS


def write_down(paths: Paths, state: State, images: Path) -> None:
    """At post-dump, when the helpers exist: find another name for each; rarely any."""
    found = []
    for helper in _helpers(images):
        base, inside = _place(paths, state, helper, own_files(paths, state.record))
        with contextlib.suppress(OSError):
            sibling = _sibling(base, inside)
            if sibling:
                prefix = helper.removesuffix(inside)
                found.append((helper, prefix + sibling))
    if found:
        (images / FILE).write_bytes(msgspec.json.encode(found))


def _helpers(images: Path) -> Iterator[str]:
    """Their paths in the container, without the leading slash."""
    if not (images / "remap-fpath.img").exists():
        return
    import pycriu.images

    def load(name: str) -> list[dict[str, Any]]:
        with (images / name).open("rb") as file:
            entries: list[dict[str, Any]] = pycriu.images.load(file)["entries"]
            return entries

    linked = {
        entry["remap_id"] for entry in load("remap-fpath.img")
        if entry.get("remap_type", _LINKED) in {_LINKED, "LINKED"}
    }  # fmt: skip
    if linked:
        for entry in load("files.img"):
            if entry["id"] in linked and "reg" in entry:
                yield str(entry["reg"]["name"]).lstrip("/")


def _place(paths: Paths, state: State, path: str, upper: Path) -> tuple[Path, str]:
    """The directory of this host, and the path in it, where a container's path is stored."""
    for bind in sorted(state.record.binds, key=lambda bind: -len(bind.target)):
        target = bind.target.strip("/") + "/"
        if path.startswith(target):
            return bind_source(paths, bind), path.removeprefix(target)
    return upper, path


def _sibling(base: Path, helper: str) -> str | None:
    """Another name of the same file below `base`."""
    wanted = (base / helper).lstat()
    for top, _below, names in os.walk(base):
        for name in names:
            path = Path(top, name)
            relative = str(path.relative_to(base))
            if relative != helper and os.path.samestat(path.lstat(), wanted):
                return relative
    return None


def put_in_place(paths: Paths, state: State, images: Path, rootfs: Path) -> None:
    """Before the restore, with the rootfs mounted: link the helpers. Raises OSError, DecodeError.

    CRIU removes them again when it has opened the files.
    """
    try:
        with (images / FILE).open("rb") as file:
            pairs = msgspec.json.decode(file.read(LIMIT), type=list[tuple[str, str]])
    except FileNotFoundError:
        return
    for helper, sibling in pairs:
        base, inside = _place(paths, state, helper, rootfs)
        _base, other = _place(paths, state, sibling, rootfs)
        root = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        held = [root]
        try:
            held.append(openat2(root, other, os.O_PATH | os.O_NOFOLLOW, resolve=_IN_ROOT))
            parent = os.path.dirname(inside) or "."  # noqa: PTH120 -- a container's path
            held.append(openat2(root, parent, os.O_PATH | os.O_DIRECTORY, resolve=_IN_ROOT))
            with contextlib.suppress(FileExistsError):
                os.link(
                    f"/proc/self/fd/{held[1]}", os.path.basename(inside), dst_dir_fd=held[2],  # noqa: PTH119
                    follow_symlinks=True,
                )  # fmt: skip
        finally:
            for descriptor in held:
                os.close(descriptor)
