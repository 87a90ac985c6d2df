"""A command of ours as a fork of this interpreter: it takes a tenth of a fresh one's time."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import gc
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def forked(
    main: Callable[[], object], words: Sequence[str], *,
    environment: Mapping[str, str] | None = None, **options: Any,
) -> subprocess.Popen[str]:  # fmt: skip
    """`main` with `words` as sys.argv, as a process; `options` are Popen's.

    It has what an exec would have left it: descriptors, environment, signals to default.
    """
    first: Callable[[], object] | None = options.pop("preexec_fn", None)
    given = options.pop("env", environment)
    kept = set(options.get("pass_fds", ()))
    closes: bool = options.get("close_fds", True)

    def be_command() -> None:
        if first:
            first()
        _leave_test(kept, closes=closes)
        if given is not None:
            copy = dict(given)
            os.environ.clear()
            os.environ.update(copy)
        sys.argv = list(words)
        os._exit(_status(main))

    return subprocess.Popen(
        words, executable=sys.executable, preexec_fn=be_command, **{"text": True} | options
    )


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
