"""An image by its name, and its pin, without loading the store (`store` has the whole of it)."""

from __future__ import annotations

import fcntl
import os

from migrate.kernel.bare import contextlib, json
from migrate.kernel.files import write_atomically

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

RECORD_LIMIT = 16 << 20
_DIGITS = frozenset("0123456789abcdef")


def find(root: str, name: str) -> dict[str, Any] | None:
    """The record of the image of exactly this name (`:latest` may be left out), if all is plain.

    None for everything else, an image with an unusual record or a missing layer included: the
    store knows what to say of it.
    """
    names = {name, f"{name}:latest"}
    directory = f"{root}/images/sha256"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for entry in os.listdir(directory):
            if not entry.endswith(".json") or entry.startswith("."):
                continue
            with open(f"{directory}/{entry}", "rb") as file:
                record: dict[str, Any] = json.loads(file.read(RECORD_LIMIT))
            if names.intersection(record["names"]):
                whole = all(_is_whole(root, diff_id) for diff_id in record["diff_ids"])
                return record if whole and record["diff_ids"] else None
    return None


def layer_directory(root: str, diff_id: str) -> str:
    """The unpacked layer."""
    return f"{root}/layers/sha256/{diff_id.removeprefix('sha256:')}"


def _is_whole(root: str, diff_id: str) -> bool:
    digits = diff_id.removeprefix("sha256:")
    return set(digits) <= _DIGITS and os.path.exists(f"{layer_directory(root, diff_id)}.json")


def pin(root: str, owner: str, image: dict[str, Any], *, durable: bool) -> None:
    """Keep the image's layers for `owner`, under the lock that `Store.prune` takes.

    Raises FileNotFoundError for a layer that is gone.
    """
    lock = os.open(f"{root}/.store.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        for diff_id in image["diff_ids"]:
            os.stat(f"{layer_directory(root, diff_id)}.json")
        entry = {"owner": owner, "image_id": image["id"], "diff_ids": image["diff_ids"]}
        write_atomically(f"{root}/pins/{owner}.json", json.dumps(entry).encode(), durable=durable)
    finally:
        os.close(lock)


def unpin(root: str, owner: str) -> None:
    """The owner is gone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{root}/pins/{owner}.json")
