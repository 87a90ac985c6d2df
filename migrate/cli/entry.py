"""The command `migrate`: `run` and `exec` by their shortest ways where they do, else all of `main`.

It may be run by `python -S`: the short way needs nothing but the standard library and ourselves.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the command in sys.argv."""
    if sys.argv[1:2] == ["run"]:
        _run_quickly(sys.argv[2:])
    elif sys.argv[1:2] == ["exec"]:
        _execute_quickly(sys.argv[2:])
    load_site()
    from migrate.cli.main import main

    main()


def load_site() -> None:
    """What `python -S` has left out: the environment's packages and its prefix (site)."""
    if "site" not in sys.modules:
        import site

        site.main()


def _execute_quickly(words: list[str]) -> None:
    """End with the program's exit status; return where the general way has to be gone."""
    from migrate.cli.plain import exec_plainly

    plain = exec_plainly(words)
    if plain is None:
        return
    import gc
    import os

    gc.disable()  # see below
    from migrate.runtime.cgroups.moving import Preparing

    try:
        preparing = Preparing()  # the kernel does its part while the rest is loaded
    except OSError:
        gc.enable()
        return
    from migrate.runtime.quickexec import find

    state = os.environ.get("MIGRATE_STATE") or "/var/lib/migrate"
    inside = find(state, os.environ.get("MIGRATE_RUN") or "/run/migrate", plain[0])
    preparing.end()
    if inside is None:
        gc.enable()
        return
    os._exit(_status_of(lambda: inside.run(plain[1])) or 0)


def _run_quickly(words: list[str]) -> None:
    """End with the container's exit status; return where the general way has to be gone."""
    from migrate.cli.plain import plainly

    wanted = plainly(words)
    if wanted is None:
        return
    import gc
    import os

    gc.disable()  # a run of it touches all memory, which forked processes then have to copy
    from migrate.runtime.cgroups.moving import Preparing

    try:
        preparing = Preparing()  # the kernel does its part while the rest is loaded
    except OSError:
        gc.enable()
        return
    from migrate.cli.quick import attempt

    status = _status_of(lambda: attempt(wanted, preparing))
    if status is None:
        gc.enable()
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # to take an interpreter down in order takes as long as the container did


def _status_of(act: Callable[[], int | None]) -> int | None:
    """What it returns; of an error, which is told, the code."""
    from migrate.errors import MigrateError

    try:
        return act()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except MigrateError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.code
    except OSError as error:
        told = MigrateError("the operating system refused", cause=str(error))
        sys.stderr.write(f"error: {told}\n")
        return told.code
