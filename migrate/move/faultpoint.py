"""Named points of a move at which a test can hold a process, to kill it or something else there.

A process that reaches the point named in the file `fault-point` of the volatile state directory
(root's alone) stops itself with SIGSTOP, and goes on when it is continued. Where there is no such
file, as everywhere but in a test, a point costs one failing open(2).
"""

from __future__ import annotations

import os
import signal

from migrate.runtime.paths import Paths

FILE = "fault-point"
SOURCE_POINTS = (
    "prepared", "files-held", "memory-sent", "frozen", "dumped", "restored", "committing",
    "committed",
)  # fmt: skip
TARGET_POINTS = ("placed", "unpacked", "restored-there", "committed-there", "thawed-there")


def reached(paths: Paths, name: str) -> None:
    """Stop here if a test asked for it."""
    try:
        wanted = (paths.run / FILE).read_text().strip()
    except OSError:
        return
    if wanted == name:
        try:
            (paths.run / FILE).unlink()
        except FileNotFoundError:
            return  # another process has reached it at the same time
        os.kill(os.getpid(), signal.SIGSTOP)
