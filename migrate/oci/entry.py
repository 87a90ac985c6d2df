"""The command `migrate-oci`, run by `python -S`: who may need a package loads `site` first."""

from __future__ import annotations

import os
import sys

_ALONE = frozenset({"state", "list", "kill", "start", "pause", "resume", "exec"})
"""Commands that need nothing but the standard library and ourselves."""
_OTHERS = frozenset({
    "create", "run", "delete", "ps", "spec", "features", "events", "update", "checkpoint",
    "restore",
})  # fmt: skip


def main() -> None:
    """Run the command in sys.argv."""
    words = set(sys.argv[1:])
    if words & _OTHERS or not words & _ALONE:  # a container may be called as a command is
        import site

        site.main()
    else:
        import gc

        gc.disable()  # a run of it touches all memory, which a forked process then has to copy
    from migrate.oci.main import main

    try:
        main()
    except SystemExit as ended:  # what it wrote, it has flushed
        # At once: to take an interpreter down in order takes as long as many a command.
        os._exit(ended.code if isinstance(ended.code, int) else 1)
