"""The command `migrate-oci`, run by `python -S`: who may need a package loads `site` first."""

from __future__ import annotations

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

    main()
