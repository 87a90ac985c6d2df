"""The many small files: whole trees while the container runs, what has changed while it is frozen.

A file costs the pause some half a millisecond, whatever its size: it is made, owned and dated at
the target. Large files are left to `filerounds`: the changes name them.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from migrate.checkpoint.files import AHEAD, Tree
from migrate.images.changes import Known, Signature, write_known
from migrate.kernel.threads import Task
from migrate.move.filerounds import FileRounds, is_large
from migrate.move.progress import Event, Report
from migrate.move.vouching import Stop, Witness
from migrate.transfer.bulk import BulkSender

LEAST_ENTRIES = 16
"""Fewer names than that are not worth a stop of the container, and an answer of the target."""


@dataclass(frozen=True)
class _Sent:
    known: Known
    stop: Stop  # the last one before it was read


class TreesAhead:
    """What the target has of a container's trees; nothing until `send`."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._sent: dict[str, _Sent] = {}

    def send(self, bulk: BulkSender, report: Report) -> bool:
        """Send those that are worth it; whether there were any. Raises what sending raises.

        The target has to unpack them then (`files.put_ahead`).
        """
        chosen = [tree for tree in self._witness.trees if _has_many(tree.directory)]
        if not chosen:
            return False
        begun = time.monotonic()
        stop = self._witness.stop()
        held = time.monotonic() - begun
        for tree in chosen:
            self._sent[tree.name] = _Sent(_send(tree, bulk), stop)
        bulk.flush()
        count = sum(len(sent.known.entries) for sent in self._sent.values())
        told = {"files": count, "seconds": time.monotonic() - begun, "held": held}
        report(Event("note", "files ahead", told))
        return True

    def known(self, tree: str) -> Known | None:
        """As `Staging.known`."""
        sent = self._sent.get(tree)
        return sent.known if sent else None

    def unchanged(self, tree: str, before: Signature, status: os.stat_result) -> bool:
        """As `Staging.unchanged`."""
        return self._witness.is_as_read_then(before, self._sent[tree].stop, status)


def _has_many(root: Path) -> bool:
    """Whether enough names are beneath a directory, which may change meanwhile."""
    return sum(1 for _ in itertools.islice(_names(root), LEAST_ENTRIES)) == LEAST_ENTRIES


def _names(root: Path) -> Iterator[str]:
    for _, directories, files in os.walk(root):
        yield from directories
        yield from files


def _send(tree: Tree, bulk: BulkSender) -> Known:
    """Through a pipe: the tar lies nowhere on this host."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", buffering=0) as out:
        packing = Task(f"pack {tree.name}", lambda: _pack(tree, writing))
        try:
            bulk.send_file_from(out.fileno(), f"{AHEAD}/{tree.whole}")
        except BaseException:
            out.close()  # who packs sees a broken pipe
            packing.join()
            raise
        return packing.result()


def _pack(tree: Tree, descriptor: int) -> Known:
    with os.fdopen(descriptor, "wb") as file:
        out: BinaryIO = file
        return write_known(tree.directory, out, overlay=tree.overlay, left_out=is_large)


class Ahead:
    """All that the target has of the files before the pause (a `checkpoint.staged.Staging`)."""

    def __init__(self, witness: Witness, files: FileRounds, trees: TreesAhead) -> None:
        self._witness = witness
        self.content = files.content
        self.known = trees.known
        self.unchanged = trees.unchanged

    def look(self) -> None:
        """As `Staging.look`."""
        self._witness.look()
