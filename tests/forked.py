"""A command of ours as a fork of this interpreter: it takes a tenth of a fresh one's time.

What one of them has loaded, this process loads before the next, so that it is there at once.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import gc
import importlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from migrate.cli.main import main as migrate

MIGRATE = str(Path(sys.prefix) / "bin" / "migrate")
SHORT = frozenset({
    "create", "exec", "image", "inspect", "kill", "logs", "pause", "ps", "recover", "resume", "rm",
    "run", "start", "stop",
})  # fmt: skip
"""Commands of `migrate` whose own life no test on hosts looks at: `start_short` forks them."""
_STARTS_THREADS = "numpy"
"""As it is loaded, by OpenBLAS: the kernel refuses that to who is about to fork into another pid
namespace (clone(2), EINVAL), and OpenBLAS then raises SIGINT."""
_OUT_OF_THE_WAY = 900  # a descriptor's number that no test asks for
_loaded = fcntl.fcntl(os.memfd_create("loaded"), fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)


def start_short(command: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
    """Popen, but that the short commands of `migrate` are forks."""
    words = [os.fspath(word) for word in command]
    if words[0] == MIGRATE and words[1:2] and words[1] in SHORT:
        return forked(migrate, words, **options)
    return subprocess.Popen(command, **options)


def forked(
    main: Callable[[], object], words: Sequence[str], *,
    environment: Mapping[str, str] | None = None, **options: Any,
) -> subprocess.Popen[str]:  # fmt: skip
    """`main` with `words` as sys.argv, as a process; `options` are Popen's.

    It has what an exec would have left it: descriptors, environment, signals to default.
    """
    first: Callable[[], object] | None = options.pop("preexec_fn", None)
    given = options.pop("env", environment)
    kept = {_loaded, *options.get("pass_fds", ())}
    closes: bool = options.get("close_fds", True)

    known = _load_what_they_loaded()

    def be_command() -> None:
        if first:
            first()
        _leave_test(kept, closes=closes)
        if given is not None:
            copy = dict(given)
            os.environ.clear()
            os.environ.update(copy)
        sys.argv = list(words)
        status = _status(main)
        _tell_loaded(known)
        os._exit(status)

    return subprocess.Popen(
        words, executable=sys.executable, preexec_fn=be_command, **{"text": True} | options
    )


def _load_what_they_loaded() -> set[str]:
    """The names of all modules that there are now."""
    told = os.pread(_loaded, 1 << 20, 0).decode().split()
    os.ftruncate(_loaded, 0)
    for name in dict.fromkeys(told):
        if name not in sys.modules and name.partition(".")[0] != _STARTS_THREADS:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    return set(sys.modules)


def _tell_loaded(known: set[str]) -> None:
    names = [name for name in sys.modules if name not in known and name != "__main__"]
    with contextlib.suppress(OSError):  # closed on the way
        os.pwrite(_loaded, ("\n".join(names) + "\n").encode(), os.fstat(_loaded).st_size)


def _leave_test(kept: set[int], *, closes: bool) -> None:
    gc.freeze()  # a run of it would touch, and so copy, all that the test has in memory
    faulthandler.disable()
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        with contextlib.suppress(OSError):  # the listing's own
            leaves = fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
            if number > 2 and number not in kept and (leaves or closes):
                os.close(number)  # Popen's own pipe, too: it returns
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)  # as an interpreter starts; Popen undoes it
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115


def _status(main: Callable[[], object]) -> int:
    status: Any = 1
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    return int(status)
